"""A flattened image between PyTorch, whose channels come first, and Keras, whose come last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is an extra")
pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras
import torch
from keras import layers
from safetensors.torch import load_file, save_file
from torch import nn

import ckptkit
from ckptkit.errors import RefusedError, UsageError
from tests.moves.torch_networks import Twin, images, vgg

pytestmark = pytest.mark.torch

EPS = 1e-5


def apart(twin: Twin) -> float:
    one, other = twin.run_torch(), twin.run_keras()
    return float(np.abs(one - other).max() / np.abs(other).max())


def to_keras(twin: Twin, folder: Path, ending: str = ".keras", **options: Any) -> ckptkit.Remapped:
    """Move the module's weights into the model."""
    twin.randomise(1)
    source, template, output = folder / "a.safetensors", folder / f"b{ending}", folder / f"out{ending}"
    save_file({key: value.contiguous() for key, value in twin.module.state_dict().items()}, source)
    twin.model.save(template) if ending == ".keras" else twin.model.save_weights(template)
    done = ckptkit.remap(source, template, output, force=True, **options)
    twin.model.load_weights(output)
    return done


def to_torch(twin: Twin, folder: Path, ending: str = ".keras", **options: Any) -> ckptkit.Remapped:
    """Move the model's weights into the module."""
    twin.randomise(2)
    source, template, output = folder / f"b{ending}", folder / "a.safetensors", folder / "out.safetensors"
    save_file({key: value.contiguous() for key, value in twin.module.state_dict().items()}, template)
    twin.model.save(source) if ending == ".keras" else twin.model.save_weights(source)
    done = ckptkit.remap(source, template, output, force=True, **options)
    twin.module.load_state_dict(load_file(output), strict=True)
    return done


WAYS = [to_keras, to_torch]


def chain(module: Any, model: list[Any], *inputs: np.ndarray) -> Twin:
    return Twin(module, keras.Sequential([layers.Input(inputs[0].shape[1:]), *model]), inputs)


def generator() -> Twin:
    """From a vector to an image: the outputs of the product, and what is normalised behind it, are pixels."""

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(6, 3 * 5 * 8)
            self.norm = nn.BatchNorm1d(3 * 5 * 8, eps=EPS)
            self.up = nn.ConvTranspose2d(8, 4, 2, 2)

        def forward(self, z: Any) -> Any:
            return self.up(torch.relu(self.norm(self.project(z))).unflatten(1, (8, 3, 5)))

    model = [
        layers.Dense(3 * 5 * 8, name="project"),
        layers.BatchNormalization(epsilon=EPS, name="norm"),
        layers.ReLU(),
        layers.Reshape((3, 5, 8)),
        layers.Conv2DTranspose(4, 2, 2, name="up"),
    ]
    return chain(Generator(), model, images(2, 6))


def autoencoder() -> Twin:
    """Both ends of one product are images."""

    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc = nn.Conv2d(3, 4, 3)
            self.mid = nn.Linear(6 * 8 * 4, 3 * 2 * 5)
            self.dec = nn.Conv2d(5, 2, 2)

        def forward(self, x: Any) -> Any:
            return self.dec(self.mid(self.enc(x).flatten(1)).unflatten(1, (5, 3, 2)))

    model = [
        layers.Conv2D(4, 3, name="enc"),
        layers.Flatten(),
        layers.Dense(30, name="mid"),
        layers.Reshape((3, 2, 5)),
        layers.Conv2D(2, 2, name="dec"),
    ]
    return chain(Autoencoder(), model, images(2, 8, 10, 3))


def normalised() -> Twin:
    """The flattened image is normalised before the product."""
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(3, 4, 3))
    module.add_module("flat", nn.Flatten())
    module.add_module("bn", nn.BatchNorm1d(6 * 8 * 4, eps=EPS))
    module.add_module("fc", nn.Linear(6 * 8 * 4, 7))
    model = [
        layers.Conv2D(4, 3, name="conv"),
        layers.Flatten(),
        layers.BatchNormalization(epsilon=EPS, name="bn"),
        layers.Dense(7, name="fc"),
    ]
    return chain(module, model, images(2, 8, 10, 3))


def pixels() -> Twin:
    """The image that is flattened is the input itself."""
    module = nn.Sequential()
    module.add_module("flat", nn.Flatten())
    module.add_module("fc", nn.Linear(4 * 5 * 3, 7))
    return chain(module, [layers.Flatten(), layers.Dense(7, name="fc")], images(2, 4, 5, 3))


def sequence() -> Twin:
    """Steps of a recurrent layer are flattened alike by both."""

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(5, 4, batch_first=True)
            self.fc = nn.Linear(6 * 4, 7)

        def forward(self, x: Any) -> Any:
            return self.fc(self.rnn(x)[0].flatten(1))

    model = [layers.GRU(4, return_sequences=True, name="rnn"), layers.Flatten(), layers.Dense(7, name="fc")]
    return chain(Steps(), model, images(2, 6, 5))


def sound() -> Twin:
    """A convolution over time has its channels first in PyTorch, too."""

    class Sound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(5, 4, 3)
            self.fc = nn.Linear(6 * 4, 7)

        def forward(self, x: Any) -> Any:
            return self.fc(self.conv(x.transpose(1, 2)).flatten(1))

    return chain(
        Sound(), [layers.Conv1D(4, 3, name="conv"), layers.Flatten(), layers.Dense(7, name="fc")], images(2, 8, 5)
    )


def pooled() -> Twin:
    """Nothing is flattened where each channel is one number."""
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(3, 4, 3))
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flat", nn.Flatten())
    module.add_module("fc", nn.Linear(4, 7))
    model = [layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D(), layers.Dense(7, name="fc")]
    return chain(module, model, images(2, 8, 10, 3))


def covering() -> Twin:
    """A convolution that covers its input is the product over the flattened image (slim's `fc6`)."""
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(3, 4, 3))
    module.add_module("flat", nn.Flatten())
    module.add_module("fc6", nn.Linear(6 * 8 * 4, 7))
    model = [layers.Conv2D(4, 3, name="conv"), layers.Conv2D(7, (6, 8), name="fc6"), layers.Flatten()]
    return chain(module, model, images(2, 8, 10, 3))


KNOWN = [generator, autoencoder, normalised, pixels, sound, sequence, pooled, covering]
REORDERED = {generator, autoencoder, normalised, pixels, sound}


@pytest.mark.parametrize("move", WAYS)
@pytest.mark.parametrize("make", KNOWN)
def test_the_architecture_tells_what_is_flattened(make: Any, move: Any, tmp_path: Path) -> None:
    twin = make()
    done = move(twin, tmp_path)
    assert apart(twin) < 1e-5
    said = [doubt for step in done.plan.steps for doubt in step.doubts if "channels come first" in doubt]
    assert bool(said) == (make in REORDERED)


@pytest.mark.parametrize("move", WAYS)
@pytest.mark.parametrize("make", [generator, autoencoder, normalised, sound])
def test_without_an_architecture_it_is_refused(make: Any, move: Any, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="may be a flattened image") as error:
        move(make(), tmp_path, ".weights.h5")
    assert "--assume flatten:" in str(error.value)
    assert error.value.plan is not None


@pytest.mark.parametrize("move", WAYS)
@pytest.mark.parametrize("make", [sequence, pooled])
def test_what_cannot_be_one_is_not(make: Any, move: Any, tmp_path: Path) -> None:
    twin = make()
    move(twin, tmp_path, ".weights.h5")
    assert apart(twin) < 1e-5


@pytest.mark.parametrize("name", ["fc1", "classifier/0"])
@pytest.mark.parametrize("move", WAYS)
def test_a_person_says_it_of_either_name(move: Any, name: str, tmp_path: Path) -> None:
    twin = vgg()
    move(twin, tmp_path, ".weights.h5", assume={f"flatten:{name}": "3,4,10"})
    assert apart(twin) < 1e-5


@pytest.mark.parametrize("move", WAYS)
def test_a_person_says_that_nothing_is_flattened(move: Any, tmp_path: Path) -> None:
    """What is said counts more than what the architecture shows; that it is wrong is for the outputs to tell."""
    for assume in ({"flatten:fc1": "none"}, {"flatten": "channels_first"}, {"flatten": "channels_last"}):
        twin = vgg()
        done = move(twin, tmp_path, assume=assume)
        assert not [doubt for step in done.plan.steps for doubt in step.doubts]
        assert apart(twin) > 1e-2


@pytest.mark.parametrize(
    ("assume", "says"),
    [
        ({"flatten:fc1": "seven"}, "HEIGHT,WIDTH,CHANNELS or none"),
        ({"flatten:fc1": "7"}, "HEIGHT,WIDTH,CHANNELS or none"),
        ({"flatten:fc9": "3,4,10"}, "neither side has such a layer"),
        ({"flatten:fc1": "3,4,11"}, "120"),
    ],
)
def test_what_is_said_wrongly_is_refused(assume: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, RefusedError), match=says):
        to_keras(vgg(), tmp_path, assume=assume)


def test_a_permutation_on_the_way_is_refused_where_it_is_not_said(tmp_path: Path) -> None:
    """Text in images: the height is folded into the features of each step, in an order that the file does not tell."""

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.rnn = nn.LSTM(6 * 4, 5, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.rnn(self.conv(x).permute(0, 3, 1, 2).flatten(2))[0]

    model = [
        layers.Conv2D(4, 3, name="conv"),
        layers.Permute((2, 1, 3)),
        layers.Reshape((8, 24)),
        layers.LSTM(5, return_sequences=True, name="rnn"),
    ]
    twin = chain(Reader(), model, images(2, 8, 10, 3))
    for move in WAYS:
        with pytest.raises(RefusedError, match="flatten:rnn=HEIGHT,WIDTH,4"):
            move(twin, tmp_path)
        move(twin, tmp_path, assume={"flatten:rnn": "6,4"})
        assert apart(twin) < 1e-5


def mixed(kind: str) -> Twin:
    """A product whose inputs are pixels, and something else with them, or pixels that a product made."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            convolution = nn.Conv2d(3, 60 if kind == "added" else 6, 3, padding=1)
            self.c = {"product": nn.Linear(3, 6), "residual": nn.Identity()}.get(kind, convolution)
            self.hidden = nn.Linear(60, 60) if kind == "residual" else nn.Identity()
            self.fc = nn.Linear({"beside": 128, "product": 120}.get(kind, 60), 4)

        def forward(self, x: Any, other: Any) -> Any:
            if kind == "beside":
                return self.fc(torch.cat([torch.flatten(self.c(x), 1), other], 1))
            if kind == "added":
                return self.fc(torch.flatten(x, 1) + self.c(x).mean((2, 3)))
            if kind == "product":
                return self.fc(torch.flatten(self.c(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), 1))
            return self.fc(torch.relu(self.hidden(torch.flatten(x, 1))) + torch.flatten(x, 1))

    given, other = layers.Input((5, 4, 3)), layers.Input((8,))
    pixels = layers.Flatten()(given)
    if kind == "product":
        x = layers.Flatten()(layers.Dense(6, name="c")(given))
    elif kind == "residual":
        x = layers.Add()([layers.Dense(60, activation="relu", name="hidden")(pixels), pixels])
    else:
        image = layers.Conv2D(60 if kind == "added" else 6, 3, padding="same", name="c")(given)
        flat = layers.Flatten()(image)
        x = layers.Concatenate()([flat, other]) if kind == "beside" else layers.GlobalAveragePooling2D()(image)
        x = layers.Add()([pixels, x]) if kind == "added" else x
    model = keras.Model([given, other], layers.Dense(4, name="fc")(x))
    return Twin(Mixed(), model, (images(2, 5, 4, 3), np.ones((2, 8), "float32")))


@pytest.mark.parametrize("move", WAYS)
@pytest.mark.parametrize("kind", ["beside", "added", "product", "residual"])
def test_pixels_that_are_not_alone_are_refused(kind: str, move: Any, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="flattened image"):
        move(mixed(kind), tmp_path)
    move(
        mixed(kind),
        tmp_path,
        assume={"flatten:fc": "none", "flatten:hidden": "none"} if kind == "residual" else {"flatten:fc": "none"},
    )
