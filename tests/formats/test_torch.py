"""Files of `torch.save` that are laid out byte by byte, so that none of these tests needs torch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.model import Contents, PickledState, TensorSource
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.torch_files import (
    CLASSES,
    Call,
    Name,
    Pers,
    Raw,
    Storages,
    archive,
    dump,
    ordered,
    rebuilt,
    stored,
    stream,
    tar,
)

DTYPES = (*CLASSES, "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")


def opened(path: Path, data: bytes) -> tuple[Contents, TensorSource]:
    path.write_bytes(data)
    return open_contents(str(path))


def values(data: bytes, path: Path) -> dict[str, bytes]:
    contents, source = opened(path, data)
    found = {tensor.key: whole(source, tensor.key, 1000) for tensor in contents.tensors}
    source.close()
    return found


def state(tensors: Tensors, storages: Storages) -> Call:
    return ordered({name: storages.tensor(value) for name, value in tensors.items()})


class TestArchive(FormatConformance):
    format = "torch"
    dtypes = DTYPES
    checksums = True

    def make(self, folder: Path, tensors: Tensors) -> str:
        storages = Storages()
        (folder / "model.pt").write_bytes(archive(state(tensors, storages), storages))
        return str(folder / "model.pt")


class TestStream(FormatConformance):
    format = "torch"
    dtypes = tuple(CLASSES)

    def make(self, folder: Path, tensors: Tensors) -> str:
        storages = Storages()
        (folder / "model.pth").write_bytes(stream(state(tensors, storages), storages))
        return str(folder / "model.pth")


class TestTar(FormatConformance):
    format = "torch"
    dtypes = tuple(CLASSES)

    def make(self, folder: Path, tensors: Tensors) -> str:
        (folder / "model.pt").write_bytes(tar(tensors))
        return str(folder / "model.pt")


class TestBigEndian(FormatConformance):
    format = "torch"
    dtypes = tuple(CLASSES)
    checksums = False

    def make(self, folder: Path, tensors: Tensors) -> str:
        storages = Storages(big=True)
        (folder / "model.bin").write_bytes(archive(state(tensors, storages), storages, order="big"))
        return str(folder / "model.bin")


class TestCompressed(FormatConformance):
    format = "torch"
    dtypes = DTYPES

    def make(self, folder: Path, tensors: Tensors) -> str:
        storages = Storages()
        data = archive(state(tensors, storages), storages, method=zipfile.ZIP_DEFLATED, prefix="some name/")
        (folder / "model.ckpt").write_bytes(data)
        return str(folder / "model.ckpt")


VIEWS = {
    "transposed": ((5, 4), (1, 5), 0),
    "permuted": ((2, 3, 2), (1, 6, 2), 3),
    "slice": ((3, 2), (6, 2), 1),
    "expanded": ((4, 3), (0, 1), 2),
    "one": ((1, 1), (9, 7), 5),
    "scalar": ((), (), 23),
    "row": ((4,), (1,), 8),
    "diagonal": ((4,), (6,), 0),
    "empty": ((0, 3), (3, 1), 0),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("wrap", [archive, stream])
@pytest.mark.parametrize("pieces", [4, 100])
def test_views(tmp_path: Path, view: str, wrap: object, pieces: int) -> None:
    shape, strides, offset = VIEWS[view]
    base = counted((24,))
    storages = Storages()
    tensor = rebuilt(storages.add(base), shape, strides, offset)
    wanted = np.lib.stride_tricks.as_strided(base[offset:], shape, [4 * stride for stride in strides])
    contents, source = opened(tmp_path / "a.pt", wrap({"a": tensor, "b": tensor}, storages))  # type: ignore[operator]
    assert contents.tensors[0].shape == shape
    assert whole(source, "a", pieces) == raw(wanted)
    if wanted.size > 2:
        buffer = bytearray(6)
        source.read_into("a", 3, memoryview(buffer))
        assert buffer == raw(wanted)[3:9]
    source.close()


def test_a_large_transposed_tensor_is_gathered_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ckptkit.formats.torch import strided

    monkeypatch.setattr(strided, "_PIECE_BYTES", 5000)
    monkeypatch.setattr(strided, "_NEAR_BYTES", 512)
    base = counted((70, 30, 11))
    storages = Storages()
    for axes in [(2, 1, 0), (1, 2, 0), (0, 2, 1), (2, 0, 1)]:
        turned = base.transpose(axes)
        tensor = rebuilt(storages.add(base), turned.shape, [step // 4 for step in turned.strides])
        assert values(archive({"a": tensor}, storages), tmp_path / "a.pt")["a"] == raw(turned)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_conjugate_and_negative_bits(tmp_path: Path, big: bool, dtype: str) -> None:
    base = (counted((3, 4)) + 1j * counted((3, 4), start=50)).astype(dtype)
    storages = Storages(big=big)
    place = storages.add(base)
    bits = {
        "conj": ({"conj": True}, base.conj()),
        "neg": ({"neg": True}, -base),
        "both": ({"conj": True, "neg": True}, -base.conj()),
    }
    tensors = {name: rebuilt(place, (3, 4), metadata=found, dtype=dtype) for name, (found, _) in bits.items()}
    found = values(archive(tensors, storages, order="big" if big else "little"), tmp_path / "a.pt")
    assert found == {name: raw(wanted) for name, (_, wanted) in bits.items()}


def test_bits_of_real_numbers(tmp_path: Path) -> None:
    base = counted((6,))
    storages = Storages()
    tensor = rebuilt(storages.add(base), (3,), (2,), 1, metadata=ordered({"neg": True}))
    assert values(archive({"imag": tensor}, storages), tmp_path / "a.pt") == {"imag": raw(-base[1::2])}


def test_an_untyped_storage_of_the_other_byte_order_is_not_guessed(tmp_path: Path) -> None:
    storages = Storages()
    tensor = storages.tensor(counted((3,), "uint16"))
    contents, source = opened(tmp_path / "a.pt", archive({"a": tensor}, storages, order="big"))
    assert "byte order" in str(contents.tensors[0].problem)
    with pytest.raises(UnsupportedError):
        whole(source, "a")
    source.close()


PARAMETER = "torch._utils", "_rebuild_parameter"


def _array(value: np.ndarray, order: str = "<") -> Call:
    dtype = Call(
        Name("numpy", "dtype"), (value.dtype.str[1:], False, True), state=(3, order, None, None, None, -1, -1, 0)
    )
    data = value.astype(value.dtype.newbyteorder(order)).tobytes()
    made = Call(Name("numpy._core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b"))
    return Call(made.of, made.args, state=(1, value.shape, dtype, False, data))


def test_what_else_is_a_tensor(tmp_path: Path) -> None:
    storages = Storages()
    value = counted((2, 3))
    plain = storages.tensor(value)
    found = {
        "parameter": Call(Name(*PARAMETER), (plain, True, ordered({}))),
        "frozen": Call(Name("torch._utils", "_rebuild_parameter_with_state"), (plain, False, ordered({}), {})),
        "buffer": Call(
            Name("torch._tensor", "_rebuild_from_type_v2"), (plain.of, Name("torch", "Tensor"), plain.args, {"a": True})
        ),
        "xla": Call(
            Name("torch._utils", "_rebuild_device_tensor_from_numpy"),
            (_array(value), Name("torch", "float32"), "xla:0", False),
        ),
        "array": _array(counted((4,), "float64"), ">"),
        "old": Call(Name("torch._utils", "_rebuild_tensor"), plain.args[:4]),
    }
    contents, source = opened(tmp_path / "a.pt", archive(found, storages))
    assert contents.wants == ()
    listed = {tensor.key: tensor for tensor in contents.tensors}
    assert [listed[key].trainable for key in found] == [True, False, None, None, None, None]
    for key in found:
        assert whole(source, key) == raw(counted((4,), "float64") if key == "array" else value), key
    source.close()


NOT_MOVED = {
    "quantized": lambda plain: Call(Name("torch._utils", "_rebuild_qtensor"), (
        Pers(("storage", Name("torch", "QInt8Storage"), "0", "cpu", 24)), 0, (24,), (1,),
        (Name("torch", "per_tensor_affine"), 0.5, 0), False, ordered({}),
    )),
    "sparse": lambda plain: Call(Name("torch._utils", "_rebuild_sparse_tensor"), (
        Call(Name("torch.serialization", "_get_layout"), ("torch.sparse_coo",)),
        (plain, plain, Call(Name("torch", "Size"), ((9, 9),)), True),
    )),
    "csr": lambda plain: Call(Name("torch._utils", "_rebuild_sparse_tensor"), (
        Call(Name("torch.serialization", "_get_layout"), ("torch.sparse_csr",)), (plain, plain, plain, (9, 9)),
    )),
    "meta": lambda plain: Call(
        Name("torch._utils", "_rebuild_meta_tensor_no_storage"), (Name("torch", "float16"), (7, 2), (2, 1), False)
    ),
    "class": lambda plain: Call(
        Name("torch._tensor", "_rebuild_from_type_v2"), (plain.of, Name("mine", "Tensor"), plain.args, {})
    ),
    "storage": lambda plain: plain.args[0],
}  # fmt: skip


@pytest.mark.parametrize("kind", NOT_MOVED)
def test_shown_and_not_moved(tmp_path: Path, kind: str) -> None:
    storages = Storages()
    plain = storages.tensor(counted((2, 3)))
    storages.held["0"] = counted((2, 3)).tobytes()
    contents, source = opened(tmp_path / "a.pt", archive({"a": NOT_MOVED[kind](plain), "b": plain}, storages))
    source.close()
    assert contents.tensors[0].problem
    with pytest.raises(CkptkitError):
        ckptkit.convert(tmp_path / "a.pt", tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


def test_an_archive_without_checksums(tmp_path: Path) -> None:
    storages = Storages()
    value = counted((50,))
    data = archive({"a": storages.tensor(value)}, storages)
    with zipfile.ZipFile(tmp_path / "x", "w"):
        pass
    blank = bytearray(data)
    for signature, at in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        begin = 0
        while (begin := data.find(signature, begin)) >= 0:
            blank[begin + at : begin + at + 4] = bytes(4)
            begin += 4
    contents, source = opened(tmp_path / "a.pt", bytes(blank))
    assert any("without checksums" in note for note in contents.notes)
    assert whole(source, "a") == raw(value)
    source.close()


def test_a_part_of_a_storage_is_verified_by_all_of_it(tmp_path: Path) -> None:
    storages = Storages()
    tensor = rebuilt(storages.add(counted((50,))), (5,), (1,), 2)
    data = bytearray(archive({"a": tensor}, storages))
    data[data.index(counted((50,)).tobytes()) + 190] ^= 1
    _, source = opened(tmp_path / "a.pt", bytes(data))
    with pytest.raises(CkptkitError, match="checksum"):
        whole(source, "a")
    source.close()


def test_bfloat16_of_the_other_byte_order(tmp_path: Path) -> None:
    value = counted((3, 5)).astype(ml_dtypes.bfloat16)
    storages = Storages(big=True)
    assert values(archive({"a": storages.tensor(value)}, storages, order="big"), tmp_path / "a.pt") == {"a": raw(value)}


def test_text_of_python_2(tmp_path: Path) -> None:
    storages = Storages()
    tensor = storages.tensor(counted((3,)))
    key = Raw(b"U\x06fc.\xc3\xbca")
    of_pairs = Call(Name("collections", "OrderedDict"), ([[key, tensor]],))
    assert list(values(stream(of_pairs, storages), tmp_path / "a.pt")) == ["fc.üa"]


def test_views_of_storages_in_streams(tmp_path: Path) -> None:
    base = counted((20,))
    storages = Storages()
    place = storages.add(base)
    view = Pers((*place.id, ("9", 5, 6)))
    inside, outside = rebuilt(view, (2, 3)), rebuilt(view, (2, 4))
    assert values(stream({"a": inside}, storages), tmp_path / "a.pt") == {"a": raw(base[5:11])}
    contents, source = opened(tmp_path / "b.pt", stream({"a": outside}, storages))
    source.close()
    assert contents.damage


def test_what_lies_beside(tmp_path: Path) -> None:
    storages = Storages()
    value = {
        "epoch": 7, "lr": 0.5, "name": "x", "none": None, "flags": [True, False],
        "state_dict": state({"fc.weight": counted((2, 3))}, storages),
        "args": Call(Name("argparse", "Namespace"), (), state={"lr": 0.1, "path": Call(Name("pathlib", "PosixPath"), ("a",))}),
        "dtype": Name("torch", "float16"), "device": Call(Name("torch", "device"), ("cpu",)),
        "best": Call(Name("numpy.core.multiarray", "scalar"), (
            Call(Name("numpy", "dtype"), ("f8", 0, 1), state=(3, "<", None, None, None, -1, -1, 0)),
            np.float64(0.25).tobytes(),
        )),
    }  # fmt: skip
    contents, source = opened(tmp_path / "a.pt", archive(value, storages))
    source.close()
    assert contents.wants == ()
    assert isinstance(contents.structure, PickledState)
    plain = contents.structure.plain
    assert (plain["epoch",], plain["lr",], plain["flags",], plain["best",]) == (7, 0.5, (True, False), 0.25)
    assert any("argparse.Namespace (args)" in note for note in contents.notes)
    assert ckptkit.diff(tmp_path / "a.pt", tmp_path / "a.pt").verdict == "identical"


WANTED = {
    "a call": Call(Name("os", "system"), ("true",)),
    "a function": Name("torch.nn.functional", "relu"),
    "a class": Call(Name("mine", "Config"), (), state={"a": 1}),
    "a list item": [1, Call(Name("builtins", "eval"), ("1",))],
    "inside a record": Call(Name("argparse", "Namespace"), (), state={"a": Call(Name("posix", "system"), ("x",))}),
    "an argument": Call(Name("argparse", "Namespace"), (Call(Name("mine", "f"), ()),)),
    "a computed class": Call(Call(Name("builtins", "getattr"), (Name("os", "path"), "join")), ("a",)),
    "a key": {Call(Name("mine", "Key"), ()): 1},
    "a forgotten value": Raw(b"cos\nsystem\n(tR0N"),
    "an attribute of a dictionary": ordered({"a": 1}, {"b": Call(Name("mine", "f"), ())}),
    "metadata of a state dict": ordered({}, {"_metadata": ordered({"a": Call(Name("mine", "f"), ())})}),
    "hooks of a tensor": Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (stored("0", 6), 0, (2, 3), (3, 1), False, Call(Name("mine", "f"), ())),
    ),
    "the state of a parameter": Call(
        Name("torch._utils", "_rebuild_parameter_with_state"),
        (rebuilt(stored("0", 6), (2, 3)), True, ordered({}), {"a": Call(Name("mine", "f"), ())}),
    ),
    "the location of a storage": rebuilt(
        Pers(("storage", Name("torch", "FloatStorage"), "0", Call(Name("mine", "f"), ()), 6)), (2, 3)
    ),
    "what a default is made by": Call(Name("collections", "defaultdict"), (Name("mine", "f"),)),
}


@pytest.mark.parametrize("kind", WANTED)
def test_whatever_else_is_named_and_refused(tmp_path: Path, kind: str) -> None:
    storages = Storages()
    value = {"model": state({"fc.weight": counted((2, 3))}, storages), "more": WANTED[kind]}
    path = tmp_path / "a.pt"
    path.write_bytes(archive(value, storages))
    found = ckptkit.inspect(path)
    assert found.spec.wants
    assert "fc.weight" in "".join(variable.key for variable in found.spec.variables)
    np.savez(tmp_path / "b.npz", **{"fc.weight": counted((2, 3))})
    for call in (
        lambda: ckptkit.diff(path, tmp_path / "b.npz"),
        lambda: ckptkit.diff(tmp_path / "b.npz", path),
        lambda: ckptkit.convert(path, tmp_path / "c.npz"),
        lambda: ckptkit.remap(path, tmp_path / "b.npz", tmp_path / "c.npz"),
        lambda: ckptkit.remap(tmp_path / "b.npz", path, tmp_path / "c.pt"),
    ):
        with pytest.raises(UnsupportedError, match="never makes"):
            call()
    assert not list(tmp_path.glob("c.*"))


def test_a_module_is_shown_as_its_state_dict(tmp_path: Path) -> None:
    storages = Storages()
    weight = Call(Name(*PARAMETER), (storages.tensor(counted((2, 3))), True, ordered({})))
    linear = Call(Name("torch.nn.modules.linear", "Linear"), (), state={
        "training": True, "_parameters": ordered({"weight": weight, "bias": None}), "_buffers": ordered({}),
        "_modules": ordered({}),
    })  # fmt: skip
    net = Call(Name("__main__", "Net"), (), state={
        "training": True, "_parameters": ordered({}), "_buffers": ordered({"mean": storages.tensor(counted((4,)))}),
        "_modules": ordered({"fc": linear}),
    })  # fmt: skip
    contents, source = opened(tmp_path / "a.pt", archive(net, storages))
    assert contents.wants == ("__main__.Net", "torch.nn.modules.linear.Linear")
    assert [tensor.key for tensor in contents.tensors] == ["mean", "fc/weight"]
    assert whole(source, "fc/weight") == raw(counted((2, 3)))
    source.close()


def test_a_tensor_in_a_record_is_shown(tmp_path: Path) -> None:
    storages = Storages()
    record = Call(Name("argparse", "Namespace"), (), state={"a": storages.tensor(counted((3,)))})
    assert list(values(archive({"args": record}, storages), tmp_path / "a.pt")) == ["args/a"]


FOUR = rebuilt(stored("0", 4), (4,))

DAMAGED = {
    "no storage": lambda: archive({"a": rebuilt(stored("5", 4), (4,))}),
    "a storage that is too short": lambda: archive({"a": rebuilt(stored("0", 5), (4,))}, _one(4)),
    "a storage that is too long": lambda: archive({"a": rebuilt(stored("0", 3), (3,))}, _one(4)),
    "behind its storage": lambda: archive({"a": rebuilt(stored("0", 4), (5,))}, _one(4)),
    "an offset behind its storage": lambda: archive({"a": rebuilt(stored("0", 4), (2,), (1,), 3)}, _one(4)),
    "strides behind its storage": lambda: archive({"a": rebuilt(stored("0", 4), (2, 2), (3, 1))}, _one(4)),
    "a huge claim": lambda: archive({"a": rebuilt(stored("0", 4), (1 << 40, 1 << 20))}, _one(4)),
    "a path for a storage": lambda: archive({"a": rebuilt(stored("../version", 4), (4,))}, _one(4)),
}


def _one(items: int) -> Storages:
    storages = Storages()
    storages.add(counted((items,)))
    return storages


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_ends_behind_its_storage_is_damage(tmp_path: Path, kind: str) -> None:
    contents, source = opened(tmp_path / "a.pt", DAMAGED[kind]())
    assert contents.damage
    assert contents.tensors[0].problem
    with pytest.raises(CkptkitError):
        whole(source, "a")
    source.close()
    with pytest.raises(FormatError, match="damaged"):
        ckptkit.convert(tmp_path / "a.pt", tmp_path / "b.npz")


def _nested(depth: int) -> bytes:
    return b"\x80\x02" + b"}X\x01\0\0\0a" * depth + b"N" + b"s" * depth + b"."


MALFORMED = {
    "no pickle": lambda: archive(b"nothing"),
    "an empty pickle": lambda: archive(b""),
    "a pickle without an end": lambda: archive(dump({"a": 1})[:-1]),
    "several values": lambda: archive(b"\x80\x02NN."),
    "a mark": lambda: archive(b"\x80\x02(."),
    "nothing on the stack": lambda: archive(b"\x80\x020."),
    "an unknown memo": lambda: archive(b"\x80\x02h\x05."),
    "an extension": lambda: archive(b"\x80\x02\x82\x01."),
    "a buffer": lambda: archive(b"\x80\x05\x97."),
    "odd pairs": lambda: archive(b"\x80\x02}(Nu."),
    "items of a number": lambda: archive(b"\x80\x02K\x01(K\x01K\x02u."),
    "a state of a number": lambda: archive(b"\x80\x02K\x01}b."),
    "an endless text": lambda: archive(b"\x80\x02X\xff\xff\xff\x7fabc."),
    "an endless text of 64 bits": lambda: archive(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc."),
    "a long integer": lambda: archive(b"\x80\x02\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b"."),
    "digits": lambda: archive(b"\x80\x02I" + b"9" * 5000 + b"\n."),
    "an odd escape": lambda: archive(b"\x80\x02S'\\q'\n."),
    "a text that is no text": lambda: archive(b"\x80\x02X\x02\0\0\0\xff\xfe."),
    "a negative size": lambda: archive({"a": rebuilt(stored("0", 4), (-1,))}, _one(4)),
    "a text for a size": lambda: archive({"a": rebuilt(stored("0", 4), ("1",), (1,))}, _one(4)),
    "strides of another rank": lambda: archive({"a": rebuilt(stored("0", 4), (4,), (1, 1))}, _one(4)),
    "too many axes": lambda: archive({"a": rebuilt(stored("0", 4), (1,) * 65)}, _one(4)),
    "an unknown storage": lambda: archive({"a": rebuilt(stored("0", 4, kind=Name("torch", "MyStorage")), (4,))}, _one(4)),
    "a storage of somebody's": lambda: archive(
        {"a": rebuilt(stored("0", 4, kind=Name("mine", "FloatStorage")), (4,))}, _one(4)
    ),
    "no storage at all": lambda: archive({"a": rebuilt(None, (4,))}, _one(4)),
    "an unknown bit": lambda: archive({"a": rebuilt(stored("0", 4), (4,), metadata={"odd": True})}, _one(4)),
    "no arguments": lambda: archive({"a": Call(Name("torch._utils", "_rebuild_tensor_v2"), ())}),
    "parameters of parameters": lambda: archive({"a": _parameters(20)}, _one(4)),
    "a name twice": lambda: archive(Raw(b"}(" + 2 * (b"X\x01\0\0\0a" + dump(FOUR)[2:-1]) + b"u"), _one(4)),
    "a name in two ways": lambda: archive({"a": {"b": FOUR}, "a/b": FOUR}, _one(4)),
    "a dictionary in itself": lambda: archive(b"\x80\x02}q\0X\x01\0\0\0ah\0s."),
    "a list in itself": lambda: archive(b"\x80\x02]q\0h\0a."),
    "a call in itself": lambda: archive(b"\x80\x02cmine\nA\n)Rq\0h\0b."),
    "two pickles": lambda: archive({}, more={"other/data.pkl": dump({})}),
    "no such byte order": lambda: archive({}, order="middle"),
    "a member twice": lambda: archive({}, more={"archive/byteorder": b"big"}),
    "a member outside": lambda: archive({}, more={"../../x": b""}),
    "a stream of another version": lambda: dump(0x1950A86A20F9469CFC6C) + dump(1002) + dump({}) + dump({}) + dump([]),
    "a stream that is cut": lambda: stream({"a": FOUR}, _one(4))[:-1],
    "a stream with more": lambda: stream({"a": FOUR}, _one(4)) + b"\0",
    "a stream of two types": lambda: stream({"a": FOUR, "b": rebuilt(stored("0", 2, "float64"), (2,))}, _one(4)),
    "a stream of unknown storages": lambda: stream({}, _one(4)),
    "a tar archive that is cut": lambda: tar({"a": counted((300,))})[:-10_500],
}  # fmt: skip


def _parameters(depth: int) -> Call:
    value = FOUR
    for _ in range(depth):
        value = Call(Name(*PARAMETER), (value, True, ordered({})))
    return value


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(MALFORMED[kind]())
    with pytest.raises((FormatError, UnsupportedError, LimitError)) as caught:
        open_contents(str(path))
    assert len(str(caught.value).splitlines()) == 1


TOO_MUCH = {
    "memos that double": lambda: archive(b"\x80\x02]q\x000(h\x00h\x00lq\x010" + b"".join(
        b"(h" + bytes([level]) + b"h" + bytes([level]) + b"lq" + bytes([level + 1]) + b"0" for level in range(1, 60)
    ) + b"h\x3c."),
    "a wide list at many places": lambda: archive(
        b"\x80\x02](" + b"K\x01" * 200_000 + b"eq\x000(" + b"h\x00" * 200_000 + b"t."
    ),
    "depth": lambda: archive(_nested(100_000)),
    "opcodes": lambda: archive(b"\x80\x02(" + b"]" * 3_100_000 + b"t."),
    "a long pickle": lambda: archive(b"\x80\x02X" + (65 << 20).to_bytes(4, "little") + bytes(65 << 20) + b"."),
    "a tensor that says one number again and again": lambda: archive(
        {"a": rebuilt(stored("0", 4), (1 << 30, 1 << 30), (0, 0))}, _one(4)
    ),
    "many tensors of one storage": lambda: archive(
        {str(number): rebuilt(stored("0", 1 << 20), (1 << 20,)) for number in range(300)}, _one(1 << 20)
    ),
    "an archive that inflates": lambda: archive({}, Storages({"0": bytes(600 << 20)}), method=zipfile.ZIP_DEFLATED),
    "a name": lambda: archive({"a" * 5000: FOUR}, _one(4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_limits(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(TOO_MUCH[kind]())
    with pytest.raises(LimitError):
        open_contents(str(path))


def test_nothing_is_imported_or_called(tmp_path: Path) -> None:
    import sys

    mark = tmp_path / "mark"
    calls = [
        Call(Name("os", "system"), (f"touch {mark}",)),
        Call(Name("subprocess", "Popen"), (["touch", str(mark)],)),
        Call(Name("builtins", "exec"), (f"open({str(mark)!r}, 'w')",)),
        Call(Name("torch.hub", "load"), ("a", "b")),
        Call(Name("antigravity", "fly"), ()),
    ]
    before = set(sys.modules)
    for call in calls:
        for data in (
            archive(call),
            archive({"a": call}),
            stream([call]),
            archive(ordered({"a": 1}, {"_metadata": call})),
        ):
            (tmp_path / "a.pt").write_bytes(data)
            try:
                _, source = open_contents(str(tmp_path / "a.pt"))
            except CkptkitError:
                continue
            source.close()
    assert not mark.exists()
    assert not {
        name for name in set(sys.modules) - before if name.partition(".")[0] in ("antigravity", "torch", "subprocess")
    }


@pytest.mark.parametrize("data", [dump({"a": 1}), dump(3), b"\x80\x04K\x01."])
def test_another_pickle_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(UnsupportedError, match="pickle"):
        open_contents(str(tmp_path / "a.pkl"))
