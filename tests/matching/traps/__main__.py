"""python -m tests.matching.traps [KIND…] [--keep DIR]: write the traps that are not in DIR, grade them, one line each."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    options = parser.parse_args()
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    warnings.filterwarnings("ignore")
    root = options.keep or Path(tempfile.mkdtemp())
    from tests.matching.grading import graded, read_cases, shown
    from tests.matching.traps import kinds
    from tests.matching.traps.trap import write_trap

    for kind in options.kinds or kinds.TRAPS:
        for trap in kinds.TRAPS[kind]():
            folder = root / kind / trap.name
            if not (folder / "case.json").is_file():
                try:
                    write_trap(trap, folder)
                except Exception:  # noqa: BLE001 - the other traps are made nevertheless
                    print("NOT MADE", kind, trap.name, traceback.format_exc(), file=sys.stderr, flush=True)
    counts = graded(read_cases(root, options.kinds))
    print(shown(counts))
    return int(any(verdict in ("wrong", "dropped", "crash") for _, verdict in counts))


if __name__ == "__main__":
    sys.exit(main())
