"""JSON from files: the one place where it is parsed, under limits."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ckptkit.errors import FormatError, LimitError

# Python objects take up to some 24 times the text that they come from (`[[],[],…`): 16 MiB of the worst text stay
# within the memory that a command may take.
LARGEST_JSON = 16 << 20


def parse_json(
    text: bytes | bytearray, *, path: str, key: str | None = None, constants: bool = True, limit: int = LARGEST_JSON
) -> Any:
    """The value of a JSON text in UTF-8.

    Args:
        text: the whole text.
        path: the file, for messages.
        key: the member or attribute, for messages.
        constants: whether `NaN` and `Infinity`, which Python's writer makes and the standard has not, are accepted.
        limit: most bytes of `text`; a caller who raises it has bounded the number of values in another way.

    Raises:
        FormatError: not JSON, a name twice in one object, or nested too deeply to be read.
        LimitError: longer than `limit`.
    """
    if len(text) > limit:
        raise LimitError(
            "the JSON text is too long", path=path, key=key, expected=f"at most {limit} bytes", found=len(text)
        )

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise FormatError("a name stands twice in one JSON object", path=path, key=key, found=repr(twice))
        return found

    def refuse(constant: str) -> NoReturn:
        raise FormatError("not JSON", path=path, key=key, found=constant)

    try:
        return json.loads(text.decode(), object_pairs_hook=object_of, parse_constant=None if constants else refuse)
    except RecursionError as error:
        raise FormatError("the JSON text is nested too deeply", path=path, key=key) from error
    except ValueError as error:  # also a number of too many digits, and text that is not UTF-8
        reason = str(error).partition(":")[0]
        raise FormatError(f"not JSON ({reason})", path=path, key=key) from error
