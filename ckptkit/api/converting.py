"""What `ckptkit convert` does: the same variables in another container."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ckptkit.api.opening import Progress, refuse_damaged, silent
from ckptkit.api.reopening import open_for
from ckptkit.api.sharding import new_sharding, write_shards
from ckptkit.api.writing import written
from ckptkit.engines import Engine, open_engine
from ckptkit.errors import RefusedError

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion did.

    Attributes:
        output: path of what was written.
        format: its format.
        variables: how many were carried over.
        left: canonical names of those that the new container has no place for.
    """

    output: str
    format: str
    variables: int
    left: tuple[str, ...]


def convert(
    source: Path,
    output: Path,
    *,
    to: str | None = None,
    force: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Converted:
    """Write the same variables in another container, named as `ckptkit.conversion` documents.

    Args:
        source: any checkpoint.
        output: where to; its ending tells the format unless `to` does.
        to: `keras-h5`, `keras-weights-h5`, `keras-sharded`, `tensor-bundle`, `safetensors`, `safetensors-sharded`
            or `npz`.
        force: whether an existing output is replaced.
        engine: who writes (see `ckptkit.engines.open_engine`); Dask writes formats that have shards.
        progress: called while tensors are written.

    Raises:
        CkptkitError: a file cannot be read or written, or the format cannot hold a variable.
    """
    from ckptkit.conversion import RenamedSource, plan_conversion, target_format
    from ckptkit.formats.writers import write

    format_ = target_format(str(output), to)
    with open_engine(engine) as workers, open_for(workers, source) as opened:
        refuse_damaged(opened.spec)
        unreadable = next((variable for variable in opened.spec.variables if variable.problem), None)
        if unreadable is not None:
            raise RefusedError(unreadable.problem or "", path=opened.path, key=unreadable.key)
        conversion = plan_conversion(opened.spec, format_)
        renamed = RenamedSource(opened, conversion.origin)
        total = sum(tensor.nbytes for tensor in conversion.contents.tensors)
        sharding = new_sharding(format_, conversion.contents, str(output), workers)
        if sharding is not None:
            write_shards(sharding, renamed, str(output), [str(source)], workers, force=force, progress=progress)
        else:
            with written(format_, str(output), renamed, [str(source)], total, force, progress) as (path, feed):
                write(format_, path, conversion.contents, feed, str(output))
    names = tuple(variable.name for variable in conversion.left)
    return Converted(str(output), format_, len(conversion.contents.tensors), names)


def formats() -> tuple[str, ...]:
    """What `to` can be."""
    from ckptkit.conversion import FORMATS

    return FORMATS
