"""`.keras` archives: read against the model, and rewritten for Keras to load."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ckptkit.errors import ChecksumError, CkptkitError, FormatError, NotFoundError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.model import KerasV3, TensorSpec
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.keras_models import outputs, trained
from tests.formats.reading import read_all
from tests.formats.writing import write_like

CONFIG = {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": []}}
METADATA = {"keras_version": "3.11.0", "date_saved": "2025-01-01@00:00:00"}


def weights(tensors: Tensors) -> bytes:
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        for key, value in tensors.items():
            file[key] = value
        file.flush()
        return bytes(file.id.get_file_image())


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def members(tensors: Tensors, config: object = CONFIG) -> dict[str, bytes]:
    return {
        "metadata.json": json.dumps(METADATA).encode(),
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": weights(tensors),
    }


class TestStored(FormatConformance):
    format = "keras"
    dtypes = ("bool", "int64", "float16", "float32", "complex64")
    checksums = True
    method = zipfile.ZIP_STORED

    def make(self, folder: Path, tensors: Tensors) -> str:
        keyed = {self.key(name): value for name, value in tensors.items()}
        return str(archive(folder / "file.keras", members(keyed), self.method))

    def key(self, name: str) -> str:
        return f"layers/{name}/vars/0"


class TestDeflated(TestStored):
    method = zipfile.ZIP_DEFLATED
    checksums = False  # the bytes of a tensor are not to be found; the mutations below flip some


@pytest.fixture(params=["keras", "tf_keras"])
def framework(request: pytest.FixtureRequest) -> Any:
    import keras
    import tf_keras

    return {"keras": keras, "tf_keras": tf_keras}[request.param]


def test_values_and_architecture_are_those_of_the_model(framework: Any, tmp_path: Path) -> None:
    model = trained(framework)
    model.save(tmp_path / "a.keras")
    contents, values = read_all(tmp_path / "a.keras")
    assert isinstance(contents.structure, KerasV3)
    assert contents.structure.keras_version == framework.__version__
    assert str(contents.producer).startswith(f"Keras {framework.__version__}, saved 20")
    assert contents.structure.config is not None
    names = [layer["config"]["name"] for layer in contents.structure.config["config"]["layers"]]
    assert names == [layer.name for layer in model.layers]
    keys = [key for group in contents.structure.groups if group.path.startswith("layers") for key in group.keys]
    by_layer = [weight for layer in model.layers for weight in layer.weights]
    for key, weight in zip(keys, by_layer, strict=True):
        np.testing.assert_array_equal(values[key], np.asarray(weight))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_rewritten_archive_loads_and_keeps_every_other_member(framework: Any, tmp_path: Path, method: int) -> None:
    model, other = trained(framework), trained(framework, 5)
    template, out = tmp_path / "template.keras", tmp_path / "out.keras"
    model.save(tmp_path / "saved.keras")
    with zipfile.ZipFile(tmp_path / "saved.keras") as saved, zipfile.ZipFile(template, "w") as file:
        for number, info in enumerate(saved.infolist()):
            new = zipfile.ZipInfo(info.filename, (2001 + number, 2, 3, 4, 5, 6))
            new.compress_type, new.comment = method, b"kept"
            file.writestr(new, saved.read(info))
        file.writestr("assets/word list.txt", "words")
    other.save(tmp_path / "other.keras")
    contents, source = open_contents(str(tmp_path / "other.keras"))
    tensors = {t.key: TensorSpec(t.key, t.shape, t.dtype) for t in contents.tensors if t.key.startswith("layers/")}
    write_like("hdf5", str(out), str(template), tensors, source)
    loaded = framework.models.load_model(out, compile=False)
    np.testing.assert_array_equal(outputs(loaded), outputs(other))
    with zipfile.ZipFile(template) as before, zipfile.ZipFile(out) as after:
        for old, new in zip(before.infolist(), after.infolist(), strict=True):
            assert (old.filename, old.date_time, old.compress_type, old.comment, old.external_attr) == (
                new.filename,
                new.date_time,
                new.compress_type,
                new.comment,
                new.external_attr,
            )
            assert old.filename == "model.weights.h5" or before.read(old) == after.read(new)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other.keras",
        "out.keras",
        "saved.keras",
        "template.keras",
    ]


def test_a_rewrite_that_fails_leaves_no_temporary(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.keras", members({"a/vars/0": counted((2,))}))
    _, source = open_contents(str(path))
    with pytest.raises(NotFoundError):
        write_like("hdf5", str(tmp_path / "b.keras"), str(path), {"x": TensorSpec("x", (2,), "float32")}, source)
    without = archive(tmp_path / "c.keras", {"config.json": b"{}"})
    with pytest.raises(UnsupportedError, match=r"no model\.weights\.h5"):
        write_like("hdf5", str(tmp_path / "b.keras"), str(without), {}, source)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.keras", "c.keras"]


@pytest.mark.parametrize(
    ("missing", "tensors", "damage", "notes"),
    [("model.weights.h5", 0, 1, 0), ("config.json", 1, 0, 1), ("metadata.json", 1, 0, 1)],
)
def test_missing_members(tmp_path: Path, missing: str, tensors: int, damage: int, notes: int) -> None:
    made = members({"a/vars/0": counted((2,))})
    del made[missing]
    contents, source = open_contents(str(archive(tmp_path / "a.keras", {**made, "assets/x": b""})))
    assert (len(contents.tensors), len(contents.damage), len(contents.notes)) == (tensors, damage, notes)
    if not tensors:
        with pytest.raises(NotFoundError):
            source.read_into("a/vars/0", 0, memoryview(bytearray(1)))


@pytest.mark.parametrize("config", [b"[" * 100_000, b" " * (9 << 20), b"{", b"[]", b'{"a": NaN'])
def test_a_broken_architecture_is_a_note(tmp_path: Path, config: bytes) -> None:
    made = {**members({"a/vars/0": counted((2,))}), "config.json": config}
    contents, source = open_contents(str(archive(tmp_path / "a.keras", made, zipfile.ZIP_DEFLATED)))
    assert isinstance(contents.structure, KerasV3)
    assert contents.structure.config is None
    assert "config.json is not read" in contents.notes[0]
    assert whole(source, "a/vars/0") == raw(counted((2,)))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.keras", members({"a/vars/0": counted((2,))}))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(FormatError, match="two members"):
        open_contents(str(path))


def test_a_checksum_is_verified_before_data_are_handed_out(tmp_path: Path) -> None:
    value = counted((100, 100))
    path = archive(tmp_path / "a.keras", members({"a/vars/0": value, "b/vars/0": counted((3,))}))
    data = bytearray(path.read_bytes())
    data[data.index(raw(value)) + 1000] ^= 1
    path.write_bytes(data)
    contents, source = open_contents(str(path))
    assert len(contents.tensors) == 2
    for _ in range(2):
        with pytest.raises(ChecksumError):
            source.read_into("b/vars/0", 0, memoryview(bytearray(4)))


def test_what_a_member_inflates_to_is_judged_by_the_archive(tmp_path: Path) -> None:
    """A sparse HDF5 file of zeros in a small archive: 300 MiB from 300 KiB."""
    made = members({"a/vars/0": counted((2,))})
    made["model.weights.h5"] += bytes(300 << 20)
    path = archive(tmp_path / "a.keras", made, zipfile.ZIP_DEFLATED)
    with pytest.raises(CkptkitError, match="too large to inflate"):
        open_contents(str(path))


def test_links_out_of_the_member_are_damage(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bait.h5", "w") as file:
        file["x"] = counted((2,))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a/vars/0"] = h5py.ExternalLink(str(tmp_path / "bait.h5"), "/x")
    made = {**members({}), "model.weights.h5": (tmp_path / "w.h5").read_bytes()}
    contents, _ = open_contents(str(archive(tmp_path / "a.keras", made)))
    assert contents.tensors == ()
    assert contents.damage == ("a/vars/0: a link to another file, which is not followed",)
