"""More stores: fixtures behind HTTP, and fsspec's memory; those that other rooms use as well are in tests/stores.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ckptkit.storage.remote import client
from tests.conftest import FIXTURES
from tests.remote.server import RangeServer


@pytest.fixture(scope="session")
def fixtures_url() -> Iterator[str]:
    """The fixtures behind an HTTP server."""
    with RangeServer(FIXTURES) as running:
        yield running.url


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries as always, with short pauses and timeouts."""
    short = replace(client.patience, pause=0.01, connect=1.0, silence=0.5, total=5.0)
    monkeypatch.setattr(client, "patience", short)
    monkeypatch.setattr("ckptkit.storage.remote.http.patience", short)


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's memory, emptied afterwards."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def copy_fixture(name: str, folder: Path) -> Path:
    """A copy of the fixture `name` in `folder`."""
    return Path(shutil.copytree(FIXTURES / name, folder / name))
