"""What the platform has against writing a file, in our words."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ckptkit.errors import WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an `OSError` of the block, which writes `path`, into a `WriteError`."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot be written ({reason(error)})", path=path) from error


def reason(error: OSError) -> str:
    """The system's words; HDF5 puts their number into the text of its error rather than into `errno`."""
    number = error.errno or next(iter(map(int, re.findall(r"errno = ([0-9]+)", str(error)))), 0)
    return os.strerror(number).lower() if number else "the writing library gives no reason"
