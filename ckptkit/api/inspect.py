"""What `ckptkit inspect` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ckptkit.api.open import open_for
from ckptkit.assets import AssetContent, read_assets
from ckptkit.display import Displayed, whole
from ckptkit.doubts import doubts
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.model import CheckpointSpec, Variable
from ckptkit.model.selection import matches, refuse_damaged, select, totals_of

if TYPE_CHECKING:
    import os

    from ckptkit.compare import TensorStatistics

SCHEMA = "ckptkit.inspect/1"


@dataclass(frozen=True, slots=True)
class Inspection(Displayed):
    """What `inspect` found.

    Attributes:
        spec: the whole canonical map.
        variables: those that the filter lets through, in order.
        statistics: canonical name -> statistics, where asked for and readable.
        flags: canonical name -> what looks wrong with the values.
        hashes: canonical name -> SHA-256 in hexadecimal, where asked for and readable.
        problems: canonical name -> why the variable cannot be read.
        assets: vocabularies, tables and settings with what they hold.
    """

    spec: CheckpointSpec
    variables: tuple[Variable, ...]
    statistics: Mapping[str, TensorStatistics] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    assets: tuple[AssetContent, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged and all that was looked at can be read, but for types that have no data to be read."""
        return not self.spec.damage and not self._unreadable()

    def refuse_damaged(self) -> None:
        """Raise unless `sound`.

        Raises:
            FormatError: names a variable that cannot be read, or else what is damaged.
        """
        for name in self._unreadable():
            raise FormatError(self.problems[name], path=self.spec.path, key=name)
        refuse_damaged(self.spec, None)

    def to_json(self) -> dict[str, Any]:
        """The plain data of `inspect --json`, fields as documented in `docs/inspect.md`."""
        return whole(self.json_parts())

    def json_parts(self) -> dict[str, Any]:
        """See `Displayed.json_parts`."""
        spec = self.spec.with_flow()
        shown = {variable.name for variable in self.variables}
        return {
            "schema": SCHEMA,
            "path": spec.path,
            "format": spec.format,
            "producer": spec.producer,
            "order_source": spec.order_source,
            "layers": (
                {
                    "name": layer.name,
                    "aliases": list(layer.aliases),
                    "kind": layer.kind,
                    "calls": layer.calls,
                    "ordered": layer.ordered,
                    "feeds": None if layer.feeds is None else list(layer.feeds),
                    "variables": list(layer.variables),
                }
                for layer in spec.layers
                if not shown.isdisjoint(layer.variables)
            ),
            "outputs": None if spec.outputs is None else [list(found) for found in spec.outputs],
            "variables": (self._row(variable) for variable in self.variables),
            "assets": [each.to_json() for each in self.assets],
            "totals": totals_of(self.variables),
            "notes": list(spec.notes),
            "damage": list(spec.damage),
            "wants": list(spec.wants),
        }

    def _row(self, variable: Variable) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": variable.name,
            "key": variable.key,
            "aliases": list(variable.aliases),
            "layer": variable.layer,
            "role": variable.role,
            "kind": variable.kind,
            "slot_of": variable.slot_of,
            "shape": list(variable.shape),
            "dtype": variable.dtype,
            "bytes": variable.nbytes,
        }
        if variable.trainable is not None:
            row["trainable"] = variable.trainable
        if variable.copy_of is not None:
            row["copy_of"] = variable.copy_of
        if variable.doubtful:
            row["doubtful"] = True
        problem = self.problems.get(variable.name)
        if problem:
            row["problem"] = problem
        if variable.name in self.statistics:
            row["stats"] = asdict(self.statistics[variable.name])
        if variable.name in self.hashes:
            row["sha256"] = self.hashes[variable.name]
        return row

    def _unreadable(self) -> list[str]:
        return [each.name for each in self.variables if each.name in self.problems and not each.opaque]


def inspect(
    path: str | os.PathLike[str],
    *,
    stats: bool = False,
    hashes: bool = False,
    filter: str | None = None,  # noqa: A002
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Inspection:
    """List what a checkpoint holds; with `stats` or `hashes`, read every tensor once in bounded memory.

    Args:
        path: as for `open`.
        stats: whether to measure each tensor's values.
        hashes: whether to take the SHA-256 of each tensor's little-endian bytes in C order.
        filter: a glob that a variable's name, key or layer has to match.
        engine: who reads tensors (see `ckptkit.engines.open_engine`); threads of this process for None.
        progress: called while tensors are read.

    Raises:
        CkptkitError: the path cannot be read, or nothing matches `filter`.
    """
    with open_engine(engine) as workers, open_for(workers, path) as checkpoint:
        variables = select(checkpoint.spec, filter)
        problems = {variable.name: variable.problem for variable in variables if variable.problem}
        statistics: dict[str, TensorStatistics] = {}
        flags: dict[str, tuple[str, ...]] = {}
        digests: dict[str, str] = {}
        if stats or hashes:
            from ckptkit.compare.measuring import measure

            readable = tuple(variable for variable in variables if not variable.problem)
            measured = measure(checkpoint, readable, stats=stats, hashes=hashes, engine=workers, progress=progress)
            for variable, found in zip(readable, measured, strict=True):
                if isinstance(found, CkptkitError):
                    problems[variable.name] = str(found)
                    continue
                if found.statistics is not None:
                    statistics[variable.name] = found.statistics
                    flags[variable.name] = doubts(variable, found.statistics)
                if found.sha256 is not None:
                    digests[variable.name] = found.sha256
        assets = tuple(each for each in read_assets(checkpoint) if filter is None or matches(filter, each.asset))
        return Inspection(checkpoint.spec, variables, statistics, flags, digests, problems, assets)
