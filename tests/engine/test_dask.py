"""A real cluster of processes: the same results as threads give, byte for byte of the JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import ckptkit
from ckptkit.engines import open_engine
from ckptkit.engines.dask import DaskEngine
from ckptkit.errors import CkptkitError, UsageError
from tests.conftest import FIXTURES
from tests.engine.conftest import write_npz

LARGE = (1500, 1000)  # six megabytes: three pieces


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two bundles with every kind of value, written by TensorFlow."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(5)
    base: dict[str, np.ndarray] = {
        "net/large/kernel": rng.standard_normal(LARGE).astype(np.float32),
        "net/same/kernel": rng.standard_normal(LARGE).astype(np.float32),
        "net/double/kernel": rng.standard_normal((700, 900)),
        "net/complex/kernel": (rng.standard_normal(400_000) + 1j * rng.standard_normal(400_000)),
        "net/counts": rng.integers(-(2**62), 2**62, 500_000),
        "net/words": np.array([b"one", b"", b"three\0"], dtype=object),
        "net/small/bias": np.arange(5, dtype=np.float32),
    }
    other = {name: value.copy() for name, value in base.items()}
    other["net/large/kernel"].reshape(-1)[[3, 700_000, 1_400_000]] = [np.nan, np.inf, 1e30]
    other["net/complex/kernel"][399_999] += 1j
    other["net/counts"][300_000] += 1
    other["net/words"][1] = b"two"
    other["net/double/kernel"][0, 0] += 1e-12
    for name, tensors in (("a", base), ("b", other)):
        small = {**tensors, "net/brain/kernel": tf.cast(tensors["net/large/kernel"] * 3, tf.bfloat16)}
        tf.raw_ops.SaveV2(
            prefix=str(folder / name), tensor_names=list(small), shape_and_slices=[""] * len(small),
            tensors=[tf.constant(value) for value in small.values()],
        )  # fmt: skip
    return folder / "a", folder / "b"


def text(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


@pytest.mark.parametrize("options", [{}, {"by": "value"}, {"atol": 1e-3, "rtol": 1e-5, "slots": True}])
def test_diff_gives_the_same_json(pair: tuple[Path, Path], engine: DaskEngine, options: dict[str, Any]) -> None:
    here, there = ckptkit.diff(*pair, **options), ckptkit.diff(*pair, engine=engine, **options)
    assert text(here.to_json()) == text(there.to_json())
    assert here == there
    assert here.verdict == "different"


def test_inspect_gives_the_same_json(pair: tuple[Path, Path], engine: DaskEngine) -> None:
    for options in ({"stats": True}, {"hashes": True}, {"stats": True, "hashes": True}):
        here, there = ckptkit.inspect(pair[1], **options), ckptkit.inspect(pair[1], engine=engine, **options)
        assert text(here.to_json()) == text(there.to_json())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("single-h5/single.h5", "double-h5/double.h5"),
        ("tf1-seq2seq/seq2seq.ckpt-9000", "tf1-seq2seq/seq2seq.ckpt-9000"),
        ("sonnet2-rnn/ckpt-1", "keras3-rnn-weights/model.weights.h5"),
        ("safetensors-sharded/model.safetensors.index.json", "keras3-cnn-sharded/model.weights.json"),
    ],
)
def test_fixtures_give_the_same_json(engine: DaskEngine, a: str, b: str) -> None:
    if not all(list((FIXTURES / path).parent.glob("*")) for path in (a, b)):
        pytest.skip("no such fixture")
    here, there = ckptkit.diff(FIXTURES / a, FIXTURES / b), ckptkit.diff(FIXTURES / a, FIXTURES / b, engine=engine)
    assert text(here.to_json()) == text(there.to_json())


def test_swapped_and_renamed_layers_are_found_elsewhere_too(tmp_path: Path, engine: DaskEngine) -> None:
    rng = np.random.default_rng(6)
    arrays = {f"block_{i}/kernel": rng.standard_normal((900, 800)).astype(np.float32) for i in range(4)}
    swapped = {**arrays, "block_0/kernel": arrays["block_2/kernel"], "block_2/kernel": arrays["block_0/kernel"]}
    renamed = {f"tower/{word}/w": value for word, value in zip(("q", "b", "z", "m"), arrays.values(), strict=True)}
    a = write_npz(tmp_path / "a.npz", arrays)
    for other in (swapped, renamed):
        b = write_npz(tmp_path / "b.npz", other)
        here, there = ckptkit.diff(a, b), ckptkit.diff(a, b, engine=engine)
        assert text(here.to_json()) == text(there.to_json())
    assert there.verdict == "identical"


def test_drift_gives_the_same_json(tmp_path: Path, engine: DaskEngine) -> None:
    rng = np.random.default_rng(7)
    still = rng.standard_normal((900, 800)).astype(np.float32)
    for step in range(3):
        write_npz(
            tmp_path / f"ckpt-{step}.npz",
            {"moving/kernel": still + step, "still/kernel": still, "zero/kernel": np.zeros((900, 800), np.float32)},
        )
    here, there = ckptkit.drift([str(tmp_path)]), ckptkit.drift([str(tmp_path)], engine=engine)
    assert text(here.to_json()) == text(there.to_json())
    assert not here.clean


def test_a_damaged_tensor_gives_the_same_error(pair: tuple[Path, Path], engine: DaskEngine, tmp_path: Path) -> None:
    for ending in (".index", ".data-00000-of-00001"):
        (tmp_path / f"bad{ending}").write_bytes(Path(f"{pair[0]}{ending}").read_bytes())
    data = tmp_path / "bad.data-00000-of-00001"
    with data.open("r+b") as file:
        file.seek(data.stat().st_size // 2)
        file.write(b"\xff\x00\xff\x00")
    with pytest.raises(CkptkitError) as here:
        ckptkit.diff(tmp_path / "bad", pair[1])
    with pytest.raises(CkptkitError) as there:
        ckptkit.diff(tmp_path / "bad", pair[1], engine=engine)
    assert type(here.value) is type(there.value)
    assert (here.value.problem, here.value.key) == (there.value.problem, there.value.key)
    problems = ckptkit.inspect(tmp_path / "bad", stats=True, engine=engine).problems
    assert problems.keys() == ckptkit.inspect(tmp_path / "bad", stats=True).problems.keys() != set()


def test_progress_ends_at_the_total(pair: tuple[Path, Path], engine: DaskEngine) -> None:
    seen: list[tuple[int, int]] = []
    ckptkit.diff(*pair, engine=engine, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] > 0.99 * seen[-1][1]


def test_the_command_with_a_cluster_of_its_own(pair: tuple[Path, Path], run_cli: Any) -> None:
    here, there = run_cli("diff", *pair, "--json"), run_cli("diff", *pair, "--json", "--engine", "dask")
    assert (there.stdout, there.returncode, there.stderr) == (here.stdout, 1, "")


def test_the_command_with_a_scheduler(client: Any, run_cli: Any) -> None:
    path = FIXTURES / "single-h5" / "single.h5"
    done = run_cli("inspect", path, "--stats", "--json", "--engine", f"dask:{client.scheduler.address}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run_cli("inspect", path, "--stats", "--json").stdout


@pytest.mark.parametrize("name", ["dusk", "dask:", "threads:2", "ray"])
def test_other_engines_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no such engine") as caught, open_engine(name):
        pass
    assert name != "dusk" or "Did you mean dask" in str(caught.value)


def test_an_open_checkpoint_stays_in_its_process(engine: DaskEngine) -> None:
    path = FIXTURES / "single-h5" / "single.h5"
    with ckptkit.open(path) as opened, pytest.raises(UsageError, match="stays in its process"):
        ckptkit.diff(opened, path, engine=engine)


def test_what_goes_out_is_small(tmp_path: Path, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map of many variables stays at home: a submission has its own tasks and the path."""
    import cloudpickle

    sizes: list[int] = []
    pickle = cloudpickle.dumps

    def dumps(value: Any) -> bytes:
        found = pickle(value)
        sizes.append(len(found))
        return found

    with h5py.File(tmp_path / "m.h5", "w") as file:
        for number in range(3000):
            file[f"layer_{number}/vars/0"] = np.float32([number, 1])
    monkeypatch.setattr(cloudpickle, "dumps", dumps)
    found = ckptkit.inspect(tmp_path / "m.h5", stats=True, engine=engine)
    assert len(found.statistics) == 3000
    assert len(sizes) > 2
    assert max(sizes) < 300 * 1024
