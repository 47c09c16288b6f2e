"""Rename rules: `REGEX=REPLACEMENT`, applied to the source's names before they are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckptkit.errors import UsageError
from ckptkit.matching.within import nearest

# `(?=x)` and the like hold an equals sign of their own: `\=` is one that does not end the pattern.
_RULE = re.compile(r"((?:[^\\=]|\\.)*)=(.*)", re.DOTALL)

# What is no letter of a name in most patterns.
_PLAIN = re.compile(r"\\[A-Za-z]|[\\^$()\[\]{}?*+|]|\.(?=[*+?])")


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


class Renaming:
    """Rules at work on the layers of one checkpoint and on their variables; it remembers which of them matched."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Rules as a user writes them (see `parse_rules`)."""
        self._texts = texts
        self._rules = parse_rules(texts)
        self._matched = [False] * len(self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def apply(self, path: str, names: Sequence[str]) -> tuple[str, list[str]]:
        """A layer's path and the names of its variables, after every rule.

        A rule that matches the path changes it, and the variables go along; one that does not is tried on the full
        name of each variable.
        """
        found = list(names)
        for place, rule in enumerate(self._rules):
            changed, count = rule.pattern.subn(rule.replacement, path)
            if count:
                self._matched[place] = True
                found = [changed + name[len(path) :] if name.startswith(path) else name for name in found]
                path = changed
                continue
            for at, name in enumerate(found):
                renamed, count = rule.pattern.subn(rule.replacement, name)
                if count:
                    self._matched[place] = True
                    found[at] = renamed
        return path, found

    def check(self, known: Iterable[str], where: str) -> None:
        """Raise unless every rule matched something.

        Args:
            known: the names that were there to be matched.
            where: path of the checkpoint, for the message.

        Raises:
            UsageError: a rule matched nothing; the hint has the nearest names.
        """
        for text, rule, matched in zip(self._texts, self._rules, self._matched, strict=True):
            if not matched:
                near = nearest(_PLAIN.sub("", rule.pattern.pattern).strip("/"), known)
                hint = f"Did you mean {' or '.join(near)}?" if near else f"`ckptkit inspect {where}` lists the names."
                raise UsageError(
                    "the rule matches no layer and no variable", path=where, key=f"--rename {text}", hint=hint
                )
