"""The legacy layout: read against what Keras holds, written for Keras to load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ckptkit.errors import NotFoundError, RefusedError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.model import Contents, LegacyGroup, LegacyKeras, StoredTensor, TensorSpec
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.keras_models import build, outputs, trained
from tests.formats.reading import read_all
from tests.formats.writing import write_like, write_new

_FRAMEWORKS = ["keras", "tf_keras"]


def names(items: list[str]) -> np.ndarray:
    return np.array([item.encode() for item in items] or np.empty(0), dtype=None if items else float)


def make_legacy(path: Path, layers: dict[str, dict[str, np.ndarray]], **attributes: Any) -> Path:
    """A file as Keras 2 writes it."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = names(list(layers))
        for name, value in {"keras_version": b"2.2.4", "backend": b"tensorflow", **attributes}.items():
            file.attrs[name] = value
        for layer, weights in layers.items():
            group = file.require_group(layer)
            group.attrs["weight_names"] = names(list(weights))
            for name, value in weights.items():
                group[name] = value
    return path


class TestLegacy(FormatConformance):
    format = "keras-h5"
    dtypes = ("bool", "int32", "int64", "float16", "float32", "float64", "complex64")

    def make(self, folder: Path, tensors: Tensors) -> str:
        return str(make_legacy(folder / "file.h5", {"layer": dict(tensors), "nothing": {}}))

    def key(self, name: str) -> str:
        return f"layer/{name}"


@pytest.fixture(params=_FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Any:
    import keras
    import tf_keras

    return {"keras": keras, "tf_keras": tf_keras}[request.param]


@pytest.fixture(params=["weights", "model"])
def saved(request: pytest.FixtureRequest, framework: Any, tmp_path: Path) -> tuple[Any, Path, str]:
    """(model, file it saved, where the file keeps the layers)."""
    model = trained(framework)
    path = tmp_path / "saved.h5"
    if request.param == "model":
        model.save(path)
        return model, path, "model_weights/"
    if framework.__name__ == "tf_keras":
        model.save_weights(path, save_format="h5")
    else:
        from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, model)
    return model, path, ""


def test_layers_and_values_are_those_of_the_model(saved: tuple[Any, Path, str], framework: Any) -> None:
    model, path, prefix = saved
    contents, values = read_all(path)
    structure = contents.structure
    assert isinstance(structure, LegacyKeras)
    assert contents.producer == f"Keras {framework.__version__}, tensorflow"
    assert contents.damage == ()
    assert [group.name for group in structure.groups] == [layer.name for layer in model.layers]
    assert (structure.config is not None) == bool(prefix)
    for group, layer in zip(structure.groups, model.layers, strict=True):
        weights = layer.trainable_weights + layer.non_trainable_weights
        assert len(group.weights) == len(weights)
        for (name, key), weight in zip(group.weights, weights, strict=True):
            assert key == f"{prefix}{group.name}/{name}"
            np.testing.assert_array_equal(values[key], np.asarray(weight))
    listed = [key for group in structure.groups for _, key in group.weights]
    assert [tensor.key for tensor in contents.tensors][: len(listed)] == listed
    if prefix:
        slots = model.optimizer.variables
        slots = slots() if callable(slots) else slots
        assert len(structure.optimizer) == len(slots)
        for (_, key), slot in zip(structure.optimizer, slots, strict=True):
            np.testing.assert_array_equal(values[key], np.asarray(slot))


def test_written_file_loads_and_computes_the_same(saved: tuple[Any, Path, str], framework: Any, tmp_path: Path) -> None:
    model, path, prefix = saved
    contents, source = open_contents(str(path))
    out = tmp_path / "out.h5"
    write_new("keras-h5", str(out), contents, source)
    source.close()
    again, _ = read_all(out)
    assert again.structure == contents.structure
    assert again.tensors == contents.tensors
    if prefix:
        loaded = framework.models.load_model(out, compile=False)
    else:
        loaded = build(framework, seed=2, fitted=False)
        loaded.load_weights(out)
    np.testing.assert_array_equal(outputs(loaded), outputs(model))


def test_rewritten_file_keeps_all_but_the_named_tensors(
    saved: tuple[Any, Path, str], framework: Any, tmp_path: Path
) -> None:
    _model, path, prefix = saved
    key = next(tensor.key for tensor in open_contents(str(path))[0].tensors if "zebra" in tensor.key)
    value = counted((5, 5))
    other = make_legacy(tmp_path / "other.h5", {"x": {}})
    with h5py.File(other, "a") as file:
        file[key] = value
    _, source = open_contents(str(other))
    out = tmp_path / "out.h5"
    write_like("hdf5", str(out), str(path), {key: TensorSpec(key, (5, 5), "float32")}, source)
    changed = [a != b for a, b in zip(path.read_bytes(), out.read_bytes(), strict=True)]
    with h5py.File(path) as file:
        offset = file[key].id.get_offset()
    assert any(changed)
    assert not any(changed[:offset])
    assert not any(changed[offset + value.nbytes :])
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file[key], value)
    if prefix:
        loaded = framework.models.load_model(out, compile=False)
        np.testing.assert_array_equal(loaded.get_layer("zebra").get_weights()[0], value)


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "error"),
    [
        ("d/nothing:0", (3, 4), "float32", NotFoundError),
        ("d/kernel:0", (4, 3), "float32", RefusedError),
        ("d/kernel:0", (3, 4), "float64", RefusedError),
        ("d/opaque:0", (3,), "uint8", RefusedError),
    ],
)
def test_what_does_not_fit_the_template_is_refused(
    tmp_path: Path, key: str, shape: tuple[int, ...], dtype: str, error: type[Exception]
) -> None:
    path = make_legacy(tmp_path / "a.h5", {"d": {"kernel:0": counted((3, 4)), "opaque:0": np.zeros(3, "V3")}})
    _contents, source = open_contents(str(path))
    with pytest.raises(error):
        write_like("hdf5", str(tmp_path / "b.h5"), str(path), {key: TensorSpec(key, shape, dtype)}, source)


def test_compressed_tensors_are_rewritten_in_their_own_way(tmp_path: Path) -> None:
    value = counted((37, 53))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("packed", data=value, chunks=(10, 9), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("big", data=value.astype(">f4"))
        file.create_dataset("never", (3, 4), "<f8")
        file.create_dataset("words", data=["a", "bb"], dtype=h5py.string_dtype())
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["packed"], file["big"], file["never"] = value * 2, value * 3, counted((3, 4), "float64")
        file.create_dataset("words", data=["long word", ""], dtype=h5py.string_dtype())
    contents, source = open_contents(str(other))
    out = tmp_path / "out.h5"
    write_like(
        "hdf5", str(out), str(path), {t.key: TensorSpec(t.key, t.shape, t.dtype) for t in contents.tensors}, source
    )
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["packed"], value * 2)
        assert (file["packed"].chunks, file["packed"].compression, file["packed"].shuffle) == ((10, 9), "gzip", True)
        np.testing.assert_array_equal(file["big"], value * 3)
        assert file["big"].dtype == np.dtype(">f4")
        np.testing.assert_array_equal(file["never"], counted((3, 4), "float64"))
        assert list(file["words"]) == [b"long word", b""]


def test_split_attributes_are_joined_and_written(tmp_path: Path) -> None:
    count = 1500
    layers = [f"a_layer_with_a_rather_long_name_{'x' * 30}_{number:05}" for number in range(count)]
    tensors = tuple(StoredTensor(f"{layer}/kernel:0", (2,), "float32", 8) for layer in layers)
    groups = tuple(LegacyGroup(layer, (("kernel:0", f"{layer}/kernel:0"),)) for layer in layers)
    contents = Contents("keras-h5", None, tensors, LegacyKeras(groups, "2.15.0", "tensorflow", None))
    with h5py.File(tmp_path / "values.h5", "w") as file:
        for number, tensor in enumerate(tensors):
            file[tensor.key] = np.array([number, -number], "float32")
    _, source = open_contents(str(tmp_path / "values.h5"))
    write_new("keras-h5", str(tmp_path / "out.h5"), contents, source)
    with h5py.File(tmp_path / "out.h5") as file:
        assert {"layer_names0", "layer_names1"} <= set(file.attrs)
        from keras.src.legacy.saving.legacy_h5_format import load_attributes_from_hdf5_group

        assert load_attributes_from_hdf5_group(file, "layer_names") == layers
    found, values = read_all(tmp_path / "out.h5")
    assert found.structure == contents.structure
    assert values[tensors[77].key].tolist() == [77, -77]


def test_a_missing_part_of_a_split_attribute_is_damage(tmp_path: Path) -> None:
    path = make_legacy(tmp_path / "a.h5", {"a": {"w": counted((2,))}, "b": {"w": counted((3,))}})
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names2"] = names(["a"]), names(["b"])
    contents, _ = open_contents(str(path))
    assert "layer_names1" in contents.damage[0]
    assert {tensor.key for tensor in contents.tensors} == {"a/w", "b/w"}


def test_keras_0_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["nb_layers"] = 11
        for number in range(11):
            group = file.create_group(f"layer_{number}")
            group.attrs["nb_params"] = 2 if number % 5 == 0 else 0
            for param in range(group.attrs["nb_params"]):
                group[f"param_{param}"] = counted((number + 1, param + 2))
    contents, _ = open_contents(str(path))
    assert isinstance(contents.structure, LegacyKeras)
    assert [group.name for group in contents.structure.groups] == [f"layer_{number}" for number in range(11)]
    assert contents.structure.groups[10].weights == (
        ("param_0", "layer_10/param_0"),
        ("param_1", "layer_10/param_1"),
    )
    assert contents.structure.keras_version is None
    assert contents.producer is None


@pytest.mark.parametrize("attribute", ["nb_layers", "nb_params"])
def test_counts_that_nothing_backs_are_damage(tmp_path: Path, attribute: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["nb_layers"] = 1 << 40 if attribute == "nb_layers" else 1
        group = file.create_group("layer_0")
        group.attrs["nb_params"] = 1 << 40 if attribute == "nb_params" else 1
        group["param_0"] = counted((3,))
    contents, _ = open_contents(str(path))
    assert contents.damage
    assert [tensor.key for tensor in contents.tensors] == ["layer_0/param_0"]


def test_names_nest_and_need_not_begin_with_their_layer(tmp_path: Path) -> None:
    layers = {"a/b/c": {"scope/kernel:0": counted((2, 3))}, "a": {"gamma_1:0": counted((4,))}, "none": {}}
    contents, _ = open_contents(str(make_legacy(tmp_path / "a.h5", layers)))
    assert isinstance(contents.structure, LegacyKeras)
    assert contents.structure.groups == (
        LegacyGroup("a/b/c", (("scope/kernel:0", "a/b/c/scope/kernel:0"),)),
        LegacyGroup("a", (("gamma_1:0", "a/gamma_1:0"),)),
        LegacyGroup("none", ()),
    )
    assert contents.tensors[0].aliases == ("scope/kernel:0",)


def test_what_is_listed_and_not_there_is_damage_and_twice_is_a_note(tmp_path: Path) -> None:
    path = make_legacy(tmp_path / "a.h5", {"a": {"w": counted((2,))}})
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = names(["a", "ghost", "a"])
        file["a"].attrs["weight_names"] = names(["w", "w", "gone", "../a/w", "/a/w"])
    contents, _ = open_contents(str(path))
    assert sorted(contents.damage) == [
        "a: weight '../a/w' is listed and not there",
        "a: weight 'gone' is listed and not there",
        "layer 'ghost' is listed and not there",
    ]
    assert len(contents.notes) == 3
    assert isinstance(contents.structure, LegacyKeras)
    assert contents.structure.groups == (LegacyGroup("a", (("w", "a/w"),)),)


@pytest.mark.parametrize(
    "config",
    [b'{"class_name": ', b"[" * 30000 + b"]" * 30000, b"[1, 2]", b"\xff\xfe", b'{"a": ' * 500 + b"1" + b"}" * 500],
)
def test_a_broken_architecture_is_a_note(tmp_path: Path, config: bytes) -> None:
    path = make_legacy(tmp_path / "a.h5", {"a": {"w": counted((2,))}}, model_config=np.bytes_(config))
    contents, source = open_contents(str(path))
    assert isinstance(contents.structure, LegacyKeras)
    assert contents.structure.config is None
    assert contents.notes[0].startswith("model_config is not read")
    assert whole(source, "a/w") == raw(counted((2,)))


def test_attributes_of_every_style(tmp_path: Path) -> None:
    config = {"class_name": "Sequential", "config": {"name": "ü" * 40000}}
    for style in ("bytes", "fixed", "vlen"):
        path = tmp_path / f"{style}.h5"
        layers = {"bytes": names(["a"]), "fixed": np.array(["a"], "S7"), "vlen": np.array(["a"], h5py.string_dtype())}
        with h5py.File(make_legacy(path, {"a": {"w": counted((2,))}}), "a") as file:
            file.attrs["layer_names"] = layers[style]
            file.attrs["keras_version"] = "2.3.1" if style == "vlen" else np.bytes_(b"2.3.1")
            file.attrs["model_config"] = json.dumps(config)
        contents, _ = open_contents(str(path))
        assert isinstance(contents.structure, LegacyKeras)
        assert contents.structure.keras_version == "2.3.1"
        assert contents.structure.config == config
        assert [group.name for group in contents.structure.groups] == ["a"]


def test_evidence_of_another_layout_is_refused(tmp_path: Path) -> None:
    contents, source = open_contents(str(make_legacy(tmp_path / "a.h5", {"a": {"w": counted((2,))}})))
    with pytest.raises(UnsupportedError, match="layers"):
        write_new("keras-h5", str(tmp_path / "b.h5"), Contents("hdf5", None, contents.tensors), source)
    moved = LegacyKeras((LegacyGroup("other", (("w", "a/w"),)),), None, None, None)
    with pytest.raises(UnsupportedError, match="does not own"):
        write_new("keras-h5", str(tmp_path / "b.h5"), Contents("keras-h5", None, contents.tensors, moved), source)
