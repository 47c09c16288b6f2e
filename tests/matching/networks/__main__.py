"""python -m tests.matching.networks FIRST LAST [--keep DIR] [--make]: random pairs of the seeds FIRST … LAST-1, graded.

Files are written to DIR (a temporary folder without it) where they are missing; with --make nothing is graded.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=int, metavar="FIRST")
    parser.add_argument("last", type=int, metavar="LAST")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--make", action="store_true", help="write what is missing; do not grade")
    options = parser.parse_args()
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    warnings.filterwarnings("ignore")
    root = options.keep or Path(tempfile.mkdtemp())
    folders = [root / f"{seed:05}" for seed in range(options.first, options.last)]
    from tests.matching.networks.pairs import make_pair

    for seed, folder in zip(range(options.first, options.last), folders, strict=True):
        if not (folder / "case.json").is_file():
            try:
                make_pair(seed, folder)
            except Exception:  # noqa: BLE001 - the other seeds are made nevertheless
                print("NOT MADE", seed, traceback.format_exc(), file=sys.stderr, flush=True)
        if seed % 25 == 0:
            gc.collect()
    if options.make:
        return 0
    from tests.matching.grading import graded, read_cases, shown

    counts = graded(read_cases(root, [folder.name for folder in folders]))
    print(shown(counts))
    return int(any(verdict in ("wrong", "dropped", "crash") for _, verdict in counts))


if __name__ == "__main__":
    sys.exit(main())
