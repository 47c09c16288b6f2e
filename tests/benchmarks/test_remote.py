"""Checkpoints of 1.24 GiB behind a range-serving HTTP server and a local S3-compatible one; loopback only.

pytest tests/benchmarks/test_remote.py -m benchmark

The S3-compatible server (moto) is a test double that reads the whole object for every range of it: requests and bytes
are counted with it, one request at a time so that it needs no more memory than the object, and its seconds say nothing.
Times are taken with the HTTP server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ckptkit as library
from tests.benchmarks import data
from tests.benchmarks.measure import ckptkit, run
from tests.benchmarks.table import Part, Row
from tests.conftest import ROOT

pytestmark = pytest.mark.benchmark


@dataclass(frozen=True)
class Server:
    """A range-serving HTTP server in a process of its own."""

    url: str

    def counts(self) -> tuple[int, int]:
        """Requests and bytes so far."""
        with urllib.request.urlopen(f"{self.url}/__seen__") as answer:
            requests, sent = answer.read().split()
        return int(requests), int(sent)


@pytest.fixture(scope="module")
def http() -> Iterator[Server]:
    for name, seed in (("one", 1), ("other", 2)):
        data.bundle(name, seed)
    data.hdf5("one", 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.remote.server", os.fspath(data.folder())], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    yield Server(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def size(bundle: str) -> int:
    """Bytes of the index and the data of the benchmark's bundle."""
    return sum(os.path.getsize(data.folder() / f"{bundle}.{end}") for end in ("index", "data-00000-of-00001"))


@pytest.mark.parametrize("name", ["one", "one.weights.h5"])
def test_inspect_over_http(http: Server, table: Part, name: str) -> None:
    whole = os.path.getsize(data.hdf5("one", 1)) if name.endswith(".h5") else size("one")
    requests, sent = http.counts()
    found = ckptkit("inspect", f"{http.url}/{name}", "--json")
    more, now = http.counts()
    rounds = 1 + int(os.environ.get("CKPTKIT_BENCHMARK_ROUNDS", "5"))
    what = f"inspect over HTTP, {'HDF5' if name.endswith('.h5') else 'bundle'}"
    table.add(what, found, peak_most=160)
    table.add(f"{what}: requests", (more - requests - 1) / rounds, "")
    assert table.add(f"{what}: share of the bytes", 100 * (now - sent) / rounds / whole, "%", most=1).held


@pytest.fixture(scope="module")
def copied_and_local(http: Server, table: Part) -> Row:
    """`curl` for the bytes of both bundles, and then the local diff."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    shards = [f"{http.url}/{name}.data-00000-of-00001" for name in ("one", "other")]
    curl = table.add(
        "curl, both bundles", run("curl", "-s", *(part for url in shards for part in ("-o", "/dev/null", url)))
    )
    local = table.add(
        "diff, both bundles, local", ckptkit("diff", data.bundle("one", 1), data.bundle("other", 2), "--json", code=1)
    )
    return table.add("curl and then the local diff", curl.figure + local.figure)


def test_diff_over_http(http: Server, table: Part, copied_and_local: Row) -> None:
    _, sent = http.counts()
    found = ckptkit("diff", f"{http.url}/one", f"{http.url}/other", "--json", code=1)
    rounds = 1 + int(os.environ.get("CKPTKIT_BENCHMARK_ROUNDS", "5"))
    share = 100 * (http.counts()[1] - sent) / rounds / (size("one") + size("other"))
    assert table.add("diff over HTTP: share of the bytes", share, "%", most=101).held
    row = table.add("diff over HTTP", found, against=copied_and_local, ratio_most=1.3, peak_most=250)
    assert row.held


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """The file system of an S3-compatible server that holds the bundle and the HDF5 file."""
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    patient = {"read_timeout": 120}
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "any", "secret": "any", "config_kwargs": patient}
    fsspec.config.conf["s3"] = options
    files = fsspec.filesystem("s3")
    files.mkdir("bucket")
    prefix = data.bundle("one", 1)
    for path in (f"{prefix}.index", f"{prefix}.data-00000-of-00001", data.hdf5("one", 1)):
        files.put_file(os.fspath(path), f"bucket/{Path(path).name}", max_concurrency=2)
    yield files
    del fsspec.config.conf["s3"]
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", ["one", "one.weights.h5"])
def test_inspect_over_s3(s3: Any, table: Part, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ckptkit.storage.remote import traffic as module
    from ckptkit.storage.remote.traffic import traffic

    monkeypatch.setattr(module, "_REQUESTS_AT_ONCE", 1)
    whole = os.path.getsize(data.hdf5("one", 1)) if name.endswith(".h5") else size("one")
    requests, received = traffic.requests, traffic.received
    begun = time.perf_counter()
    with library.open(f"s3://bucket/{name}") as checkpoint:
        assert len(checkpoint) == 386
    what = f"inspect over S3 (moto), {'HDF5' if name.endswith('.h5') else 'bundle'}"
    table.add(what, time.perf_counter() - begun)
    table.add(f"{what}: requests", traffic.requests - requests, "")
    assert table.add(f"{what}: share of the bytes", 100 * (traffic.received - received) / whole, "%", most=1).held
