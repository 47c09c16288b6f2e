"""The exception tree, and the one way in which a name from a file is made fit to be shown.

Every error carries its facts as data (`path`, `key`, `expected`, `found`, `hint`); `str(error)` is the one line that
a person reads. Nothing here imports anything else of ckptkit.
"""

from __future__ import annotations

import re
from typing import Any

# Characters that may never reach a terminal or a log as they are: C0 and C1 controls, DEL, the line separators that
# `str.splitlines` honours, bidirectional and zero-width marks (Unicode TR 36 on visual spoofing), byte-order mark and
# lone surrogates (which no encoder accepts).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

# A URL in a text: what stands before `://` and an `@`, and a query, may be secrets (presigned URLs, access tokens).
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)(?:([^/@\s?#]*)@)?([^\s?]*)(\?\S*)?")
_PARAMETER = re.compile(r"([^?&=]*)=([^&…][^&]*)")  # a value that was hidden before stays as it is
# Parameters that say which object is meant, and open nothing.
_SHOWN_PARAMETERS = ("versionId", "generation", "download")
# In these the part before `@` names a container.
_WITH_CONTAINER = ("abfs://", "abfss://", "wasb://", "wasbs://", "hf://")

# A name longer than this is an attack or an accident; its two ends say which one it is.
_SHOWN_CHARACTERS = 1000


def printable(text: str) -> str:
    r"""`text` with every control, bidirectional, zero-width and line-separator character shown as an escape.

    The secrets of a URL are left out (see `without_secrets`).

    Example: `printable("a\x1b[2J")` is `"a\\x1b[2J"`.
    """
    text = without_secrets(text)
    if len(text) > _SHOWN_CHARACTERS:
        half = _SHOWN_CHARACTERS // 2
        text = f"{text[:half]}…{text[-half:]}"
    return _UNPRINTABLE.sub(_escape, text)


def without_secrets(text: str) -> str:
    """`text` with user, password and query values of the URLs in it replaced by `…`.

    Example: `without_secrets("https://me:pw@host/a.h5?X-Amz-Signature=12")` is `"https://…@host/a.h5?X-Amz-Signature=…"`.
    """
    return _URL.sub(_hide, text) if "://" in text else text


def _hide(match: re.Match[str]) -> str:
    scheme, user, rest, query = match.groups()
    if user is not None:
        user = user if scheme.lower() in _WITH_CONTAINER and ":" not in user else "…"
    hidden = _PARAMETER.sub(_hide_value, query) if query else ""
    if query and "=" not in query:
        hidden = "?…"
    return f"{scheme}{'' if user is None else user + '@'}{rest}{hidden}"


def _hide_value(match: re.Match[str]) -> str:
    return match.group() if match[1] in _SHOWN_PARAMETERS else f"{match[1]}=…"


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class CkptkitError(Exception):
    """Anything that ckptkit refuses or fails at; its text is a single line.

    Args:
        problem: what failed, in words, without a final full stop.
        path: the file or folder concerned, as the user named it where possible.
        key: the variable, member, attribute or option concerned.
        expected: what should have been there.
        found: what was there instead.
        hint: what to do next, one sentence.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: object = None,
        key: str | None = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = None if path is None else without_secrets(str(path))
        self.key = key
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        where = [printable(part) for part in (self.path, self.key) if part]
        text = ": ".join([*where, printable(self.problem)])
        sides = []
        if self.expected is not None:
            sides.append(f"expected {printable(str(self.expected))}")
        if self.found is not None:
            sides.append(f"found {printable(str(self.found))}")
        if sides:
            text = f"{text}: {', '.join(sides)}"
        if self.hint:
            text = f"{text}. {printable(self.hint)}"
        return text


class UsageError(CkptkitError):
    """The call itself is wrong: an option, a name, a rule, a plan that does not parse."""


class NotFoundError(UsageError):
    """A path, a variable or a layer that does not exist; `hint` carries the nearest names."""


class FormatError(CkptkitError):
    """The bytes are not a well-formed file of their format, or are cut short."""


class ChecksumError(FormatError):
    """Bytes are there and do not match the checksum stored for them."""


class UnsupportedError(CkptkitError):
    """Well-formed, and something that ckptkit does not read, write or convert; says what would be lost."""


class LimitError(CkptkitError):
    """What a file declares is beyond the limits that keep memory and time bounded."""


class RefusedError(CkptkitError):
    """A match with missing, unexpected or ambiguous variables, or a plan that does not fit.

    Attributes:
        lines: one for each of the first groups of variables that stay open, where there are several; they follow the
            one line that says it all.
        groups: all of them as plain data, as `remap --json` gives them.
        plan: the `Plan` so far, with the open places marked; None where there is none.
    """

    lines: tuple[str, ...] = ()
    groups: tuple[dict[str, Any], ...] = ()
    plan: Any = None

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {printable(line)}" for line in self.lines)])


class WriteError(CkptkitError):
    """The output cannot be written, or did not read back as it was written."""


class MissingDependencyError(CkptkitError):
    """An optional package is needed for this call and is not installed."""


class ModelError(CkptkitError):
    """A live model could not be made, filled or run; the user's own exception is the `__cause__`."""
