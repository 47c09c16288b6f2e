"""Keras 3's weights layout, whole and sharded: read against what Keras holds, written for Keras to load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ckptkit.errors import FormatError, LimitError, NotFoundError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.keras.shards import open_sharded
from ckptkit.model import Contents, KerasV3, TensorSpec
from ckptkit.storage.address import address
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.keras_models import build, outputs, trained
from tests.formats.reading import read_all
from tests.formats.writing import write_like, write_new


class TestWeights(FormatConformance):
    format = "keras-weights-h5"
    dtypes = ("bool", "int32", "int64", "float16", "float32", "float64", "bfloat16")
    odd_names = ("ünï", "a b", "[bold]x[/bold]", "dot.ted", "tab\there", "back\\slash")

    def make(self, folder: Path, tensors: Tensors) -> str:
        from keras.src.saving.saving_lib import H5IOStore

        path = folder / "file.weights.h5"
        store = H5IOStore(path, mode="w")
        for name, value in tensors.items():
            store.make(f"layers/{name}", {"name": name.upper()})["0"] = value
        store.close()
        return str(path)

    def key(self, name: str) -> str:
        return f"layers/{name}/vars/0"


class TestSharded(TestWeights):
    format = "keras-sharded"

    def make(self, folder: Path, tensors: Tensors) -> str:
        from keras.src.saving.saving_lib import ShardedH5IOStore

        path = folder / "file.weights.json"
        # Every value gets its own shard, but for Keras's arithmetic: it counts in GB.
        largest = max([value.nbytes for value in tensors.values()] + [1])
        store = ShardedH5IOStore(path, max_shard_size=largest / 1024**3, mode="w")
        for name, value in tensors.items():
            store.make(f"layers/{name}")["0"] = value
        store.close()
        return str(path)

    def data_file(self, path: str) -> Path:
        return Path(path.replace(".weights.json", "_00000.weights.h5"))


@pytest.fixture(params=["keras", "tf_keras"])
def framework(request: pytest.FixtureRequest) -> Any:
    import keras
    import tf_keras

    return {"keras": keras, "tf_keras": tf_keras}[request.param]


def save(model: Any, folder: Path, *, sharded: bool = False) -> Path:
    path = folder / ("saved.weights.json" if sharded else "saved.weights.h5")
    model.save_weights(path, **({"max_shard_size": 400 / 1024**3} if sharded else {}))
    return path


def layer_weights(model: Any) -> list[np.ndarray]:
    return [np.asarray(value) for value in model.get_weights()]


@pytest.mark.parametrize("sharded", [False, True])
def test_order_and_values_are_those_of_the_model(framework: Any, tmp_path: Path, sharded: bool) -> None:
    if sharded and framework.__name__ == "tf_keras":
        pytest.skip("tf_keras does not shard")
    model = trained(framework)
    contents, values = read_all(save(model, tmp_path, sharded=sharded))
    assert isinstance(contents.structure, KerasV3)
    assert contents.damage == ()
    groups = [group for group in contents.structure.groups if group.path.startswith("layers/") and group.keys]
    names = [layer.name for layer in (*model.layers[1:3], *model.get_layer("inner").layers, *model.layers[4:])]
    assert [group.name for group in groups] == (names if framework.__name__ == "keras" else [None] * len(names))
    by_layer = [weight for layer in model.layers for weight in layer.weights]
    keys = [key for group in groups for key in group.keys]
    assert len(keys) == len(by_layer)
    for key, weight in zip(keys, by_layer, strict=True):
        np.testing.assert_array_equal(values[key], np.asarray(weight))
    slots = next(group for group in contents.structure.groups if group.path == "optimizer")
    assert [key.rpartition("/")[2] for key in slots.keys] == [str(number) for number in range(len(slots.keys))]
    assert len(slots.keys) > 10


def test_order_of_many_equal_layers(tmp_path: Path) -> None:
    """Names that sort otherwise than they were made, and groups that HDF5 puts into gaps."""
    import keras

    layers = [keras.layers.Dense(5, name=f"{chr(122 - number % 26)}{number}") for number in range(40)]
    model = keras.Sequential([keras.Input((5,)), *layers])
    contents, values = read_all(save(model, tmp_path))
    assert isinstance(contents.structure, KerasV3)
    groups = [group for group in contents.structure.groups if group.keys]
    assert [group.name for group in groups] == [layer.name for layer in layers]
    addresses = [group.address or 0 for group in groups]
    assert addresses == sorted(addresses)
    for group, layer in zip(groups, layers, strict=True):
        np.testing.assert_array_equal(values[group.keys[0]], np.asarray(layer.kernel))


def test_bfloat16_variables(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype="bfloat16", name="half")])
    path = save(model, tmp_path)
    contents, source = open_contents(str(path))
    assert [tensor.dtype for tensor in contents.tensors] == ["bfloat16", "bfloat16"]
    assert whole(source, contents.tensors[0].key) == raw(np.asarray(model.layers[0].kernel.value))
    out = tmp_path / "out.weights.h5"
    write_new("keras-weights-h5", str(out), contents, source)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype="bfloat16", name="half")])
    other.load_weights(out)
    np.testing.assert_array_equal(
        np.asarray(other.layers[0].kernel.value).view("u2"), np.asarray(model.layers[0].kernel.value).view("u2")
    )


def test_backslashes_and_old_roots(tmp_path: Path) -> None:
    """Link names as Keras 2.13 to 2.15 wrote them on Windows; made by hand, since no Keras here can."""
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["_layer_checkpoint_dependencies\\simple_rnn\\cell/vars/0"] = counted((2, 3))
        file["_layer_checkpoint_dependencies\\dense/vars/10"] = counted((4,))
        file["_layer_checkpoint_dependencies\\dense/vars/9"] = counted((5,))
        file["_layer_checkpoint_dependencies\\dense/vars/word"] = counted((6,))
        file.create_group("vars")
    contents, _ = open_contents(str(path))
    assert isinstance(contents.structure, KerasV3)
    groups = {group.path: group for group in contents.structure.groups}
    assert set(groups) == {
        "",
        "_layer_checkpoint_dependencies/simple_rnn/cell",
        "_layer_checkpoint_dependencies/dense",
    }
    dense = "_layer_checkpoint_dependencies\\dense/vars"
    assert groups["_layer_checkpoint_dependencies/dense"].keys == (f"{dense}/9", f"{dense}/10", f"{dense}/word")
    assert groups[""].keys == ()
    assert {tensor.key for tensor in contents.tensors} >= {"_layer_checkpoint_dependencies\\simple_rnn\\cell/vars/0"}


@pytest.mark.parametrize("sharded", [False, True])
def test_written_files_load_and_compute_the_same(
    framework: Any, tmp_path: Path, sharded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sharded and framework.__name__ == "tf_keras":
        pytest.skip("tf_keras does not shard")
    model = trained(framework)
    contents, source = open_contents(str(save(model, tmp_path, sharded=sharded)))
    out = tmp_path / f"out.weights.{'json' if sharded else 'h5'}"
    if sharded:
        monkeypatch.setattr("ckptkit.formats.keras.writer.MOST_BYTES", 500)
        write_new("keras-sharded", str(out), contents, source)
        assert len(list(tmp_path.glob("out_0*.weights.h5"))) > 3
    else:
        write_new("keras-weights-h5", str(out), contents, source)
    source.close()
    again, _ = read_all(out)
    assert again.tensors == contents.tensors
    assert isinstance(again.structure, KerasV3)
    assert isinstance(contents.structure, KerasV3)
    assert [(group.path, group.name, group.keys) for group in again.structure.groups if group.keys] == [
        (group.path, group.name, group.keys) for group in contents.structure.groups if group.keys
    ]
    loaded = build(framework, seed=2)
    loaded.load_weights(out)
    np.testing.assert_array_equal(outputs(loaded), outputs(model))
    assert int(np.asarray(loaded.optimizer.iterations)) == 1


@pytest.mark.parametrize("sharded", [False, True])
def test_rewritten_files_load_with_the_other_weights(framework: Any, tmp_path: Path, sharded: bool) -> None:
    if sharded and framework.__name__ == "tf_keras":
        pytest.skip("tf_keras does not shard")
    model, other = trained(framework), trained(framework, 5)
    (tmp_path / "other").mkdir()
    template = save(model, tmp_path, sharded=sharded)
    contents, source = open_contents(str(save(other, tmp_path / "other", sharded=sharded)))
    tensors = {t.key: TensorSpec(t.key, t.shape, t.dtype) for t in contents.tensors if t.key.startswith("layers/")}
    out = tmp_path / f"out.weights.{'json' if sharded else 'h5'}"
    write_like("hdf5", str(out), str(template), tensors, source)
    loaded = build(framework, seed=3, fitted=False)
    loaded.load_weights(out)
    np.testing.assert_array_equal(outputs(loaded), outputs(other))
    kept, before = read_all(out)[1], read_all(template)[1]
    for key, value in before.items():
        if key not in tensors:
            np.testing.assert_array_equal(kept[key], value)
    if not sharded:
        assert out.stat().st_size == template.stat().st_size


def test_evidence_of_another_layout_is_refused(tmp_path: Path) -> None:
    contents, source = open_contents(TestWeights().make(tmp_path, {"a": counted((2,))}))
    for name in ("keras-weights-h5", "keras-sharded"):
        with pytest.raises(UnsupportedError, match="groups"):
            write_new(name, str(tmp_path / "b"), Contents("hdf5", None, contents.tensors), source)


# ---------------------------------------------------------------------------------------------------------- shards


def sharded_file(folder: Path, weight_map: object) -> Path:
    path = folder / "file.weights.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return path


def shard(folder: Path, number: int, tensors: Tensors) -> str:
    name = f"file_{number:05}.weights.h5"
    with h5py.File(folder / name, "w") as file:
        for key, value in tensors.items():
            file[key] = value
    return name


def test_a_group_in_two_shards_is_joined(tmp_path: Path) -> None:
    one = shard(tmp_path, 0, {"layers/b/vars/0": counted((2,)), "layers/b/vars/2": counted((3,))})
    two = shard(tmp_path, 1, {"layers/b/vars/1": counted((4,)), "layers/a/vars/0": counted((5,))})
    contents, values = read_all(sharded_file(tmp_path, {"/layers/b/vars": [one, two], "/layers/a/vars": two}))
    assert isinstance(contents.structure, KerasV3)
    assert [group.keys for group in contents.structure.groups] == [
        ("layers/b/vars/0", "layers/b/vars/1", "layers/b/vars/2"),
        ("layers/a/vars/0",),
    ]
    assert [value.size for value in values.values()] == [2, 4, 3, 5]
    assert contents.damage == ()


def test_a_missing_or_broken_shard_is_damage(tmp_path: Path) -> None:
    one = shard(tmp_path, 0, {"a/vars/0": counted((2,))})
    (tmp_path / "file_00001.weights.h5").write_bytes(b"no HDF5")
    contents, values = read_all(
        sharded_file(tmp_path, {"/a/vars": one, "/b/vars": "file_00001.weights.h5", "/c/vars": "file_00002.weights.h5"})
    )
    assert list(values) == ["a/vars/0"]
    assert sorted(damage.split(":")[0].split(" is ")[0] for damage in contents.damage) == [
        "b/vars",
        "c/vars",
        "shard file_00001.weights.h5",
        "shard file_00002.weights.h5",
    ]


@pytest.mark.parametrize(
    "name", ["../bait.h5", "/etc/passwd", "sub/x.h5", "..", "", "a\0b", "..\\x", "C:x.h5", 7, None, {"a": 1}]
)
def test_shard_names_stay_in_the_folder(tmp_path: Path, name: object) -> None:
    with pytest.raises(FormatError, match="plain file name"):
        open_sharded(address(str(sharded_file(tmp_path, {"/a/vars": [name]}))))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"weight_map": []}', "[" * 100000, '{"weight_map": {"a": "b"}'])
def test_what_is_no_index_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.weights.json"
    path.write_text(text)
    with pytest.raises(FormatError):
        open_sharded(address(str(path)))


def test_too_many_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitError):
        open_sharded(address(sharded_file(tmp_path, {"/a/vars": [f"file_{number}.h5" for number in range(300)]})))


def test_a_shard_that_is_no_regular_file_does_not_hang(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "file_00000.weights.h5")
    contents, source = open_sharded(address(str(sharded_file(tmp_path, {"/a/vars": "file_00000.weights.h5"}))))
    assert "regular" in contents.damage[0]
    with pytest.raises(NotFoundError):
        source.read_into("a/vars/0", 0, memoryview(bytearray(1)))
