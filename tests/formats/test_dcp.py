"""Folders of `torch.distributed.checkpoint`, laid out byte by byte: none of these tests needs torch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

import ckptkit
from ckptkit.errors import CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.dcp import items
from ckptkit.formats.locate import locate
from ckptkit.model import PickledState
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.dcp_files import FILES, HERE, Folder, grid, made, properties, saved, size
from tests.formats.test_torch import DTYPES
from tests.formats.torch_files import CLASSES, Call, Name, Raw, Storages, archive, dump


class TestWhole(FormatConformance):
    format = "torch-distributed"
    dtypes = DTYPES
    checksums = True

    def make(self, folder: Path, tensors: Tensors) -> str:
        made = Folder()
        for name, value in tensors.items():
            made.tensor(name, value)
        return made.write(folder / "run")

    def data_file(self, path: str) -> Path:
        return Path(path, "__0_0.distcp")


class TestAlongTheFirstAxis(TestWhole):
    def make(self, folder: Path, tensors: Tensors) -> str:
        made = Folder(old=True)
        for name, value in tensors.items():
            made.tensor(name, value, grid(value.shape, {0: 2}) if value.ndim and value.size else None)
        return made.write(folder / "run")

    def test_flipped_bits_are_found(self, tmp_path: Path) -> None:
        value = counted((5, 7))
        path = Path(self.make(tmp_path, {"value": value}))
        for rank, start in ((0, 0), (1, 2), (0, 4)):
            file = path / f"__{rank}_0.distcp"
            data = file.read_bytes()
            at = data.index(raw(value[start]))
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert self._judge(str(path), {"value": value}) == 1
            file.write_bytes(data)
        assert self._judge(str(path), {"value": value}) == 0


class TestInATable(TestAlongTheFirstAxis):
    def make(self, folder: Path, tensors: Tensors) -> str:
        made = Folder()
        for name, value in tensors.items():
            steps = dict.fromkeys(range(value.ndim), 2) if value.size < 50 else {0: 150, 1: 33}
            made.tensor(name, value, grid(value.shape, steps) if value.ndim and value.size else None)
        return made.write(folder / "run")

    def test_flipped_bits_are_found(self, tmp_path: Path) -> None:
        value = counted((5, 7))
        path = Path(self.make(tmp_path, {"value": value}))
        file = path / "__1_0.distcp"
        data = file.read_bytes()
        at = data.index(raw(value[:2, 2:4]))
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert self._judge(str(path), {"value": value}) == 1


class TestPlain(FormatConformance):
    """Items of `SerializationFormat.SAFETENSORS`: a file of them begins where all of its items are said to."""

    format = "torch-distributed"
    dtypes = tuple(dtype for dtype in CLASSES if not dtype.startswith("complex128"))
    odd_names = ("ünï/名", "a b", "[bold]x[/bold]", "dot.ted")

    def make(self, folder: Path, tensors: Tensors) -> str:
        import json

        made, data, entries, at = Folder(), b"", {}, 0
        words = {
            "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
            "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
        }  # fmt: skip
        made.object("epoch", archive({"epoch": 3}))
        begin = len(made.data["__0_0.distcp"])
        for name, value in tensors.items():
            made.tensor(name, value)
            bounds = [at, at + value.nbytes]
            entries[name] = {"dtype": words[value.dtype.name], "shape": list(value.shape), "data_offsets": bounds}
            data, at = data + raw(value), at + value.nbytes
            made.places[-1][1].state.update(offset=begin, length=value.nbytes)
        header = json.dumps(entries).encode()
        made.data = {
            "__0_0.distcp": made.data["__0_0.distcp"][:begin] + len(header).to_bytes(8, "little") + header + data
        }
        return made.write(folder / "run")

    def data_file(self, path: str) -> Path:
        return Path(path, "__0_0.distcp")


def opened(path: str) -> tuple[Any, Any]:
    contents, source = open_contents(path)
    source.close()
    assert isinstance(contents.structure, PickledState)
    return contents, contents.structure


def test_keys_are_the_dictionaries_that_were_made_one(tmp_path: Path) -> None:
    made = Folder()
    made.tensor("model.fc.weight", counted((3, 2)), path=("model", "fc.weight"))
    made.tensor("optim.state.fc.weight.exp_avg", counted((3, 2)), path=("optim", "state", "fc.weight", "exp_avg"))
    made.object("optim.param_groups.0.params", archive(["fc.weight"]), ("optim", "param_groups", 0, "params"))
    made.object("epoch", archive(dump(4)))
    contents, structure = opened(made.write(tmp_path / "run"))
    assert [tensor.key for tensor in contents.tensors] == ["model/fc.weight", "optim/state/fc.weight/exp_avg"]
    assert structure.plain == {("optim", "param_groups", "0", "params"): ("fc.weight",), ("epoch",): 4}
    assert "beside the tensors: epoch = 4" in contents.notes
    spec = ckptkit.open(tmp_path / "run").spec
    assert [(each.slot_of, each.kind) for each in spec.variables if each.kind == "slot"] == [("fc/weight", "slot")]


def test_slots_whose_dictionaries_were_made_one_belong_to_their_weights(tmp_path: Path) -> None:
    made = Folder()
    made.tensor("fc.weight", counted((3, 2)))
    for name in ("state.fc.weight.exp_avg", "state.machine.weight"):
        made.tensor(f"optimizer.{name}", counted((3, 2)), path=("optimizer", name))
    spec = ckptkit.open(made.write(tmp_path / "run")).spec
    assert {each.name: (each.kind, each.slot_of) for each in spec.variables} == {
        "fc/weight": ("weight", None), "fc/weight/exp_avg": ("slot", "fc/weight"),
        "optimizer/state/machine/weight": ("weight", None),
    }  # fmt: skip


def test_order_is_the_planner_s(tmp_path: Path) -> None:
    made = Folder()
    for name in ("layers.0.w", "layers.1.w", "head.w"):
        made.tensor(name, counted((2, 3)))
    made.listed = dict(sorted(made.listed.items()))
    contents, structure = opened(made.write(tmp_path / "run"))
    assert [tensor.key for tensor in contents.tensors] == ["layers.0.w", "layers.1.w", "head.w"]
    assert not structure.unordered
    made.planned = {name: made.planned[name] for name in ("layers.1.w", "head.w", "layers.0.w")}
    assert opened(made.write(tmp_path / "stages"))[1].unordered
    boxes = [((0, 0), (1, 3)), ((1, 0), (1, 3))]
    made.tensor("layers.2.w", counted((2, 3)), boxes)  # a second file, and no planner
    assert opened(made.write(tmp_path / "none", made.metadata(planner_data=None)))[1].unordered


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([((0, 0), (2, 4))], "nothing is at [2, 0]"),
        ([((0, 0), (3, 4)), ((1, 0), (2, 4))], "[0:3, 0:4] and [1:3, 0:4] overlap"),
        ([((0, 0), (3, 2)), ((0, 2), (2, 2))], "nothing is at [2, 2]"),
        ([((0, 0), (3, 5))], "reaches beyond"),
        ([((0,), (3,))], "reaches beyond"),
        ([], "elements are missing|nothing is at"),
    ],
)
def test_parts_that_are_not_the_whole(tmp_path: Path, boxes: Any, said: str) -> None:
    made = Folder()
    value = counted((3, 4))
    made.tensor("a", value)
    sound = made.listed["a"].state
    sound["chunks"] = [
        Call(Name(HERE, "ChunkStorageMetadata"), state={"offsets": size(at), "sizes": size(n)}) for at, n in boxes
    ]
    made.tensor("b", value)
    contents, source = open_contents(made.write(tmp_path / "run"))
    problem = contents.tensors[0].problem
    assert problem is not None
    assert any(each in problem for each in said.split("|"))
    assert contents.damage == (f"a: {problem}",)
    with pytest.raises(FormatError):
        whole(source, "a")
    assert whole(source, "b") == raw(value)
    source.close()
    with pytest.raises(CkptkitError):
        ckptkit.diff(tmp_path / "run", tmp_path / "run")


def test_what_is_not_there(tmp_path: Path) -> None:
    made = Folder()
    value = counted((4, 3))
    made.tensor("a", value, grid((4, 3), {0: 2}))
    path = Path(made.write(tmp_path / "run"))
    made.places.pop()
    assert "nothing says where its part [2:4, 0:3] lies" in opened(made.write(tmp_path / "no_place"))[0].damage[0]
    data = (path / "__1_0.distcp").read_bytes()
    (path / "__1_0.distcp").write_bytes(data[:-1])
    cut = f"__1_0.distcp is cut short: {len(data)} bytes are needed, {len(data) - 1} are there"
    assert opened(str(path))[0].damage == (f"a: {cut}",)
    (path / "__1_0.distcp").unlink()
    assert "__1_0.distcp" in opened(str(path))[0].damage[0]
    (path / ".metadata").rename(path / ".metadata.tmp")
    for typed in (path, path / "__0_0.distcp"):
        with pytest.raises(FormatError, match="writing was not finished.*\\.metadata\\.tmp"):
            locate(typed)


def test_ranks_that_wrote_each_for_itself(tmp_path: Path) -> None:
    value, copy = counted((4, 3)), counted((5,))
    boxes = grid((4, 3), {0: 2})
    for rank in range(2):
        made = Folder()
        made.tensor("a", value)
        made.listed["a"].state["chunks"] = [
            Call(Name(HERE, "ChunkStorageMetadata"), state={"offsets": size(boxes[rank][0]), "sizes": size((2, 3))})
        ]
        made.data, made.places = {}, []
        made.place("a", boxes[rank][0], saved(value[2 * rank : 2 * rank + 2]), f"__{rank}_0.distcp")
        made.tensor("b", copy + rank, ranks=1)
        made.data[f"__{rank}_0.distcp"] = made.data.get(f"__{rank}_0.distcp", b"")
        if rank:  # both wrote into a file of their own
            item = saved(copy + rank)
            made.data = {"__1_0.distcp": made.data["__1_0.distcp"] + item}
            made.places[-1][1].state.update(
                relative_path="__1_0.distcp", offset=len(made.data["__1_0.distcp"]) - len(item), length=len(item)
            )
        made.write(tmp_path / "run", name=f"__{rank}.metadata")
    contents, source = open_contents(str(tmp_path / "run"))
    assert whole(source, "a", 7) == raw(value)
    assert whole(source, "b") == raw(copy)
    source.close()
    assert "several ranks hold a copy, of which the first is read: b" in contents.notes
    contents, source = open_contents(str(tmp_path / "run" / "__1.metadata"))
    assert whole(source, "b") == raw(copy + 1)
    assert [tensor.key for tensor in contents.tensors if tensor.problem] == ["a"]
    source.close()


@pytest.mark.parametrize("name", ["../other.distcp", "/etc/passwd", "..", "a/b", "a\\b", "", "nul\0"])
def test_no_item_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    made = Folder()
    made.tensor("a", counted((3,)))
    made.places[0][1].state["relative_path"] = name
    with pytest.raises(FormatError, match="not in the folder"):
        open_contents(made.write(tmp_path / "run"))


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    made = Folder()
    made.tensor("a", counted((3,)))
    path = Path(made.write(tmp_path / "run"))
    (path / "__0_0.distcp").rename(tmp_path / "other")
    (path / "__0_0.distcp").symlink_to(tmp_path / "other")
    assert "a link leads out" in opened(str(path))[0].damage[0]


def test_what_the_pickles_want_is_named_and_refused(tmp_path: Path) -> None:
    made = Folder()
    made.tensor("a", counted((3,)))
    made.object("hook", archive({"run": Call(Name("os", "system"), ("true",))}))
    made.object("settings", archive({"of": Call(Name("argparse", "Namespace"), (), state={"lr": 1})}))
    path = made.write(tmp_path / "run", made.metadata(planner=Call(Name("evil", "Planner"))))
    contents, _ = opened(path)
    assert contents.wants == ("evil.Planner", "os.system")
    assert any("argparse.Namespace (settings/of)" in note for note in contents.notes)
    with pytest.raises(UnsupportedError, match="never makes"):
        ckptkit.diff(path, path)


def test_tensors_inside_of_objects_are_tensors(tmp_path: Path) -> None:
    made, storages, value = Folder(), Storages(), counted((2, 3))
    made.tensor("a", value)
    made.object("extra", archive({"scale": storages.tensor(value), "n": 1}, storages))
    contents, source = open_contents(made.write(tmp_path / "run"))
    assert [tensor.key for tensor in contents.tensors] == ["a", "extra/scale"]
    assert whole(source, "extra/scale", 5) == raw(value)
    source.close()


def test_objects_that_are_no_pickles_of_pytorch(tmp_path: Path) -> None:
    made = Folder()
    made.tensor("a", counted((3,)))
    made.object("own", b"whatever")
    made.object("damaged", archive({"n": 1})[:-30])
    contents, _ = opened(made.write(tmp_path / "run"))
    assert any("bytes that are no file of torch.save (own)" in note for note in contents.notes)
    assert contents.damage[0].startswith("damaged: ")


def items_of(value: Any) -> bytes:
    storages = Storages()
    return archive(value(storages), storages)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (saved(counted((4, 3))), "another tensor"),
        (saved(counted((3, 4), "float64")), "another tensor"),
        (items_of(lambda held: {"a": held.tensor(counted((3, 4)))}), "not one alone"),
        (items_of(lambda held: Call(Name("os", "system"), (held.tensor(counted((3, 4))),))), "os.system"),
        (b"PK\3\4" + bytes(400), "."),
        (b"\x80\x02}.", "."),
    ],
)
def test_items_that_are_something_else(tmp_path: Path, item: bytes, said: str) -> None:
    made = Folder()
    made.tensor("a", counted((3, 4)))
    made.places.clear()
    made.data.clear()
    made.place("a", (0, 0), item)
    _, source = open_contents(made.write(tmp_path / "run"))
    with pytest.raises(CkptkitError, match=said):
        whole(source, "a")
    source.close()


def test_compressed_items_and_transforms(tmp_path: Path) -> None:
    made, storages = Folder(), Storages()
    value = storages.tensor(counted((3, 4)))
    made.tensor("a", counted((3, 4)))
    made.places.clear()
    made.place("a", (0, 0), archive(value, storages, method=zipfile.ZIP_DEFLATED))
    _, source = open_contents(made.write(tmp_path / "packed"))
    with pytest.raises(UnsupportedError, match="compressed"):
        whole(source, "a")
    source.close()
    made.places[0][1].state["transform_descriptors"] = ["stream.zstd/1"]
    assert "stored through stream.zstd/1" in opened(made.write(tmp_path / "through"))[0].damage[0]


def test_claims_beyond_the_files(tmp_path: Path) -> None:
    made, shape = Folder(), (1 << 20, 1 << 6)
    made.tensor("a", counted((3,)))
    state = made.listed["a"].state
    state["size"] = size(shape)
    state["chunks"] = [made_chunk((0, 0), shape)]
    made.places[0][0].state["offset"] = size((0, 0))
    with pytest.raises(LimitError, match="many times"):
        open_contents(made.write(tmp_path / "wide"))
    made = Folder()
    for name in "abcd":
        made.tensor(name, counted((3,)))
        made.places[-1][1].state["offset"] = 0
    made.data["__0_0.distcp"] = made.data["__0_0.distcp"][: len(saved(counted((3,))))]
    with pytest.raises(LimitError, match="share"):
        open_contents(made.write(tmp_path / "shared"))


def made_chunk(starts: tuple[int, ...], lengths: tuple[int, ...]) -> Call:
    return made(HERE, "ChunkStorageMetadata", offsets=size(starts), sizes=size(lengths))


def _malformed() -> dict[str, Any]:
    base = Folder()
    base.tensor("a", counted((3, 4)))
    sound = base.metadata
    loop = Raw(b"}q\x05X\x01\x00\x00\x00ah\x05s")
    return {
        "nothing": None,
        "a dictionary": {},
        "another class": made(HERE, "StorageMeta", a=1),
        "no storage": sound(storage_data=None),
        "a list of places": sound(storage_data=[1]),
        "a loop": sound(state_dict_metadata=loop),
        "an entry that is a loop": sound(state_dict_metadata={"a": loop}),
        "a path of floats": sound(planner_data={"a": (1.5,)}),
        "no path": sound(planner_data={"a": ()}),
        "names that are numbers": sound(state_dict_metadata={1: base.listed["a"]}),
        "a long name": sound(state_dict_metadata={"a" * 5000: base.listed["a"]}),
        "a negative size": sound(state_dict_metadata={"a": made(
            HERE, "TensorStorageMetadata", properties=properties("float32"), size=size((-3, 4)), chunks=[])}),
        "no dtype": sound(state_dict_metadata={"a": made(
            HERE, "TensorStorageMetadata", properties=properties("strided"), size=size((3, 4)), chunks=[])}),
        "a place before the file": sound(storage_data=Call(Name("builtins", "dict"), (), pairs=[(
            made(HERE, "MetadataIndex", fqn="a", offset=size((0, 0)), index=None),
            made(FILES, "_StorageInfo", relative_path="x", offset=-1, length=5))])),
        "a place that is none": sound(storage_data=Call(Name("builtins", "dict"), (), pairs=[(1, 2)])),
    }  # fmt: skip


@pytest.mark.parametrize("case", _malformed())
def test_malformed(tmp_path: Path, case: str) -> None:
    with pytest.raises(CkptkitError) as found:
        open_contents(Folder().write(tmp_path / "run", _malformed()[case] if case != "nothing" else Raw(b"N")))
    assert len(str(found.value).splitlines()) == 1


def test_shared_nodes_do_not_unfold(tmp_path: Path) -> None:
    """One list of parts that many tensors have is that many lists."""
    base = Folder()
    base.tensor("a", counted((3, 4)))
    base.listed["a"].state["chunks"] = [made_chunk((0, 0), (0, 4))] * 3000
    entry = Raw(dump(base.listed["a"])[2:-1] + b"q\x07")
    listed = {"a": entry, **{f"b{number}": Raw(b"h\x07") for number in range(200)}}
    with pytest.raises(LimitError, match="too many parts"):
        open_contents(base.write(tmp_path / "run", base.metadata(state_dict_metadata=listed)))


def test_more_files_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_MOST_OPEN", 2)
    monkeypatch.setattr(items, "_SMALL", 0)
    made, value = Folder(), counted((8, 3))
    made.tensor("a", value, grid((8, 3), {0: 1}), ranks=8)
    _, source = open_contents(made.write(tmp_path / "run"))
    assert whole(source, "a", 11) == raw(value)
    source.close()


def test_it_is_read_and_converted_and_no_template(tmp_path: Path) -> None:
    made = Folder()
    made.tensor("fc.weight", counted((3, 4)), grid((3, 4), {1: 2}))
    made.tensor("fc.bias", counted((3,)))
    path = made.write(tmp_path / "run")
    ckptkit.convert(path, tmp_path / "a.pt")
    assert ckptkit.diff(path, tmp_path / "a.pt").verdict == "identical"
    with pytest.raises(CkptkitError, match="is not written"):
        ckptkit.remap(tmp_path / "a.pt", like=path, output=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert locate(Path(path, ".metadata")).at == locate(path).at == locate(Path(path, "__0_0.distcp")).at


def test_a_run_of_folders(tmp_path: Path) -> None:
    for step in (2, 10):
        made = Folder()
        made.tensor("a.weight", counted((3, 4), start=step))
        made.tensor("b.weight", counted((3, 4)))
        made.write(tmp_path / f"step-{step}")
    drift = ckptkit.drift(tmp_path)
    assert {each.name: each.verdict for each in drift.variables} == {"a/weight": "moving", "b/weight": "frozen"}


def test_a_url(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    made, value = Folder(), counted((40, 30))
    made.tensor("a", value, grid((40, 30), {1: 7}))
    made.write(tmp_path / "run")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "run"), "/dcp", recursive=True)
    try:
        contents, source = open_contents("memory://dcp")
        assert whole(source, "a", 999) == raw(value)
        source.close()
        assert contents.damage == ()
    finally:
        memory.rm("/dcp", recursive=True)
