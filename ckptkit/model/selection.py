"""A part of a canonical map: what a glob lets through, what it comes to, and whether anything may be made of it."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from ckptkit.errors import FormatError, NotFoundError, UnsupportedError
from ckptkit.model.assets import Asset
from ckptkit.model.canonical import CheckpointSpec, Variable


def refuse_damaged(spec: CheckpointSpec, hint: str | None = "`ckptkit inspect` lists what is there") -> None:
    """Raise when something is wrong with a file: it can be listed, and nothing is concluded from it or made of it.

    Raises:
        FormatError: names the first damage.
    """
    if spec.damage:
        first, *rest = spec.damage
        more = f", and {len(rest)} more such things" if rest else ""
        raise FormatError(f"damaged: {first}{more}", path=spec.path, hint=hint)


def refuse_unfit(spec: CheckpointSpec) -> None:
    """Raise when nothing may be concluded from a file or made of it: it is damaged, or it is a program in part.

    Raises:
        FormatError: names the first damage.
        UnsupportedError: a pickle wants what is not on the list of names that mean something.
    """
    refuse_damaged(spec)
    refuse_foreign(spec)


def refuse_foreign(spec: CheckpointSpec) -> None:
    """Raise when a file is a program in part: its pickle wants what is not on the list of names that mean something.

    Raises:
        UnsupportedError: names what it wants.
    """
    if spec.wants:
        raise UnsupportedError(
            "its pickle wants classes or functions that ckptkit never makes", path=spec.path,
            found=", ".join(spec.wants[:3]) + (f" and {len(spec.wants) - 3} more" if len(spec.wants) > 3 else ""),
            hint="Where those are installed, save `model.state_dict()` alone",
        )  # fmt: skip


def matches(glob: str, asset: Asset) -> bool:
    """Whether an asset's name or layer matches `glob`."""
    return any(fnmatch.fnmatchcase(name, glob) for name in (asset.name, asset.layer))


def select(spec: CheckpointSpec, glob: str | None) -> tuple[Variable, ...]:
    """The variables whose canonical name, native key or layer matches `glob`; all of them for None.

    Raises:
        NotFoundError: the glob lets nothing through, no asset either.
    """
    if glob is None:
        return spec.variables
    chosen = tuple(
        variable
        for variable in spec.variables
        if any(fnmatch.fnmatchcase(name, glob) for name in (variable.name, variable.key, variable.layer))
    )
    if not chosen and not any(matches(glob, asset) for asset in spec.assets):
        import difflib  # takes longer to load than a small file to list

        names = [name for variable in spec.variables for name in (variable.name, variable.layer)]
        near = difflib.get_close_matches(glob.strip("*/"), dict.fromkeys(names), n=3, cutoff=0.4)
        raise NotFoundError(
            f"no variable matches {glob!r}",
            path=spec.path,
            hint=f"Near it: {', '.join(near)}" if near else "A glob such as 'encoder/*' matches names, keys and layers",
        )
    return chosen


def totals_of(variables: Sequence[Variable]) -> dict[str, int]:
    """Counts over some variables; parameters are elements of weights."""
    weights = [variable for variable in variables if variable.kind == "weight"]
    return {
        "layers": len({variable.layer for variable in weights if variable.layer}),
        "variables": len(variables),
        "parameters": sum(variable.size for variable in weights),
        "bytes": sum(variable.nbytes for variable in variables),
    }
