"""What can happen while output is written: the old or the new is there afterwards, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ckptkit.errors import CkptkitError
from ckptkit.formats import open_contents
from tests.trust.commands import ROOT, can_trace

OUTPUTS = ("out.npz", "out.safetensors", "out.h5", "out.weights.h5", "out.ckpt")
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100"}
_WRITES = "write,pwrite64,writev,fsync,fdatasync,ftruncate,rename,renameat,renameat2,link,linkat,mkdir,mkdirat"

Values = dict[str, str]


def _hashes(path: Path) -> Values | None:
    """Last parts of names -> SHA-256 of the tensors of `path`, or None when nothing that can be read is there."""
    try:
        contents, source = open_contents(str(path))
    except CkptkitError:
        return None
    try:
        buffer = memoryview(bytearray(1 << 20))
        found = {}
        for tensor in contents.tensors:
            sha = hashlib.sha256()
            for piece in source.stream(tensor.key, buffer):
                sha.update(piece)
            found[f"{tensor.shape}"] = sha.hexdigest()
        return found
    finally:
        source.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three tensors whose shapes differ."""
    path = tmp_path / "in.npz"
    rng = np.random.default_rng(0)
    arrays = {"dense/kernel": rng.random((40, 50)), "dense/bias": rng.random(50), "head/kernel": rng.random((50, 7))}
    np.savez(path, **{name: value.astype("float32") for name, value in arrays.items()})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where output goes; empty."""
    path = tmp_path / "o"
    path.mkdir()
    return path


def _convert(
    source: Path, out: Path, *options: str, before: tuple[str, ...] = (), **settings: object
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "ckptkit", "convert", str(source), "-o", str(out), *options]
    defaults = {"capture_output": True, "text": True, "timeout": 60, "env": _ENVIRONMENT, "check": False}
    return subprocess.run(command, **{**defaults, **settings})  # type: ignore[call-overload]


def _check_refusal(result: subprocess.CompletedProcess[str], code: int = 2) -> None:
    assert result.returncode == code, (result.returncode, result.stderr)
    assert "Traceback" not in result.stderr
    assert "internal error" not in result.stderr
    assert len(result.stderr.splitlines()) <= 1
    if code == 2:
        assert len(result.stderr.splitlines()) == 1


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------------- refused at once


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_output_is_input(source: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    before = source.read_bytes()
    (tmp_path / "sub").mkdir()
    (tmp_path / "soft.npz").symlink_to(source)
    (tmp_path / "hard.npz").hardlink_to(source)
    for out in (source, tmp_path / "sub" / ".." / "in.npz", tmp_path / "soft.npz", tmp_path / "hard.npz"):
        _check_refusal(_convert(source, out, *options))
    assert source.read_bytes() == before
    assert _left(tmp_path) == ["hard.npz", "in.npz", "soft.npz", "sub"]


def test_output_exists(source: Path, folder: Path) -> None:
    out = folder / "out.npz"
    out.write_bytes(b"mine")
    _check_refusal(_convert(source, out))
    assert out.read_bytes() == b"mine"
    assert _convert(source, out, "--force").returncode == 0
    assert _hashes(out) == _hashes(source)
    assert _left(folder) == ["out.npz"]


def test_output_folder_is_missing_or_no_folder(source: Path, folder: Path) -> None:
    (folder / "file").write_bytes(b"x")
    for out in (folder / "missing" / "out.npz", folder / "file" / "out.npz"):
        _check_refusal(_convert(source, out))
    assert _left(folder) == ["file"]


def test_output_folder_is_not_writable(source: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.chmod(0o500)
    _check_refusal(_convert(source, folder / "out.npz"))
    folder.chmod(0o700)
    assert _left(folder) == []


def test_output_is_a_folder_or_a_fifo(source: Path, folder: Path) -> None:
    (folder / "folder.npz").mkdir()
    os.mkfifo(folder / "fifo.npz")
    for name in ("folder.npz", "fifo.npz"):
        for options in ((), ("--force",)):
            _check_refusal(_convert(source, folder / name, *options, timeout=120))
    assert _left(folder) == ["fifo.npz", "folder.npz"]


# ------------------------------------------------------------------------------------------------- while it is written


@pytest.mark.parametrize("name", OUTPUTS)
def test_file_size_limit(source: Path, folder: Path, name: str) -> None:
    for limit in (0, 100, 5000):
        _check_refusal(
            _convert(
                source, folder / name, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            )
        )
        assert _left(folder) == []


# Every one of the first calls, then every third: HDF5 makes a hundred small ones.
_CALLS = (*range(1, 21), *range(21, 400, 3))


def _every_call(source: Path, folder: Path, name: str, fault: str) -> Iterator[subprocess.CompletedProcess[str]]:
    """Convert again and again, with `fault` at the first writing call, the second … until none is hit any more."""
    if not can_trace():
        pytest.skip("strace is not installed or may not trace here")
    for number in _CALLS:
        for path in folder.iterdir():
            if path.is_dir():
                for inner in path.iterdir():
                    inner.unlink()
                path.rmdir()
            else:
                path.unlink()
        log = folder.parent / "trace"
        inject = f"inject={_WRITES}:{fault}:when={number}"
        # strace's faster way of stopping at calls injects errors and no signals
        fast = ["--seccomp-bpf"] if fault.startswith("error") else []
        strace = ("strace", "-f", "-qq", *fast, "-o", str(log), "-e", f"trace={_WRITES}", "-e", inject)
        yield _convert(source, folder / name, before=strace)
        calls = log.read_text().replace("SIGCHLD", "")  # a child of h5py's own, when it is imported
        if "INJECTED" not in calls and "SIG" not in calls:
            return
    pytest.fail("the conversion never came through")


_exhaustive = pytest.mark.parametrize("name", OUTPUTS)


@_exhaustive
def test_an_error_at_every_write(source: Path, folder: Path, name: str) -> None:
    number = errno.EIO if name == "out.safetensors" else errno.ENOSPC
    codes = set()
    for result in _every_call(source, folder, name, f"error={errno.errorcode[number]}"):
        codes.add(result.returncode)
        assert "Traceback" not in result.stderr
        assert "internal error" not in result.stderr
        assert not [left for left in _left(folder) if left.startswith(".")], result.stderr
        if result.returncode:
            assert result.returncode == 2
            assert _left(folder) == [] or _hashes(folder / name) == _hashes(source)
        else:
            assert _hashes(folder / name) == _hashes(source)
    assert codes == {0, 2}


@_exhaustive
def test_a_kill_at_every_write(source: Path, folder: Path, name: str) -> None:
    seen = []
    for _ in _every_call(source, folder, name, "signal=KILL"):
        found = _hashes(folder / name)
        assert found in (None, _hashes(source))
        seen.append(found is not None)
    assert seen[0] is False
    assert seen[-1] is True


@pytest.mark.parametrize(("sent", "code"), [("INT", 130), ("TERM", 143)])
def test_an_interrupt_at_every_write(source: Path, folder: Path, sent: str, code: int) -> None:
    codes = []
    for result in _every_call(source, folder, "out.npz", f"signal={sent}"):
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) <= 1
        assert result.returncode in (0, code), result.stderr
        left = [name for name in _left(folder) if name != "out.npz"]
        assert left == []
        if "out.npz" in _left(folder):
            assert _hashes(folder / "out.npz") == _hashes(source)
        codes.append(result.returncode)
    assert code in codes


def test_an_interrupt_while_working(tmp_path: Path, folder: Path) -> None:
    """Without strace: a signal somewhere in the middle of a larger piece of work."""
    large = tmp_path / "large.npz"
    np.savez_compressed(large, **{f"v{number}": np.zeros((1000, 1000)) + number for number in range(30)})
    process = subprocess.Popen(
        [sys.executable, "-m", "ckptkit", "convert", str(large), "-o", str(folder / "out.npz")],
        env=_ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not _left(folder) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) in ((0, ""), (130, "ckptkit: interrupted\n"))
    assert _left(folder) == (["out.npz"] if process.returncode == 0 else [])


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_two_writers(source: Path, folder: Path, options: tuple[str, ...]) -> None:
    for name in ("out.npz", "out.ckpt"):
        command = [sys.executable, "-m", "ckptkit", "convert", str(source), "-o", str(folder / name), *options]
        both = [
            subprocess.Popen(command, env=_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        for process in both:
            process.communicate(timeout=120)
        codes = sorted(process.returncode for process in both)
        assert codes[0] == 0
        assert codes[1] in (0, 2)
        assert _hashes(folder / name) == _hashes(source)
    assert not [left for left in _left(folder) if left.startswith(".")]


# ------------------------------------------------------------------------------------------------ standard output fails


def _closed() -> None:
    os.close(1)


@pytest.mark.parametrize("arguments", [("inspect",), ("inspect", "--json")])
@pytest.mark.parametrize("how", ["closed", "full", "broken pipe"])
def test_standard_output_fails(source: Path, arguments: tuple[str, ...], how: str) -> None:
    command = [sys.executable, "-m", "ckptkit", arguments[0], str(source), *arguments[1:]]
    out: object = subprocess.DEVNULL
    prepare: Callable[[], None] | None = None
    ends: list[int] = []
    if how == "closed":
        prepare = _closed
    elif how == "full":
        ends = [os.open("/dev/full", os.O_WRONLY)]
        out = ends[0]
    else:
        reading, writing = os.pipe()
        os.close(reading)
        ends = [writing]
        out = writing
    result = subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, text=True, env=_ENVIRONMENT, preexec_fn=prepare, check=False
    )  # type: ignore[call-overload]
    for end in ends:
        os.close(end)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert len(result.stderr.splitlines()) <= 1
    assert result.returncode in (0, 2)
