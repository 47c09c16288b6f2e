"""The formats, a row each: all that is known of one outside of its own package.

Every list of formats (what is detected, written, sharded, offered, documented) is made from these rows. A package that
a row names has two modules. `reader` offers `open(at)`, which gives contents and source, and `files(at)`, every file that
reading may read. `writer`, where the format is written, offers `outline_new(format, contents, final, workers)` and
`outline_like(template, tensors, final, workers)`, which say what parts an output has (see `formats.parts`); of the two
it has those that the row names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    from ckptkit.storage.address import Address


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What a checkpoint of a format is made of: one file, unless one of these says otherwise.

    Attributes:
        folder: whether it is a folder, and all that is in it.
        head: in a folder the file without which it is none.
        steps: whether it may also be the only folder in one around it.
        index: of several files: what the checkpoint's name gets to be that of its index.
        ending: what the checkpoint's name ends in, and those of its data files have not.
        shards: what these have instead, as a pattern; "" where there are none. A second group is the number of files.
    """

    folder: bool = False
    head: str = ""
    steps: bool = False
    index: str = ""
    ending: str = ""
    shards: str = ""

    def head_of(self, path: Address) -> Address:
        """The file that makes the checkpoint `path` complete, and that comes last."""
        return path.add(self.index)

    def shards_of(self, path: Address) -> list[Address]:
        """The data files that are there of the checkpoint `path`, whatever their number, sorted."""
        if not self.shards:
            return []
        begin = path.base.removesuffix(self.ending)
        try:
            names = path.folder.names()
        except CkptkitError:
            return []
        pattern = re.compile(self.shards)
        return [path.beside(name) for name in names if name.startswith(begin) and pattern.fullmatch(name, len(begin))]

    def free_count(self, path: Address, *, at_least: int = 1) -> int:
        """The least number of data files, from `at_least` on, under which none of `path` exists yet.

        What names them by their number is replaced by another number of them, so that until its index is replaced too
        the old one is whole.
        """
        pattern = re.compile(self.shards)
        taken = {int(match[2]) for match in (pattern.search(shard.base) for shard in self.shards_of(path)) if match}
        return next(count for count in range(at_least, at_least + len(taken) + 1) if count not in taken)


FILE = MadeOf()


@dataclass(frozen=True, slots=True)
class Magic:
    """Bytes at a place, counted from the end when it is negative; with `blocks` also at 512, 1024, 2048 and so on."""

    offset: int
    signature: bytes
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """A zip archive with a member of one of these names, which are shell patterns; without any where `empty`."""

    names: tuple[str, ...]
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """What a function of the format's own, `module:function`, says of a storage."""

    function: str


@dataclass(frozen=True, slots=True)
class JsonNamed:
    """A JSON document whose name ends so."""

    ending: str


Mark = Magic | Members | Check | JsonNamed


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: as in `Contents.format`, and for `--to`.
        title: for people.
        module: the package that reads and writes it.
        marks: how it is told from others; none where another row's reader tells it from its contents, or where it is
            more than one file and told by names.
        endings: of outputs that are written in it when nothing else is said, the usual one first.
        made_of: which files.
        writes: `new`: from variables alone, or like a template; `like`: like a template only.
        needs: what variables alone do not give, and what to do.
    """

    name: str
    title: str
    module: str
    marks: tuple[Mark, ...] = ()
    endings: tuple[str, ...] = ()
    made_of: MadeOf = FILE
    writes: Literal["new", "like", "no"] = "new"
    needs: tuple[str, str] | None = None

    def reader(self) -> Any:
        """The module that offers `open` and `files`."""
        return import_module(f"{self.module}.reader")

    def writer(self) -> Any:
        """The module that offers `outline_new` and `outline_like`."""
        return import_module(f"{self.module}.writer")


_REMAP = "`ckptkit remap --like TEMPLATE` keeps a template's"
BUNDLE = "tensor-bundle"
"""What an output without a known ending is."""

# The last eight bytes of a LevelDB table (`leveldb/table/format.h`); V1 checkpoints are such, and indexes of bundles.
TABLE = Magic(-8, bytes.fromhex("57fb808b247547db"))

FORMATS: tuple[Format, ...] = (
    Format("keras-h5", "Keras HDF5", "ckptkit.formats.keras", endings=(".h5", ".hdf5")),
    Format("keras-weights-h5", "Keras 3 weights (HDF5)", "ckptkit.formats.keras", endings=(".weights.h5",)),
    Format(
        "keras", "Keras archive", "ckptkit.formats.keras", (Members(("model.weights.h5", "config.json", "metadata.json")),),
        (".keras",), writes="like", needs=("an architecture (config.json)", _REMAP),
    ),
    Format(
        "keras-sharded", "Keras 3 sharded weights", "ckptkit.formats.keras", (JsonNamed(".weights.json"),),
        (".weights.json",), MadeOf(ending=".weights.json", shards=r"_([0-9]{5})\.weights\.h5"),
    ),
    Format("hdf5", "HDF5 datasets", "ckptkit.formats.keras", (Magic(0, b"\x89HDF\r\n\x1a\n", blocks=True),), writes="like"),
    Format(
        BUNDLE, "TensorFlow checkpoint", "ckptkit.formats.tensorflow.bundle",
        made_of=MadeOf(index=".index", shards=r"\.data-([0-9]{5})-of-([0-9]{5})"),
    ),
    Format(
        "tf-v1", "TensorFlow V1 checkpoint", "ckptkit.formats.tensorflow.v1", (TABLE,), writes="no",
        needs=("nothing that reads it today", f"Write a {BUNDLE}"),
    ),
    Format(
        "saved-model", "SavedModel", "ckptkit.formats.tensorflow.saved_model",
        made_of=MadeOf(folder=True, head="saved_model.pb"), writes="like", needs=("a graph (saved_model.pb)", _REMAP),
    ),
    Format(
        "safetensors", "safetensors", "ckptkit.formats.safetensors",
        (Check("ckptkit.formats.safetensors.header:is_safetensors"),), (".safetensors",),
    ),
    Format(
        "safetensors-sharded", "safetensors in shards", "ckptkit.formats.safetensors",
        (JsonNamed(".safetensors.index.json"),), (".safetensors.index.json",),
        MadeOf(ending=".safetensors.index.json", shards=r"-([0-9]{5})-of-([0-9]{5})\.safetensors"),
    ),
    Format(
        "torch", "PyTorch", "ckptkit.formats.torch",
        (Members(("data.pkl", "*/data.pkl")), Check("ckptkit.formats.torch.reader:is_torch")), (".pt", ".pth", ".bin"),
    ),
    Format(
        "torch-sharded", "PyTorch in shards", "ckptkit.formats.torch", (JsonNamed(".bin.index.json"),),
        (".bin.index.json",), MadeOf(ending=".bin.index.json", shards=r"-([0-9]{5})-of-([0-9]{5})\.bin"),
    ),
    Format(
        "torch-distributed", "PyTorch distributed checkpoint", "ckptkit.formats.dcp",
        made_of=MadeOf(folder=True, head=".metadata"), writes="no",
        needs=("the processes that share it", "Write torch; PyTorch's `format_utils.torch_save_to_dcp` makes one of it"),
    ),
    Format("npz", "NumPy archive", "ckptkit.formats.npz", (Members(("*.npy",), empty=True),), (".npz",)),
    Format(
        "orbax", "Orbax checkpoint", "ckptkit.formats.orbax",
        made_of=MadeOf(folder=True, head="_CHECKPOINT_METADATA", steps=True),
    ),
    Format(
        "flax-msgpack", "Flax MessagePack", "ckptkit.formats.msgpack",
        (Check("ckptkit.formats.msgpack.reader:is_msgpack"),), (".msgpack",),
    ),
)  # fmt: skip


def named(name: str) -> Format:
    """The row of the format `name`, which there is."""
    return next(row for row in FORMATS if row.name == name)


def writable() -> tuple[str, ...]:
    """Formats that can be made from variables alone."""
    return tuple(row.name for row in FORMATS if row.writes == "new")


def in_shards() -> tuple[str, ...]:
    """Those of them that are written in parts, by whoever gets one."""
    return tuple(row.name for row in FORMATS if row.writes == "new" and row.made_of.shards)


def binary_patterns() -> tuple[str, ...]:
    """Shell patterns of files that no person can read, for version control: single files, and indexes."""
    found = [row.endings if row.made_of == FILE else (row.made_of.index,) for row in FORMATS]
    return tuple(f"*{ending}" for endings in found for ending in endings if ending.count(".") == 1)
