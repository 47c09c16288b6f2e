"""Image networks under the names of slim, TPU code, tensorpack and darknet ports, into keras.applications and others.

Sources of the names: the variables of the released checkpoints of tensorflow/models (slim, DeepLab), tensorflow/tpu
(EfficientNet), tensorpack's model zoo, and of TensorFlow ports of YOLO v3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.matching.published.scheme import NORM, Scheme, Stored, Weights, below, noise, published
from tests.matching.published.thinning import thin

WEIGHTS = {"kernel": "weights"}
SLIM = {"kernel": "weights", "bias": "biases"}
CLASSES = 11
EITHER = ("right", "refused")  # the way back makes convolutions of dense layers


def _conv_norm(w: Weights, scope: str, conv: str, norm: str, roles: tuple[str, ...] = NORM) -> Stored:
    """A convolution without bias and its normalisation, slim's way: the kernel first, beta before gamma."""
    order = [role for role in ("beta", "gamma", "moving_mean", "moving_variance") if role in roles]
    return {**below(scope, w.layer(conv, **WEIGHTS)), **below(f"{scope}/BatchNorm", w.norm(norm, order))}


def _pointwise(w: Weights, scope: str, layer: str) -> Stored:
    """A dense layer that the published code has as a 1×1 convolution."""
    kernel = w[f"{layer}/kernel"]
    kernel = kernel[None, None] if kernel.ndim == 2 else kernel
    return {f"{scope}/weights": kernel, f"{scope}/biases": w[f"{layer}/bias"]}


@published
def vgg_16() -> Scheme:
    """fc6 is a convolution over its whole input."""
    blocks = (2, 2, 3, 3, 3)

    def build() -> Any:
        import keras
        from keras import layers as make

        x = image = keras.Input((64, 64, 3))
        for i, count in enumerate(blocks, 1):
            for j in range(1, count + 1):
                x = make.Conv2D(3 + 2 * i, 3, padding="same", name=f"block{i}_conv{j}")(x)
            x = make.MaxPooling2D(name=f"block{i}_pool")(x)
        x = make.Flatten(name="flatten")(x)
        for name, units in (("fc1", 23), ("fc2", 19), ("predictions", CLASSES)):
            x = make.Dense(units, name=name)(x)
        return keras.Model(image, x)

    def store(w: Weights) -> Stored:
        out = {}
        for i, count in enumerate(blocks, 1):
            for j in range(1, count + 1):
                out |= below(f"vgg_16/conv{i}/conv{i}_{j}", w.layer(f"block{i}_conv{j}", **SLIM))
        out |= {"vgg_16/fc6/weights": w["fc1/kernel"].reshape(2, 2, 13, 23), "vgg_16/fc6/biases": w["fc1/bias"]}
        return {**out, **_pointwise(w, "vgg_16/fc7", "fc2"), **_pointwise(w, "vgg_16/fc8", "predictions")}

    return Scheme(build, store, back=EITHER)


STACKS = ((4, 3), (6, 4), (8, 6), (10, 3))


@published
def resnet_v1_50() -> Scheme:
    def build() -> Any:
        with thin("resnet", 1, use_bias=False) as resnet:

            def stack(x: Any) -> Any:
                for i, (filters, blocks) in enumerate(STACKS):
                    x = resnet.stack_residual_blocks_v1(x, filters, blocks, stride1=1 + (i > 0), name=f"conv{i + 2}")
                return x

            return resnet.ResNet(stack, False, False, weights=None, input_shape=(64, 64, 3), classes=CLASSES, name="r")

    def store(w: Weights) -> Stored:
        root = "resnet_v1_50"
        out = _conv_norm(w, f"{root}/conv1", "conv1_conv", "conv1_bn")
        for i, (_, blocks) in enumerate(STACKS, 1):
            for j in range(1, blocks + 1):
                for place, part in enumerate(("shortcut", "conv1", "conv2", "conv3")):
                    if part != "shortcut" or j == 1:
                        layer = f"conv{i + 1}_block{j}_{place}"
                        scope = f"{root}/block{i}/unit_{j}/bottleneck_v1/{part}"
                        out |= _conv_norm(w, scope, f"{layer}_conv", f"{layer}_bn")
        return {**out, **_pointwise(w, f"{root}/logits", "predictions")}

    return Scheme(build, store, back=EITHER)


@published
def resnet_v2_50() -> Scheme:
    def build() -> Any:
        with thin("resnet", 1) as resnet:

            def stack(x: Any) -> Any:
                for i, (filters, blocks) in enumerate(STACKS):
                    x = resnet.stack_residual_blocks_v2(x, filters, blocks, stride1=2 - (i == 3), name=f"conv{i + 2}")
                return x

            return resnet.ResNet(stack, True, True, weights=None, input_shape=(64, 64, 3), classes=CLASSES, name="r")

    def store(w: Weights) -> Stored:
        root = "resnet_v2_50"
        out = below(f"{root}/conv1", w.layer("conv1_conv", **SLIM))
        for i, (_, blocks) in enumerate(STACKS, 1):
            for j in range(1, blocks + 1):
                layer, scope = f"conv{i + 1}_block{j}", f"{root}/block{i}/unit_{j}/bottleneck_v2"
                out |= below(f"{scope}/preact", w.norm(f"{layer}_preact_bn"))
                if j == 1:
                    out |= below(f"{scope}/shortcut", w.layer(f"{layer}_0_conv", **SLIM))
                for place in (1, 2):
                    out |= _conv_norm(w, f"{scope}/conv{place}", f"{layer}_{place}_conv", f"{layer}_{place}_bn")
                out |= below(f"{scope}/conv3", w.layer(f"{layer}_3_conv", **SLIM))
        out |= below(f"{root}/postnorm", w.norm("post_bn"))
        return {**out, **_pointwise(w, f"{root}/logits", "predictions")}

    return Scheme(build, store, back=EITHER)


def _inception_scopes() -> Iterator[str]:
    """Scopes of the convolutions in the order in which both slim and keras.applications make them."""
    yield from ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    for block, second, third in (("5b", "0a_1x1", "Conv2d_0b_5x5"), ("5c", "0b_1x1", "Conv_1_0c_5x5"),
                                 ("5d", "0a_1x1", "Conv2d_0b_5x5")):  # fmt: skip
        yield from (f"Mixed_{block}/{part}" for part in (
            "Branch_0/Conv2d_0a_1x1", f"Branch_1/Conv2d_{second}", f"Branch_1/{third}", "Branch_2/Conv2d_0a_1x1",
            "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_0c_3x3", "Branch_3/Conv2d_0b_1x1"))  # fmt: skip
    yield from (f"Mixed_6a/{part}" for part in (
        "Branch_0/Conv2d_1a_1x1", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_3x3", "Branch_1/Conv2d_1a_1x1"))  # fmt: skip
    for block in ("6b", "6c", "6d", "6e"):
        yield from (f"Mixed_{block}/{part}" for part in (
            "Branch_0/Conv2d_0a_1x1", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_1x7", "Branch_1/Conv2d_0c_7x1",
            "Branch_2/Conv2d_0a_1x1", "Branch_2/Conv2d_0b_7x1", "Branch_2/Conv2d_0c_1x7", "Branch_2/Conv2d_0d_7x1",
            "Branch_2/Conv2d_0e_1x7", "Branch_3/Conv2d_0b_1x1"))  # fmt: skip
    yield from (f"Mixed_7a/{part}" for part in (
        "Branch_0/Conv2d_0a_1x1", "Branch_0/Conv2d_1a_3x3", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_1x7",
        "Branch_1/Conv2d_0c_7x1", "Branch_1/Conv2d_1a_3x3"))  # fmt: skip
    for block, split in (("7b", "0b_3x1"), ("7c", "0c_3x1")):
        yield from (f"Mixed_{block}/{part}" for part in (
            "Branch_0/Conv2d_0a_1x1", "Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_1x3", f"Branch_1/Conv2d_{split}",
            "Branch_2/Conv2d_0a_1x1", "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_0c_1x3", "Branch_2/Conv2d_0d_3x1",
            "Branch_3/Conv2d_0b_1x1"))  # fmt: skip


@published
def inception_v3() -> Scheme:
    """Keras counts its convolutions; the published names say branches."""
    no_gamma = ("beta", "moving_mean", "moving_variance")

    def build() -> Any:
        with thin("inception_v3", 16) as inception:
            return inception.InceptionV3(weights=None, input_shape=(96, 96, 3), classes=CLASSES)

    def store(w: Weights) -> Stored:
        out = {}
        for i, scope in enumerate(_inception_scopes()):
            end = f"_{i}" if i else ""
            out |= _conv_norm(w, f"InceptionV3/{scope}", f"conv2d{end}", f"batch_normalization{end}", no_gamma)
        return {**out, **_pointwise(w, "InceptionV3/Logits/Conv2d_1c_1x1", "predictions")}

    def extra(_: Weights) -> Stored:
        aux = "InceptionV3/AuxLogits"
        shapes: dict[str, tuple[int, ...]] = {}
        for scope, shape in (("Conv2d_1b_1x1", (1, 1, 48, 8)), ("Conv2d_2a_5x5", (5, 5, 8, 48))):
            shapes[f"{aux}/{scope}/weights"] = shape
            shapes |= {f"{aux}/{scope}/BatchNorm/{role}": shape[-1:] for role in no_gamma}
        shapes |= {f"{aux}/Conv2d_2b_1x1/weights": (1, 1, 48, CLASSES), f"{aux}/Conv2d_2b_1x1/biases": (CLASSES,)}
        return noise(12, shapes)

    return Scheme(build, store, extra, back=EITHER)


@published
def mobilenet_v1() -> Scheme:
    def build() -> Any:
        import keras

        return keras.applications.MobileNet(weights=None, alpha=0.125, input_shape=(64, 64, 3), classes=CLASSES)

    def store(w: Weights) -> Stored:
        out = _conv_norm(w, "MobilenetV1/Conv2d_0", "conv1", "conv1_bn")
        for i in range(1, 14):
            scope = f"MobilenetV1/Conv2d_{i}"
            out[f"{scope}_depthwise/depthwise_weights"] = w[f"conv_dw_{i}/kernel"]
            out |= below(f"{scope}_depthwise/BatchNorm", w.norm(f"conv_dw_{i}_bn"))
            out |= _conv_norm(w, f"{scope}_pointwise", f"conv_pw_{i}", f"conv_pw_{i}_bn")
        return {**out, **_pointwise(w, "MobilenetV1/Logits/Conv2d_1c_1x1", "conv_preds")}

    return Scheme(build, store, back=EITHER)


def _inverted(w: Weights, scope: str, layer: str, norm: str, expand: bool, squeeze: bool = False) -> Stored:
    """An inverted residual block of MobileNet v2 or v3."""
    out = _conv_norm(w, f"{scope}/expand", f"{layer}expand", f"{layer}expand_{norm}") if expand else {}
    out[f"{scope}/depthwise/depthwise_weights"] = w[f"{layer}depthwise/kernel"]
    out |= below(f"{scope}/depthwise/BatchNorm", w.norm(f"{layer}depthwise_{norm}"))
    if squeeze:
        for theirs, ours in (("Conv", "conv"), ("Conv_1", "conv_1")):
            out |= below(f"{scope}/squeeze_excite/{theirs}", w.layer(f"{layer}squeeze_excite_{ours}", **SLIM))
    return {**out, **_conv_norm(w, f"{scope}/project", f"{layer}project", f"{layer}project_{norm}")}


@published
def mobilenet_v2() -> Scheme:
    def build() -> Any:
        import keras

        return keras.applications.MobileNetV2(weights=None, alpha=0.2, input_shape=(64, 64, 3), classes=CLASSES)

    def store(w: Weights) -> Stored:
        root = "MobilenetV2"
        out = _conv_norm(w, f"{root}/Conv", "Conv1", "bn_Conv1")
        out |= _inverted(w, f"{root}/expanded_conv", "expanded_conv_", "BN", False)
        for i in range(1, 17):
            out |= _inverted(w, f"{root}/expanded_conv_{i}", f"block_{i}_", "BN", True)
        out |= _conv_norm(w, f"{root}/Conv_1", "Conv_1", "Conv_1_bn")
        return {**out, **_pointwise(w, f"{root}/Logits/Conv2d_1c_1x1", "predictions")}

    return Scheme(build, store, back=EITHER)


@published
def mobilenet_v3_small() -> Scheme:
    squeezed = {0, 3, 4, 5, 6, 7, 8, 9, 10}

    def build() -> Any:
        with thin("mobilenet_v3", 1) as application:
            return application.MobileNetV3Small(weights=None, alpha=0.25, input_shape=(64, 64, 3), classes=CLASSES)

    def store(w: Weights) -> Stored:
        root = "MobilenetV3"
        out = _conv_norm(w, f"{root}/Conv", "conv", "conv_bn")
        for i in range(11):
            end = f"_{i}" if i else ""
            out |= _inverted(w, f"{root}/expanded_conv{end}", f"expanded_conv{end}_", "bn", i > 0, i in squeezed)
        out |= _conv_norm(w, f"{root}/Conv_1", "conv_1", "conv_1_bn")
        out |= _pointwise(w, f"{root}/Conv_2", "conv_2")
        return {**out, **_pointwise(w, f"{root}/Logits/Conv2d_1c_1x1", "logits")}

    return Scheme(build, store, back=EITHER)


@published
def efficientnet_b0() -> Scheme:
    """Blocks counted through against stages with letters; layers counted within each block."""
    repeats = (1, 2, 2, 3, 3, 4, 1)

    def build() -> Any:
        from keras.src.applications.efficientnet import EfficientNet

        return EfficientNet(0.2, 1.0, 64, weights=None, input_shape=(64, 64, 3), classes=CLASSES, name="b0")

    def store(w: Weights) -> Stored:
        root = "efficientnet-b0"
        out = {f"{root}/stem/conv2d/kernel": w["stem_conv/kernel"]}
        out |= below(f"{root}/stem/tpu_batch_normalization", w.norm("stem_bn"))
        blocks = [f"block{i}{'abcdef'[j]}_" for i, count in enumerate(repeats, 1) for j in range(count)]
        for i, layer in enumerate(blocks):
            scope = f"{root}/blocks_{i}"
            norms = [f"{scope}/tpu_batch_normalization{end}" for end in ("", "_1", "_2")]
            if i:
                out[f"{scope}/conv2d/kernel"] = w[f"{layer}expand_conv/kernel"]
                out |= below(norms[0], w.norm(f"{layer}expand_bn"))
            out[f"{scope}/depthwise_conv2d/depthwise_kernel"] = w[f"{layer}dwconv/kernel"]
            out |= below(norms[bool(i)], w.norm(f"{layer}bn"))
            for theirs, ours in (("conv2d", "reduce"), ("conv2d_1", "expand")):
                out |= below(f"{scope}/se/{theirs}", w.layer(f"{layer}se_{ours}", kernel="kernel", bias="bias"))
            out[f"{scope}/conv2d{'_1' if i else ''}/kernel"] = w[f"{layer}project_conv/kernel"]
            out |= below(norms[1 + bool(i)], w.norm(f"{layer}project_bn"))
        out[f"{root}/head/conv2d/kernel"] = w["top_conv/kernel"]
        out |= below(f"{root}/head/tpu_batch_normalization", w.norm("top_bn"))
        return {**out, **below(f"{root}/head/dense", w.layer("predictions", kernel="kernel", bias="bias"))}

    return Scheme(
        build,
        store,
        untouched=("normalization/mean", "normalization/variance"),
        options={"allow_missing": True},
        back=EITHER,
    )


@published
def densenet_121() -> Scheme:
    counts = (3, 4, 5, 3)

    def build() -> Any:
        with thin("densenet", 4) as densenet:
            # Growth of 8 by the share of 4 that is left; the transition halves.
            return densenet.DenseNet(list(counts), weights=None, input_shape=(64, 64, 3), classes=CLASSES, name="d")

    def store(w: Weights) -> Stored:
        root = "densenet121"
        out = _conv_norm(w, f"{root}/conv1", "conv1_conv", "conv1_bn")
        for i, count in enumerate(counts, 1):
            for j in range(1, count + 1):
                for x, (norm, conv) in (("x1", ("0_bn", "1_conv")), ("x2", ("1_bn", "2_conv"))):
                    layer, scope = f"conv{i + 1}_block{j}_", f"{root}/dense_block{i}/conv_block{j}/{x}"
                    out |= below(f"{scope}/BatchNorm", w.norm(layer + norm))
                    out |= below(f"{scope}/Conv", w.layer(layer + conv, **WEIGHTS))
            if i < 4:
                scope = f"{root}/transition_block{i}/blk"
                out |= below(f"{scope}/BatchNorm", w.norm(f"pool{i + 1}_bn"))
                out |= below(f"{scope}/Conv", w.layer(f"pool{i + 1}_conv", **WEIGHTS))
        out |= below(f"{root}/final_block/BatchNorm", w.norm("bn"))
        return {**out, **_pointwise(w, f"{root}/logits", "predictions")}

    return Scheme(build, store, back=EITHER)


MIDDLE = 4


def _xception_units() -> Iterator[tuple[str, str, bool]]:
    """Scope, prefix of the layers' names, and whether there is a shortcut."""
    for i in range(1, 4):
        yield f"entry_flow/block{i}/unit_1", f"entry_flow_block{i}", True
    for i in range(1, MIDDLE + 1):
        yield f"middle_flow/block1/unit_{i}", f"middle_flow_unit_{i}", False
    yield "exit_flow/block1/unit_1", "exit_flow_block1", True
    yield "exit_flow/block2/unit_1", "exit_flow_block2", False


@published
def deeplab_xception() -> Scheme:
    """Depthwise and pointwise parts as layers of their own; a decoder; atrous branches of equal shapes."""

    def build() -> Any:
        import keras
        from keras import layers as make

        def conv(x: Any, filters: int, size: int, name: str) -> Any:
            x = make.Conv2D(filters, size, padding="same", use_bias=False, name=name)(x)
            return make.BatchNormalization(name=f"{name}_BN")(x)

        def separable(x: Any, filters: int, name: str) -> Any:
            x = make.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
            x = make.BatchNormalization(name=f"{name}_depthwise_BN")(x)
            return conv(x, filters, 1, f"{name}_pointwise")

        image = keras.Input((16, 16, 3))
        x = conv(conv(image, 4, 3, "entry_flow_conv1_1"), 6, 3, "entry_flow_conv1_2")
        low = x
        for place, (_, prefix, shortcut) in enumerate(_xception_units()):
            filters = (7, 8, 9)[place] if place < 3 else 9 if place < 3 + MIDDLE else (11, 13)[place - 3 - MIDDLE]
            y = x
            for j in (1, 2, 3):
                y = separable(y, filters, f"{prefix}_separable_conv{j}")
            if place == 1:
                low = y
            if shortcut:
                y = make.Add()([y, conv(x, filters, 1, f"{prefix}_shortcut")])
            elif place < 3 + MIDDLE:
                y = make.Add()([y, x])
            x = y
        pooled = conv(make.GlobalAveragePooling2D(keepdims=True)(x), 5, 1, "image_pooling")
        pooled = make.UpSampling2D(16)(pooled)
        branches = [pooled, conv(x, 5, 1, "aspp0"), *(separable(x, 5, f"aspp{i}") for i in (1, 2, 3))]
        x = conv(make.Concatenate()(branches), 5, 1, "concat_projection")
        x = make.Concatenate()([x, conv(low, 3, 1, "feature_projection0")])
        x = separable(separable(x, 5, "decoder_conv0"), 5, "decoder_conv1")
        return keras.Model(image, make.Conv2D(CLASSES, 1, name="logits_semantic")(x))

    def store(w: Weights) -> Stored:
        def separable(scope: str, layer: str) -> Stored:
            out = {f"{scope}_depthwise/depthwise_weights": w[f"{layer}_depthwise/kernel"]}
            out |= below(f"{scope}_depthwise/BatchNorm", w.norm(f"{layer}_depthwise_BN"))
            return {**out, **_conv_norm(w, f"{scope}_pointwise", f"{layer}_pointwise", f"{layer}_pointwise_BN")}

        def conv(scope: str, layer: str) -> Stored:
            return _conv_norm(w, scope, layer, f"{layer}_BN")

        root = "xception_65"
        out = {}
        for j in (1, 2):
            out |= conv(f"{root}/entry_flow/conv1_{j}", f"entry_flow_conv1_{j}")
        for scope, prefix, shortcut in _xception_units():
            for j in (1, 2, 3):
                out |= separable(f"{root}/{scope}/xception_module/separable_conv{j}", f"{prefix}_separable_conv{j}")
            if shortcut:
                out |= conv(f"{root}/{scope}/xception_module/shortcut", f"{prefix}_shortcut")
        out |= {**conv("image_pooling", "image_pooling"), **conv("aspp0", "aspp0")}
        for i in (1, 2, 3):
            out |= separable(f"aspp{i}", f"aspp{i}")
        out |= conv("concat_projection", "concat_projection")
        out |= conv("decoder/feature_projection0", "feature_projection0")
        for i in (0, 1):
            out |= separable(f"decoder/decoder_conv{i}", f"decoder_conv{i}")
        return {**out, **below("logits/semantic", w.layer("logits_semantic", **SLIM))}

    return Scheme(build, store)


@published
def tensorpack_resnet() -> Scheme:
    """`W`, `b`; the moving averages under `mean/EMA` and `variance/EMA`."""
    stacks = ((4, 2), (6, 3), (8, 2))

    def build() -> Any:
        with thin("resnet", 1, use_bias=False) as resnet:

            def stack(x: Any) -> Any:
                for i, (filters, blocks) in enumerate(stacks):
                    x = resnet.stack_residual_blocks_v1(x, filters, blocks, stride1=1 + (i > 0), name=f"conv{i + 2}")
                return x

            return resnet.ResNet(stack, False, False, weights=None, input_shape=(64, 64, 3), classes=CLASSES, name="r")

    def store(w: Weights) -> Stored:
        def conv(scope: str, layer: str) -> Stored:
            norm = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean/EMA", "moving_variance": "variance/EMA"}
            return {f"{scope}/W": w[f"{layer}_conv/kernel"], **below(f"{scope}/bn", w.layer(f"{layer}_bn", **norm))}

        out = conv("conv0", "conv1")
        for i, (_, blocks) in enumerate(stacks):
            for j in range(blocks):
                layer, scope = f"conv{i + 2}_block{j + 1}", f"group{i}/block{j}"
                for place in (1, 2, 3):
                    out |= conv(f"{scope}/conv{place}", f"{layer}_{place}")
                if j == 0:
                    out |= conv(f"{scope}/convshortcut", f"{layer}_0")
        return {**out, **below("linear", w.layer("predictions", kernel="W", bias="b"))}

    return Scheme(build, store, back=EITHER)


@published
def darknet_of_slim() -> Scheme:
    """Both sides count: slim's `Conv_3` in two scopes, Keras's `conv2d_7`."""
    body, heads = (4, 6, 4, 6, 8, 5, 8, 5, 8), ((7, 9, 7, 9), (5, 9, 5, 9))

    def build() -> Any:
        import keras
        from keras import layers as make

        def conv(x: Any, filters: int) -> Any:
            x = make.Conv2D(filters, 3 if filters % 2 == 0 else 1, padding="same", use_bias=False)(x)
            return make.LeakyReLU()(make.BatchNormalization()(x))

        x = image = keras.Input((8, 8, 3))
        for filters in body:
            x = conv(x, filters)
        outputs = []
        for head in heads:
            for filters in head:
                x = conv(x, filters)
            outputs.append(make.Conv2D(18, 1)(x))
        return keras.Model(image, outputs)

    def store(w: Weights) -> Stored:
        def end(i: int) -> str:
            return f"_{i}" if i else ""

        out, place, norms = {}, 0, 0
        for i in range(len(body)):
            scope = f"detector/darknet-53/Conv{end(i)}"
            out |= _conv_norm(w, scope, f"conv2d{end(place)}", f"batch_normalization{end(norms)}")
            place, norms = place + 1, norms + 1
        in_head = 0
        for head in heads:
            for _ in head:
                scope = f"detector/yolo-v3/Conv{end(in_head)}"
                out |= _conv_norm(w, scope, f"conv2d{end(place)}", f"batch_normalization{end(norms)}")
                place, norms, in_head = place + 1, norms + 1, in_head + 1
            out |= below(f"detector/yolo-v3/Conv{end(in_head)}", w.layer(f"conv2d{end(place)}", **SLIM))
            place, in_head = place + 1, in_head + 1
        return out

    return Scheme(build, store, back=EITHER)


@published
def detection_heads() -> Scheme:
    """Box and class predictors over several maps; boxes and classes of equal shapes."""
    maps = 3

    def build() -> Any:
        import keras
        from keras import layers as make

        x, ends = keras.Input((16, 16, 3)), []
        image = x
        for i in range(maps):
            x = make.Conv2D(6, 3, padding="same", name=f"feature_{i}")(x)
            ends += [make.Conv2D(12, 1, name=f"box_head_{i}")(x), make.Conv2D(12, 1, name=f"class_head_{i}")(x)]
        return keras.Model(image, ends)

    def store(w: Weights) -> Stored:
        out = {}
        for i in range(maps):
            out |= below(f"FeatureExtractor/Conv2d_{i}", w.layer(f"feature_{i}", **SLIM))
        for i in range(maps):
            out |= below(f"BoxPredictor_{i}/BoxEncodingPredictor", w.layer(f"box_head_{i}", **SLIM))
            out |= below(f"BoxPredictor_{i}/ClassPredictor", w.layer(f"class_head_{i}", **SLIM))
        return out

    return Scheme(build, store)


@published
def cifar_tutorial() -> Scheme:
    def build() -> Any:
        import keras
        from keras import layers as make

        x = image = keras.Input((24, 24, 3))
        for name in ("conv1", "conv2"):
            x = make.MaxPooling2D()(make.Conv2D(5, 5, padding="same", name=name)(x))
        x = make.Flatten()(x)
        for name, units in (("local3", 14), ("local4", 9), ("softmax_linear", 10)):
            x = make.Dense(units, name=name)(x)
        return keras.Model(image, x)

    def store(w: Weights) -> Stored:
        out: dict[str, np.ndarray] = {}
        for name in ("conv1", "conv2", "local3", "local4", "softmax_linear"):
            out |= below(name, w.layer(name, **SLIM))
        return out

    return Scheme(build, store)
