"""What a person says about a match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from ckptkit.errors import UsageError
from ckptkit.model import By


@dataclass(frozen=True, slots=True)
class Pairing:
    """How variables are paired.

    Attributes:
        by: the method.
        rename: `REGEX=REPLACEMENT` rules for the source's names, in order.
        pairs: name in the target -> name in the source, settled first.
        scopes: what alone takes part of (source, target); None for all of it.
        fan_out: whether one source may fill several targets, and equal ones feed one.
        assume: what the files do not tell (`{"forget_bias": "0"}`).
        slots: whether slots and state are matched too.
    """

    by: By = "auto"
    rename: Sequence[str] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str | None, str | None] = (None, None)
    fan_out: bool = False
    assume: Mapping[str, str] = field(default_factory=dict)
    slots: bool = False

    @property
    def scoped(self) -> bool:
        """Whether only a part of either side takes part."""
        return self.scopes != (None, None)

    @property
    def plain(self) -> bool:
        """Whether nothing was said that a framework's own loader would not do."""
        return self.by == "auto" and not (self.rename or self.pairs or self.scoped or self.fan_out or self.assume)


def check_method(by: str) -> None:
    """Raise `UsageError` unless `by` is a way of matching."""
    if by not in get_args(By):
        raise UsageError("no such way of pairing", key=f"--by {by}", expected=", ".join(get_args(By)))
