"""Weights that went through other containers, loaded by Keras itself into the very model: right, or refused before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, RefusedError, UsageError

Model = Any
WAYS: tuple[tuple[str, ...], ...] = (
    (), ("v.safetensors",), ("v.npz",), ("v.ckpt",), ("v.safetensors.index.json",), ("v.npz", "u.safetensors", "v.ckpt"),
)  # fmt: skip


def towers(k: Any) -> Model:
    """Square layers of one shape whose names are not in the order of the alphabet."""
    x = y = k.Input((6,))
    for name in ("query", "key", "value"):
        y = k.layers.Dense(6, name=name)(y)
    return k.Model(x, y)


def sequential(k: Any) -> Model:
    layers = k.layers
    return k.Sequential([
        k.Input((6,)), layers.Dense(6, name="zeta"), layers.BatchNormalization(name="norm"), layers.Dropout(0.1),
        layers.Dense(6, name="alpha"), layers.LayerNormalization(name="a_norm"), layers.Dense(6),
    ])  # fmt: skip


def nested(k: Any) -> Model:
    layers = k.layers
    y = inside = k.Input((6,))
    for layer in (
        layers.Dense(6, name="z_first"),
        layers.BatchNormalization(name="norm"),
        layers.Dense(6, name="a_last"),
    ):
        y = layer(y)
    inner = k.Model(inside, y, name="inner")
    x = k.Input((6,))
    return k.Model(x, layers.Dense(6, name="b_head")(inner(layers.Dense(6, name="c_stem")(x))))


def recurrent(k: Any) -> Model:
    layers = k.layers
    x = k.Input((5, 6))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="z_both")(x)
    for name in ("y_lstm", "a_lstm"):
        y = layers.LSTM(6, return_sequences=True, name=name)(y)
    y = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
    return k.Model(x, layers.GRU(6, name="last")(layers.TimeDistributed(layers.Dense(6), name="each")(y)))


def subclassed(k: Any) -> Model:
    class Net(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.zed, self.abc, self.mid = (k.layers.Dense(6, name=name) for name in ("zed", "abc", "mid"))

        def call(self, x: Any) -> Any:
            return self.mid(self.abc(self.zed(x)))

    model = Net()
    model(np.zeros((1, 6), "float32"))
    return model


MODELS: dict[str, Callable[[Any], Model]] = {
    "towers": towers, "sequential": sequential, "nested": nested, "recurrent": recurrent, "subclassed": subclassed,
}  # fmt: skip


def fill(model: Model, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, size=tuple(weight.shape)).astype("float32"))
    return [np.array(weight) for weight in model.weights]


def source_of(model: Model, ending: str, folder: Path) -> Path:
    path = folder / f"source{ending}"
    (model.save if ending.startswith("-full") else model.save_weights)(str(path))
    return path


def through(source: Path, way: tuple[str, ...], output: Path) -> None:
    for name in way:
        ckptkit.convert(source, source.parent / name, force=True)
        source = source.parent / name
    ckptkit.convert(source, output, force=True)


# What needs no architecture: the groups of the source's own layout, and class numbers of layers that stand alone.
LOADS = [
    (name, source, output)
    for name in MODELS
    for source, output in ((".weights.h5", "o.weights.h5"), ("-full.h5", "o.h5"))
    if (name, source) != ("subclassed", "-full.h5")
]
LOADS += [("towers", "-full.h5", "o.weights.h5")]
LOADS += [(name, ".weights.h5", "o.h5") for name in ("towers", "sequential", "recurrent")]


@pytest.mark.parametrize("generation", ["keras", "tf_keras"])
@pytest.mark.parametrize(("name", "ending", "output"), LOADS)
def test_the_very_model_loads_what_comes_back(
    name: str, ending: str, output: str, generation: str, fw: SimpleNamespace, tmp_path: Path
) -> None:
    model = MODELS[name](getattr(fw, generation))
    truth = fill(model, 1)
    source = source_of(model, ending, tmp_path)
    for way in WAYS:
        through(source, way, tmp_path / output)
        fill(model, 2)
        model.load_weights(str(tmp_path / output))
        wrong = [
            w.name for w, value in zip(model.weights, truth, strict=True) if not np.array_equal(np.array(w), value)
        ]
        assert not wrong, way


@pytest.mark.parametrize("generation", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", ["nested", "recurrent", "sequential"])
@pytest.mark.parametrize(("ending", "output"), [("-full.h5", "o.weights.h5"), ("-full.keras", "o.h5")])
def test_an_architecture_tells_the_class_numbers_and_the_order(
    name: str, ending: str, output: str, generation: str, fw: SimpleNamespace, tmp_path: Path
) -> None:
    model = MODELS[name](getattr(fw, generation))
    truth = fill(model, 1)
    ckptkit.convert(source_of(model, ending, tmp_path), tmp_path / output)
    fill(model, 2)
    model.load_weights(str(tmp_path / output))
    assert all(np.array_equal(np.array(w), value) for w, value in zip(model.weights, truth, strict=True))


REFUSED = [
    ("nested", ".weights.h5", "o.h5", "no architecture"),
    ("subclassed", ".weights.h5", "o.h5", "by the alphabet"),
]


@pytest.mark.parametrize(("name", "ending", "output", "why"), REFUSED)
def test_what_no_architecture_tells_is_refused(
    name: str, ending: str, output: str, why: str, fw: SimpleNamespace, tmp_path: Path
) -> None:
    source = source_of(MODELS[name](fw.keras), ending, tmp_path)
    with pytest.raises(RefusedError, match=why):
        ckptkit.convert(source, tmp_path / output)
    assert not (tmp_path / output).exists()


def test_a_class_that_only_the_architecture_told_is_not_guessed(fw: SimpleNamespace, tmp_path: Path) -> None:
    """`gamma` and `beta` are those of a layer or of a group normalisation, which Keras numbers apart."""
    ckptkit.convert(source_of(sequential(fw.keras), "-full.h5", tmp_path), tmp_path / "v.safetensors")
    with pytest.raises(RefusedError, match="a_norm: no architecture tells the class"):
        ckptkit.convert(tmp_path / "v.safetensors", tmp_path / "o.weights.h5")


def test_frozen_layers_inside_change_the_order_and_are_refused(fw: SimpleNamespace, tmp_path: Path) -> None:
    model = nested(fw.keras)
    model.get_layer("inner").layers[1].trainable = False
    with pytest.raises(RefusedError, match="frozen"):
        ckptkit.convert(source_of(model, "-full.keras", tmp_path), tmp_path / "o.h5")


LAYERS = {f"{name}/{role}": np.ones((4, 4) if role == "kernel" else 4, "float32")
          for name in ("query", "key", "value") for role in ("kernel", "bias")}  # fmt: skip


@pytest.mark.parametrize("output", ["o.h5", "o.weights.h5", "o.weights.json"])
def test_an_unknown_order_is_refused_unless_assumed(output: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **LAYERS)
    with pytest.raises(RefusedError, match="order of its 3 layers"):
        ckptkit.convert(tmp_path / "m.npz", tmp_path / output)
    ckptkit.convert(tmp_path / "m.npz", tmp_path / output, assume={"order": "sorted"})
    with ckptkit.open(tmp_path / output) as written:
        assert [layer.name for layer in written.layers] == ["key", "query", "value"]
    with pytest.raises(UsageError, match="order=sorted"):
        ckptkit.convert(tmp_path / "m.npz", tmp_path / output, assume={"order": "random"})


def test_layers_that_fit_in_one_order_only_are_written_with_a_note(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "m.npz", **{"b/kernel": np.ones((4, 3)), "a/kernel": np.ones((3, 2)), "c/kernel": np.ones((2, 4))}
    )
    for output in ("o.h5", "o.weights.h5"):
        assert "order" in ckptkit.convert(tmp_path / "m.npz", tmp_path / output).notes[0]
    done = ckptkit.convert(tmp_path / "m.npz", tmp_path / "o.safetensors")
    assert done.notes == ()
    with ckptkit.open(done.output) as written:
        assert written.order_source == "sorted"


def test_one_layer_has_no_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **{"dense/kernel": np.ones((4, 3)), "dense/bias": np.ones(3)})
    ckptkit.convert(tmp_path / "m.npz", tmp_path / "o.h5")


@pytest.mark.parametrize("name", ["v.safetensors", "v.npz", "v.ckpt", "v.safetensors.index.json"])
def test_the_order_is_read_back_as_stored(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **LAYERS)
    ckptkit.convert(tmp_path / "m.npz", tmp_path / "m.h5", assume={"order": "sorted"})
    ckptkit.convert(tmp_path / "m.h5", tmp_path / name)
    with ckptkit.open(tmp_path / "m.h5") as before, ckptkit.open(tmp_path / name) as after:
        assert after.order_source == "stored"
        assert [layer.name for layer in after.layers] == [layer.name for layer in before.layers]
        assert list(after) == list(before)


def test_what_another_tool_rewrites_has_no_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **LAYERS)
    ckptkit.convert(tmp_path / "m.npz", tmp_path / "m.h5", assume={"order": "sorted"})
    ckptkit.convert(tmp_path / "m.h5", tmp_path / "v.npz")
    np.savez(tmp_path / "again.npz", **np.load(tmp_path / "v.npz"))
    with ckptkit.open(tmp_path / "again.npz") as again:
        assert again.order_source == "sorted"


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '["legacy", {}]', '["legacy", [["a", 1, "b"]]]', '["huh", []]',
             '["v3", [["a","",""],["a","",""]]]', "[" * 5000, '["order", [["query/kernel", "", ""]]]'],
)  # fmt: skip
def test_a_layout_that_is_none_is_passed_over(text: str, tmp_path: Path) -> None:
    ckptkit.convert(_saved(tmp_path), tmp_path / "m.safetensors")
    raw = (tmp_path / "m.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = {"__metadata__": {"ckptkit.layout": text}, **json.loads(raw[8 : 8 + length])}
    body = json.dumps(header).encode()
    (tmp_path / "m.safetensors").write_bytes(len(body).to_bytes(8, "little") + body + raw[8 + length :])
    with ckptkit.open(tmp_path / "m.safetensors") as opened:
        assert opened.order_source == "sorted"
        assert len(opened) == len(LAYERS)
    with pytest.raises(CkptkitError):
        ckptkit.convert(tmp_path / "m.safetensors", tmp_path / "o.h5")


def _saved(folder: Path) -> Path:
    np.savez(folder / "m.npz", **LAYERS)
    return folder / "m.npz"


def test_what_the_graph_of_an_export_holds_as_a_constant_is_said(fw: Any, tmp_path: Path) -> None:
    K = fw.keras
    for number in (0, 1):
        norm = K.layers.Normalization(name="norm")
        norm.adapt(np.arange(12.0).reshape(3, 4) * (number + 1))
        inputs = K.Input((4,))
        model = K.Model(inputs, K.layers.Dense(2, name="out")(norm(inputs)))
        model.save(tmp_path / f"{number}.keras")
        model.export(tmp_path / str(number), verbose=False)
    steps = ckptkit.plan(tmp_path / "0.keras", tmp_path / "1").plan.steps
    said = {step.target.name for step in steps if any("constant" in doubt for doubt in step.doubts)}
    assert said == {"norm/mean", "norm/variance"}
    into_keras = ckptkit.plan(tmp_path / "0", tmp_path / "1.keras").plan.steps
    assert not any("constant" in doubt for step in into_keras for doubt in step.doubts)
