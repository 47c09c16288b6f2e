"""The header of a `.npy` array: a Python literal of three entries, parsed without evaluating anything.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ckptkit import dtypes
from ckptkit.errors import FormatError, LimitError

MAGIC = b"\x93NUMPY"

# NumPy itself reads no longer ones unless it is told to trust them (`max_header_size`).
_LARGEST_HEADER = 10_000
_MOST_DIMENSIONS = 64
_ALIGNMENT = 64

# One `'key': value` of the literal; a structured dtype is a list, which is only ever named in a message.
_ITEM = re.compile(
    r"""\s*(['"])(descr|fortran_order|shape)\1\s*:\s*
    (?: (['"])(?P<descr>[^'"]*)\3 | (?P<structured>\[.*\]) | (?P<order>True|False) | \((?P<shape>[0-9L,\s]*)\) )
    \s*(?:,|$)""",
    re.VERBOSE | re.DOTALL,
)
_DESCR = re.compile(r"([<>|=]?)([biufcSU])([0-9]{1,10})")

NUMBERS = {  # what follows the byte order in `descr` -> canonical dtype
    "b1": "bool",
    **{f"{kind}{size}": f"{word}{8 * size}" for kind, word in (("i", "int"), ("u", "uint")) for size in (1, 2, 4, 8)},
    **{f"f{size}": f"float{8 * size}" for size in (2, 4, 8)},
    **{f"c{size}": f"complex{8 * size}" for size in (8, 16)},
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a `.npy` header declares.

    Attributes:
        descr: NumPy's own word for the dtype.
        shape: dimensions.
        fortran: whether the first index moves fastest.
        data: offset of the first byte of data.
    """

    descr: str
    shape: tuple[int, ...]
    fortran: bool
    data: int

    @property
    def kind(self) -> str:
        """`number`, `bytes` or `text` for what can be read, `raw` for items without a type, `other` for the rest."""
        match = _DESCR.fullmatch(self.descr)
        if match is None:
            return "raw" if re.fullmatch(r"\|V[0-9]{1,10}", self.descr.replace("<", "|")) else "other"
        if match[2] in "SU":
            return "bytes" if match[2] == "S" else "text"
        return "number" if match[2] + match[3] in NUMBERS else "other"

    @property
    def dtype(self) -> str:
        """Canonical dtype of a `number`, else `string`."""
        return NUMBERS[self.descr.lstrip("<>|=")] if self.kind == "number" else "string"

    @property
    def big_endian(self) -> bool:
        """Whether the items' bytes are in falling order of significance."""
        return self.descr.startswith(">")

    @property
    def itemsize(self) -> int:
        """Bytes per item as stored; 0 where `kind` is `other`."""
        if self.kind == "number":
            return dtypes.itemsize(self.dtype)
        return 0 if self.kind == "other" else int(self.descr.lstrip("<>|=")[1:]) * (4 if self.kind == "text" else 1)

    @property
    def nbytes(self) -> int:
        """Bytes of data that must follow the header."""
        return math.prod(self.shape) * self.itemsize


def parse_header(head: bytes, *, path: str, key: str) -> Header:
    """The header of the array that begins with `head`.

    Args:
        head: the array's first bytes: all of its header, and whatever follows.
        path: the archive, for messages.
        key: the array, for messages.

    Raises:
        FormatError: not a `.npy` array, or its header is not the literal that the format asks for.
        LimitError: a header beyond 10,000 bytes.
    """
    major = head[6] if head.startswith(MAGIC) and len(head) > 6 else 0
    begin = 10 if major == 1 else 12
    if major not in (1, 2, 3) or len(head) < begin:
        raise FormatError("not an array of NumPy, version 1 to 3", path=path, key=key, found=repr(head[:8]))
    length = int.from_bytes(head[8:begin], "little")
    if length > _LARGEST_HEADER:
        raise LimitError("the array's header is too long", path=path, key=key, expected=_LARGEST_HEADER, found=length)
    if begin + length > len(head):
        raise FormatError(
            "the array's header is cut short", path=path, key=key, expected=begin + length, found=len(head)
        )
    items = _parse_literal(head[begin : begin + length].decode("utf-8", "replace").strip())
    descr = items.get("descr", {}).get("descr") or items.get("descr", {}).get("structured")
    order = items.get("fortran_order", {}).get("order")
    shape = _parse_shape(items.get("shape", {}).get("shape") or "")
    if len(items) != 3 or descr is None or order is None or shape is None:
        found = repr(head[begin : begin + min(length, 80)])
        raise FormatError("the array's header is not one of NumPy's", path=path, key=key, found=found)
    return Header(descr, shape, order == "True", begin + length)


def _parse_literal(text: str) -> dict[str, dict[str, str | None]]:
    """The three entries by name with what they matched; none where `text` is anything else."""
    body = text[1:-1].strip() if text.startswith("{") and text.endswith("}") else ""
    items: dict[str, dict[str, str | None]] = {}
    at = 0
    while at < len(body):
        match = _ITEM.match(body, at)
        if match is None or match[2] in items:
            return {}
        items[match[2]] = match.groupdict()
        at = match.end()
    return items


def _parse_shape(text: str) -> tuple[int, ...] | None:
    """The dimensions of `3, 4` (a tuple without its brackets), or None where it is none."""
    parts = [part.strip().removesuffix("L") for part in text.split(",")]  # Python 2 wrote 3L
    if parts[-1] == "":
        parts.pop()
    elif len(parts) == 1:
        return None
    if len(parts) > _MOST_DIMENSIONS or not all(part.isdecimal() and len(part) <= 19 for part in parts):
        return None
    return tuple(int(part) for part in parts)


def header_bytes(descr: str, shape: tuple[int, ...]) -> bytes:
    """Magic and header of an array in C order, padded as NumPy pads it so that data begin at a multiple of 64."""
    literal = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    padding = " " * (-(len(MAGIC) + 4 + len(literal) + 1) % _ALIGNMENT)
    text = f"{literal}{padding}\n".encode("ascii")
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text
