"""The `checkpoint` file of a folder, which says which of its checkpoints is the latest.

It is the text form of a message with two string fields. The paths in it are those of the machine that wrote it; only
what lies in the folder itself counts. Source: tensorflow/python/training/checkpoint_state.proto.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from ckptkit.storage.address import Address

# Two lines a checkpoint; nobody keeps more than some thousands.
_MOST_BYTES = 4 << 20

# One field a line, as TensorFlow writes it; a line is looked at once, so that no text takes long.
_LINE = re.compile(
    rb"[ \t]*(model_checkpoint_path|all_model_checkpoint_paths)[ \t]*:[ \t]*"
    rb"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')[ \t]*"""
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_NAMED_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


def read_state(path: Address) -> tuple[str, ...]:
    """The checkpoints that the state file `path` names, as they are written there, the latest first.

    Raises:
        FormatError: it names none, or is no such file.
    """
    with closing(path.open()) as storage:
        if storage.size > _MOST_BYTES:
            raise FormatError("too large for a checkpoint state file", path=path, found=f"{storage.size} bytes")
        return parse_state(bytes(read(storage, 0, storage.size)), path.text)


def parse_state(data: bytes, path: str) -> tuple[str, ...]:
    """The checkpoints that a state file's text names, the latest first.

    Args:
        data: the text.
        path: of the file, for messages.
    """
    latest: list[str] = []
    others: list[str] = []
    for match in map(_LINE.fullmatch, data.splitlines()):
        if match:
            name = _ESCAPE.sub(_unescape, match[2][1:-1]).decode("utf-8", "surrogateescape")
            (latest if match[1] == b"model_checkpoint_path" else others).append(name)
    if not latest:
        raise FormatError("the state file names no latest checkpoint", path=path)
    return tuple(dict.fromkeys([latest[-1], *reversed(others)]))


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, other = match.groups()
    if octal or hexadecimal:
        return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])
    return _NAMED_ESCAPES.get(other, other)
