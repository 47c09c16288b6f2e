"""What the shell offers for a word that is being typed, where that is more than a file's name."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Names go into the shell's own evaluation, and a file can call its variables anything: only these characters pass.
_HARMLESS = re.compile(r"[A-Za-z0-9_./-]+")

# Beyond this nobody reads the list, and the shell takes long to draw it.
_MOST = 1000


def names_in(paths: Sequence[object], begin: str) -> list[str]:
    """Layers and variables, with `begin` first, of the checkpoint that is named on the command line so far.

    Args:
        paths: what is typed for the command's arguments; the first that is a path counts.
        begin: what the word begins with.
    """
    path = next((path for path in paths if isinstance(path, str)), None)
    if path is None or "://" in path:  # nobody waits for a network while typing
        return []
    from ckptkit.api.open import open  # noqa: A004
    from ckptkit.errors import CkptkitError

    try:
        with open(path) as checkpoint:
            names = [name for layer in checkpoint.layers for name in (layer.name, *layer.variables)]
    except CkptkitError:
        return []  # the command itself will say it
    found = [name for name in dict.fromkeys(names) if name.startswith(begin) and _HARMLESS.fullmatch(name)]
    return found[:_MOST]
