"""python -m tests.matching.published [CASE…] [--keep DIR] [--make]: grade naming schemes, one line a case.

Files are written to DIR (a temporary folder without it) where they are missing, or all anew with --make; a second run
over the same DIR needs no TensorFlow. CASE is a scheme (`bert`) or the start of a case's name (`bert/meta`).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--make", action="store_true", help="write anew; do not grade")
    parser.add_argument("--grade", action="store_true", help="grade what is there; write nothing")
    options = parser.parse_args()
    root = options.keep or Path(tempfile.mkdtemp())
    if not options.grade:
        make(root, options.cases, anew=options.make)
    if options.make:
        return 0
    from tests.matching.grading import graded, read_cases, shown

    counts = graded(read_cases(root, options.cases))
    print(shown(counts))
    return int(any(verdict != "right" for _, verdict in counts))


def make(root: Path, wanted: list[str], *, anew: bool) -> None:
    """Write the cases of the wanted schemes that are not there."""
    names = {case.partition("/")[0] for case in wanted}
    from tests.matching.published.schemes import SCHEMES

    todo = [name for name in SCHEMES if (not names or name in names) and (anew or not (root / name).is_dir())]
    if not todo:
        return
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import warnings

    warnings.filterwarnings("ignore")
    from tests.matching.published.making import make_cases

    for name in todo:
        start = time.monotonic()
        try:
            cases = make_cases(name, SCHEMES[name](), root)
        except Exception:  # noqa: BLE001 - the other schemes are made nevertheless
            print("NOT MADE", name, traceback.format_exc(), file=sys.stderr)
        else:
            print(f"made {name}: {len(cases)} cases in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
