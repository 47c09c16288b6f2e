"""What a kind of file gives: the value of its pickle, and the storages that the pickle refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ckptkit.formats.torch.source import Held

if TYPE_CHECKING:
    from ckptkit.formats.torch.pickles import Global, Value
    from ckptkit.formats.torch.rebuild import Persist


class Closed(Protocol):
    """What has to be closed."""

    def close(self) -> None:
        """Idempotent."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file of `torch.save`, its pickle decoded.

    Attributes:
        value: of the pickle.
        names: what the file's pickles would import.
        persist: what the file makes of its persistent ids.
        storages: key -> its bytes.
        problems: key -> why a storage that the pickle refers to cannot be read.
        kind: of file, in words.
        checksums: whether it stores any.
        swapped: whether items of storages without a type have an order of bytes that nothing tells.
        notes: what a person should know.
        opened: what has to be closed.
    """

    value: Value
    names: Iterable[Global]
    persist: Persist
    storages: Mapping[str, Held]
    problems: Mapping[str, str]
    kind: str
    checksums: bool = False
    swapped: bool = False
    notes: tuple[str, ...] = ()
    opened: Sequence[Closed] = field(default_factory=tuple)
