"""Rename rules: `REGEX=REPLACEMENT`, applied to the source's layer paths before names are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ckptkit.errors import UsageError

# `(?=x)` and the like hold an equals sign of their own: `\=` is one that does not end the pattern.
_RULE = re.compile(r"((?:[^\\=]|\\.)*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rename:
    """One rule: every match of `pattern` in a layer path becomes `replacement` (as in `re.sub`)."""

    pattern: re.Pattern[str]
    replacement: str


def parse_rules(rules: Sequence[str]) -> tuple[Rename, ...]:
    r"""Rules as a user writes them.

    The first `=` without a backslash before it ends the pattern; `\=` is an equals sign on either side. The pattern is
    the user's own and Python's: one that backtracks without bound takes its time, as it would in `re.sub`.

    Args:
        rules: `REGEX=REPLACEMENT` each, in the order in which they apply.

    Raises:
        UsageError: a rule without `=`, a pattern or a replacement that `re` does not take.

    Example: `parse_rules(["^old/(.*)=new/\\1"])` moves what lies under `old/` to `new/`.
    """
    return tuple(_parse(rule) for rule in rules)


def _parse(rule: str) -> Rename:
    found = _RULE.fullmatch(rule)
    if found is None:
        raise UsageError("a rename rule is REGEX=REPLACEMENT", key=rule, hint="An equals sign is missing.")
    pattern, replacement = (side.replace("\\=", "=") for side in found.groups())
    try:
        compiled = re.compile(pattern)
        # `re` reads the template before it looks for a match: a wrong group number shows on any text.
        compiled.sub(replacement, "")
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        hint = r"Write a literal equals sign in the pattern as \=." if "=" in replacement else None
        raise UsageError(f"not a rename rule that Python's re takes: {error}", key=rule, hint=hint) from error
    if compiled.pattern == "":
        raise UsageError("the pattern of a rename rule is empty", key=rule, hint="Use ^ to put a prefix before a path.")
    return Rename(compiled, replacement)


def apply_rules(rules: Sequence[Rename], path: str) -> str:
    """`path` after every rule, in order."""
    for rule in rules:
        path = rule.pattern.sub(rule.replacement, path)
    return path
