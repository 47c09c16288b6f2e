"""How bytes lie in files: reader and writer of one format side by side, and one row for each in the `registry`.

`open_contents` finds the format by itself; it and everything behind it is imported when it is first called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from ckptkit.model import Contents, TensorSource

__all__ = ["open_contents"]


def open_contents(path: str | os.PathLike[str]) -> tuple[Contents, TensorSource]:
    """Open the checkpoint that `path` is, is part of, or contains (see `locate.locate` and `Location.open`)."""
    from ckptkit.formats.locate import locate

    return locate(path).open()
