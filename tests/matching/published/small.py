"""Small and generative networks: names that `tf.layers`, `tf.contrib`, estimators, Sonnet 1 and well-known scripts give."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.matching.published.scheme import NORM, Scheme, Stored, Weights, below, noise, published

SLIM = {"kernel": "weights", "bias": "biases"}
SHORT = {"kernel": "w", "bias": "b"}
SAME = {"kernel": "kernel", "bias": "bias"}


def _end(i: int) -> str:
    return f"_{i}" if i else ""


def _counted(convs: int, dense: int, *, named: bool = False) -> Any:
    """Convolutions with normalisation, then dense layers, with automatic names."""

    def build() -> Any:
        import keras
        from keras import layers as make

        x = image = keras.Input((8, 8, 3))
        for i in range(convs):
            x = make.Conv2D(5, 3, padding="same", name=f"block{i + 1}_conv" if named else None)(x)
            x = make.ReLU()(make.BatchNormalization(name=f"block{i + 1}_bn" if named else None)(x))
        x = make.GlobalAveragePooling2D()(x)
        for i in range(dense):
            x = make.Dense(5, name=f"fc{i + 1}" if named else None)(x)
        return keras.Model(image, x)

    return build


def _counted_store(kernels: tuple[str, str, str], roles: dict[str, str], *, named: bool = False) -> Any:
    conv, norm, dense = kernels

    def store(w: Weights) -> Stored:
        out = {}
        for i in range(12):
            layer = f"block{i + 1}_conv" if named else f"conv2d{_end(i)}"
            out |= below(f"{conv}{_end(i)}", w.layer(layer, **roles))
            layer = f"block{i + 1}_bn" if named else f"batch_normalization{_end(i)}"
            out |= below(f"{norm}{_end(i)}", w.norm(layer))
        for i in range(3):
            layer = f"fc{i + 1}" if named else f"dense{_end(i)}"
            out |= below(f"{dense}{_end(i)}", w.layer(layer, **roles))
        return out

    return store


@published
def tf_layers_counted() -> Scheme:
    """Twelve of a kind: the alphabet puts `conv2d_10` before `conv2d_2`."""
    return Scheme(_counted(12, 3), _counted_store(("conv2d", "batch_normalization", "dense"), SAME))


@published
def tf_contrib_counted() -> Scheme:
    return Scheme(_counted(12, 3), _counted_store(("Conv", "BatchNorm", "fully_connected"), SLIM))


@published
def tf_layers_counted_into_named() -> Scheme:
    """Counters from 0 against a person's numbers from 1."""
    store = _counted_store(("conv2d", "batch_normalization", "dense"), SAME, named=True)
    return Scheme(_counted(12, 3, named=True), store)


def _dcgan(discriminator: bool) -> Any:
    def build() -> Any:
        import keras
        from keras import layers as make

        if discriminator:
            x = image = keras.Input((32, 32, 3))
            x = make.LeakyReLU()(make.Conv2D(4, 5, 2, padding="same", name="d_h0_conv")(x))
            for i, filters in enumerate((6, 8, 10), 1):
                x = make.Conv2D(filters, 5, 2, padding="same", name=f"d_h{i}_conv")(x)
                x = make.LeakyReLU()(make.BatchNormalization(name=f"d_bn{i}")(x))
            return keras.Model(image, make.Dense(1, name="d_h4_lin")(make.Flatten()(x)))
        x = z = keras.Input((7,))
        x = make.Reshape((2, 2, 10))(make.Dense(40, name="g_h0_lin")(x))
        x = make.BatchNormalization(name="g_bn0")(x)
        for i, filters in enumerate((8, 6, 4), 1):
            x = make.Conv2DTranspose(filters, 5, 2, padding="same", name=f"g_h{i}")(x)
            x = make.BatchNormalization(name=f"g_bn{i}")(x)
        return keras.Model(z, make.Conv2DTranspose(3, 5, 2, padding="same", name="g_h4")(x))

    return build


def _matrix(w: Weights, layer: str) -> Stored:
    return {"Matrix": w[f"{layer}/kernel"], "bias": w[f"{layer}/bias"]}


def _dcgan_generator(w: Weights) -> Stored:
    out = below("generator/g_h0_lin", _matrix(w, "g_h0_lin").items())
    out |= below("generator/g_bn0", w.norm("g_bn0"))
    for i in (1, 2, 3):
        out |= below(f"generator/g_h{i}", w.layer(f"g_h{i}", kernel="w", bias="biases"))
        out |= below(f"generator/g_bn{i}", w.norm(f"g_bn{i}"))
    return {**out, **below("generator/g_h4", w.layer("g_h4", kernel="w", bias="biases"))}


def _dcgan_discriminator(w: Weights) -> Stored:
    out = below("discriminator/d_h0_conv", w.layer("d_h0_conv", kernel="w", bias="biases"))
    for i in (1, 2, 3):
        out |= below(f"discriminator/d_h{i}_conv", w.layer(f"d_h{i}_conv", kernel="w", bias="biases"))
        out |= below(f"discriminator/d_bn{i}", w.norm(f"d_bn{i}"))
    return {**out, **below("discriminator/d_h4_lin", _matrix(w, "d_h4_lin").items())}


def _invented(prefix: str, shapes: dict[str, tuple[int, ...]], seed: int) -> Stored:
    return noise(seed, {f"{prefix}/{name}": shape for name, shape in shapes.items()})


@published
def dcgan_generator() -> Scheme:
    """The discriminator lies in the same file."""

    def extra(_: Weights) -> Stored:
        shapes: dict[str, tuple[int, ...]] = {"d_h0_conv/w": (5, 5, 3, 4), "d_h0_conv/biases": (4,)}
        for i, (a, b) in enumerate(((4, 6), (6, 8), (8, 10)), 1):
            shapes |= {f"d_h{i}_conv/w": (5, 5, a, b), f"d_h{i}_conv/biases": (b,)}
            shapes |= {f"d_bn{i}/{role}": (b,) for role in NORM}
        return _invented("discriminator", {**shapes, "d_h4_lin/Matrix": (40, 1), "d_h4_lin/bias": (1,)}, 14)

    return Scheme(_dcgan(False), _dcgan_generator, extra)


@published
def dcgan_discriminator() -> Scheme:
    def extra(_: Weights) -> Stored:
        shapes: dict[str, tuple[int, ...]] = {"g_h0_lin/Matrix": (7, 40), "g_h0_lin/bias": (40,)}
        for i, (a, b) in enumerate(((10, 8), (8, 6), (6, 4), (4, 3)), 1):
            shapes |= {f"g_h{i}/w": (5, 5, b, a), f"g_h{i}/biases": (b,)}
        shapes |= {f"g_bn{i}/{role}": (c,) for i, c in enumerate((10, 8, 6, 4)) for role in NORM}
        return _invented("generator", shapes, 15)

    return Scheme(_dcgan(True), _dcgan_discriminator, extra)


@published
def pix2pix_generator() -> Scheme:
    """A U-Net: encoders counted up, decoders counted down."""
    filters = (4, 6, 8, 8, 8)

    def build() -> Any:
        import keras
        from keras import layers as make

        x = image = keras.Input((32, 32, 3))
        skips = []
        for i, count in enumerate(filters, 1):
            x = make.Conv2D(count, 4, 2, padding="same", name=f"down{i}_conv")(make.LeakyReLU()(x))
            x = make.BatchNormalization(name=f"down{i}_bn")(x) if i > 1 else x
            skips.append(x)
        skips.pop()
        for i in range(len(filters), 1, -1):
            x = make.Conv2DTranspose(filters[i - 2], 4, 2, padding="same", name=f"up{i}_deconv")(make.ReLU()(x))
            x = make.Concatenate()([make.BatchNormalization(name=f"up{i}_bn")(x), skips.pop()])
        return keras.Model(image, make.Conv2DTranspose(3, 4, 2, padding="same", name="up1_deconv")(x))

    def store(w: Weights) -> Stored:
        out = {}
        for i in range(1, len(filters) + 1):
            scope = f"generator/encoder_{i}"
            out |= below(f"{scope}/conv2d", w.layer(f"down{i}_conv", **SAME))
            if i > 1:
                out |= below(f"{scope}/batch_normalization", w.norm(f"down{i}_bn"))
        for i in range(len(filters), 0, -1):
            scope = f"generator/decoder_{i}"
            out |= below(f"{scope}/conv2d_transpose", w.layer(f"up{i}_deconv", **SAME))
            if i > 1:
                out |= below(f"{scope}/batch_normalization", w.norm(f"up{i}_bn"))
        return out

    def extra(_: Weights) -> Stored:
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (a, b) in enumerate(((6, 4), (4, 6), (6, 8), (8, 1)), 1):
            shapes |= {f"layer_{i}/conv2d/kernel": (4, 4, a, b), f"layer_{i}/conv2d/bias": (b,)}
        return _invented("discriminator", shapes, 16)

    return Scheme(build, store, extra)


@published
def word_vectors() -> Scheme:
    """Inputs and outputs of equal shape; only words tell them apart."""

    def build() -> Any:
        import keras
        from keras import layers as make

        centre, context = keras.Input((1,), dtype="int32"), keras.Input((1,), dtype="int32")
        x = make.Embedding(23, 6, name="emb")(centre)
        y = make.Embedding(23, 6, name="sm_w_t")(context)
        return keras.Model([centre, context], make.Dot((2, 2))([x, y]))

    def store(w: Weights) -> Stored:
        return {"emb": w["emb/embeddings"], "sm_w_t": w["sm_w_t/embeddings"]}

    def extra(_: Weights) -> Stored:
        return noise(17, {"sm_b": (23,)})

    return Scheme(build, store, extra, back=("right", "refused"))


@published
def text_cnn() -> Scheme:
    """Widths in the names; kernels of one row of words."""

    def build() -> Any:
        import keras
        from keras import layers as make

        ids = keras.Input((12,), dtype="int32")
        x = make.Reshape((12, 6, 1))(make.Embedding(19, 6, name="embedding")(ids))
        pooled = [make.GlobalMaxPooling2D()(make.Conv2D(4, (size, 6), name=f"conv_{size}")(x)) for size in (3, 4, 5)]
        return keras.Model(ids, make.Dense(2, name="output")(make.Concatenate()(pooled)))

    def store(w: Weights) -> Stored:
        out = {"embedding/W": w["embedding/embeddings"]}
        for size in (3, 4, 5):
            out |= below(f"conv-maxpool-{size}", w.layer(f"conv_{size}", kernel="W", bias="b"))
        return {**out, "W": w["output/kernel"], "output/b": w["output/bias"]}

    return Scheme(build, store, back=("right", "refused"))


@published
def estimator_dnn() -> Scheme:
    def build() -> Any:
        import keras
        from keras import layers as make

        x = seen = keras.Input((6,))
        for i in range(4):
            x = make.Dense(6, activation="relu", name=f"hidden_{i + 1}")(x)
        return keras.Model(seen, make.Dense(3, name="logits")(x))

    def store(w: Weights) -> Stored:
        out = {}
        for i in range(4):
            out |= below(f"dnn/hiddenlayer_{i}", w.layer(f"hidden_{i + 1}", **SAME))
        return {**out, **below("dnn/logits", w.layer("logits", **SAME))}

    return Scheme(build, store)


@published
def sonnet_1_networks() -> Scheme:
    """Modules that count their layers, in two scopes of equal shapes."""

    def build() -> Any:
        import keras
        from keras import layers as make

        x = seen = keras.Input((6,))
        for part in ("encoder", "decoder"):
            for i in range(3):
                x = make.Dense(6, name=f"{part}_linear_{i}")(x)
        return keras.Model(seen, x)

    def store(w: Weights) -> Stored:
        out = {}
        for part in ("encoder", "decoder"):
            for i in range(3):
                out |= below(f"vae/{part}/mlp/linear_{i}", w.layer(f"{part}_linear_{i}", **SHORT))
        return out

    return Scheme(build, store)


STREAM = (("1a", 7, 4), ("2b", 1, 4), ("2c", 3, 6))
MIXED = {"3b": (2, 3, 4, 2, 3, 2), "3c": (3, 4, 5, 2, 4, 3)}
BRANCHES = (("Branch_0", "Conv3d_0a_1x1", 1), ("Branch_1", "Conv3d_0a_1x1", 1), ("Branch_1", "Conv3d_0b_3x3", 3),
            ("Branch_2", "Conv3d_0a_1x1", 1), ("Branch_2", "Conv3d_0b_3x3", 3), ("Branch_3", "Conv3d_0b_1x1", 1))  # fmt: skip


@published
def two_stream_videos() -> Scheme:
    """Sonnet 1 scopes; Keras has a model for each stream: the wanted one is named."""

    def build() -> Any:
        import keras
        from keras import layers as make

        def conv(x: Any, filters: int, size: int, name: str) -> Any:
            x = make.Conv3D(filters, size, padding="same", use_bias=False, name=f"{name}_conv")(x)
            return make.ReLU()(make.BatchNormalization(scale=False, name=f"{name}_bn")(x))

        x = clip = keras.Input((4, 8, 8, 3))
        for name, size, filters in STREAM:
            x = conv(x, filters, size, f"Conv3d_{name}_{size}x{size}")
        for block, counts in MIXED.items():
            made: dict[str, Any] = {}
            for (branch, part, size), filters in zip(BRANCHES, counts, strict=True):
                made[branch] = conv(made.get(branch, x), filters, size, f"Mixed_{block}_{branch}_{part}")
            x = make.Concatenate()(list(made.values()))
        return keras.Model(clip, make.Conv3D(9, 1, name="Conv3d_6a_1x1")(x))

    def store(w: Weights) -> Stored:
        def conv(scope: str, layer: str) -> Stored:
            out = {f"{scope}/conv_3d/w": w[f"{layer}_conv/kernel"]}
            for role in ("beta", "moving_mean", "moving_variance"):
                out[f"{scope}/batch_norm/{role}"] = w[f"{layer}_bn/{role}"].reshape(1, 1, 1, 1, -1)
            return out

        root = "RGB/inception_i3d"
        out = {}
        for name, size, _ in STREAM:
            out |= conv(f"{root}/Conv3d_{name}_{size}x{size}", f"Conv3d_{name}_{size}x{size}")
        for block in MIXED:
            for branch, part, _ in BRANCHES:
                out |= conv(f"{root}/Mixed_{block}/{branch}/{part}", f"Mixed_{block}_{branch}_{part}")
        scope = f"{root}/Logits/Conv3d_0c_1x1/conv_3d"
        out |= below(scope, w.layer("Conv3d_6a_1x1", **SHORT))
        other = np.random.default_rng(18)
        flow = {name.replace("RGB", "Flow", 1): value + other.normal(size=value.shape).astype("float32")
                for name, value in out.items()}  # fmt: skip
        return {**out, **flow}

    return Scheme(build, store, options={"source_scope": "RGB"}, back=())


@published
def siamese_embedding() -> Scheme:
    """FaceNet's scopes of repeated blocks."""
    repeats = (("Repeat", "block35", 3, "Block35"), ("Repeat_1", "block17", 4, "Block17"))
    parts = ("Branch_0/Conv2d_1x1", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_3x3")

    def build() -> Any:
        import keras
        from keras import layers as make

        def conv(x: Any, filters: int, size: int, name: str) -> Any:
            x = make.Conv2D(filters, size, padding="same", use_bias=False, name=name)(x)
            return make.BatchNormalization(scale=False, name=f"{name}_BatchNorm")(x)

        x = image = keras.Input((8, 8, 3))
        x = conv(conv(x, 4, 3, "Conv2d_1a_3x3"), 7, 3, "Conv2d_2a_3x3")
        for _, _, count, block in repeats:
            for i in range(1, count + 1):
                name = f"{block}_{i}_"
                a = conv(x, 5, 1, name + "Branch_0_Conv2d_1x1")
                b = conv(conv(x, 5, 1, name + "Branch_1_Conv2d_0a_1x1"), 5, 3, name + "Branch_1_Conv2d_0b_3x3")
                up = make.Conv2D(7, 1, name=name + "Conv2d_1x1")(make.Concatenate()([a, b]))
                x = make.Add()([x, up])
        x = make.Dense(6, use_bias=False, name="Bottleneck")(make.GlobalAveragePooling2D()(x))
        return keras.Model(image, make.BatchNormalization(scale=False, name="Bottleneck_BatchNorm")(x))

    def store(w: Weights) -> Stored:
        roles = ("beta", "moving_mean", "moving_variance")

        def conv(scope: str, layer: str) -> Stored:
            out = {f"{scope}/weights": w[f"{layer}/kernel"]}
            return {**out, **below(f"{scope}/BatchNorm", w.norm(f"{layer}_BatchNorm", roles))}

        root = "InceptionResnetV1"
        out = {**conv(f"{root}/Conv2d_1a_3x3", "Conv2d_1a_3x3"), **conv(f"{root}/Conv2d_2a_3x3", "Conv2d_2a_3x3")}
        for repeat, theirs, count, ours in repeats:
            for i in range(1, count + 1):
                scope = f"{root}/{repeat}/{theirs}_{i}"
                for part in parts:
                    out |= conv(f"{scope}/{part}", f"{ours}_{i}_{part.replace('/', '_')}")
                out |= below(f"{scope}/Conv2d_1x1", w.layer(f"{ours}_{i}_Conv2d_1x1", **SLIM))
        return {**out, **conv(f"{root}/Bottleneck", "Bottleneck")}

    return Scheme(build, store)
