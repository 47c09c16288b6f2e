"""Names as text: cleaning, sorting as people count, and keeping them unique. Nothing here knows a framework's roles."""

from __future__ import annotations

import re
import sys

_DIGITS = re.compile(r"[0-9]+")
_OUTPUT_INDEX = re.compile(r":[0-9]{1,9}$")
_AUTO_SUFFIX = re.compile(r"_[0-9]{1,9}$")

# tf.train.Checkpoint: `<path>/.ATTRIBUTES/<attribute>`, and escapes of trackable names
# (tensorflow/python/checkpoint/graph_view.py and trackable_utils.py).
_ATTRIBUTES = "/.ATTRIBUTES/"
VARIABLE_VALUE = "VARIABLE_VALUE"

_CELL = re.compile(r"(?:.*_)?cell(?:_[0-9]{1,9})?")

# Characters. A name in a file can be a megabyte long and be that of an object that holds 100,000 others.
_LONGEST_NAME = 128


def without_output(name: str) -> str:
    """`name` without the output index of a graph tensor: `dense/kernel:0` is `dense/kernel`."""
    return _OUTPUT_INDEX.sub("", name) if ":" in name else name


def without_attribute(key: str) -> str:
    """A bundle key as the path of its object: `model/w/.ATTRIBUTES/VARIABLE_VALUE` is `model/w`."""
    path, found, attribute = key.partition(_ATTRIBUTES)
    if not found:
        return key
    return path if attribute == VARIABLE_VALUE else f"{path}/{attribute}"


def without_auto_suffix(word: str) -> str:
    """`word` without the number that a framework appends to repeated names: `kernel_1` is `kernel`."""
    return _AUTO_SUFFIX.sub("", word) if word[-1:].isdigit() else word


def public(word: str) -> str:
    """`word` with the leading underscores of each component taken off: `_cell/_kernel` is `cell/kernel`."""
    if word[:1] != "_" and "/_" not in word:
        return word
    return "/".join(part.lstrip("_") or part for part in word.split("/"))


def is_cell(component: str) -> bool:
    """Whether `component` names the cell of a recurrent layer (`cell`, `lstm_cell_2`)."""
    return _CELL.fullmatch(component) is not None


def clipped(name: str) -> str:
    """`name`, cut where it is longer than any person's: it goes into the names of all that it holds."""
    return name[:_LONGEST_NAME]


def natural_key(path: str) -> str:
    """Sort key by which `dense_2/kernel` comes before `dense_10/kernel`, component by component.

    Numbers are compared by length and digits, so that one of a million digits costs no conversion. What ends a component
    and what begins a number sort before every character of a name.
    """
    return _DIGITS.sub(_number_key, path.replace("/", "\0"))


def _number_key(found: re.Match[str]) -> str:
    significant = found[0].lstrip("0")
    return f"\1{chr(min(len(significant), sys.maxunicode))}{significant}"


class UniqueNames:
    """Hands out names, each one once, with `_1`, `_2` … for repetitions; deterministic and linear."""

    __slots__ = ("_next", "_taken")

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, wish: str) -> str:
        """`wish`, or the first that is free of `wish_1`, `wish_2` and so on."""
        name = wish
        while name in self._taken:
            number = self._next.get(wish, 1)
            self._next[wish] = number + 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name
