"""Shared by all benchmarks."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine() -> None:
    if os.getloadavg()[0] > 0.7 * (os.cpu_count() or 1):
        print(f"\nwarning: load {os.getloadavg()[0]:.1f}; ratios are not to be trusted")
