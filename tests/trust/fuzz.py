"""A coverage-guided fuzzer for everything that parses bytes from a file.

    python -m tests.trust.fuzz --seconds 60                 all targets, a minute in all
    python -m tests.trust.fuzz --seconds 3600 npz zip       two targets, an hour
    python -m tests.trust.fuzz --engine atheris npz         by libFuzzer, where atheris is installed

Inputs begin with the shipped fixtures; one that reaches a line of ckptkit that none before it reached is kept and
mutated further. A find (a foreign exception, more than five seconds, memory out) is saved under its target's name in
`--save`; moved to `tests/trust/finds/`, it is a regression test. The exit code is 1 when there was a find.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import ckptkit
from tests.trust.fuzz_targets import TARGETS, Target

_PACKAGE = str(Path(ckptkit.__file__).parent)
_SECONDS_AN_INPUT = 5
_MEMORY = 2 << 30
_LARGEST_INPUT = 200_000

# Values at which integers turn: signs, widths, products.
_TURNING = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63)


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """`data` after one to four random changes of a kind that parsers stumble over."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        at = rng.randrange(len(changed) + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 16, 64)), len(changed) - at)
        kind = rng.randrange(8)
        if kind == 0 and length:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice(_TURNING) & ((1 << 8 * width) - 1)
            changed[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 5:
            del changed[at:]
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at : at + length] = other[start : start + rng.choice((4, 16, 64))]
        else:
            changed[at:at] = rng.choice((b"\0", b"\xff" * 9 + b"\x01", b"/", b"..", b"{", b"[", b'"', b"-1"))
    return bytes(changed[:_LARGEST_INPUT])


@contextmanager
def _covered() -> Iterator[set[tuple[CodeType, int]]]:
    """The lines of ckptkit that run inside the block."""
    lines: set[tuple[CodeType, int]] = set()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        lines.add((frame.f_code, frame.f_lineno))
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(_PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield lines
    finally:
        sys.settrace(before)


class _TooLongError(BaseException):
    """Not an `Exception`, so that no handler on the way takes it for something else."""


def _alarm(signum: int, frame: FrameType | None) -> None:
    raise _TooLongError


def fuzz(
    target: Target, seconds: float, seed: int, most: float = float("inf")
) -> tuple[int, int, list[tuple[bytes, str]]]:
    """Fuzz one target for a time, or `most` inputs; (inputs tried, inputs kept, finds with their reports)."""
    rng = random.Random(seed)
    pool = target.seeds()
    known: set[tuple[CodeType, int]] = set()
    finds: dict[str, tuple[bytes, str]] = {}
    fresh = list(pool)
    until = time.monotonic() + seconds
    tried = 0
    previous = signal.signal(signal.SIGALRM, _alarm)
    try:
        while tried < most and time.monotonic() < until:
            data = fresh.pop() if fresh else mutate(rng.choice(pool[-50:] if rng.random() < 0.5 else pool), pool, rng)
            tried += 1
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_AN_INPUT)
            try:
                with _covered() as lines:
                    target.run(data)
            except (Exception, _TooLongError) as error:  # noqa: BLE001 (each one is a find)
                report = "".join(traceback.format_exception(error))
                frame = traceback.extract_tb(error.__traceback__)[-1]
                finds.setdefault(f"{type(error).__name__} {frame.filename}:{frame.lineno}", (data, report))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if not lines <= known:
                known |= lines
                pool.append(data)
    finally:
        signal.signal(signal.SIGALRM, previous)
    return tried, len(pool), list(finds.values())


def _run_atheris(target: Target, seconds: float) -> None:
    """Hand over to libFuzzer; does not return."""
    import atheris

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", f"-timeout={_SECONDS_AN_INPUT}"], target.run)
    atheris.Fuzz()


def main(arguments: list[str] | None = None) -> int:
    """Run as the module's text says; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without one")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--inputs", type=int, default=None, help="at most so many for each target")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the random numbers; another one each time without it"
    )
    parser.add_argument("--save", type=Path, default=Path("fuzz-finds"), help="where finds go")
    parser.add_argument("--engine", choices=("builtin", "atheris"), default="builtin")
    options = parser.parse_args(arguments)
    names = options.targets or list(TARGETS)
    if options.engine == "atheris":
        _run_atheris(TARGETS[names[0]], options.seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    found = 0
    for name in names:
        most = options.inputs or float("inf")
        tried, kept, finds = fuzz(TARGETS[name], options.seconds / len(names), seed, most)
        print(f"{name}: {tried} inputs, {kept} kept, {len(finds)} finds (seed {seed})", flush=True)
        for data, report in finds:
            options.save.mkdir(parents=True, exist_ok=True)
            path = options.save / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"{path}\n{report}", flush=True)
        found += len(finds)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
