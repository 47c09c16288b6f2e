"""The pickle of a state dict, as `torch.save` writes it: protocol 2, and nothing that `weights_only=True` refuses.

The same tensors give the same bytes. Source: torch/_tensor.py, `Tensor.__reduce_ex__`; torch/serialization.py, `_save`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ckptkit.errors import UnsupportedError
from ckptkit.formats.torch.names import DTYPES, STORAGES
from ckptkit.formats.torch.rebuild import contiguous

if TYPE_CHECKING:
    from ckptkit.model import TensorSpec

_CLASSES = {dtype: name for name, dtype in STORAGES.items() if not dtype.startswith("q")}
_NAMES = {dtype: name for name, dtype in reversed(DTYPES.items()) if not dtype.startswith("q")}

Tree = Mapping[str, "Tree | int"]
"""Names -> tensors by their number, or further names."""


def can_hold(dtype: str) -> bool:
    """Whether torch has tensors of a canonical dtype that are plain numbers."""
    return dtype in _CLASSES or dtype in _NAMES


def pickled(tensors: Sequence[TensorSpec], tree: Tree, attributes: Mapping[str, str]) -> bytes:
    """The pickle of nested dictionaries of tensors; tensor N is all of storage `N`.

    Args:
        tensors: shape and dtype of each.
        tree: where they are.
        attributes: of the outermost dictionary.
    """
    out = _Pickler()
    out.write(b"\x80\x02")
    out.dictionary(tree, tensors)
    if attributes:
        out.write(b"}(")
        for name, value in attributes.items():
            out.text(name)
            out.text(value)
        out.write(b"ub")
    out.write(b".")
    return bytes(out.data)


class _Pickler:
    def __init__(self) -> None:
        self.data = bytearray()
        self._memo: dict[str, int] = {}

    def write(self, opcodes: bytes) -> None:
        self.data += opcodes

    def once(self, key: str, opcodes: bytes) -> None:
        """What stands often: written the first time, recalled from then on."""
        number = self._memo.get(key)
        if number is not None:
            self.write(b"h" + bytes([number]))
            return
        self._memo[key] = number = len(self._memo)  # fewer than 256: they are names of torch
        self.write(opcodes + b"q" + bytes([number]))

    def name(self, module: str, name: str) -> None:
        self.once(f"{module} {name}", f"c{module}\n{name}\n".encode())

    def text(self, value: str) -> None:
        try:
            raw = value.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedError("a name is not Unicode text", key=value) from error
        self.write(b"X" + struct.pack("<I", len(raw)) + raw)

    def number(self, value: int) -> None:
        if value < 1 << 8:
            self.write(b"K" + bytes([value]))
        elif value < 1 << 16:
            self.write(b"M" + struct.pack("<H", value))
        elif value < 1 << 31:
            self.write(b"J" + struct.pack("<i", value))
        else:
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little")
            self.write(b"\x8a" + bytes([len(raw)]) + raw)

    def numbers(self, values: Sequence[int]) -> None:
        short = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(values))
        if short is None:
            self.write(b"(")
        for value in values:
            self.number(value)
        self.write(short or b"t")

    def empty_dictionary(self) -> None:
        self.name("collections", "OrderedDict")
        self.write(b")R")

    def dictionary(self, tree: Tree, tensors: Sequence[TensorSpec]) -> None:
        self.empty_dictionary()
        if tree:
            self.write(b"(")
            for name, below in tree.items():
                self.text(name)
                if isinstance(below, int):
                    self.tensor(below, tensors[below])
                else:
                    self.dictionary(below, tensors)
            self.write(b"u")

    def tensor(self, number: int, spec: TensorSpec) -> None:
        typed = _CLASSES.get(spec.dtype)
        self.name("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
        self.write(b"((")
        self.once("storage", b"X\x07\0\0\0storage")
        self.name(*(("torch", typed) if typed else ("torch.storage", "UntypedStorage")))
        self.text(str(number))
        self.once("cpu", b"X\x03\0\0\0cpu")
        self.number(spec.size if typed else spec.nbytes)
        self.write(b"tQK\0")
        self.numbers(spec.shape)
        self.numbers(contiguous(spec.shape))
        self.write(b"\x89")
        self.empty_dictionary()
        if not typed:
            self.name("torch", _NAMES[spec.dtype])
        self.write(b"tR")
