"""Runs of checkpoints: what moves, what never does, what comes and goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.api.drift import drift
from ckptkit.drifting import Drift
from ckptkit.drifting.run import Track, follow
from ckptkit.drifting.series import find_series, natural_key
from ckptkit.engines import THREADS
from ckptkit.errors import CkptkitError, NotFoundError, UsageError
from ckptkit.model import Checkpoint, CheckpointSpec, Variable
from ckptkit.report.drift import sparkline
from tests.compare.memory_source import MemorySource
from tests.conftest import FIXTURES


def write(path: Path, **arrays: Any) -> str:
    np.savez(path, **{name.replace("__", "/"): value for name, value in arrays.items()})
    return str(path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three checkpoints whose alphabetical order is not that of their steps."""
    random = np.random.default_rng(0)
    frozen = random.normal(size=(5, 3)).astype("float32")
    table = random.uniform(-0.05, 0.05, (200, 7)).astype("float32")
    kernel = np.full((4, 6), 2.0, "float32")
    for step, factor in ((2, 1.0), (10, 1.5), (100, 1.5 * 1.25)):
        arrays = {
            "dense__kernel": kernel * np.float32(factor),
            "dense__bias": np.zeros(6, "float32"),
            "stuck__kernel": frozen,
            "words__embeddings": table,
            "count": np.array(7, "int64"),
        }
        if step > 2:
            arrays["late__kernel"] = random.normal(size=(2, 2)).astype("float32")
        if step < 100:
            arrays["early__kernel"] = random.normal(size=(2, 5)).astype("float32")
        write(tmp_path / f"model-{step}.npz", **arrays)
    return tmp_path


def by_name(result: Drift) -> dict[str, Any]:
    return {variable.name: variable for variable in result.variables}


def test_changes_are_relative_to_the_earlier_value(run: Path) -> None:
    result = drift([str(run)])
    assert result.labels == ("2", "10", "100")
    moving = by_name(result)["dense/kernel"]
    assert moving.verdict == "moving"
    assert moving.changes == pytest.approx((0.5, 0.25))
    assert not moving.stands_out


def test_what_never_moves_stands_out_unless_it_should_not_move(run: Path) -> None:
    found = by_name(drift([str(run)]))
    assert found["stuck/kernel"].verdict == "frozen"
    assert found["stuck/kernel"].changes == (0.0, 0.0)
    assert found["stuck/kernel"].stands_out
    assert found["count"].verdict == "frozen"
    assert found["count"].constant
    assert not found["count"].stands_out


def test_a_weight_at_its_initial_value_is_said(run: Path) -> None:
    assert by_name(drift([str(run)]))["dense/bias"].initial == "zeros"


def test_what_comes_and_goes(run: Path) -> None:
    found = by_name(drift([str(run)]))
    assert found["late/kernel"].appears == 1
    assert found["late/kernel"].changes[0] is None
    assert found["late/kernel"].vanishes is None
    assert found["early/kernel"].vanishes == 2
    assert found["early/kernel"].appears is None
    assert found["early/kernel"].present == (True, True, False)
    assert found["late/kernel"].stands_out


def test_a_run_in_which_all_moves_is_clean(tmp_path: Path) -> None:
    for step in range(3):
        write(tmp_path / f"m{step}.npz", dense__kernel=np.full((2, 3), 1.0 + step, "float32"))
    result = drift([str(tmp_path)])
    assert result.clean
    assert by_name(result)["dense/kernel"].changes == pytest.approx((1.0, 0.5))


def test_out_of_zero_counts_as_one(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"m{step}.npz", dense__bias=np.full(3, value, "float32"))
        for step, value in enumerate((0.0, 4.0, 4.0))
    ]
    assert by_name(drift(paths))["dense/bias"].changes == (1.0, 0.0)


def test_another_shape_is_no_change_that_can_be_told(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"m{n}.npz", dense__kernel=np.ones((n + 2, 3), "float32")) for n in range(2)]
    found = by_name(drift(paths))["dense/kernel"]
    assert found.changes == (None,)
    assert found.verdict == "moving"


@pytest.mark.parametrize("dtypes", [("f4", "f2", "f2"), ("f4", "f8", "f4"), ("f2", "f4", "f8")])
def test_a_cast_moves_nothing(tmp_path: Path, dtypes: tuple[str, ...]) -> None:
    value = np.random.default_rng(0).normal(size=(40, 30)).astype(dtypes[0])
    paths = [write(tmp_path / f"m{step}.npz", dense__kernel=value.astype(dtype)) for step, dtype in enumerate(dtypes)]
    assert by_name(drift(paths))["dense/kernel"].verdict == "frozen"
    trained = write(tmp_path / "m9.npz", dense__kernel=(value * 1.01).astype(dtypes[-1]))
    assert by_name(drift([*paths, trained]))["dense/kernel"].verdict == "moving"


def test_a_path_alone_is_a_folder(run: Path) -> None:
    assert drift(str(run)) == drift(run) == drift([run])


def sharded(folder: Path, name: str, values: dict[str, np.ndarray]) -> None:
    """A checkpoint with a shard for every tensor."""
    weight_map = {}
    for number, (key, value) in enumerate(values.items(), 1):
        shard = f"{name}-{number:05d}-of-{len(values):05d}.safetensors"
        ckptkit.convert(write(folder / "one.npz", **{key.replace("/", "__"): value}), folder / shard)
        (folder / "one.npz").unlink()
        weight_map[key] = shard
    (folder / f"{name}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("trained", [True, False])
def test_a_shard_is_no_checkpoint(tmp_path: Path, trained: bool, nested: bool) -> None:
    values = {"dense/kernel": np.arange(6.0).reshape(2, 3) + 1, "head/kernel": np.arange(12.0).reshape(3, 4)}
    for step in (1, 2, 10):
        folder = tmp_path / f"step-{step}" if nested else tmp_path
        folder.mkdir(exist_ok=True)
        moved = {key: value + step * (trained or key == "head/kernel") for key, value in values.items()}
        sharded(folder, "model" if nested else f"model-{step}", moved)
    result = drift(tmp_path)
    assert (result.labels, result.clean) == (("1", "2", "10"), trained)
    assert by_name(result)["head/kernel"].verdict == "moving"
    if not nested:
        assert drift(list(tmp_path.iterdir())) == result  # what a shell makes of `*`


def test_shards_of_keras_are_no_checkpoints(tmp_path: Path) -> None:
    for step in (1, 2):
        source = write(tmp_path / "one.npz", dense__kernel=np.full((3, 4), 1.0 + step, "float32"))
        (tmp_path / "run").mkdir(exist_ok=True)
        ckptkit.convert(source, tmp_path / "run" / f"epoch-{step}.weights.json")
    assert len(list((tmp_path / "run").glob("*.weights.h5"))) == 2
    result = drift(tmp_path / "run")
    assert (result.labels, result.clean, result.notes) == (("1", "2"), True, ())


def test_shards_without_an_index_are_not_taken_for_a_run(tmp_path: Path) -> None:
    for number in (1, 2):
        source = write(tmp_path / "one.npz", dense__kernel=np.ones((3, 4)))
        ckptkit.convert(source, tmp_path / f"model-{number:05d}-of-00002.safetensors")
        Path(source).unlink()
    with pytest.raises(NotFoundError, match="no checkpoints"):
        drift(tmp_path)


def test_shards_that_lost_their_index_are_said(tmp_path: Path) -> None:
    for step in range(3):
        sharded(
            tmp_path, f"m-{step}", {"a/kernel": np.full((3, 2), step, "f4"), "b/kernel": np.full((2, 2), -step, "f4")}
        )
    assert drift(tmp_path).notes == ()
    (tmp_path / "m-1.safetensors.index.json").unlink()
    result = drift(tmp_path)
    assert result.labels == ("0", "2")
    assert result.notes == ("left out, shards whose index is not there: m-1-00001-of-00002.safetensors",)


def test_state_of_many_values_is_looked_at(tmp_path: Path) -> None:
    """An attribute or a variable may be called `states` and be trained."""
    spec = CheckpointSpec("m", "npz", None, "sorted", (), ())
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    tracks: dict[str, Track] = {}
    checkpoints = []
    for _ in range(2):
        values = {"net/states/0": kernel, "net/counts": np.zeros(5, "float32")}
        variables = tuple(
            Variable(name, name, (), "", None, "state", None, value.shape, "float32", value.nbytes)
            for name, value in values.items()
        )
        checkpoints.append(Checkpoint(replace(spec, variables=variables), MemorySource(values)))
    for index, now in enumerate(checkpoints):
        follow(tracks, checkpoints[index - 1] if index else None, now, index, THREADS)
    found = {name: track.result(2) for name, track in tracks.items()}
    assert found["net/states/0"].stands_out
    assert found["net/counts"].constant


def test_what_cannot_be_read_is_said_and_not_called_frozen(tmp_path: Path) -> None:
    kernel = Variable("net/kernel", "net/kernel", (), "net", "kernel", "weight", None, (2, 3), "float32", 24)
    iterator = Variable(
        "it", "it", (), "", None, "state", None, (), "variant", 9, problem="data of this type is not read"
    )
    tracks: dict[str, Track] = {}
    before = None
    for index in range(3):
        values = {"net/kernel": np.full((2, 3), 1.0 + index, "float32")}
        spec = CheckpointSpec("m", "tensor-bundle", None, "object-graph", (), (kernel, iterator))
        now = Checkpoint(spec, MemorySource(values))
        follow(tracks, before, now, index, THREADS)
        before = now
    found = {name: track.result(3) for name, track in tracks.items()}
    assert (found["it"].verdict, found["it"].stands_out, found["it"].appears) == ("unreadable", False, None)
    assert Drift(("a", "b", "c"), ("1", "2", "3"), tuple(found.values())).clean
    broken = replace(found["it"], kind="weight")
    assert broken.stands_out


def test_the_json_is_strict_and_complete(run: Path) -> None:
    value = json.loads(json.dumps(drift([str(run)]).to_json(), allow_nan=False))
    assert value["schema"] == "ckptkit.drift/1"
    assert len(value["checkpoints"]) == 3
    assert {"name", "changes", "verdict"} <= set(value["variables"][0])


def test_progress_ends_at_the_total(run: Path) -> None:
    seen: list[tuple[int, int]] = []
    drift([str(run)], progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 3
    assert all(done <= total for done, total in seen)


def test_one_checkpoint_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two or more"):
        drift([write(tmp_path / "m0.npz", a=np.ones(3))])


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CkptkitError) as caught:
        drift([str(tmp_path / name)])
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- series


def touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = (folder / name).suffix
        source = FIXTURES / ("npz-plain/arrays.npz" if kind == ".h5" else "keras3-mlp-checkpoint/ckpt-1.index")
        (folder / name).write_bytes(source.read_bytes() if kind in (".h5", ".index") else b"")
    return str(folder)


def test_bundles_are_named_by_their_index_and_left_overs_are_not(tmp_path: Path) -> None:
    folder = touch(
        tmp_path,
        "checkpoint",
        *(f"ckpt-{step}.{end}" for step in (9, 10, 100) for end in ("index", "data-00000-of-00001")),
        "ckpt-11_temp_0123456789abcdef/part-00000-of-00001.index",
    )
    found = find_series([folder])
    assert [each.at.base for each in found.found] == ["ckpt-9", "ckpt-10", "ckpt-100"]
    assert found.labels == ("9", "10", "100")


def test_what_is_not_of_the_series_is_said(tmp_path: Path) -> None:
    folder = touch(tmp_path, "weights.01-0.9.h5", "weights.02-0.7.h5", "best.h5", "notes.txt")
    found = find_series([folder])
    assert found.labels == ("1", "2")
    assert found.notes == ("left out, not of the numbered series: best.h5",)


def test_given_files_are_put_in_order_where_their_names_tell_one(tmp_path: Path) -> None:
    touch(tmp_path, "m10.h5", "m9.h5", "z.h5", "a.h5")
    for given, wanted in ((("m10.h5", "m9.h5"), ["m9.h5", "m10.h5"]), (("z.h5", "a.h5"), ["z.h5", "a.h5"])):
        assert [each.at.base for each in find_series([tmp_path / name for name in given]).found] == wanted


def test_folders_of_checkpoints(tmp_path: Path) -> None:
    folder = touch(tmp_path, "step_2/saved_model.pb", "step_10/saved_model.pb", "logs/events.out")
    assert [each.at.base for each in find_series([folder]).found] == ["step_2", "step_10"]


def test_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        find_series([str(tmp_path)])


def test_natural_order() -> None:
    assert sorted(["x10", "x9", "x", "a1b10", "a1b2"], key=natural_key) == ["a1b2", "a1b10", "x", "x9", "x10"]


# ------------------------------------------------------------------------------------------------------------- report


def test_sparkline() -> None:
    assert sparkline([0.0, None, 1.0, 0.1, 1e-9], scale=1.0) == "─·█▆▁"
    assert len(sparkline([0.5] * 1000, scale=1.0)) <= 40


def test_names_from_files_reach_the_terminal_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ckptkit.report.drift import show
    from ckptkit.report.terminal import TerminalPage

    paths = [write(tmp_path / f"m{n}.npz", **{"[red]\x1b[2J": np.ones(3, "float32")}) for n in range(2)]
    show(drift(paths), TerminalPage())
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]\\x1b[2J" in out


def test_the_command(run: Path, run_cli: Any) -> None:
    done = run_cli("drift", run)
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.startswith("FROZEN")
    assert "stuck/kernel" in done.stdout
    value = json.loads(run_cli("drift", run, "--json").stdout)
    assert [v["verdict"] for v in value["variables"] if v["name"] == "stuck/kernel"] == ["frozen"]
    alone = run_cli("drift", run / "model-2.npz")
    assert (alone.returncode, alone.stdout, alone.stderr.count("\n")) == (2, "", 1)
