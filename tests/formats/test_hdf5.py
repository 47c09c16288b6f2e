"""Our HDF5 reader against h5py, and against files that h5py must not be given."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptkit import dtypes
from ckptkit.errors import ChecksumError, CkptkitError, FormatError, LimitError, NotFoundError
from ckptkit.formats import grid
from ckptkit.formats.hdf5.file import Hdf5File, lookup3
from ckptkit.formats.hdf5.messages import parse_layout
from ckptkit.formats.keras.archive import open_archive
from ckptkit.formats.keras.reader import open_hdf5
from ckptkit.formats.keras.shards import open_sharded
from ckptkit.model import Contents, TensorSource
from ckptkit.storage.address import address
from tests.formats.conformance import FormatConformance, Tensors, check_message

VALUES = {
    "f2": np.arange(6, dtype="<f2").reshape(2, 3),
    "f4": np.arange(12, dtype="<f4").reshape(3, 4) / 7,
    "f8": np.arange(5, dtype="<f8"),
    "f4_big": np.arange(10, dtype=">f4").reshape(5, 2),
    "f8_big": np.arange(7, dtype=">f8"),
    "i1": np.arange(-3, 3, dtype="i1"),
    "i2_big": np.arange(-300, 300, 100, dtype=">i2"),
    "i8": np.arange(4, dtype="<i8") << 40,
    "u4": np.arange(4, dtype="<u4"),
    "bool": np.array([[True, False, True]]),
    "c8": np.arange(6).reshape(2, 3).astype("<c8") * (1 + 2j),
    "c16_big": np.arange(3).astype(">c16") * (3 - 1j),
    "scalar": np.float32(1.5),
    "empty": np.zeros((0, 4), "<f4"),
}


class TestPlain(FormatConformance):
    format = "hdf5"
    dtypes = (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
        "float64", "complex64", "complex128",
    )  # fmt: skip
    strings = True

    def make(self, folder: Path, tensors: Tensors) -> str:
        path = folder / "file.h5"
        with h5py.File(path, "w") as file:
            for name, value in tensors.items():
                file.create_dataset(name, data=value, dtype=h5py.string_dtype() if value.dtype == object else None)
        return str(path)


class TestPacked(TestPlain):
    """The newest structures, chunked, compressed and with checksums."""

    checksums = True
    strings = False

    def make(self, folder: Path, tensors: Tensors) -> str:
        path = folder / "file.h5"
        with h5py.File(path, "w", libver="latest") as file:
            for name, value in tensors.items():
                if value.size and value.shape:
                    chunks = tuple(max(1, size // 2) for size in value.shape)
                    file.create_dataset(name, data=value, chunks=chunks, fletcher32=True)
                else:
                    file[name] = value
        return str(path)

    def test_flipped_bits_are_found(self, tmp_path: Path) -> None:
        pytest.skip("chunks do not lie in one piece; test_a_chunk_with_a_wrong_checksum_is_refused flips one")


def opened(path: Path) -> tuple[Contents, TensorSource]:
    return open_hdf5(address(path).open())


def value_of(contents: Contents, source: TensorSource, key: str, step: int = 4096) -> np.ndarray:
    tensor = next(tensor for tensor in contents.tensors if tensor.key == key)
    data = b"".join(bytes(piece) for piece in source.stream(key, memoryview(bytearray(step))))
    return np.frombuffer(data, dtypes.numpy_dtype(tensor.dtype)).reshape(tensor.shape)


@pytest.fixture(params=["earliest", "v108", "latest"])
def libver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("options", [{}, {"userblock_size": 1024}, {"track_order": True}], ids=str)
@pytest.mark.parametrize("step", [1, 7, 4096])
def test_values_are_those_of_h5py(tmp_path: Path, libver: str, options: dict[str, object], step: int) -> None:
    path = tmp_path / "a.bin"
    with h5py.File(path, "w", libver=libver, **options) as file:
        for name, value in VALUES.items():
            file[f"group/{name}"] = value
    contents, source = opened(path)
    assert contents.format == "hdf5"
    assert {tensor.key for tensor in contents.tensors} == {f"group/{name}" for name in VALUES}
    assert not contents.damage
    for name, value in VALUES.items():
        found = value_of(contents, source, f"group/{name}", step)
        assert found.dtype.byteorder != ">"
        assert found.dtype == np.asarray(value).dtype.newbyteorder("<")
        np.testing.assert_array_equal(found, value)
    source.close()


CHUNKED: dict[str, dict[str, object]] = {
    "plain": {},
    "gzip": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True},
    "checked": {"fletcher32": True},
    "lzf": {"compression": "lzf"},
    "shuffled lzf": {"compression": "lzf", "shuffle": True},
    "all": {"compression": "gzip", "shuffle": True, "fletcher32": True},
}


@pytest.mark.parametrize("options", CHUNKED.values(), ids=CHUNKED)
def test_chunks_are_those_of_h5py(tmp_path: Path, libver: str, options: dict[str, object]) -> None:
    path = tmp_path / "a.h5"
    value = np.arange(5 * 11 * 7, dtype="<f4").reshape(5, 11, 7)
    big = np.arange(90, dtype=">i4")
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("a", data=value, chunks=(2, 4, 3), **options)
        file.create_dataset("one", data=value, chunks=value.shape, **options)
        file.create_dataset("big", data=big, chunks=(16,), **options)
        partly = file.create_dataset("partly", (20,), "<i4", chunks=(6,), fillvalue=-7, **options)
        partly[13] = 5
    contents, source = opened(path)
    for step in (13, 100, 4096):
        np.testing.assert_array_equal(value_of(contents, source, "a", step), value)
        np.testing.assert_array_equal(value_of(contents, source, "one", step), value)
        np.testing.assert_array_equal(value_of(contents, source, "big", step), big)
        np.testing.assert_array_equal(value_of(contents, source, "partly", step), [-7] * 13 + [5] + [-7] * 6)


def test_absent_and_compact_data(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("never", (3, 4), "<f4", fillvalue=2.5)
        file.create_dataset("zeros", (3,), ">f8")
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((2, 3))
        made = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, properties)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(6, dtype="<f4").reshape(2, 3))
    contents, source = opened(tmp_path / "a.h5")
    np.testing.assert_array_equal(value_of(contents, source, "never", 10), np.full((3, 4), 2.5))
    np.testing.assert_array_equal(value_of(contents, source, "zeros"), np.zeros(3))
    np.testing.assert_array_equal(value_of(contents, source, "compact", 5), np.arange(6).reshape(2, 3))


def test_strings(tmp_path: Path, libver: str) -> None:
    wanted = [b"", b"ab", "ü€".encode(), b"x" * 5000]
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file.create_dataset("vlen", data=[[item.decode() for item in wanted]], dtype=h5py.string_dtype())
        file["fixed"] = np.array([b"abc", b"d", b"", b"efg"])
        file["scalar"] = "word"
        file.create_dataset("chunked", data=[b"a", b"bb", b"ccc"], dtype=h5py.string_dtype(), chunks=(2,))
    contents, source = opened(tmp_path / "a.h5")
    assert {tensor.dtype for tensor in contents.tensors} == {"string"}
    assert source.read_strings("vlen") == wanted
    assert source.read_strings("fixed") == [b"abc", b"d", b"", b"efg"]
    assert source.read_strings("scalar") == [b"word"]
    assert source.read_strings("chunked") == [b"a", b"bb", b"ccc"]
    with pytest.raises(FormatError, match="no bytes"):
        source.read_into("fixed", 0, memoryview(bytearray(1)))


@pytest.mark.parametrize(("name", "size"), [("bfloat16", 2), ("float8_e4m3fn", 1), ("float8_e8m0fnu", 1), ("int4", 1)])
def test_opaque_items_are_what_their_attribute_says(tmp_path: Path, name: str, size: int) -> None:
    value = np.arange(4).astype(getattr(ml_dtypes, name))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("named", data=value.view(f"V{size}")).attrs["dtype"] = name
        file.create_dataset("nameless", data=value.view(f"V{size}"))
        file.create_dataset("lying", data=value.view(f"V{size}")).attrs["dtype"] = "float64"
    contents, source = opened(tmp_path / "a.h5")
    assert value_of(contents, source, "named").tobytes() == value.tobytes()
    by_key = {tensor.key: tensor for tensor in contents.tensors}
    assert by_key["named"].dtype == name
    assert by_key["named"].problem is None
    assert "opaque" in str(by_key["nameless"].problem)
    assert "opaque" in str(by_key["lying"].problem)


def test_what_is_no_tensor_is_listed_with_a_problem(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["fine"] = np.arange(3.0)
        file["reference"] = np.array([file["fine"].ref], h5py.ref_dtype)
        file["record"] = np.zeros(2, [("x", "<f4"), ("y", "<i8"), ("z", [("deep", "<f4", (2,))])])
        file["null"] = h5py.Empty("f4")
        file.create_dataset("lists", (1,), dtype=h5py.vlen_dtype(np.int32))[0] = [1, 2]
        file.create_dataset("scaled", data=np.arange(100), chunks=(10,), scaleoffset=0)
        file["enum"] = np.array([1, 2], dtype=h5py.enum_dtype({"A": 1, "B": 2}, basetype="<i2"))
    contents, source = opened(tmp_path / "a.h5")
    problems = {tensor.key: tensor.problem for tensor in contents.tensors}
    assert {key for key, problem in problems.items() if problem} == {"reference", "record", "null", "lists", "scaled"}
    np.testing.assert_array_equal(value_of(contents, source, "enum"), [1, 2])
    for key in ("reference", "record", "null", "lists", "scaled"):
        with pytest.raises(FormatError, match=r"a\.h5: "):
            source.read_into(key, 0, memoryview(bytearray(1)))
    with pytest.raises(NotFoundError):
        source.read_into("nothing", 0, memoryview(bytearray(1)))


def test_nothing_outside_the_file_is_opened(tmp_path: Path) -> None:
    """Bait exists, so following it would succeed; the audit hook sees every file that is opened."""
    bait = tmp_path / "bait.h5"
    with h5py.File(bait, "w") as file:
        file.create_dataset("x", data=np.arange(4.0), maxshape=(None,))
    (tmp_path / "bait.bin").write_bytes(bytes(32))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["fine"] = np.arange(3.0)
        file["link"] = h5py.ExternalLink(str(bait), "/x")
        file["through"] = h5py.SoftLink("/link/x")
        file.create_dataset("raw", (4,), "<f8", external=[(str(tmp_path / "bait.bin"), 0, 32)])
        layout = h5py.VirtualLayout((4,), "<f8")
        layout[:] = h5py.VirtualSource(str(bait), "x", (4,))
        file.create_virtual_dataset("virtual", layout)
    code = """
import sys
from ckptkit.formats.keras.reader import open_hdf5
from ckptkit.storage.address import address

from ckptkit.errors import CkptkitError
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
contents, source = open_hdf5(address(sys.argv[1]).open())
for tensor in contents.tensors:
    try:
        source.read_into(tensor.key, 0, memoryview(bytearray(8)))
    except CkptkitError as error:
        print("refused", tensor.key)
print(*contents.damage, sep="\\n")
print([name for name in opened if "bait" in name], "h5py" in sys.modules, "numpy" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(path)]
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(root)}
    ).stdout.splitlines()
    assert out[:2] == ["refused raw", "refused virtual"]
    assert out[2] == "link: a link to another file, which is not followed"
    assert out[3].startswith("through: ")
    assert out[4] == "[] False False"


def test_links_inside_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/x"] = np.arange(3.0)
        file["a/b/up"] = file["a"]
        file["a/again"] = file["a/b/x"]
        file["soft"] = h5py.SoftLink("/a/b")
        file["loop"] = h5py.SoftLink("/pool")
        file["pool"] = h5py.SoftLink("/loop")
    contents, source = opened(tmp_path / "a.h5")
    assert [tensor.key for tensor in contents.tensors] == ["a/again", "a/b/x"]
    np.testing.assert_array_equal(value_of(contents, source, "a/again"), np.arange(3.0))
    assert sorted(problem.split(":")[0] for problem in contents.damage) == ["loop", "pool"]


def test_many_links_and_attributes(tmp_path: Path, libver: str) -> None:
    """Enough to fill several nodes of every index, and a heap of several levels."""
    names = [f"{'n' * (number % 40)}{number}" for number in range(3000)]
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        group = file.create_group("dense")
        for number, name in enumerate(names):
            group[name] = np.int32(number)
        vars_group = file.create_group("vars")
        for number in range(200):
            vars_group.attrs[f"attribute{number}"] = "x" * 100
        vars_group.attrs["name"] = "the name"
    contents, source = opened(tmp_path / "a.h5")
    assert {tensor.key for tensor in contents.tensors} == {f"dense/{name}" for name in names}
    for number in (0, 1, 1234, 2999):
        assert value_of(contents, source, f"dense/{names[number]}") == number
    assert contents.structure is not None
    assert contents.structure.groups[0].name == "the name"  # type: ignore[union-attr]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = h5py.h5g.create(file.id, b"g\xff")
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(group, b"\xfe\x80", h5py.h5t.IEEE_F32LE, space).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.array(4, "f4")
        )
    contents, source = opened(tmp_path / "a.h5")
    assert [tensor.key for tensor in contents.tensors] == ["g\\xff/\\xfe\\x80"]
    assert value_of(contents, source, "g\\xff/\\xfe\\x80") == 4


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    plain, packed = np.random.default_rng(1).normal(size=(2, 300, 500)).astype("<f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = plain
        file.create_dataset("packed", data=packed, chunks=(37, 41), compression="gzip")
    _contents, source = opened(tmp_path / "a.h5")
    wrong: list[str] = []

    def work(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(20):
            key, value = order.choice([("plain", plain), ("packed", packed)])
            begin = order.randrange(value.nbytes - 5000)
            buffer = bytearray(order.randrange(1, 5000))
            source.read_into(key, begin, memoryview(buffer))
            if bytes(buffer) != value.tobytes()[begin : begin + len(buffer)]:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    chunk=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_boxes_cover_a_range_in_order(shape: list[int], chunk: list[int], ends: tuple[float, float]) -> None:
    numbers = np.arange(np.prod(shape)).reshape(shape)
    first, stop = sorted(int(end * numbers.size) for end in ends)
    found: list[int] = []
    for index, counts in grid.boxes(tuple(shape), first, stop):
        box = numbers[tuple(slice(at, at + count) for at, count in zip(index, counts, strict=True))]
        seen = np.zeros(counts, bool)
        for position, inside, target in grid.parts_of_box(tuple(chunk[: len(shape)]), index, counts):
            corner = [at * step for at, step in zip(position, chunk, strict=False)]
            part = tuple(slice(at + piece.start, at + piece.stop) for at, piece in zip(corner, inside, strict=True))
            np.testing.assert_array_equal(numbers[part], box[target])
            seen[target] = True
        assert seen.all()
        found += box.reshape(-1).tolist()
    assert found == list(range(first, stop))


def test_lookup3_is_jenkins_own() -> None:
    """The values that lookup3.c itself prints for this text, with initial value 0."""
    assert lookup3(b"Four score and seven years ago") == 0x17770551
    assert lookup3(b"") == 0xDEADBEEF


# ------------------------------------------------------------------------------------------------- files that lie


def test_a_chunk_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", data=np.arange(7, dtype="<i2"), chunks=(7,), fletcher32=True)
        offset = made.id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    contents, source = opened(path)
    with pytest.raises(ChecksumError, match="checksum"):
        value_of(contents, source, "a")


@pytest.mark.parametrize("inflated", [4, 31, 33, 1 << 23])
def test_a_chunk_inflates_to_its_size_or_not_at_all(tmp_path: Path, inflated: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", (8,), "<f4", chunks=(8,), compression="gzip")
        made.id.write_direct_chunk((0,), zlib.compress(bytes(inflated), 9))
    contents, source = opened(path)
    with pytest.raises(FormatError, match="chunk"):
        value_of(contents, source, "a")


def test_what_is_declared_is_judged_in_total(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.create_dataset("huge", (1 << 50,), "<f4")
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for number in range(40):
            file.create_dataset(f"large{number}", (1 << 22,), "<f4", chunks=(1 << 20,), compression="gzip")
        file["fine"] = np.arange(3.0)
    with h5py.File(tmp_path / "crumbs.h5", "w") as file:
        file.create_dataset("crumbs", (1 << 25,), "<i1", chunks=(2,))
    for name in ("one", "many", "crumbs"):
        contents, source = opened(tmp_path / f"{name}.h5")
        for tensor in contents.tensors:
            assert (tensor.problem is None) == (tensor.key == "fine")
            if tensor.problem:
                with pytest.raises(FormatError, match=r"declare|cut into"):
                    source.read_into(tensor.key, 0, memoryview(bytearray(8)))


def test_structures_that_refer_to_each_other_end(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(200):
            file[f"g/x{number}"] = np.float32(number)
    data = path.read_bytes()
    nodes = [at for at in range(0, len(data) - 8, 8) if data[at : at + 5] == b"TREE\0"]
    for at in nodes:
        mutant = bytearray(data)
        mutant[at + 32 : at + 40] = at.to_bytes(8, "little")  # its first child is the node itself
        path.write_bytes(mutant)
        with pytest.raises(FormatError):
            opened(path)


def test_tensors_that_share_their_bytes_are_judged_in_total(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"] = np.zeros(1 << 20, "<f4")
        for number in range(100):
            file[f"same{number}"] = file["one"]
    contents, source = opened(tmp_path / "a.h5")
    assert len(contents.tensors) == 101
    with pytest.raises(FormatError, match="share their bytes"):
        source.read_into("one", 0, memoryview(bytearray(8)))


def test_committed_datatypes(tmp_path: Path, libver: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file["named"] = np.dtype("<f8")
        file.create_dataset("x", data=np.arange(4), dtype=file["named"])
        file["x"].attrs.create("dtype", "bfloat16", dtype=h5py.string_dtype())
    contents, source = opened(tmp_path / "a.h5")
    assert [tensor.key for tensor in contents.tensors] == ["x"]
    np.testing.assert_array_equal(value_of(contents, source, "x"), np.arange(4.0))


def test_links_with_long_targets_cost_little(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(3.0)
        for number in range(500):
            file[f"loop{number}"] = h5py.SoftLink("/" + "/".join([f"loop{number}"] * 300))
            file[f"long{number}"] = h5py.SoftLink("a/" * 4000)
    contents, _ = opened(tmp_path / "a.h5")
    assert len(contents.damage) == 1000


def test_names_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(60):
            group = group.create_group("n" * 100)
    with pytest.raises(LimitError, match="names are too long"):
        opened(path)


@pytest.mark.parametrize("keep", [0, 8, 9, 40, 96, 500, 0.5, 0.9, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(1000.0)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(FormatError):
        opened(path)


def _seed(libver: str) -> bytes:
    image = h5py.File("seed", "w", driver="core", backing_store=False, libver=libver, track_order=libver == "latest")
    with image as file:
        file.attrs["layer_names"] = np.array(["dense"], h5py.string_dtype())
        file.attrs["model_config"] = '{"class_name": "Sequential"}'
        group = file.create_group("dense")
        group.attrs["weight_names"] = np.array([b"kernel:0", b"bias:0"])
        group.create_dataset(
            "kernel:0", data=np.arange(60.0).reshape(12, 5), chunks=(5, 2), compression="gzip", fletcher32=True
        )
        group["bias:0"] = np.arange(5, dtype=">f4")
        file.create_dataset("s", data=["ab", "c"], dtype=h5py.string_dtype())
        file["record"] = np.zeros(2, [("r", "<f8"), ("i", "<f8")])
        file["link"] = h5py.SoftLink("/dense/bias:0")
        for number in range(20):
            file[f"many/{number}"] = np.int8(number)
        file.flush()
        return bytes(file.id.get_file_image())


SEEDS = {libver: _seed(libver) for libver in ("earliest", "latest")}


def read_all(path: Path) -> None:
    """Open and read everything; errors of ours are fine, anything else is not."""
    try:
        contents, source = opened(path)
    except CkptkitError as error:
        check_message(error)
        return
    for tensor in contents.tensors:
        try:
            if tensor.dtype == "string":
                source.read_strings(tensor.key)
            else:
                for _ in source.stream(tensor.key, memoryview(bytearray(4096))):
                    pass
        except CkptkitError as error:
            check_message(error)
    source.close()


@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    libver=st.sampled_from(["earliest", "latest"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 2**64 - 1), st.sampled_from([1, 2, 4, 8]))
    ),
    kept=st.floats(0.9, 1),
)
def test_any_change_gives_an_error_or_contents(
    tmp_path: Path, libver: str, changes: list[tuple[float, int, int]], kept: float
) -> None:
    data = bytearray(SEEDS[libver])
    for place, value, width in changes[:6]:
        at = int(place * len(data))
        data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    path = tmp_path / "mutant.h5"
    path.write_bytes(data[: int(len(data) * kept) if kept < 0.95 else len(data)])
    read_all(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=600), prefix=st.sampled_from([0, 8, 24, 96]))
def test_any_bytes_give_an_error_or_contents(tmp_path: Path, data: bytes, prefix: int) -> None:
    path = tmp_path / "mutant.h5"
    path.write_bytes(SEEDS["earliest"][:prefix] + data)
    read_all(path)


# ---------------------------------------------------------------- a collection of malformed files, where there is one


def open_any(path: Path) -> tuple[Contents, TensorSource]:
    if path.name.endswith(".weights.json"):
        return open_sharded(address(str(path)))
    if path.read_bytes()[:2] == b"PK" or path.suffix == ".keras":
        return open_archive(address(path).open())
    return opened(path)


def test_hostile_files_are_refused_or_read_as_expected(hostile_dir: Path) -> None:
    """What every command is built on: refusal at opening, or data that cannot be read, where the table wants exit 2."""
    cases = json.loads((hostile_dir / "expectations.json").read_text())["cases"]
    wrong = []
    for case in cases:
        if case["group"] not in ("h5", "keras"):
            continue
        try:
            contents, source = open_any(hostile_dir / case["arg"])
        except CkptkitError:
            if case["inspect"] == [0]:
                wrong.append(f"{case['name']} is refused")
            continue
        if case["inspect"] == [2]:
            wrong.append(f"{case['name']} is opened")
        sound = not contents.damage
        for tensor in contents.tensors:
            try:
                if tensor.dtype == "string":
                    source.read_strings(tensor.key)
                else:
                    for _ in source.stream(tensor.key, memoryview(bytearray(1 << 20))):
                        pass
            except CkptkitError:
                sound = False
        if not sound and case["convert"] == [0]:
            wrong.append(f"{case['name']} is unsound")
        if sound and case["convert"] == [2]:
            wrong.append(f"{case['name']} is sound")
        source.close()
    assert not wrong


def test_real_files_give_what_the_reference_readers_gave(corpus: Path) -> None:
    checked = 0
    for case in json.loads((corpus / "MANIFEST.json").read_text()):
        if not case["format"].startswith(("keras", "hdf5")):
            continue
        folder = corpus / case["name"]
        expected = json.loads((folder / "expected.json").read_text())
        contents, source = open_any(folder / case["files"][0]["path"])
        found = {}
        for tensor in contents.tensors:
            digest = hashlib.sha256()
            for piece in source.stream(tensor.key, memoryview(bytearray(100_003))):
                digest.update(piece)
            found[tensor.key] = (list(tensor.shape), tensor.dtype, digest.hexdigest())
        wanted = {item["name"]: (item["shape"], item["dtype"], item["sha256"]) for item in expected["variables"]}
        assert found == wanted, case["name"]
        if "keras_layers" in expected:
            layers = [
                {"layer": group.name, "weights": [name for name, _ in group.weights]}
                for group in contents.structure.groups  # type: ignore[union-attr]
            ]
            assert layers == expected["keras_layers"], case["name"]
        source.close()
        checked += 1
    assert checked > 50


@pytest.mark.parametrize("body", [b"\x01", b"\x02", b"\x01\x03", b"\x02\x01\x01\0\0\0\0\0"])
def test_a_layout_message_shorter_than_its_version_wants(body: bytes, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.zeros(3)
    parsed = Hdf5File(address(tmp_path / "x.h5").open())
    with pytest.raises(FormatError), parsed.parsing():
        parse_layout(parsed, body)
