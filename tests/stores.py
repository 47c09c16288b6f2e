"""Stores that the tests start: an HTTP server and an S3-compatible one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.remote.server import RangeServer

KEY, SECRET = "AKIDexample", "topsecretvalue"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    """An HTTP server over an empty folder."""
    folder = tmp_path / "www"
    folder.mkdir()
    with RangeServer(folder) as running:
        yield running


@pytest.fixture(scope="session")
def s3_env() -> Iterator[dict[str, str]]:
    """A running S3-compatible server, as the environment variables by which fsspec finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield {
            "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}", "FSSPEC_S3_KEY": KEY, "FSSPEC_S3_SECRET": SECRET,
        }  # fmt: skip
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def s3(s3_env: dict[str, str]) -> Iterator[Any]:
    """The file system of the S3-compatible server; `s3://bucket/` is there."""
    import fsspec

    options = {name.removeprefix("FSSPEC_S3_").lower(): value for name, value in s3_env.items() if "FSSPEC" in name}
    fsspec.config.conf["s3"] = options
    files = fsspec.filesystem("s3")
    files.mkdir("bucket")
    yield files
    del fsspec.config.conf["s3"]


@pytest.fixture
def s3_folder(s3: Any, request: pytest.FixtureRequest) -> str:
    """A prefix of the test's own."""
    return f"s3://bucket/{request.node.name.translate(str.maketrans('[]/', '___'))}"


@pytest.fixture
def run_remote(run_cli: Callable[..., subprocess.CompletedProcess[str]], s3_env: dict[str, str]) -> Any:
    """Runs the command line with the S3-compatible server at hand."""

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        from tests.conftest import ROOT

        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1", **s3_env, **more}
        return run_cli(*arguments, env=env)

    return run
