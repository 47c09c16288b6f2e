"""The fuzzer itself, a short run of it, and every input that it once found."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trust.commands import ROOT
from tests.trust.fuzz import fuzz, mutate
from tests.trust.fuzz_targets import TARGETS, Target

FINDS = sorted(path for path in Path(__file__).with_name("finds").iterdir() if path.suffix != ".md")


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read_without_error(name: str) -> None:
    """A seed that is refused would leave the fuzzer outside the door."""
    seeds = TARGETS[name].seeds()
    assert seeds
    if name not in _REFUSED_SEEDS:
        for seed in seeds:
            TARGETS[name].call(seed)


# The seed is of the right kind, and a part of it is not what the target is alone with.
_REFUSED_SEEDS = {
    "bundle-header": "a bundle's header asks for another version than an entry has",
    "bundle-index": "the header of one fixture's index beside the data of another",
    "strings": "its checksum is not right",
}


@pytest.mark.parametrize("path", FINDS, ids=lambda path: path.name)
def test_what_was_found_once(path: Path) -> None:
    name, _, _ = path.name.rpartition("-")
    started = time.process_time()
    TARGETS[name].run(path.read_bytes())
    assert time.process_time() - started < 20


def _run(inputs: int, seconds: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """All targets in a process of its own, whose memory is limited; the same inputs each time, as many as there is time for.

    Those that lay out a folder for each input take a thousand times as long as a header does.
    """
    options = ["--inputs", str(inputs), "--seconds", str(seconds), "--seed", "1", "--save", str(folder)]
    command = [sys.executable, "-m", "tests.trust.fuzz", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    result = _run(150, len(TARGETS), tmp_path)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert result.stdout.count(" inputs, ") == len(TARGETS)


@pytest.mark.slow
def test_a_longer_run_finds_nothing(tmp_path: Path) -> None:
    result = _run(4000, 2 * len(TARGETS), tmp_path)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


def test_the_fuzzer_finds_what_is_there() -> None:
    """Three bytes deep: only an input that was kept for reaching a new line leads to the next."""
    from ckptkit.formats.npz.header import MAGIC, parse_header

    def broken(data: bytes) -> None:
        parse_header(data, path="p", key="k")
        raise ZeroDivisionError

    seed = MAGIC + b"\x01\0\x3b\0" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }  ,"
    tried, kept, finds = fuzz(Target(broken, lambda: [seed]), 1.5, seed=1)
    assert tried > 10
    assert kept > 1
    assert any("ZeroDivisionError" in report for _, report in finds)


def test_the_fuzzer_stops_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.trust.fuzz._SECONDS_AN_INPUT", 0.2)

    def hanging(data: bytes) -> None:
        while True:
            pass

    _, _, finds = fuzz(Target(hanging, lambda: [b"x"]), 0.5, seed=1)
    assert len(finds) == 1
    assert "_TooLongError" in finds[0][1]


def test_mutations_differ_and_stay_small() -> None:
    rng = random.Random(0)
    data = bytes(range(256))
    made = {mutate(data, [data, b"other"], rng) for _ in range(500)}
    assert len(made) > 450
    assert max(map(len, made)) < 20_000
    assert mutate(b"", [b""], rng) is not None
