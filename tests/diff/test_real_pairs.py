"""Pairs of real files that hold the same network under two naming schemes or in two containers."""

from __future__ import annotations

import json
from pathlib import Path

import ckptkit
from ckptkit.differences import search_contents
from ckptkit.matching.value import match_by_value


def path_of(corpus: Path, case: dict) -> str:
    """The path a person would type."""
    folder = corpus / case["name"]
    if case.get("prefix"):
        return str(folder / case["prefix"])
    if case["format"].startswith("savedmodel"):
        return str(folder)
    files = [file["path"] for file in case["files"]]
    return str(folder / next(file for file in files if Path(file).name != "checkpoint" and not file.endswith(".meta")))


def test_every_unique_content_is_found_by_value_and_none_wrongly(corpus: Path) -> None:
    cases = {case["name"]: case for case in json.loads((corpus / "MANIFEST.json").read_text())}
    problems = []
    for known in json.loads((corpus / "PAIRS.json").read_text()):
        if "index" in known["kind"]:  # its data is not there to be read
            continue
        paths = [path_of(corpus, cases[known[side]]) for side in "ab"]
        with ckptkit.open(paths[0]) as a, ckptkit.open(paths[1]) as b:
            contents = search_contents(a, b, list(a), list(b))
            match = match_by_value(a.spec, b.spec, contents.prints_a, contents.prints_b, proven=contents.proven)
            keys_a = {variable.name: variable.key for variable in a.spec.variables}
            keys_b = {variable.name: variable.key for variable in b.spec.variables}
        found = {(keys_a[pair.source[0]], keys_b[pair.target[0]]): pair.evidence for pair in match.pairs}
        wanted = {(one, other) for one, other in known["mapping"]}
        problems += [(known["name"], "not found", *pair) for pair in sorted(wanted - found.keys())]
        groups = {key for group in known["same_content_groups"] for side in group for key in side}
        by_chance = {pair for pair in found.keys() - wanted if groups & set(pair) and "name" not in found[pair]}
        problems += [(known["name"], "luck", *pair) for pair in sorted(by_chance)]
        taken = {one for one, _ in wanted}
        problems += [(known["name"], "wrong", *pair) for pair in sorted(found.keys() - wanted) if pair[0] in taken]
    assert problems == []
