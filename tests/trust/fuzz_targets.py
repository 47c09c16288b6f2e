"""What the fuzzer calls: each target takes bytes, and anything but a result or a `CkptkitError` is a find."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ckptkit import canonical
from ckptkit.errors import CkptkitError
from ckptkit.formats import open_contents
from ckptkit.formats.json_text import parse_json
from ckptkit.formats.npz.header import parse_header as parse_npy_header
from ckptkit.formats.tensorflow.bundle.entries import EntryParser, parse_header
from ckptkit.formats.tensorflow.bundle.object_graph import parse_object_graph
from ckptkit.formats.tensorflow.bundle.strings import parse_strings
from ckptkit.formats.tensorflow.bundle.table import open_table, parse_block, read_entries
from ckptkit.formats.tensorflow.state_file import parse_state
from ckptkit.formats.tensorflow.v1.reader import parse_list
from ckptkit.formats.tensorflow.wire import parse_fields
from ckptkit.storage.address import address

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

_BUFFER = memoryview(bytearray(1 << 16))
_MAGIC = bytes.fromhex("57fb808b247547db")  # LevelDB's, at the end of every table
_CRC_MASK = 0xA282EAD8


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    Attributes:
        call: takes the input; a `CkptkitError` is an orderly answer.
        seeds: inputs to begin with.
    """

    call: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]

    def run(self, data: bytes) -> None:
        """Call with `data`; orderly errors have to be one line."""
        try:
            self.call(data)
        except CkptkitError as error:
            if len(str(error).splitlines()) != 1:
                raise ValueError(f"an error of several lines: {error}") from error


def read_everything(path: str) -> None:
    """Open a checkpoint, read every tensor, make the canonical map."""
    contents, source = open_contents(path)
    try:
        for tensor in contents.tensors:
            try:
                if tensor.dtype == "string":
                    source.read_strings(tensor.key)
                elif tensor.nbytes < 1 << 26:
                    for _ in source.stream(tensor.key, _BUFFER):
                        pass
            except CkptkitError as error:
                if len(str(error).splitlines()) != 1:
                    raise ValueError(f"an error of several lines: {error}") from error
        canonical.build(contents, path).with_flow()
    finally:
        source.close()


def _in_place_of(case: str, member: str, opened: str) -> Callable[[bytes], object]:
    """A call that puts its input in the place of one file of a fixture and reads the whole."""
    folder = Path(tempfile.mkdtemp(prefix="ckptkit-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(FIXTURES / case, folder, dirs_exist_ok=True)

    def call(data: bytes) -> None:
        (folder / member).write_bytes(data)
        read_everything(str(folder / opened) if opened else str(folder))

    return call


def _file_target(case: str, member: str, opened: str | None = None) -> Target:
    calls: list[Callable[[bytes], object]] = []

    def call(data: bytes) -> object:
        if not calls:  # the copy is made only when the target is used
            calls.append(_in_place_of(case, member, member if opened is None else opened))
        return calls[0](data)

    return Target(call, lambda: [(FIXTURES / case / member).read_bytes()])


def _orbax_target(case: str, member: str) -> Target:
    """A file of an Orbax folder, with the checksum of an index put right so that what is damaged is reached."""
    found = sorted(path for path in (FIXTURES / case).glob(member) if path.is_file())[0].relative_to(FIXTURES / case)
    target = _file_target(case, found.as_posix(), found.parts[0])

    def call(data: bytes) -> object:
        if data[:2] == b"\x0c\xdb" and len(data) > 16:
            from crc32c import crc32c

            data = data[:4] + len(data).to_bytes(8, "little") + data[12:-4]
            data += crc32c(data).to_bytes(4, "little")
        return target.call(data)

    return Target(call, target.seeds)


def _seal(content: bytes, kind: int) -> bytes:
    """A block as it lies in a table, with its type and checksum."""
    from crc32c import crc32c

    crc = crc32c(content + bytes([kind]))
    masked = ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF
    return content + bytes([kind]) + masked.to_bytes(4, "little")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _table_of(content: bytes, kind: int) -> bytes:
    """A table of one block with right checksums, so that a damaged content gets past them."""
    block = _seal(content, kind)
    handle = _varint(0) + _varint(len(block) - 5)
    index = _seal(b"\0\x01" + _varint(len(handle)) + b"\xff" + handle + b"\0\0\0\0\x01\0\0\0", 0)
    meta = _seal(b"\0\0\0\0\x01\0\0\0", 0)
    handles = _varint(len(block)) + _varint(len(meta) - 5) + _varint(len(block) + len(meta)) + _varint(len(index) - 5)
    return block + meta + index + handles.ljust(40, b"\0") + _MAGIC


def _read_table(content: bytes, kind: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(_table_of(content, kind))
        file.flush()
        storage = address(file.name).open()
        try:
            for _ in read_entries(open_table(storage)):
                pass
        finally:
            storage.close()


def _sealed_index(content: bytes) -> None:
    """A bundle whose index holds `content` as its block, beside the data of a fixture."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (FIXTURES / "sonnet2-cnn").glob("ckpt-1.data*"):
            shutil.copy(path, folder)
        Path(folder, "ckpt-1.index").write_bytes(_table_of(content, 0))
        read_everything(f"{folder}/ckpt-1")


def _index_entries(case: str, prefix: str) -> list[tuple[bytes, bytes]]:
    storage = address(str(FIXTURES / case / f"{prefix}.index")).open()
    try:
        return list(read_entries(open_table(storage)))
    finally:
        storage.close()


def _block_seeds() -> list[bytes]:
    from ckptkit.formats.tensorflow.bundle.table_writer import encode_block

    return [
        encode_block(_index_entries(case, prefix))
        for case, prefix in (("sonnet2-cnn", "ckpt-1"), ("tf1-partitioned", "model.ckpt"))
    ]


def _snappy_seeds() -> list[bytes]:
    import cramjam

    return [bytes(cramjam.snappy.compress_raw(block)) for block in _block_seeds()]


def _values() -> Iterator[bytes]:
    for case, prefix in (("sonnet2-cnn", "ckpt-1"), ("tf1-partitioned", "model.ckpt")):
        for _, value in _index_entries(case, prefix)[:20]:
            yield value


def _graph_seeds() -> list[bytes]:
    seeds = []
    for case, prefix in (("sonnet2-rnn", "ckpt-1"), ("keras3-mlp-checkpoint", "ckpt-1")):
        contents, source = open_contents(str(FIXTURES / case / prefix))
        key = next(tensor.key for tensor in contents.tensors if tensor.dtype == "string")
        seeds += source.read_strings(key)
        source.close()
    return seeds


def _v1_list_seeds() -> list[bytes]:
    storage = address(str(FIXTURES / "tf1-partitioned-v1" / "model.ckpt")).open()
    try:
        return [next(iter(read_entries(open_table(storage))))[1]]
    finally:
        storage.close()


def _npy_seeds() -> list[bytes]:
    from ckptkit.formats.npz.header import header_bytes

    return [header_bytes("<f4", (3, 4)), header_bytes("|O", ()), header_bytes(">c16", (2,) * 9)]


def _pickle_seeds() -> list[bytes]:
    seeds = []
    for case, name in (("torch-checkpoint", "checkpoint.pt"), ("torch-views", "views.pth")):
        with zipfile.ZipFile(FIXTURES / case / name) as archive:
            member = next(each for each in archive.namelist() if each.endswith("data.pkl"))
            seeds.append(archive.read(member))
    return seeds


def _read_pickle(data: bytes) -> None:
    from ckptkit.formats.torch.feed import Feed
    from ckptkit.formats.torch.pickles import read_object

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        storage = address(file.name).open()
        try:
            read_object(Feed(storage))
        finally:
            storage.close()


def _read_archive_of(data: bytes) -> None:
    """The storages of a fixture under another pickle."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pt")
        with zipfile.ZipFile(FIXTURES / "torch-views" / "views.pth") as held, zipfile.ZipFile(path, "w") as made:
            for name in held.namelist():
                made.writestr(name, data if name.endswith("data.pkl") else held.read(name))
        read_everything(str(path))


def _tar_seed() -> bytes:
    import numpy as np

    from tests.formats.torch_files import tar

    return tar({"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.arange(4)})


def _read_tar(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pt")
        path.write_bytes(data)
        read_everything(str(path))


TARGETS: dict[str, Target] = {
    "wire": Target(lambda data: list(parse_fields(data)), lambda: list(_values())),
    "block": Target(parse_block, _block_seeds),
    "table": Target(lambda data: _read_table(data, 0), _block_seeds),
    "snappy": Target(lambda data: _read_table(data, 1), _snappy_seeds),
    "bundle-header": Target(parse_header, lambda: list(_values())[:1]),
    "bundle-entry": Target(lambda data: EntryParser().parse(data), lambda: list(_values())),
    "bundle-index": Target(_sealed_index, _block_seeds),
    "bundle-file": _file_target("sonnet2-mlp", "ckpt-1.index", "ckpt-1"),
    "bundle-data": _file_target("tf-every-dtype", "values.data-00000-of-00001", "values"),
    "object-graph": Target(parse_object_graph, _graph_seeds),
    "strings": Target(lambda data: parse_strings(data, 3, 0), lambda: [b"\x01\x02\x03" + bytes(4) + b"abbccc"]),
    "v1-list": Target(parse_list, _v1_list_seeds),
    "v1-file": _file_target("tf1-two-shards-v1", "model.ckpt-00001-of-00002"),
    "meta": _file_target("tf1-two-shards", "model.ckpt.meta", "model.ckpt"),
    "saved-model": _file_target("tf-module-saved-model", "saved_model.pb", ""),
    "state-file": Target(
        lambda data: parse_state(data, "checkpoint"), lambda: [(FIXTURES / "tf-state-file" / "checkpoint").read_bytes()]
    ),
    "npy-header": Target(lambda data: parse_npy_header(data, path="p", key="k"), _npy_seeds),
    "json": Target(lambda data: parse_json(data, path="p"), lambda: [b'{"a": [1, -2.5e3, null, "\\u00e9"], "b": {}}']),
    "safetensors": _file_target("safetensors-dtypes", "model.safetensors"),
    "safetensors-index": _file_target("safetensors-sharded", "model.safetensors.index.json"),
    "pickle": Target(_read_pickle, _pickle_seeds),
    "torch-archive": _file_target("torch-checkpoint", "checkpoint.pt"),
    "torch-pickle": Target(_read_archive_of, _pickle_seeds),
    "torch-views": _file_target("torch-views", "views.pth"),
    "torch-stream": _file_target("torch-stream", "model.pth"),
    "torch-index": _file_target("torch-sharded", "pytorch_model.bin.index.json"),
    "torch-distributed": _file_target("torch-distributed", "checkpoint/.metadata", "checkpoint"),
    "torch-distributed-data": _file_target("torch-distributed", "checkpoint/__1_0.distcp", "checkpoint"),
    "torch-tar": Target(_read_tar, lambda: [_tar_seed()]),
    "npz": _file_target("npz-compressed", "arrays.npz"),
    "npz-plain": _file_target("npz-plain", "arrays.npz"),
    "msgpack": _file_target("flax-msgpack", "state.msgpack"),
    "orbax-manifest": _orbax_target("orbax-tree", "step/manifest.ocdbt"),
    "orbax-node": _orbax_target("orbax-tree", "step/d/*"),
    "orbax-tree": _orbax_target("orbax-tree", "step/_METADATA"),
    "orbax-array": _orbax_target("orbax-plain", "state/of_float32/zarr.json"),
    "orbax-shard": _orbax_target("orbax-plain", "state/of_float32/c/0/*"),
    "zip": _file_target("keras213-windows-archive", "model.keras"),
    "hdf5-legacy": _file_target("keras2-text-attributes", "model.keras"),
    "hdf5-attributes": _file_target("keras2-split-attributes", "weights.h5"),
    "hdf5-v3": _file_target("keras30-weights", "model.weights.h5"),
    "hdf5-plain": _file_target("hdf5-plain", "arrays.h5"),
    "keras-sharded": _file_target("keras3-cnn-sharded", "model.weights.json"),
}
