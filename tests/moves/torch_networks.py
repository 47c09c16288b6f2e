"""Networks written twice, as people write them: a PyTorch module and a Keras model that compute the same.

The names are those that code in the wild has: torchvision's and Hugging Face's on one side, Keras's automatic ones or a
user's own on the other. `Twin.run` gives both the same numbers, each with its images as its framework wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch
from keras import layers, ops
from torch import nn
from torch.nn import functional

Array = np.ndarray
EPS = 1e-5


@dataclass
class Twin:
    """The same network in both frameworks.

    Attributes:
        module: in PyTorch.
        model: in Keras.
        inputs: as Keras takes them.
        images: whether inputs of four axes have the channels first in PyTorch.
    """

    module: Any
    model: Any
    inputs: tuple[Array, ...]
    images: bool = True
    assume: Mapping[str, str] = field(default_factory=dict)

    def run_torch(self) -> Array:
        given = [np.moveaxis(x, -1, 1) if self.images and x.ndim == 4 else x for x in self.inputs]
        self.module.eval()
        with torch.no_grad():
            found = self.module(*(torch.from_numpy(np.ascontiguousarray(x)) for x in given)).numpy()
        return np.moveaxis(found, 1, -1) if self.images and found.ndim == 4 else found

    def run_keras(self) -> Array:
        inputs = list(self.inputs) if len(self.inputs) > 1 else self.inputs[0]
        return np.asarray(self.model(inputs, training=False))

    def randomise(self, seed: int) -> None:
        """Give both sides values of their own, none of them neutral."""
        random = np.random.default_rng(seed)
        with torch.no_grad():
            for name, tensor in self.module.state_dict().items():
                if tensor.is_floating_point():
                    value = random.normal(size=tuple(tensor.shape)) * 0.3
                    tensor.copy_(torch.from_numpy(np.abs(value) + 0.5 if name.endswith("running_var") else value))
        for weight in self.model.weights:
            if "float" in str(weight.dtype):
                value = random.normal(size=weight.shape) * 0.3
                weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)


def images(*shape: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def tokens(*shape: int, top: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).integers(1, top, size=shape)


def keras_pad(x: Any, width: int = 1) -> Any:
    return layers.ZeroPadding2D(width)(x)


# ------------------------------------------------------------------------------------------------------------------ VGG


class VGG(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (6, 10), size: int = 12, classes: int = 7) -> None:
        super().__init__()
        blocks: list[Any] = []
        before = 3
        for width in widths:
            blocks += [
                nn.Conv2d(before, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
            ]
            blocks.append(nn.MaxPool2d(2))
            before = width
        self.features = nn.Sequential(*blocks)
        side = size // 2 ** len(widths)
        self.classifier = nn.Sequential(
            nn.Linear(before * side * (side + 1), 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 16), nn.ReLU(), nn.Dropout(),
            nn.Linear(16, classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.features(x), 1))


def vgg(*, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    given = x = layers.Input((12, 16, 3))
    for block, width in enumerate((6, 10), 1):
        for number in (1, 2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu", **call(f"block{block}_conv{number}"))(x)
        x = layers.MaxPooling2D(2, **call(f"block{block}_pool"))(x)
    x = layers.Flatten(**call("flatten"))(x)
    x = layers.Dense(20, activation="relu", **call("fc1"))(x)
    x = layers.Dense(16, activation="relu", **call("fc2"))(x)
    x = layers.Dense(7, **call("predictions"))(x)
    return Twin(VGG(), keras.Model(given, x), (images(2, 12, 16, 3),))


# --------------------------------------------------------------------------------------------------------------- ResNet


class BasicBlock(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 8, 1))
        self.layer2 = nn.Sequential(BasicBlock(8, 12, 2), BasicBlock(12, 12, 1))
        self.layer3 = nn.Sequential(BasicBlock(12, 20, 2), BasicBlock(20, 20, 1))
        self.fc = nn.Linear(20, 5)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def resnet(*, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    def block(x: Any, width: int, stride: int, name: str) -> Any:
        short = x
        y = layers.Conv2D(width, 3, stride, use_bias=False, **call(f"{name}_1_conv"))(keras_pad(x))
        y = layers.Activation("relu")(layers.BatchNormalization(epsilon=EPS, **call(f"{name}_1_bn"))(y))
        y = layers.Conv2D(width, 3, padding="same", use_bias=False, **call(f"{name}_2_conv"))(y)
        y = layers.BatchNormalization(epsilon=EPS, **call(f"{name}_2_bn"))(y)
        if stride != 1 or x.shape[-1] != width:
            short = layers.Conv2D(width, 1, stride, use_bias=False, **call(f"{name}_0_conv"))(short)
            short = layers.BatchNormalization(epsilon=EPS, **call(f"{name}_0_bn"))(short)
        return layers.Activation("relu")(layers.Add()([y, short]))

    given = layers.Input((48, 40, 3))
    x = layers.Conv2D(8, 7, 2, use_bias=False, **call("conv1_conv"))(keras_pad(given, 3))
    x = layers.Activation("relu")(layers.BatchNormalization(epsilon=EPS, **call("conv1_bn"))(x))
    x = layers.MaxPooling2D(3, 2)(keras_pad(x))
    for stage, (width, stride) in enumerate(((8, 1), (12, 2), (20, 2)), 2):
        x = block(x, width, stride, f"conv{stage}_block1")
        x = block(x, width, 1, f"conv{stage}_block2")
    x = layers.Dense(5, **call("predictions"))(layers.GlobalAveragePooling2D()(x))
    return Twin(ResNet(), keras.Model(given, x), (images(2, 48, 40, 3),))


# ---------------------------------------------------------------------------------------------------------- MobileNetV2


def conv_bn(before: int, width: int, size: int = 3, stride: int = 1, groups: int = 1) -> Any:
    return nn.Sequential(
        nn.Conv2d(before, width, size, stride, (size - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    def __init__(self, before: int, width: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = before * expand
        parts = [conv_bn(before, hidden, 1)] if expand != 1 else []
        parts += [
            conv_bn(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        ]
        self.conv = nn.Sequential(*parts)
        self.residual = stride == 1 and before == width

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.residual else self.conv(x)


_MOBILE = ((1, 6, 1), (6, 10, 2), (6, 10, 1), (6, 14, 2), (6, 14, 1))


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [conv_bn(3, 8, 3, 2)]
        before = 8
        for expand, width, stride in _MOBILE:
            parts.append(InvertedResidual(before, width, stride, expand))
            before = width
        parts.append(conv_bn(before, 40, 1))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(40, 9))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet(*, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    def norm(x: Any, name: str, *, relu: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=EPS, **call(name))(x)
        return layers.ReLU(6.0)(x) if relu else x

    given = layers.Input((32, 24, 3))
    x = norm(layers.Conv2D(8, 3, 2, use_bias=False, **call("Conv1"))(keras_pad(given)), "bn_Conv1")
    for number, (expand, width, stride) in enumerate(_MOBILE):
        short, name = x, "expanded_conv" if number == 0 else f"block_{number}"
        if expand != 1:
            x = layers.Conv2D(x.shape[-1] * expand, 1, use_bias=False, **call(f"{name}_expand"))(x)
            x = norm(x, f"{name}_expand_BN")
        x = layers.DepthwiseConv2D(3, stride, use_bias=False, **call(f"{name}_depthwise"))(keras_pad(x))
        x = norm(x, f"{name}_depthwise_BN")
        x = layers.Conv2D(width, 1, use_bias=False, **call(f"{name}_project"))(x)
        x = norm(x, f"{name}_project_BN", relu=False)
        x = layers.Add()([short, x]) if short.shape == x.shape else x
    x = norm(layers.Conv2D(40, 1, use_bias=False, **call("Conv_1"))(x), "Conv_1_bn")
    x = layers.Dense(9, **call("predictions"))(layers.GlobalAveragePooling2D()(x))
    return Twin(MobileNetV2(), keras.Model(given, x), (images(2, 32, 24, 3),))


# ------------------------------------------------------------------------------------------------------------------ BERT


class BertSelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads = heads

    def forward(self, x: Any) -> Any:
        parts = [part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)]
        return functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


class Projected(nn.Module):
    """HF's BertSelfOutput and BertOutput."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Any, before: Any) -> Any:
        return self.LayerNorm(self.dense(x) + before)


class BertLayer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": BertSelfAttention(width, heads), "output": Projected(width, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Projected(inner, width)

    def forward(self, x: Any) -> Any:
        x = self.attention["output"](self.attention["self"](x), x)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)


class BertEmbeddings(nn.Module):
    def __init__(self, words: int, width: int, length: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(length, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.register_buffer("position_ids", torch.arange(length)[None])

    def forward(self, ids: Any) -> Any:
        x = self.word_embeddings(ids) + self.position_embeddings(self.position_ids[:, : ids.shape[1]])
        return self.LayerNorm(x + self.token_type_embeddings(torch.zeros_like(ids)))


class Bert(nn.Module):
    def __init__(self, words: int = 31, width: int = 12, heads: int = 3, inner: int = 20, depth: int = 3) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(words, width, 17)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer(width, heads, inner) for _ in range(depth))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, ids: Any) -> Any:
        x = self.embeddings(ids)
        for layer in self.encoder["layer"]:
            x = layer(x)
        return torch.tanh(self.pooler["dense"](x[:, 0]))


class TokenAndPosition(layers.Layer):
    def __init__(self, words: int, width: int, length: int, **options: Any) -> None:
        super().__init__(**options)
        self.word_embeddings = layers.Embedding(words, width, name="word_embeddings")
        self.position_embeddings = layers.Embedding(length, width, name="position_embeddings")
        self.token_type_embeddings = layers.Embedding(2, width, name="token_type_embeddings")

    def build(self, shape: Any) -> None:
        for part in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            part.build(shape)

    def call(self, ids: Any) -> Any:
        x = self.word_embeddings(ids) + self.position_embeddings(ops.arange(ops.shape(ids)[1]))
        return x + self.token_type_embeddings(ops.zeros_like(ids))


def bert(*, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    given = layers.Input((9,), dtype="int32")
    places = layers.Input((9,), dtype="int32")
    kinds = layers.Input((9,), dtype="int32")
    x = layers.Add()([
        layers.Embedding(31, 12, **call("word_embeddings"))(given),
        layers.Embedding(17, 12, **call("position_embeddings"))(places),
        layers.Embedding(2, 12, **call("token_type_embeddings"))(kinds),
    ])  # fmt: skip
    x = layers.LayerNormalization(epsilon=1e-12, **call("embeddings_layer_norm"))(x)
    for number in range(3):
        name = f"layer_{number}"
        y = layers.MultiHeadAttention(3, 4, **call(f"{name}_attention"))(x, x)
        x = layers.LayerNormalization(epsilon=1e-12, **call(f"{name}_attention_norm"))(layers.Add()([x, y]))
        y = layers.Dense(20, activation="gelu", **call(f"{name}_intermediate"))(x)
        y = layers.Dense(12, **call(f"{name}_output"))(y)
        x = layers.LayerNormalization(epsilon=1e-12, **call(f"{name}_output_norm"))(layers.Add()([x, y]))
    x = layers.Dense(12, activation="tanh", **call("pooler"))(x[:, 0])
    model = keras.Model([given, places, kinds], x)
    ids = tokens(2, 9, top=31)
    twin = Twin(Bert(), model, (ids,), images=False)
    row = np.broadcast_to(np.arange(9), (2, 9))
    twin.run_keras = lambda: np.asarray(model([ids, row, np.zeros_like(ids)], training=False))  # type: ignore[method-assign]
    return twin


# --------------------------------------------------------------------------------------------------------------- seq2seq


class Seq2Seq(nn.Module):
    def __init__(self, cell: str) -> None:
        super().__init__()
        make = getattr(nn, cell)
        self.embedding = nn.Embedding(23, 6)
        self.encoder = make(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.decoder = make(10, 8, batch_first=True)
        self.out = nn.Linear(8, 23)

    def forward(self, ids: Any) -> Any:
        x, _ = self.encoder(self.embedding(ids))
        x, _ = self.decoder(x)
        return self.out(x)


def seq2seq(cell: str, *, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    make = getattr(layers, cell)
    given = layers.Input((7,), dtype="int32")
    x = layers.Embedding(23, 6, **call("embedding"))(given)
    for number in (1, 2):
        x = layers.Bidirectional(make(5, return_sequences=True), **call(f"encoder_{number}"))(x)
    x = make(8, return_sequences=True, **call("decoder"))(x)
    return Twin(
        Seq2Seq(cell), keras.Model(given, layers.Dense(23, **call("out"))(x)), (tokens(2, 7, top=23),), images=False
    )


# ----------------------------------------------------------------------------------------------------------------- U-Net


class DoubleConv(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(before, width))

    def forward(self, x: Any) -> Any:
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(before, before // 2, 2, 2)
        self.conv = DoubleConv(before, width)

    def forward(self, x: Any, skip: Any) -> Any:
        return self.conv(torch.cat([skip, self.up(x)], 1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inc = DoubleConv(3, 4)
        self.down1, self.down2 = Down(4, 8), Down(8, 16)
        self.up1, self.up2 = Up(16, 8), Up(8, 4)
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(4, 2, 1)})

    def forward(self, x: Any) -> Any:
        one = self.inc(x)
        two = self.down1(one)
        return self.outc["conv"](self.up2(self.up1(self.down2(two), two), one))


def unet(*, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    def double(x: Any, width: int, name: str) -> Any:
        for number in (1, 2):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, **call(f"{name}_conv{number}"))(x)
            x = layers.Activation("relu")(layers.BatchNormalization(epsilon=EPS, **call(f"{name}_bn{number}"))(x))
        return x

    given = layers.Input((16, 12, 3))
    one = double(given, 4, "enc1")
    two = double(layers.MaxPooling2D(2)(one), 8, "enc2")
    x = double(layers.MaxPooling2D(2)(two), 16, "bottleneck")
    for skip, width, name in ((two, 8, "dec2"), (one, 4, "dec1")):
        x = layers.Conv2DTranspose(width, 2, 2, **call(f"{name}_up"))(x)
        x = double(layers.Concatenate()([skip, x]), width, name)
    return Twin(UNet(), keras.Model(given, layers.Conv2D(2, 1, **call("logits"))(x)), (images(2, 16, 12, 3),))


# ------------------------------------------------------------------------------------------------------------------- ViT


class ViTBlock(nn.Module):
    """timm's Block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 20), "fc2": nn.Linear(20, width)})
        self.heads = heads

    def forward(self, x: Any) -> Any:
        parts = self.attn["qkv"](self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.attn["proj"](functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 12, 4, 4)})
        self.blocks = nn.ModuleList(ViTBlock(12, 3) for _ in range(3))
        self.norm = nn.LayerNorm(12, eps=1e-6)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Any) -> Any:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def vit(*, named: bool = True) -> Twin:
    def call(word: str) -> dict[str, str]:
        return {"name": word} if named else {}

    given = layers.Input((16, 12, 3))
    x = layers.Reshape((12, 12))(layers.Conv2D(12, 4, 4, **call("patch_embed"))(given))
    for number in range(3):
        y = layers.LayerNormalization(epsilon=1e-6, **call(f"block_{number}_norm1"))(x)
        x = layers.Add()([x, layers.MultiHeadAttention(3, 4, **call(f"block_{number}_attention"))(y, y)])
        y = layers.LayerNormalization(epsilon=1e-6, **call(f"block_{number}_norm2"))(x)
        y = layers.Dense(20, activation="gelu", **call(f"block_{number}_mlp_fc1"))(y)
        x = layers.Add()([x, layers.Dense(12, **call(f"block_{number}_mlp_fc2"))(y)])
    x = layers.LayerNormalization(epsilon=1e-6, **call("norm"))(x)
    x = layers.Dense(5, **call("head"))(layers.GlobalAveragePooling1D()(x))
    return Twin(ViT(), keras.Model(given, x), (images(2, 16, 12, 3),))


# ---------------------------------------------------------------------------------------------- separable convolutions


class Separable(nn.Module):
    """Two convolutions for each of Keras's, and on demand what Keras has not between them."""

    def __init__(self, between: str = "", head: str = "pool") -> None:
        super().__init__()

        def pair(inputs: int, outputs: int, by: int, *, bias: bool) -> Any:
            block = nn.Sequential()
            block.add_module(
                "depthwise", nn.Conv2d(inputs, inputs * by, 3, padding=1, groups=inputs, bias=between == "bias")
            )
            if between == "norm":
                block.add_module("norm", nn.BatchNorm2d(inputs * by, eps=EPS))
            block.add_module("pointwise", nn.Conv2d(inputs * by, outputs, 1, bias=bias))
            return block

        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first, self.second = pair(6, 6, 1, bias=True), pair(6, 8, 2, bias=False)
        self.fc = nn.Linear(8 * 7 * 5 if head == "flatten" else 8, 4)
        self.head = head

    def forward(self, x: Any) -> Any:
        x = self.second(functional.relu(self.first(functional.relu(self.stem(x)))))
        return self.fc(torch.flatten(x, 1) if self.head == "flatten" else x.mean((2, 3)))


def separable(between: str = "", head: str = "pool") -> Twin:
    given = x = layers.Input((7, 5, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.SeparableConv2D(6, 3, padding="same", activation="relu", name="sep1")(x)
    x = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2, use_bias=False, name="sep2")(x)
    x = layers.Flatten()(x) if head == "flatten" else layers.GlobalAveragePooling2D()(x)
    return Twin(Separable(between, head), keras.Model(given, layers.Dense(4, name="logits")(x)), (images(2, 7, 5, 3),))


NETWORKS: Mapping[str, Callable[..., Twin]] = {
    "vgg": vgg,
    "resnet": resnet,
    "mobilenet": mobilenet,
    "bert": bert,
    "seq2seq_lstm": lambda **options: seq2seq("LSTM", **options),
    "seq2seq_gru": lambda **options: seq2seq("GRU", **options),
    "unet": unet,
    "vit": vit,
}
