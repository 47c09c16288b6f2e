"""`python -m ckptkit.conventions` prints `docs/conventions.md`."""

from __future__ import annotations

import sys

from ckptkit.conventions.page import page

if __name__ == "__main__":
    sys.stdout.write(page())
