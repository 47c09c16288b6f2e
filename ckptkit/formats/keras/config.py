"""The architecture that a Keras file carries, parsed as JSON and nothing more: no class is looked up, no code run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptkit.errors import CkptkitError
from ckptkit.formats.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

# Architectures of the largest public models are under 2 MB.
MAX_BYTES = 8 << 20

# A model nested in a model adds four levels; ten such are more than was ever seen, and recursion over this is safe.
MAX_DEPTH = 200


def parse_config(data: bytes | str, what: str) -> tuple[Mapping[str, Any] | None, str | None]:
    """The JSON object in `data`, or None and why not.

    Args:
        data: the text as the file has it.
        what: its name, for the reason (`model_config`, `config.json`).
    """
    try:
        value = parse_json(data if isinstance(data, bytes) else data.encode(), path="", key=what, limit=MAX_BYTES)
    except (CkptkitError, UnicodeEncodeError) as error:
        reason = error.problem if isinstance(error, CkptkitError) else "not UTF-8"
        return None, f"{what} is not read: {reason}"
    if not isinstance(value, dict):
        return None, f"{what} is not read: not a JSON object"
    if _is_deeper(value, MAX_DEPTH):
        return None, f"{what} is not read: nested more than {MAX_DEPTH} levels deep"
    return value, None


def parse_version(value: object) -> str | None:
    """A version or backend as text, or None for anything that is none."""
    return value if isinstance(value, str) and value else None


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether containers are nested more than `limit` levels; level by level, without recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
