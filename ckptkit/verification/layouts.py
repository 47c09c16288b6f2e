"""Layouts of inputs and outputs: `NHWC` on one side is `NCHW` on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

# The longest that is written: a batch of videos with its channels.
_LONGEST = 8


def check_layout(text: str | None, option: str) -> str | None:
    """A layout as it was typed, in capitals.

    Raises:
        UsageError: a letter stands twice, or it is none.
    """
    if text is None:
        return None
    word = text.upper()
    if not (word.isascii() and word.isalpha() and len(set(word)) == len(word) and 1 < len(word) <= _LONGEST):
        raise UsageError("not a layout", key=option, expected="a letter for each axis, such as NCHW", found=text)
    return word


def usual(letters: str, *, first: bool) -> str:
    """These axes as a framework has them that keeps the channels first, or last: `NCHW`, `NHWC`."""
    rest = "".join(sorted((letter for letter in letters if letter not in "NC"), key="TDHWL".find))
    others = "".join(letter for letter in rest)
    return (
        f"NC{others}" if first and len(letters) > 2 and "C" in letters else f"N{others}{'C' if 'C' in letters else ''}"
    )


def axes_between(ours: str, theirs: str) -> tuple[int, ...]:
    """The order of axes that makes a tensor laid out as `ours` one that is laid out as `theirs`.

    Raises:
        UsageError: they are not of the same axes.
    """
    if sorted(ours) != sorted(theirs):
        raise UsageError("layouts of different axes", key="--src-layout and --dst-layout", expected=ours, found=theirs)
    return tuple(ours.index(letter) for letter in theirs)


@dataclass(frozen=True, slots=True)
class Turning:
    """Which order of axes a side wants of arrays that are laid out as the other side's.

    Attributes:
        axes: the order, for arrays of as many axes; () for arrays that are taken as they lie.
    """

    axes: tuple[int, ...] = ()

    def there(self, array: np.ndarray) -> np.ndarray:
        """An array of the other side, as this side wants it."""
        import numpy as np

        return np.ascontiguousarray(array.transpose(self.axes)) if self.axes else array

    def back(self) -> tuple[int, ...]:
        """The order of axes that makes an array of this side one of the other."""
        return tuple(self.axes.index(place) for place in range(len(self.axes)))


def channels_first(rank: int) -> Turning:
    """From channels last to channels first."""
    return Turning((0, rank - 1, *range(1, rank - 1)))
