"""Outputs whose shards are written by several processes: the frameworks read them, and they equal those of one process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ckptkit
from ckptkit.engines.dask import DaskEngine
from ckptkit.errors import UnsupportedError, UsageError
from ckptkit.formats.parts import MOST_BYTES, divided, shard_count
from tests.conftest import FIXTURES
from tests.engine.conftest import write_npz


@pytest.fixture
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckptkit.formats.parts.MOST_BYTES", 256 << 10)
    monkeypatch.setattr("ckptkit.formats.keras.writer.MOST_BYTES", 256 << 10)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    return {f"dense_{n}/kernel": rng.standard_normal((40 + n, 800)).astype(np.float32) for n in range(8)} | {
        "dense_0/bias": np.arange(800, dtype=np.float32),
        "dense_3/bias": np.arange(800, dtype=np.int64),
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_how_many_shards() -> None:
    assert shard_count(0, 8) == shard_count(1 << 20, 8) == 1
    assert shard_count(1 << 30, 8) == 8
    assert shard_count(100 << 20, 64) == 6
    assert divided([], 3, int) == [[], [], []]
    assert divided([1, 1, 1, 9], 2, int) == [[1, 1, 1], [9]]
    assert MOST_BYTES == 4 << 30


@pytest.mark.usefixtures("_small_shards")
def test_a_bundle_is_read_by_tensorflow(tmp_path: Path, arrays: dict[str, np.ndarray], engine: DaskEngine) -> None:
    import tensorflow as tf

    source = write_npz(tmp_path / "s.npz", arrays)
    ckptkit.convert(source, tmp_path / "x", to="tensor-bundle", engine=engine)
    assert len(list(tmp_path.glob("x.data-*"))) > 3
    reader = tf.train.load_checkpoint(str(tmp_path / "x"))
    assert {name: reader.get_tensor(name).tolist() for name in arrays} == {k: v.tolist() for k, v in arrays.items()}
    ckptkit.convert(source, tmp_path / "x", to="tensor-bundle", engine=engine, force=True)
    assert ckptkit.diff(source, tmp_path / "x").verdict == "identical"
    with pytest.raises(UsageError, match="exists already"):
        ckptkit.convert(source, tmp_path / "x", to="tensor-bundle", engine=engine)


@pytest.mark.usefixtures("_small_shards")
@pytest.mark.parametrize("elsewhere", [True, False])
def test_safetensors_are_read_by_their_library(
    tmp_path: Path, arrays: dict[str, np.ndarray], engine: DaskEngine, elsewhere: bool
) -> None:
    from safetensors.numpy import load_file

    source = write_npz(tmp_path / "s.npz", arrays)
    output = tmp_path / "model.safetensors.index.json"
    for force in (False, True):
        ckptkit.convert(source, output, engine=engine if elsewhere else None, force=force)
        index = json.loads(output.read_text())
        assert index["weight_map"].keys() == arrays.keys()
        assert index["metadata"]["total_size"] == sum(value.nbytes for value in arrays.values())
        read = {}
        for name in set(index["weight_map"].values()):
            read.update(load_file(tmp_path / name))
        assert {name: value.tolist() for name, value in read.items()} == {k: v.tolist() for k, v in arrays.items()}
        assert len(set(index["weight_map"].values())) > 3
    assert ckptkit.diff(source, output).verdict == "identical"
    assert len(list(tmp_path.glob("model-*"))) == int(next(iter(index["weight_map"].values()))[15:20])


@pytest.mark.usefixtures("_small_shards")
def test_keras_weights_are_loaded_by_keras(tmp_path: Path, engine: DaskEngine) -> None:
    import keras

    def model() -> keras.Model:
        layers = [keras.layers.Dense(width) for width in (300, 310, 320, 7)]
        return keras.Sequential([keras.Input((200,)), *layers])

    trained, fresh = model(), model()
    trained.save_weights(tmp_path / "one.weights.h5")
    ckptkit.convert(tmp_path / "one.weights.h5", tmp_path / "new.weights.json", engine=engine)
    fresh.save_weights(tmp_path / "like.weights.json", max_shard_size=0.0005)
    ckptkit.remap(
        tmp_path / "new.weights.json", tmp_path / "like.weights.json", tmp_path / "out.weights.json", engine=engine
    )
    assert len(list(tmp_path.glob("out_*.weights.h5"))) == len(list(tmp_path.glob("like_*.weights.h5"))) > 1
    fresh.load_weights(tmp_path / "out.weights.json")
    for one, other in zip(trained.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_bundle_like_another_keeps_what_it_holds(tmp_path: Path, engine: DaskEngine) -> None:
    """Partitioned variables, text, an object graph: all as one process writes it."""
    pairs = [
        ("tf1-partitioned", "tf1-partitioned"),
        ("keras3-mlp-checkpoint", "keras3-mlp-checkpoint"),
    ]
    for number, pair in enumerate(pairs):
        index = [next((FIXTURES / name).rglob("*.index")) for name in pair]
        source, template = (str(path).removesuffix(".index") for path in index)
        outputs = [tmp_path / f"{kind}-{number}" for kind in ("here", "there")]
        ckptkit.remap(source, template, outputs[0], slots=True)
        ckptkit.remap(source, template, outputs[1], slots=True, engine=engine)
        assert ckptkit.diff(*outputs, by="name", slots=True).verdict == "identical"
        stored = [ckptkit.inspect(path, hashes=True) for path in outputs]
        assert stored[0].hashes == stored[1].hashes
        assert ckptkit.diff(template, outputs[1], by="name", slots=True).verdict == "identical"


def test_safetensors_like_others_keep_their_shards(tmp_path: Path, engine: DaskEngine) -> None:
    template = FIXTURES / "safetensors-sharded" / "model.safetensors.index.json"
    outputs = [tmp_path / f"{kind}.safetensors.index.json" for kind in ("here", "there")]
    ckptkit.remap(template, template, outputs[0])
    ckptkit.remap(template, template, outputs[1], engine=engine)
    for output in outputs:
        assert ckptkit.diff(template, output).verdict == "identical"
    assert len(names(tmp_path)) == 2 * 3


@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.npz", "x.safetensors"])
def test_one_file_is_refused_with_the_formats_that_are_not(tmp_path: Path, engine: DaskEngine, name: str) -> None:
    source = FIXTURES / "single-h5" / "single.h5"
    with pytest.raises(UnsupportedError, match="one process writes.*keras-sharded, tensor-bundle, safetensors-sharded"):
        ckptkit.convert(source, tmp_path / name, engine=engine)
    with pytest.raises(UnsupportedError, match="one process writes"):
        ckptkit.remap(source, FIXTURES / "double-h5" / "double.h5", tmp_path / name, engine=engine)
    assert names(tmp_path) == []


def test_layouts_are_converted_elsewhere(tmp_path: Path, engine: DaskEngine) -> None:
    """A plan that computes goes to the workers as well: TF1 cells into a Keras template in shards."""
    import keras

    source = FIXTURES / "tf1-seq2seq" / "seq2seq.ckpt-9000"
    made = keras.Sequential([keras.Input((None, 5)), keras.layers.GRU(6, reset_after=False)])
    made.save_weights(tmp_path / "like.weights.json", max_shard_size=1)
    options = {"by": "order", "allow_missing": True, "allow_unexpected": True}
    plans = ckptkit.plan(
        source, tmp_path / "like.weights.json", rename=["^encoder/cell=gru"], **{**options, "by": "auto"}
    )
    assert any("split" in text or "concat" in text or "slice" in text for text in [json.dumps(plans.to_json())])
    outputs = [tmp_path / "here.weights.json", tmp_path / "there.weights.json"]
    plans.apply(outputs[0])
    plans.apply(outputs[1], engine=engine)
    assert ckptkit.diff(*outputs).verdict == "identical"
