"""SavedModels that TensorFlow and Keras write: variables, what they are part of, and writing them anew."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ckptkit.errors import FormatError
from ckptkit.formats import open_contents
from ckptkit.model import Contents, ObjectGraph, StoredTensor, TensorSpec
from tests.formats.reading import assert_same, read_all
from tests.formats.writing import write_like, write_new

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KERNEL = np.arange(20, dtype="<f4").reshape(5, 4)


class Values:
    """A source of one array, whatever the key."""

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        yield memoryview(KERNEL.tobytes())


@pytest.fixture(scope="module")
def keras_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of tf_keras, with `keras_metadata.pb`."""
    tf_keras = pytest.importorskip("tf_keras")
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [layers.Dense(4, input_shape=(5,), name="hidden"), layers.BatchNormalization(name="norm")]
    )
    model.layers[1].trainable = False
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder, save_format="tf")
    return folder


@pytest.fixture(scope="module")
def graph_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of TensorFlow 1."""
    tf = pytest.importorskip("tensorflow")
    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("saved") / "model"
    with tf.Graph().as_default(), v1.Session() as session:
        kernel = v1.get_variable("z/kernel", initializer=KERNEL)
        v1.get_variable("a/step", initializer=7, trainable=False)
        given = v1.placeholder(tf.float32, (None, 5))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": given}, {"y": tf.matmul(given, kernel, name="z/MatMul")})
    return folder


def test_keras_tells_classes_and_configurations(keras_model: Path) -> None:
    contents, values = read_all(keras_model)
    assert contents.format == "saved-model"
    assert contents.damage == ()
    assert isinstance(contents.structure, ObjectGraph)
    described = {
        node.metadata["name"]: node for node in contents.structure.nodes if node.metadata and "name" in node.metadata
    }
    assert described["hidden"].identifier == "_tf_keras_layer"
    assert described["hidden"].metadata is not None
    assert described["hidden"].metadata["class_name"] == "Dense"
    assert described["hidden"].metadata["config"]["units"] == 4
    trainable = {alias: tensor.trainable for tensor in contents.tensors for alias in tensor.aliases}
    assert trainable["hidden/kernel"] is True
    assert trainable["norm/moving_mean"] is False
    assert described["norm"].metadata is not None
    assert described["norm"].metadata["trainable"] is False  # the layer is frozen, which its variables do not say
    assert any(value.shape == (5, 4) for value in values.values())


INSIDE = ("", "saved_model.pb", "keras_metadata.pb", "variables", "variables/variables", "variables/variables.index",
          "variables/variables.data-00000-of-00001")  # fmt: skip


@pytest.mark.parametrize("inside", INSIDE)
def test_any_path_into_it_opens_it(keras_model: Path, inside: str) -> None:
    contents, source = open_contents(str(keras_model / inside))
    source.close()
    assert contents.format == "saved-model"
    assert len(contents.tensors) >= 5


def test_graph_tells_order_and_trainable(graph_model: Path) -> None:
    contents, values = read_all(graph_model)
    assert contents.meta_graph is not None
    assert [each.name for each in contents.meta_graph.variables] == ["z/kernel", "a/step"]
    assert {each.key: each.trainable for each in contents.tensors} == {"z/kernel": True, "a/step": False}
    assert contents.meta_graph.ops["z/MatMul"] == "MatMul"
    assert_same(values["z/kernel"], KERNEL)


@pytest.mark.parametrize("content", [b"\xff" * 64, b"", b"\x12\x7f"])
def test_graph_that_cannot_be_read_leaves_the_variables(graph_model: Path, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "m"
    shutil.copytree(graph_model, folder)
    (folder / "saved_model.pb").write_bytes(content)
    contents, values = read_all(folder)
    assert_same(values["z/kernel"], KERNEL)
    assert contents.meta_graph is None
    assert bool(contents.notes) == bool(content)


def test_variables_alone_open(graph_model: Path, tmp_path: Path) -> None:
    shutil.copytree(graph_model / "variables", tmp_path / "m" / "variables")
    contents, values = read_all(tmp_path / "m")
    assert contents.format == "saved-model"
    assert "without saved_model.pb" in contents.notes[0]
    assert_same(values["z/kernel"], KERNEL)


def test_model_without_variables_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(FormatError, match="holds no variables"):
        open_contents(str(tmp_path))


def test_rewritten_keras_model_loads(keras_model: Path, tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    (keras_model / "assets").mkdir(exist_ok=True)
    (keras_model / "assets" / "words.txt").write_text("a b c")
    contents, before = read_all(keras_model)
    key = next(tensor.key for tensor in contents.tensors if tensor.shape == (5, 4))
    out = tmp_path / "out"
    write_like("saved-model", str(out), str(keras_model), {key: TensorSpec("any", (5, 4), "float32")}, Values())
    _, after = read_all(out)
    assert_same(after.pop(key), KERNEL)
    for name, value in after.items():
        assert_same(value, before[name])
    assert (out / "assets" / "words.txt").read_text() == "a b c"
    assert not (out / "fingerprint.pb").exists()
    model = tf_keras.models.load_model(out, compile=False)
    assert_same(model.layers[0].kernel.numpy(), KERNEL)


def test_rewriting_reads_no_fifo(graph_model: Path, tmp_path: Path) -> None:
    import os

    from ckptkit.errors import CkptkitError

    folder = tmp_path / "m"
    shutil.copytree(graph_model, folder)
    os.mkfifo(folder / "pipe")
    with pytest.raises(CkptkitError, match="only regular files"):
        write_like("saved-model", str(tmp_path / "out"), str(folder), {}, Values())


def test_bundle_named_variables_elsewhere_is_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    tensors = (StoredTensor("kernel", (5, 4), "float32", 80),)
    write_new(
        "tensor-bundle", str(tmp_path / "variables" / "variables"), Contents("tensor-bundle", None, tensors), Values()
    )
    contents, source = open_contents(str(tmp_path / "variables" / "variables"))
    source.close()
    assert contents.format == "tensor-bundle"
