"""Prints what `pyproject.toml` asks for at its oldest, a requirement a line, for pip.

The package's own dependencies, what its models run with, and what the tests of the last stage of `run` need. pip
fails where such a release does not exist, does not go with the others or has nothing for this Python; the bound is then
not true.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

# Of the extra `test`, all that those tests import.
_TESTS = ("dm-sonnet", "hypothesis", "jsonschema", "pytest", "pytest-xdist", "safetensors")

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
wanted = [
    *project["dependencies"],
    *extras["tensorflow-cpu"],
    *(line for line in extras["test"] if re.split("[^a-z-]", line)[0] in _TESTS),
]
sys.stdout.writelines(f"{line.replace('>=', '==')}\n" for line in wanted)
