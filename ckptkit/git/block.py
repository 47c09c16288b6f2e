"""A marked block in a text file that belongs to somebody else: put in, found again, taken out without a trace.

Bytes throughout: whatever encoding and line ends the file has, they are not ours to change.
"""

from __future__ import annotations

import re

_END = b"# <<< ckptkit git install <<<"

# The second form remembers that the file's last line had no end, so that taking the block out restores even that.
_BEGIN = b"# >>> ckptkit git install >>>"
_BEGIN_UNENDED = b"# >>> ckptkit git install (the line end before this is its own) >>>"

_BLOCK = re.compile(
    rb"(?P<unended>\r?\n(?=" + re.escape(_BEGIN_UNENDED) + rb"))?"
    rb"^(?:"
    + re.escape(_BEGIN)
    + rb"|"
    + re.escape(_BEGIN_UNENDED)
    + rb")\r?$.*?^"
    + re.escape(_END)
    + rb"\r?(?:\n|\Z)",
    re.MULTILINE | re.DOTALL,
)


def without_block(text: bytes) -> bytes:
    """`text` as it was before `with_block`; `text` itself where there is no block."""
    # A line end of its own stays where somebody has written on after the block.
    return _BLOCK.sub(lambda found: (found["unended"] or b"") if found.end() < len(text) else b"", text)


def with_block(text: bytes, lines: tuple[str, ...]) -> bytes:
    """`text` with `lines` in a block at its end, in place of any block that it has.

    At the end because the last line of an attributes file that matches wins.
    """
    text = without_block(text)
    unended = bool(text) and not text.endswith(b"\n")
    begin = b"\n" + _BEGIN_UNENDED if unended else _BEGIN
    return text + b"\n".join((begin, *(line.encode() for line in lines), _END)) + b"\n"
