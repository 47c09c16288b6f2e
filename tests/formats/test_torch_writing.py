"""What is written as PyTorch's: archives laid out anew, and templates whose pickle stays as it is."""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, NotFoundError, RefusedError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.torch.pickling import pickled
from ckptkit.model import Contents, Layout, Placed, StoredTensor, TensorSpec
from tests.formats import writing
from tests.formats.conformance import counted, raw, whole
from tests.formats.test_torch import DTYPES
from tests.formats.torch_files import Call, Name, Storages, archive, ordered, rebuilt, stream, tar


class Arrays:
    """Arrays as a source."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        data = memoryview(raw(self.arrays[key]))
        for at in range(0, len(data), 8):
            buffer[: len(data[at : at + 8])] = data[at : at + 8]
            yield buffer[: len(data[at : at + 8])]


def write_new(path: Path, contents: Contents, arrays: Mapping[str, np.ndarray]) -> None:
    writing.write_new("torch", path, contents, Arrays(arrays))


def write_like(path: Path, template: Path, arrays: Mapping[str, np.ndarray]) -> None:
    specs = {key: TensorSpec(key, value.shape, value.dtype.name) for key, value in arrays.items()}
    writing.write_like("torch", path, template, specs, Arrays(arrays))


TENSORS = {"fc.weight": counted((3, 4)), "fc.bias": counted((3,), start=50), "scale": counted((), start=9)}


def contents_of(tensors: dict[str, np.ndarray], layout: Layout | None = None) -> Contents:
    listed = [StoredTensor(key, value.shape, value.dtype.name, value.nbytes) for key, value in tensors.items()]
    return Contents("torch", None, tuple(listed), layout=layout)


def read(path: Path) -> dict[str, bytes]:
    contents, source = open_contents(str(path))
    assert contents.damage == contents.wants == ()
    found = {tensor.key: whole(source, tensor.key) for tensor in contents.tensors}
    source.close()
    return found


def offsets(path: Path) -> list[int]:
    """Where each member's bytes begin."""
    found = []
    with zipfile.ZipFile(path) as opened, path.open("rb") as file:
        for entry in opened.infolist():
            file.seek(entry.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            found.append(entry.header_offset + 30 + name + extra)
    return found


def test_reads_back_in_order_and_aligned(tmp_path: Path) -> None:
    tensors = {f"of.{dtype}": counted((2, 3), dtype) for dtype in DTYPES} | {"empty": counted((0, 3)), **TENSORS}
    write_new(tmp_path / "a.pt", contents_of(tensors), tensors)
    found = read(tmp_path / "a.pt")
    assert list(found) == list(tensors)
    assert found == {key: raw(value) for key, value in tensors.items()}
    assert {at % 64 for at in offsets(tmp_path / "a.pt")} == {0}
    with zipfile.ZipFile(tmp_path / "a.pt") as opened:
        assert opened.testzip() is None
        assert opened.read("archive/version") == b"3\n"
        assert opened.read("archive/byteorder") == b"little"


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        write_new(tmp_path / name, contents_of(TENSORS), TENSORS)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_the_pickle_calls_nothing_but_torch() -> None:
    specs = [TensorSpec(f"of.{dtype}", (2, 300, 70000), dtype) for dtype in DTYPES]
    data = pickled(specs, {spec.name: number for number, spec in enumerate(specs)}, {"a": "b"})
    opcodes = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(data)]
    names = {argument for name, argument in opcodes if name == "GLOBAL"}
    assert all(
        name.startswith(("torch ", "torch._utils _rebuild_tensor_v", "torch.storage "))
        for name in names - {"collections OrderedDict"}
    )
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(data)) <= 2


def test_slashes_are_dictionaries(tmp_path: Path) -> None:
    tensors = {
        "model/fc.weight": counted((2,)),
        "model/inner/a": counted((3,)),
        "model/fc.weight/x": counted((4,)),
        "b": counted((5,)),
    }
    write_new(tmp_path / "a.pt", contents_of(tensors), tensors)
    assert read(tmp_path / "a.pt") == {key: raw(value) for key, value in tensors.items()}
    contents, source = open_contents(str(tmp_path / "a.pt"))
    source.close()
    assert contents.structure.places["model/inner/a"] == ("model", "inner", "a")  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", ["int4", "float8_e4m3b11fnuz", "qint8"])
def test_what_torch_cannot_hold_is_refused(tmp_path: Path, dtype: str) -> None:
    contents = Contents("torch", None, (StoredTensor("a", (2,), dtype, 2),))
    with pytest.raises(UnsupportedError, match="torch has no tensors"):
        write_new(tmp_path / "a.pt", contents, {"a": counted((2,), "uint8")})
    assert not (tmp_path / "a.pt").exists()


def test_an_order_that_nobody_knew_stays_unknown(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"b/kernel": counted((2, 3)), "a/kernel": counted((2, 3))})
    ckptkit.convert(tmp_path / "a.npz", tmp_path / "a.pt")
    with ckptkit.open(tmp_path / "a.pt") as found:
        assert found.order_source == "sorted"
        assert [variable.key for variable in found.spec.variables] == ["a.kernel", "b.kernel"]
        assert not any(layer.ordered for layer in found.layers)


def test_groups_of_keras_travel(tmp_path: Path) -> None:
    places = (Placed("b.weight", "b", "b/w:0"), Placed("a.weight", "a", "a/w:0"))
    tensors = {"b.weight": counted((2, 3)), "a.weight": counted((2, 3))}
    write_new(tmp_path / "a.pt", contents_of(tensors, Layout("legacy", places)), tensors)
    with ckptkit.open(tmp_path / "a.pt") as found:
        assert found.order_source == "stored"
        assert found.spec.layout == Layout("legacy", places)


def _template(wrap: object) -> bytes:
    storages = Storages()
    value = {
        "epoch": 3, "args": Call(Name("argparse", "Namespace"), (), state={"lr": 0.1}),
        "state_dict": ordered({key: storages.tensor(value) for key, value in TENSORS.items()}),
        "other": storages.tensor(counted((5,))),
    }  # fmt: skip
    return wrap(value, storages)  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize("wrap", [archive, stream])
def test_a_template_keeps_all_else(tmp_path: Path, wrap: object) -> None:
    template, out = tmp_path / "a.pt", tmp_path / "b.pt"
    template.write_bytes(_template(wrap))
    new = {"state_dict/fc.weight": counted((3, 4), start=300), "state_dict/scale": counted((), start=77)}
    write_like(out, template, new)
    assert read(out) == read(template) | {key: raw(value) for key, value in new.items()}
    if wrap is archive:
        with zipfile.ZipFile(template) as old, zipfile.ZipFile(out) as made:
            assert old.namelist() == made.namelist()
            assert old.read("archive/data.pkl") == made.read("archive/data.pkl")
    else:
        before, after = template.read_bytes(), out.read_bytes()
        assert len(before) == len(after)
        at = before.index(raw(TENSORS["fc.weight"]))
        assert before[: at - 8] == after[: at - 8]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((5, 4), (1, 5), 0), ((3, 2), (6, 2), 1), ((4,), (6,), 2), ((0, 3), (3, 1), 0), ((), (), 7)],
)
def test_views_of_a_template(tmp_path: Path, shape: tuple, strides: tuple, offset: int, big: bool) -> None:
    storages = Storages(big=big)
    base = counted((24,))
    value = {"a": rebuilt(storages.add(base), shape, strides, offset), "b": storages.tensor(counted((3,)))}
    (tmp_path / "a.pt").write_bytes(archive(value, storages, order="big" if big else "little"))
    new = counted(shape, start=500)
    write_like(tmp_path / "b.pt", tmp_path / "a.pt", {"a": new})
    assert read(tmp_path / "b.pt") == {"a": raw(new), "b": raw(counted((3,)))}


def test_bits_of_a_template(tmp_path: Path) -> None:
    storages = Storages()
    base = (counted((4,)) + 1j * counted((4,), start=9)).astype("complex64")
    value = rebuilt(storages.add(base), (4,), metadata={"conj": True, "neg": True}, dtype="complex64")
    (tmp_path / "a.pt").write_bytes(archive({"a": value}, storages))
    new = (counted((4,), start=3) - 1j * counted((4,), start=7)).astype("complex64")
    write_like(tmp_path / "b.pt", tmp_path / "a.pt", {"a": new})
    assert read(tmp_path / "b.pt") == {"a": raw(new)}


def _shared(tmp_path: Path) -> Path:
    storages = Storages()
    place = storages.add(counted((12,)))
    value = {
        "a": rebuilt(place, (12,)), "same": rebuilt(place, (12,)), "part": rebuilt(place, (4,), (1,), 2),
        "far": rebuilt(storages.add(counted((8,), start=40)), (4,)),
    }  # fmt: skip
    value["beside"] = rebuilt(value["far"].args[0], (4,), (1,), 4)
    (tmp_path / "a.pt").write_bytes(archive(value, storages))
    return tmp_path / "a.pt"


def test_shared_numbers_have_to_agree(tmp_path: Path) -> None:
    template, new = _shared(tmp_path), counted((12,), start=700)
    write_like(tmp_path / "b.pt", template, {"a": new, "same": new, "part": new[2:6]})
    assert read(tmp_path / "b.pt")["part"] == raw(new[2:6])
    write_like(tmp_path / "c.pt", template, {"far": counted((4,), start=900)})
    assert read(tmp_path / "c.pt")["beside"] == raw(counted((4,), start=44))
    for changed in (
        {"a": new},
        {"a": new, "same": new, "part": new[3:7]},
        {"part": new[:4]},
        {"a": new, "same": new + 1},
    ):
        with pytest.raises(RefusedError, match="shares its numbers"):
            write_like(tmp_path / "d.pt", template, changed)


def test_whole_shared_storages_are_streamed_together(tmp_path: Path) -> None:
    storages = Storages()
    place = storages.add(counted((12,)))
    (tmp_path / "a.pt").write_bytes(archive({"a": rebuilt(place, (12,)), "b": rebuilt(place, (3, 4))}, storages))
    new = counted((12,), start=70)
    write_like(tmp_path / "b.pt", tmp_path / "a.pt", {"a": new, "b": new.reshape(3, 4)})
    assert read(tmp_path / "b.pt") == {"a": raw(new), "b": raw(new)}
    with pytest.raises(RefusedError, match="shares its numbers"):
        write_like(tmp_path / "c.pt", tmp_path / "a.pt", {"a": new, "b": new.reshape(3, 4) + 1})


def test_expanded_tensors_have_to_stay_so(tmp_path: Path) -> None:
    storages = Storages()
    (tmp_path / "a.pt").write_bytes(archive({"a": rebuilt(storages.add(counted((3,))), (4, 3), (0, 1))}, storages))
    new = np.broadcast_to(counted((3,), start=60), (4, 3))
    write_like(tmp_path / "b.pt", tmp_path / "a.pt", {"a": np.ascontiguousarray(new)})
    assert read(tmp_path / "b.pt") == {"a": raw(np.ascontiguousarray(new))}
    with pytest.raises(RefusedError, match="shares its numbers"):
        write_like(tmp_path / "c.pt", tmp_path / "a.pt", {"a": counted((4, 3))})


def test_what_a_template_cannot_take(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(_template(archive))
    with pytest.raises(NotFoundError):
        write_like(tmp_path / "b.pt", tmp_path / "a.pt", {"nothing": counted((3,))})
    for value in (counted((4, 3)), counted((3, 4), "float64")):
        with pytest.raises(UnsupportedError, match="own shape and type"):
            write_like(tmp_path / "b.pt", tmp_path / "a.pt", {"state_dict/fc.weight": value})
    (tmp_path / "t.pt").write_bytes(tar(TENSORS))
    with pytest.raises(UnsupportedError, match="tar archive"):
        write_like(tmp_path / "b.pt", tmp_path / "t.pt", {"fc.bias": counted((3,))})
    assert not (tmp_path / "b.pt").exists()


def test_names_of_a_state_dict_stay_through_containers(tmp_path: Path) -> None:
    storages = Storages()
    names = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0", "module.fc.weight")
    value = {
        "state_dict": ordered(
            {name: storages.tensor(counted((4, 3), start=number)) for number, name in enumerate(names)}
        )
    }
    (tmp_path / "a.pt").write_bytes(archive(value, storages))
    for ending in (".safetensors", ".npz", ".pth", ".bin.index.json", ".safetensors.index.json"):
        ckptkit.convert(tmp_path / "a.pt", tmp_path / f"b{ending}")
        contents, source = open_contents(str(tmp_path / f"b{ending}"))
        source.close()
        assert sorted(tensor.key for tensor in contents.tensors) == sorted(names), ending
        ckptkit.convert(tmp_path / f"b{ending}", tmp_path / "c.pt", force=True)
        assert read(tmp_path / "c.pt") == {
            name: raw(counted((4, 3), start=number)) for number, name in enumerate(names)
        }


def test_names_of_others_get_dots_or_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"a/kernel": counted((2,)), "b/c/bias": counted((3,))})
    ckptkit.convert(tmp_path / "a.npz", tmp_path / "a.pt")
    assert set(read(tmp_path / "a.pt")) == {"a.kernel", "b.c.bias"}
    np.savez(tmp_path / "b.npz", **{"a/kernel.x": counted((2,)), "a/kernel/x": counted((3,))})
    with pytest.raises(CkptkitError, match="this name"):
        ckptkit.convert(tmp_path / "b.npz", tmp_path / "b.pt")
