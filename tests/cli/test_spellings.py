"""Every spelling of a path with every command that takes one: what one command finds, all find, and as the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import run_all
from tests.conftest import FIXTURES

# Fixture -> spellings of its checkpoint from inside of a copy of its folder; "" is the folder.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "keras3-mlp-checkpoint": ("ckpt-1", "ckpt-1.index", "ckpt-1.data-00000-of-00001", "checkpoint", ""),
    "tf1-scopes": ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta", "checkpoint", ""),
    "tf1-two-shards": ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00001-of-00002", "model.ckpt.meta", ""),
    "tf1-scopes-v1": ("model.ckpt", "model.ckpt.meta", "checkpoint", ""),
    "tf1-two-shards-v1": ("model.ckpt", "model.ckpt.meta", "model.ckpt-?????-of-00002", "model.ckpt-00001-of-00002", ""),
    "tf-module-saved-model": (
        "", "saved_model.pb", "variables", "variables/variables", "variables/variables.index",
        "variables/variables.data-00000-of-00001", "fingerprint.pb",
    ),
    "keras3-cnn-sharded": ("model.weights.json", ""),
    "safetensors-sharded": ("model.safetensors.index.json", ""),
    "keras3-mlp-h5": ("model.h5",),
    "keras3-mlp-weights": ("model.weights.h5",),
    "keras3-mlp-archive": ("model.keras",),
    "safetensors-plain": ("model.safetensors",),
    "npz-plain": ("arrays.npz",),
    "torch-checkpoint": ("checkpoint.pt",),
    "torch-sharded": ("pytorch_model.bin.index.json", ""),
    "torch-distributed": ("checkpoint", "checkpoint/.metadata", "checkpoint/__1_0.distcp"),
    "hdf5-plain": ("arrays.h5",),
    "orbax-tree": ("step", "step/_METADATA", "step/manifest.ocdbt", "step/_CHECKPOINT_METADATA", "step/commit_success.txt"),
    "orbax-keras-run": ("run", "run/1", "run/1/pytree", "run/1/_CHECKPOINT_METADATA", "run/1/pytree/_METADATA"),
    "orbax-plain": ("state", "state/_METADATA"),
    "flax-msgpack": ("state.msgpack",),
}  # fmt: skip

# What only reads can be like a template too, but for these.
NOT_WRITTEN = {"tf1-scopes-v1", "tf1-two-shards-v1", "torch-distributed"}


def test_the_spellings_are_those_of_every_format() -> None:
    from ckptkit.formats.locate import locate
    from ckptkit.formats.registry import FORMATS

    found = {locate(FIXTURES / name / spellings[0]).open()[0].format for name, spellings in SPELLINGS.items()}
    assert found == {row.name for row in FORMATS}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_in_every_command(name: str, tmp_path: Path) -> None:
    for copy in ("one", "two"):
        shutil.copytree(FIXTURES / name, tmp_path / copy)
    paths: list[str] = []
    for inside in SPELLINGS[name]:
        path = str(tmp_path / "one" / inside).removesuffix("/")
        paths += [path, f"file://{path}", *([f"{path}/"] if not inside else [])]
    first, other = paths[0], str(tmp_path / "two" / SPELLINGS[name][0])
    out = tmp_path / "out"
    out.mkdir()
    commands: list[tuple[int, list[object]]] = []
    for number, path in enumerate(paths):
        commands += [
            (0, ["inspect", path, "--stats", "--hash", "--json"]),
            (0, ["diff", path, first, "--json"]),
            (0, ["drift", *([first] if path != first else []), path, other, "--json"]),
            (0, ["remap", path, "--like", first, "--dry-run", "--json", "--allow-missing", "--allow-unexpected"]),
            (0, ["convert", path, "-o", out / f"{number}.npz", "--json"]),
            *([(2, ["drift", path, first, "--json"])] if path != first else []),  # one checkpoint, spelled twice
        ]
        if name not in NOT_WRITTEN:
            kind = "".join(Path(SPELLINGS[name][0]).suffixes) if "ckpt" not in SPELLINGS[name][0] else ""
            target = out / f"like-{number}{kind}"
            commands += [
                (0, ["remap", first, "--like", path, "-o", target, "--json"]),
                (0, ["diff", target, path, "--json"]),
                (2, ["remap", other, "--like", path, "-o", first, "--force"]),  # the output is also an input
            ]
    done = run_all([words for _, words in commands], cwd=tmp_path, before="tests.cli.driver:without_syncing")
    told: dict[str, Any] = {}
    for (code, words), (found, text, err) in zip(commands, done, strict=True):
        assert found in ((0, 1) if words[0] == "drift" and not code else (code,)), (words, text, err)
        if code:
            assert err.startswith("ckptkit: ")
            continue
        document = json.loads(text)
        if words[0] == "inspect":
            document.pop("path")
            document["notes"] = [note for note in document["notes"] if not note.startswith(("latest", "newest"))]
            assert told.setdefault("inspect", document) == document, words
        elif words[0] == "diff":
            assert document["verdict"] == "identical", words
        elif words[0] == "drift":
            assert len(document["checkpoints"]) == 2
        elif words[0] == "convert":
            assert told.setdefault("variables", document["variables"]) == document["variables"]
    assert sorted(file.name for file in (tmp_path / "one").rglob("*")) == sorted(
        file.name for file in (FIXTURES / name).rglob("*")
    )  # nothing was written into an input


# Those that are whole models, which run without being told how they are made.
MODELS = {"keras3-mlp-h5", "keras3-mlp-archive", "keras3-exported", "tf-keras-nested-saved-model"}
MORE_SPELLINGS = {
    "keras3-exported": ("", "saved_model.pb", "variables/variables", "variables/variables.index"),
    "tf-keras-nested-saved-model": ("", "saved_model.pb", "variables", "variables/variables.data-00000-of-00001"),
}

NET = """
import keras

def build():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="hidden")])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", {**SPELLINGS, **MORE_SPELLINGS})
def test_every_spelling_where_models_run(name: str, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / name, tmp_path / "one")
    (tmp_path / "net.py").write_text(NET)
    paths = []
    for inside in {**SPELLINGS, **MORE_SPELLINGS}[name]:
        path = str(tmp_path / "one" / inside).removesuffix("/")
        paths += [path, f"file://{path}"]
    commands: list[list[object]] = [
        ["audit", f"{tmp_path / 'net.py'}:build", "--checkpoint", path, "--json"] for path in paths
    ]
    if name in MODELS:
        commands += [["verify", path, paths[0], "--json"] for path in paths]
    told: dict[str, Any] = {}
    for words, (code, text, err) in zip(commands, run_all(commands, cwd=tmp_path), strict=True):
        assert code in ((0, 1) if words[0] == "audit" else (0,)), (words, text, err)
        document = json.loads(text)
        if words[0] == "verify":
            assert document["verdict"] == "pass", words
        else:
            found = [(each["kind"], each["severity"], each["in_file"]) for each in document["findings"]]
            assert told.setdefault("audit", found) == found, words


@pytest.mark.parametrize("name", SPELLINGS)
def test_git_shows_every_file_alike_however_it_is_spelled(name: str, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / name, tmp_path / "one")
    paths = [tmp_path / "one" / inside for inside in SPELLINGS[name]]
    files = [path for path in paths if path.is_file()]
    others = [path for path in paths if not path.exists()]
    commands = [["git", "textconv", f"{scheme}{path}"] for path in files for scheme in ("", "file://")]
    found = run_all([*commands, *(["git", "textconv", path] for path in others)], cwd=tmp_path)
    for (code, text, err), (again, same, _) in zip(
        found[0 : len(commands) : 2], found[1 : len(commands) : 2], strict=True
    ):
        assert (code, again) == (0, 0), err
        assert text == same != ""
        assert str(tmp_path) not in text
    for code, text, err in found[len(commands) :]:  # git names files
        assert (code, text) == (2, "")
        assert err.startswith("ckptkit: ")
