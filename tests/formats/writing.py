"""Writing a checkpoint through its format's writer alone: its parts and what finishes it, without a stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptkit.formats.registry import named
from ckptkit.model import Contents, TensorSpec
from ckptkit.storage.address import address


def write_new(kind: str, path: str | os.PathLike[str], contents: Contents, source: Any, workers: int = 1) -> None:
    """A new checkpoint of `contents` at `path`."""
    _write(named(kind).writer().outline_new(kind, contents, address(path), workers), path, source)


def write_like(
    kind: str,
    path: str | os.PathLike[str],
    template: str | os.PathLike[str],
    tensors: Mapping[str, TensorSpec],
    source: Any,
    workers: int = 1,
) -> None:
    """A copy of `template` at `path` in which `tensors` hold the bytes of `source`."""
    _write(named(kind).writer().outline_like(address(template), tensors, address(path), workers), path, source)


def _write(outline: Any, path: str | os.PathLike[str], source: Any) -> None:
    written = [part.write(str(Path(path).with_name(part.name)), source) for part in outline.parts]
    outline.finish(os.fspath(path), written)
