"""Bundles that TensorFlow writes, read as TensorFlow reads them; bundles that ckptkit writes, read by TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ckptkit import dtypes
from ckptkit.formats import open_contents, parts
from ckptkit.formats.tensorflow.bundle.reader import open as open_bundle
from ckptkit.model import Contents, GraphAttribute, GraphNode, ObjectGraph, StoredTensor, TensorSpec
from ckptkit.storage.address import address
from tests.formats.reading import assert_same, read_all
from tests.formats.tf_graphs import save_graph
from tests.formats.writing import write_like, write_new

if TYPE_CHECKING:
    from pathlib import Path

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

NUMPY_TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "float16", "float32",
               "float64", "complex64", "complex128")  # fmt: skip
ML_TYPES = ("bfloat16", "float8_e5m2", "float8_e4m3fn", "int4", "uint4")


def assert_as_tensorflow(path: str, window: int = 1 << 16) -> Contents:
    """Every tensor of the bundle `path` is what `tf.train.load_checkpoint` says."""
    reader = tf.train.load_checkpoint(path)
    shapes = reader.get_variable_to_shape_map()
    contents, values = read_all(path, window)
    assert values.keys() == shapes.keys()
    for key, shape in shapes.items():
        assert list(values[key].shape) == shape
        assert_same(values[key], reader.get_tensor(key))
    assert contents.damage == ()
    return contents


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("sharded", [False, True])
def test_saver(tmp_path: Path, axis: int | None, sharded: bool) -> None:
    path = str(tmp_path / "m.ckpt")
    expected = save_graph(path, axis=axis, sharded=sharded)
    contents, values = read_all(path, window=40)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        assert_same(values[name], value)
    assert_as_tensorflow(path)
    assert contents.meta_graph is not None
    assert [each.name for each in contents.meta_graph.variables] == ["net/w", "net/x", "on1", "on2", "names"]
    assert {each.name: each.trainable for each in contents.meta_graph.variables}["on2"] is False
    assert {each.key: each.trainable for each in contents.tensors}["net/w"] is True
    assert contents.producer == f"TensorFlow {tf.__version__}"


def test_ops_of_the_graph_tell_roles(tmp_path: Path) -> None:
    path = str(tmp_path / "m")
    with tf.Graph().as_default(), v1.Session() as session:
        kernel = v1.get_variable("dense/kernel", (3, 4))
        tf.matmul(tf.zeros((2, 3)), kernel, name="dense/MatMul")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, path)
    contents, source = open_contents(path)
    source.close()
    assert contents.meta_graph is not None
    assert contents.meta_graph.ops == {"dense/MatMul": "MatMul"}


@pytest.mark.parametrize("dtype", [*NUMPY_TYPES, *ML_TYPES])
def test_every_type(tmp_path: Path, dtype: str) -> None:
    values = np.arange(2 * 3).reshape(2, 3).astype(dtypes.numpy_dtype(dtype))
    checkpoint = tf.train.Checkpoint(v=tf.Variable(tf.constant(values)))
    path = checkpoint.write(str(tmp_path / "c"))
    contents, found = read_all(path)
    key = "v/.ATTRIBUTES/VARIABLE_VALUE"
    assert {each.key: each.dtype for each in contents.tensors}[key] == dtype
    assert_same(found[key], values)


def test_checkpoint_of_keras_3(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="hidden"), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 5)), np.ones((2, 3)), verbose=0)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "ckpt"))
    contents = assert_as_tensorflow(path)
    assert isinstance(contents.structure, ObjectGraph)
    names = {alias for each in contents.tensors for alias in each.aliases}
    assert {variable.path.split("/", 1)[1] for variable in model.layers[0].weights} <= {
        name.split("/", 1)[-1] for name in names
    }


def test_checkpoint_of_tf_keras_has_slots(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(5,), name="hidden"), tf_keras.layers.Dense(3)])
    model.compile(tf_keras.optimizers.legacy.Adam(), "mse")
    model.fit(np.ones((2, 5)), np.ones((2, 3)), verbose=0)
    path = str(tmp_path / "w.ckpt")
    model.save_weights(path, save_format="tf")
    contents = assert_as_tensorflow(path)
    assert isinstance(contents.structure, ObjectGraph)
    slots = [slot for node in contents.structure.nodes for slot in node.slots]
    assert {slot.slot_name for slot in slots} == {"m", "v"}
    assert len(slots) == 2 * len(model.weights)


def test_checkpoint_of_sonnet(tmp_path: Path) -> None:
    snt = pytest.importorskip("sonnet")
    module = snt.nets.MLP([4, 3])
    module(tf.zeros((2, 5)))
    path = tf.train.Checkpoint(module=module).write(str(tmp_path / "c"))
    contents = assert_as_tensorflow(path)
    assert {alias for each in contents.tensors for alias in each.aliases} >= {"mlp/linear_0/w"}


def _keys(graph: ObjectGraph) -> list[tuple[str, str]]:
    return [(attribute.key, attribute.full_name) for node in graph.nodes for attribute in node.attributes]


def test_written_name_based_bundle_restores(tmp_path: Path) -> None:
    values = save_graph(str(tmp_path / "from"), axis=0)
    contents, source = open_bundle(address(str(tmp_path / "from")))
    write_new("tensor-bundle", str(tmp_path / "to"), dataclasses.replace(contents, meta_graph=None), source)
    source.close()
    reader = tf.train.load_checkpoint(str(tmp_path / "to"))
    assert set(reader.get_variable_to_shape_map()) == values.keys()
    for name, value in values.items():
        assert_same(reader.get_tensor(name), value)
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("on1", (3, 4))
        v1.train.Saver().restore(session, str(tmp_path / "to"))
        assert_same(session.run(variable), values["on1"])


def test_written_object_based_bundle_restores(tmp_path: Path) -> None:
    kernel, bias = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(3, dtype=np.float32)
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    nodes = (
        GraphNode(children=(("layer", 1),)),
        GraphNode(children=(("kernel", 2), ("bias", 3))),
        GraphNode(attributes=(GraphAttribute("VARIABLE_VALUE", "layer/kernel", "layer/kernel" + suffix),)),
        GraphNode(attributes=(GraphAttribute("VARIABLE_VALUE", "layer/bias", "layer/bias" + suffix),)),
    )
    tensors = (
        StoredTensor("layer/kernel" + suffix, (4, 3), "float32", 48),
        StoredTensor("layer/bias" + suffix, (3,), "float32", 12),
    )
    source = ArraySource({"layer/kernel" + suffix: kernel, "layer/bias" + suffix: bias})
    write_new(
        "tensor-bundle", str(tmp_path / "m"), Contents("tensor-bundle", None, tensors, ObjectGraph(nodes)), source
    )
    layer = tf.Module()
    layer.kernel, layer.bias = tf.Variable(tf.zeros((4, 3))), tf.Variable(tf.zeros(3))
    status = tf.train.Checkpoint(layer=layer).read(str(tmp_path / "m"))
    status.assert_existing_objects_matched()
    status.assert_consumed()
    assert_same(layer.kernel.numpy(), kernel)
    assert_same(layer.bias.numpy(), bias)
    contents, again = open_bundle(address(str(tmp_path / "m")))
    again.close()
    assert contents.structure == ObjectGraph(nodes)


@pytest.mark.parametrize("num_shards", [1, 3])
def test_rewritten_bundle_keeps_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_shards: int) -> None:
    monkeypatch.setattr(parts, "_LEAST_BYTES", 1)  # else nothing so small has several data files
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 5)), np.ones((2, 3)), verbose=0)
    template = tf.train.Checkpoint(model=model).save(str(tmp_path / "template"))
    contents, source = open_bundle(address(template))
    source.close()
    assert isinstance(contents.structure, ObjectGraph)
    key = next(each.key for each in contents.tensors if each.shape == (5, 4))
    new = np.arange(20, dtype=np.float32).reshape(5, 4)
    out = str(tmp_path / "out")
    write_like(
        "tensor-bundle",
        out,
        template,
        {key: TensorSpec("other", (5, 4), "float32")},
        ArraySource({"other": new}),
        workers=num_shards,
    )
    before, after = tf.train.load_checkpoint(template), tf.train.load_checkpoint(out)
    for name in before.get_variable_to_shape_map():
        assert_same(np.asarray(after.get_tensor(name)), new if name == key else before.get_tensor(name))
    tf.train.Checkpoint(model=model).read(out).assert_existing_objects_matched()
    assert any(np.array_equal(weight.numpy(), new) for weight in model.weights)
    assert after.get_variable_to_shape_map() == before.get_variable_to_shape_map()
    assert len(list(tmp_path.glob(f"out.data-*-of-{num_shards:05d}"))) == num_shards


@pytest.mark.parametrize("axis", [0, 1])
def test_rewritten_partitions_stay_partitions(tmp_path: Path, axis: int) -> None:
    template, out = str(tmp_path / "template"), str(tmp_path / "out")
    values = save_graph(template, axis=axis, sharded=True)
    new = np.arange(7 * 5 * 4, dtype=np.float32).reshape(7, 5, 4)
    write_like(
        "tensor-bundle",
        out,
        template,
        {"net/w": TensorSpec("net/w", new.shape, "float32")},
        ArraySource({"net/w": new}),
    )
    _, found = read_all(out)
    for name, value in values.items():
        assert_same(found[name], new if name == "net/w" else value)
    assert_same(tf.train.load_checkpoint(out).get_tensor("net/w"), new)
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("net", partitioner=v1.fixed_size_partitioner(3, axis=axis)):
            variable = v1.get_variable("w", (7, 5, 4))
        v1.train.Saver().restore(session, out)
        assert_same(session.run(tf.convert_to_tensor(variable)), new)


class ArraySource:
    """Arrays as a `TensorSource`."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self._values = values

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._values[key].tobytes()[offset : offset + len(buffer)]

    def stream(self, key: str, buffer: memoryview) -> Any:
        data = self._values[key].tobytes()
        for at in range(0, len(data), len(buffer)):
            yield memoryview(data[at : at + len(buffer)])

    def read_strings(self, key: str) -> list[bytes]:
        return list(self._values[key].reshape(-1))

    def close(self) -> None:
        pass
