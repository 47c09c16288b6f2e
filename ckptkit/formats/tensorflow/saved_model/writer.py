"""A SavedModel like another: its graphs as they are, and other data in its variables."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.formats.parts import FilePart, Outline
from ckptkit.formats.tensorflow.bundle import writer as bundle
from ckptkit.formats.tensorflow.layout import FINGERPRINT_FILE, VARIABLES, variables_prefix
from ckptkit.formats.tensorflow.saved_model.reader import open as open_saved_model
from ckptkit.model import WRITE_BYTES, TensorSource, TensorSpec
from ckptkit.storage.address import Address, address
from ckptkit.storage.bytes import read
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Mapping


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of the SavedModel folder `template`, with the data of `tensors` in its variables; one part.

    `fingerprint.pb` is left out: it holds a hash of the variables' index, and loaders do without it.

    Args:
        template: the template's folder.
        tensors: key in the template's bundle -> what the source has for it.
        final: the new folder.
        workers: a folder is written by one.

    Raises:
        CkptkitError: as `bundle.writer.outline_like`.
    """
    keys = [spec.name for spec in tensors.values()]
    nbytes = sum(spec.nbytes for spec in tensors.values())
    make = partial(_write, template=template, tensors=tensors)
    return Outline([FilePart(final.base, keys, nbytes, make, open_saved_model)])


def _write(path: str, source: TensorSource, template: Address, tensors: Mapping[str, TensorSpec]) -> None:
    prefix = variables_prefix(address(path))
    outline = bundle.outline_like(variables_prefix(template), tensors, prefix, 1)
    replaced = f"{VARIABLES}/{VARIABLES}."
    with writing(path):
        Path(path, VARIABLES).mkdir(parents=True, exist_ok=True)
        for name in template.files_below():
            if name == FINGERPRINT_FILE or Path(name).as_posix().startswith(replaced):
                continue
            target = Path(path, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with closing(template.join(name).open()) as storage, target.open("wb") as copy:
                for at in range(0, storage.size, WRITE_BYTES):
                    copy.write(read(storage, at, min(WRITE_BYTES, storage.size - at)))
    written = [part.write(str(Path(path, VARIABLES, part.name)), source) for part in outline.parts]
    outline.finish(prefix.text, written)
