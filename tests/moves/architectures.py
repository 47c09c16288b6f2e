"""The models that are moved, each in both generations of Keras and on any number of inputs.

Every layer is called on each input, so that a model on several inputs shares all its weights; the outputs are
concatenated. Layers of equal shape occur in each: only order or names tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from tests.moves.proof import Model

Apply = Callable[[Any], Any]


def on_inputs(k: Any, count: int, shape: tuple[int | None, ...], apply: Apply, dtype: str = "float32") -> Any:
    """A model that applies the same layers to each of its inputs."""
    inputs = [k.Input(shape, dtype=dtype) for _ in range(count)]
    outputs = [apply(x) for x in inputs]
    joined = outputs[0] if count == 1 else k.layers.Concatenate()(outputs)
    return k.Model(inputs if count > 1 else inputs[0], joined)


def chain(layers: Sequence[Any]) -> Apply:
    """One layer after the other."""

    def apply(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return apply


def _mlp(k: Any) -> tuple[tuple[int, ...], Apply]:
    layers = [k.layers.Dense(6, activation="tanh") for _ in range(12)]
    return (6,), chain([*layers, k.layers.Dense(5)])


def _cnn(k: Any) -> tuple[tuple[int, ...], Apply]:
    make = k.layers
    layers = []
    for _ in range(3):
        layers += [make.Conv2D(4, 3, padding="same"), make.BatchNormalization(), make.Activation("relu")]
    layers += [make.DepthwiseConv2D(3), make.SeparableConv2D(5, 2), make.GlobalAveragePooling2D()]
    return (8, 8, 4), chain([*layers, make.Dropout(0.5), make.Dense(3)])


def _resnet(k: Any) -> tuple[tuple[int, ...], Apply]:
    """Blocks with a shortcut convolution: both branches have layers of equal shape, which interleave by depth."""
    make = k.layers
    stem = make.Conv2D(4, 3, padding="same")
    blocks = [
        (
            [make.Conv2D(4, 3, padding="same"), make.BatchNormalization(), make.ReLU(), make.Conv2D(4, 3, padding="same"),
             make.BatchNormalization()],
            [make.Conv2D(4, 3, padding="same"), make.BatchNormalization()],
        )
        for _ in range(2)
    ]  # fmt: skip
    head = make.Dense(3)
    pool, add, relu = make.GlobalAveragePooling2D(), make.Add, make.ReLU

    def apply(x: Any) -> Any:
        x = stem(x)
        for main, shortcut in blocks:
            x = relu()(add()([chain(main)(x), chain(shortcut)(x)]))
        return head(pool(x))

    return (6, 6, 2), apply


def _rnn(k: Any) -> tuple[tuple[int, ...], Apply]:
    make = k.layers
    return (5, 6), chain(
        [
            make.LSTM(6, return_sequences=True), make.LSTM(6, return_sequences=True),
            make.GRU(6, return_sequences=True), make.GRU(6, reset_after=False, return_sequences=True),
            make.SimpleRNN(7), make.Dense(3),
        ]
    )  # fmt: skip


def _bidirectional(k: Any) -> tuple[tuple[int, ...], Apply]:
    make = k.layers
    return (5, 6), chain(
        [
            make.Bidirectional(make.LSTM(3, return_sequences=True)),
            make.Bidirectional(make.LSTM(3, return_sequences=True)),
            make.Bidirectional(make.GRU(4), merge_mode="sum"), make.Dense(3),
        ]
    )  # fmt: skip


def _flat(k: Any) -> tuple[tuple[int, ...], Apply]:
    make = k.layers
    return (6,), chain(
        [make.Dense(6, activation="tanh"), make.Dense(6, activation="tanh"), make.BatchNormalization(), make.Dense(5)]
    )


def _nested(k: Any) -> tuple[tuple[int, ...], Apply]:
    """What `_flat` computes, most of it in a model of its own."""
    make = k.layers
    x = start = k.Input((6,))
    for layer in (make.Dense(6, activation="tanh"), make.Dense(6, activation="tanh"), make.BatchNormalization()):
        x = layer(x)
    return (6,), chain([k.Model(start, x), make.Dense(5)])


def _sequential(k: Any) -> tuple[tuple[int, ...], Apply]:
    """What `_flat` computes, most of it in a Sequential inside a Sequential."""
    make = k.layers
    outer = k.Sequential([make.Dense(6, activation="tanh")])
    outer.add(k.Sequential([make.Dense(6, activation="tanh"), make.BatchNormalization()]))
    return (6,), chain([outer, make.Dense(5)])


def _attention(k: Any) -> tuple[tuple[int, ...], Apply]:
    """A transformer block: equal projections, normalisations before and after."""
    make = k.layers
    attention, norms = make.MultiHeadAttention(2, 3), [make.LayerNormalization() for _ in range(2)]
    up, down, add = make.Dense(8, activation="relu"), make.Dense(6), make.Add
    head = make.Dense(3)

    def apply(x: Any) -> Any:
        x = norms[0](add()([x, attention(x, x)]))
        return head(norms[1](add()([x, down(up(x))])))

    return (5, 6), apply


def _assorted(k: Any) -> tuple[tuple[int, ...], Apply]:
    """Wrappers and the layers that other kinds leave out."""
    make = k.layers
    return (3, 6, 6, 2), chain(
        [
            make.ConvLSTM2D(3, 2, recurrent_activation="sigmoid", return_sequences=True),  # the default changed
            make.TimeDistributed(make.Conv2D(4, 2)),
            make.TimeDistributed(make.BatchNormalization()), make.Conv3D(3, 2), make.PReLU(shared_axes=[1, 2, 3]),
            make.Conv3DTranspose(2, 2), make.Flatten(), make.Dense(4, use_bias=False),
            make.BatchNormalization(scale=False), make.Dense(3),
        ]
    )  # fmt: skip


def _embedding(k: Any) -> tuple[tuple[int, ...], Apply]:
    make = k.layers
    layers = [make.Embedding(11, 6), make.Conv1D(6, 2), make.LayerNormalization(), make.GRU(5), make.Dense(3)]
    return (7,), chain(layers)


KINDS: dict[str, Callable[[Any], tuple[tuple[int, ...], Apply]]] = {
    "mlp": _mlp, "cnn": _cnn, "resnet": _resnet, "rnn": _rnn, "bidirectional": _bidirectional, "flat": _flat,
    "nested": _nested, "sequential": _sequential, "embedding": _embedding, "attention": _attention,
    "assorted": _assorted,
}  # fmt: skip


def made(fw: Any, framework: str, kind: str, inputs: int = 1) -> Model:
    """The model of that kind, made once for all tests; whoever runs it sets its values first."""
    if framework == "tf_keras":
        _leave_graphs()
    return _made(getattr(fw, framework), framework, kind, inputs)


def _leave_graphs() -> None:
    """Give the classes of tf_keras the bases that they have outside of graphs.

    A layer that is made in a graph changes those of its class until the next one is made outside, so that what was made
    before another test's graph cannot be called after it.
    """
    from tf_keras.src.engine import base_layer, base_layer_v1, training, training_v1
    from tf_keras.src.utils.version_utils import swap_class

    for eager, graph in ((base_layer.Layer, base_layer_v1.Layer), (training.Model, training_v1.Model)):
        for kind in set(_below(eager)):
            swap_class(kind, eager, graph, use_v2=True)


def _below(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


@cache
def _made(k: Any, framework: str, kind: str, inputs: int) -> Model:
    shape, apply = KINDS[kind](k)
    vocabulary = 11 if kind == "embedding" else None
    live = on_inputs(k, inputs, shape, apply, "int32" if vocabulary else "float32")
    return Model(framework, live, shape, inputs, vocabulary)


def stack(fw: Any, framework: str, layers: Sequence[tuple[str | None, int]], size: int = 6) -> Model:
    """Dense layers one after the other, each (name, units), made in that order."""
    k = getattr(fw, framework)
    made_layers = [k.layers.Dense(units, activation="tanh", name=name) for name, units in layers]
    return Model(framework, on_inputs(k, 1, (size,), chain(made_layers)), (size,))


def separate_towers(fw: Any, framework: str, count: int, prefixes: Sequence[str]) -> Model:
    """Layers of their own for each input: `left_hidden`, `left_head`, `right_hidden`, `right_head`."""
    k = getattr(fw, framework)
    inputs, outputs = [k.Input((6,)) for _ in range(count)], []
    for x, prefix in zip(inputs, prefixes, strict=True):
        layers = (
            k.layers.Dense(7, activation="tanh", name=f"{prefix}hidden"),
            k.layers.BatchNormalization(name=f"{prefix}norm"),
            k.layers.Dense(5, name=f"{prefix}head"),
        )
        outputs.append(chain(layers)(x))
    joined = outputs[0] if count == 1 else k.layers.Concatenate()(outputs)
    return Model(framework, k.Model(inputs if count > 1 else inputs[0], joined), (6,), count)
