"""What `ckptkit convert` does: the same variables in another container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ckptkit.api.open import open_for
from ckptkit.display import Displayed
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import RefusedError, UsageError
from ckptkit.model.selection import refuse_unfit

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Converted(Displayed):
    """What a conversion did.

    Attributes:
        output: path of what was written.
        format: its format.
        variables: how many were carried over.
        left: canonical names of those that the new container has no place for.
        notes: what is to be known of the output.
        assets: names of vocabularies and other assets that it has no place for; tables that are stored as tensors go along.
        source: path of what was read.
    """

    output: str
    format: str
    variables: int
    left: tuple[str, ...]
    notes: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """The plain data of `convert --json`."""
        facts = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"schema": "ckptkit.convert/1", "source": facts.pop("source"), **facts}


def convert(
    source: Path,
    output: Path,
    *,
    to: str | None = None,
    assume: Mapping[str, str] | None = None,
    force: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Converted:
    """Write the same variables in another container, named as `ckptkit.conversion` documents.

    Args:
        source: any checkpoint.
        output: where to; its ending tells the format unless `to` does.
        to: `keras-h5`, `keras-weights-h5`, `keras-sharded`, `tensor-bundle`, `safetensors`, `safetensors-sharded`,
            `torch`, `torch-sharded`, `npz`, `orbax` or `flax-msgpack`.
        assume: `{"order": "sorted"}` takes the layers in the order in which they are listed where Keras would load the output
            by order or class number and nothing tells those.
        force: whether an existing output is replaced.
        engine: who writes (see `ckptkit.engines.open_engine`); Dask writes formats that have shards.
        progress: called while tensors are written.

    Raises:
        RefusedError: the output would be loaded by an order or by class numbers that nothing tells.
        CkptkitError: a file cannot be read or written, or the format cannot hold a variable.
    """
    from ckptkit.conversion import RenamedSource, plan_conversion
    from ckptkit.formats.naming import output_address, target_format
    from ckptkit.output.writing import Output

    format_ = target_format(str(output), to)
    for key, value in (assume or {}).items():
        if (key, value) != ("order", "sorted"):
            raise UsageError("nothing that could be assumed here", key=f"{key}={value}", expected="order=sorted")
    at = output_address(format_, str(output))
    with open_engine(engine) as workers, open_for(workers, source) as opened:
        refuse_unfit(opened.spec)
        conversion = plan_conversion(opened.spec, format_, assume_order=bool(assume))
        unreadable = next((tensor for tensor in conversion.contents.tensors if tensor.problem), None)
        if unreadable is not None:
            raise RefusedError(unreadable.problem or "", path=opened.path, key=conversion.origin[unreadable.key])
        renamed = RenamedSource(opened, conversion.origin)
        Output(at, (opened,), workers, force, progress).write_new(format_, conversion.contents, renamed)
    names = tuple(variable.name for variable in conversion.left)
    assets = tuple(asset.name for asset in opened.spec.assets if not asset.keys and asset.kind != "settings")
    count = len(conversion.contents.tensors)
    return Converted(at.text, format_, count, names, conversion.notes, assets, os.fspath(source))
