"""Keeping TensorFlow's chatter off the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

_LOGGERS = ("absl", "tensorflow", "tf_keras", "keras")


@contextlib.contextmanager
def quiet(what: str, *, enabled: bool = True, spinner: bool = True) -> Iterator[None]:
    """Let nothing but our own spinner reach stderr and nothing at all reach stdout while the block runs.

    TensorFlow's native code writes to the file descriptors before any setting of it is read, so these are what is
    turned away. Messages of our own are written after the block, to the real ones.

    Args:
        what: shown beside the spinner when stderr is a terminal.
        enabled: off for `--debug`.
        spinner: off for `--quiet`.
    """
    if not enabled:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        kept = [_turned_away(stack, descriptor) for descriptor in (1, 2)]
        if spinner and os.isatty(kept[1]):
            from rich.console import Console

            terminal = stack.enter_context(os.fdopen(os.dup(kept[1]), "w", encoding="utf-8"))
            stack.enter_context(Console(file=terminal).status(what))
        yield


def _turned_away(stack: contextlib.ExitStack, descriptor: int) -> int:
    """Send `descriptor` nowhere until the stack unwinds; a duplicate of where it went."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    stream.flush()
    kept = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)

    def back() -> None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        os.dup2(kept, descriptor)
        os.close(kept)

    stack.callback(back)
    return kept
