"""Every layer class with weights of Keras 3 and tf_keras, with its switches, as models of one layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Subject:
    """One layer to be tried.

    Attributes:
        name: class and switch.
        make: gives a new one.
        shape: of its input without the batch.
        dtype: of its input.
        calls: how many inputs it takes.
        listed: whether it takes them as one list.
    """

    name: str
    make: Callable[[], Any]
    shape: Shape
    dtype: str = "float32"
    calls: int = 1
    listed: bool = False


def subjects(keras: ModuleType) -> Iterator[Subject]:
    """All of a framework's; what it does not have is left out."""
    layers = keras.layers
    vector, sequence, image, volume, ids = (4,), (6, 4), (8, 7, 4), (6, 5, 7, 4), (3,)

    def each(
        cls: str,
        shape: Shape,
        *args: Any,
        dtype: str = "float32",
        calls: int = 1,
        listed: bool = False,
        fixed: dict[str, Any] | None = None,
        **switches: tuple[Any, ...],
    ) -> Iterator[Subject]:
        """The layer as it is, and with each value of each switch alone."""
        if not hasattr(layers, cls):
            return
        known = inspect.signature(getattr(layers, cls).__init__).parameters
        switched = {key: values for key, values in switches.items() if key in known or "kwargs" in known}
        for options in ({}, *({key: value} for key, values in switched.items() for value in values)):
            said = ", ".join(f"{key}={value}" for key, value in options.items())

            def make(options: dict[str, Any] = options) -> Any:
                return getattr(layers, cls)(*args, **(fixed or {}), **options)

            yield Subject(f"{cls}({said})", make, shape, dtype, calls, listed)

    no, yes = (False,), (True,)
    yield from each("Dense", vector, 5, use_bias=no)
    yield from each("EinsumDense", sequence, "abc,cd->abd", (None, 5), bias_axes=("d",))
    yield from each("EinsumDense", sequence, "abc,cde->abde", (None, 5, 3), bias_axes=("de", "e"))
    yield from each("Embedding", ids, 9, 5, dtype="int32", mask_zero=yes)
    yield from each("ReversibleEmbedding", ids, 9, 5, dtype="int32", tie_weights=no)
    for rank, shape in ((1, sequence), (2, image), (3, volume)):
        yield from each(f"Conv{rank}D", shape, 5, 2, use_bias=no, groups=() if rank == 3 else (1,))
        yield from each(f"Conv{rank}DTranspose", shape, 5, 2, use_bias=no)
        if rank < 3:
            yield from each(f"DepthwiseConv{rank}D", shape, 2, use_bias=no, depth_multiplier=(3,))
            yield from each(f"SeparableConv{rank}D", shape, 5, 2, use_bias=no, depth_multiplier=(3,))
            yield from each(f"LocallyConnected{rank}D", shape, 5, 2, use_bias=no)
        yield from each(f"ConvLSTM{rank}D", (3, *shape), 5, 2, use_bias=no, return_sequences=yes, unit_forget_bias=no)
    yield from each("BatchNormalization", vector, scale=no, center=no, renorm=yes)
    yield from each("BatchNormalization", vector, fixed={"scale": False, "center": False})
    yield from each("SyncBatchNormalization", vector, scale=no, center=no)
    rms = yes if "rms_scaling" in inspect.signature(layers.LayerNormalization.__init__).parameters else ()
    yield from each("LayerNormalization", image, scale=no, center=no, axis=([2, 3],), rms_scaling=rms)
    yield from each("LayerNormalization", vector, fixed={"scale": False})
    yield from each("GroupNormalization", sequence, 2, scale=no, center=no)
    yield from each("RMSNormalization", vector)
    yield from each("Normalization", vector, axis=(None,))
    yield from each("Normalization", image, axis=((2, 3),))
    frames = {"frame_length": 8, "frame_step": 4, "fft_length": 8}
    yield from each("STFTSpectrogram", (32, 2), fixed=frames, mode=("stft",))
    yield from each("PReLU", sequence, shared_axes=((1,),))
    for cls in ("SimpleRNN", "LSTM", "GRU"):
        yield from each(cls, sequence, 5, use_bias=no, return_sequences=yes, unroll=yes, go_backwards=yes)
    yield from each("LSTM", sequence, 5, unit_forget_bias=no)
    yield from each("GRU", sequence, 5, reset_after=no, use_bias=no)
    yield from each("GRU", sequence, 5, fixed={"reset_after": False}, use_bias=no)
    yield from each("MultiHeadAttention", sequence, 2, 3, calls=2, use_bias=no, value_dim=(5,), output_shape=(7,))
    yield from each("GroupQueryAttention", sequence, 3, 4, 2, calls=2, use_bias=no)
    for cls in ("Attention", "AdditiveAttention"):
        modes = ("concat",) if cls == "Attention" else ()
        yield from each(cls, sequence, calls=2, listed=True, use_scale=(True, False), score_mode=modes)
    yield from _wrapped(layers, vector, sequence, image)


def _wrapped(layers: Any, vector: Shape, sequence: Shape, image: Shape) -> Iterator[Subject]:
    def stated(cls: str) -> Any:
        return getattr(layers, cls)(5, return_sequences=True)

    for cls in ("SimpleRNN", "LSTM", "GRU"):
        yield Subject(f"Bidirectional({cls})", lambda cls=cls: layers.Bidirectional(getattr(layers, cls)(5)), sequence)
        cell = f"{cls}Cell"
        yield Subject(f"RNN({cell})", lambda cell=cell: layers.RNN(getattr(layers, cell)(5)), sequence)
    yield Subject(
        "Bidirectional(LSTM, GRU)",
        lambda: layers.Bidirectional(
            stated("LSTM"), backward_layer=layers.GRU(5, return_sequences=True, go_backwards=True)
        ),
        sequence,
    )
    yield Subject(
        "Bidirectional(LSTM(use_bias=False))", lambda: layers.Bidirectional(layers.LSTM(5, use_bias=False)), sequence
    )
    yield Subject("RNN([LSTMCell, GRUCell])", lambda: layers.RNN([layers.LSTMCell(5), layers.GRUCell(6)]), sequence)
    yield Subject(
        "RNN(StackedRNNCells)",
        lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(5), layers.GRUCell(5)])),
        sequence,
    )
    timed = layers.TimeDistributed
    yield Subject("TimeDistributed(Dense)", lambda: timed(layers.Dense(5)), sequence)
    yield Subject("TimeDistributed(Conv2D)", lambda: timed(layers.Conv2D(5, 2)), (3, *image))
    yield Subject("TimeDistributed(BatchNormalization)", lambda: timed(layers.BatchNormalization()), sequence)
    yield Subject("TimeDistributed(LSTM)", lambda: timed(layers.LSTM(5)), (3, *sequence))
    if hasattr(layers, "SpectralNormalization") and not layers.__name__.startswith("tf_keras"):
        # That of tf_keras 2.21 asks for an InputSpec of Keras 3's and cannot be built beside it.
        spectral = layers.SpectralNormalization
        yield Subject("SpectralNormalization(Dense)", lambda: spectral(layers.Dense(5)), vector)
        yield Subject(
            "SpectralNormalization(Dense, no bias)", lambda: spectral(layers.Dense(5, use_bias=False)), vector
        )
        yield Subject("SpectralNormalization(Conv2D)", lambda: spectral(layers.Conv2D(5, 2)), image)
        yield Subject("SpectralNormalization(Embedding)", lambda: spectral(layers.Embedding(9, 5)), (3,))
        yield Subject("TimeDistributed(SpectralNormalization)", lambda: timed(spectral(layers.Dense(5))), sequence)


def model(keras: ModuleType, subject: Subject, name: str) -> Any:
    """A functional model of the subject alone."""
    inputs = keras.Input(subject.shape, dtype=subject.dtype)
    given = [inputs] * subject.calls
    layer = subject.make()
    return keras.Model(inputs, layer(given) if subject.listed else layer(*given), name=name)
