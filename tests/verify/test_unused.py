"""A graph runs only what its output needs: the rest of the file's weights is compared by value, or named."""

from __future__ import annotations

import numpy as np
import pytest

import ckptkit


def _graph(fw, folder, head: float | None) -> str:
    """A TF1 checkpoint with its graph, whose output does not need the second of its weights."""
    v1, tf = fw.tf.compat.v1, fw.tf
    folder.mkdir()
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        body = v1.get_variable("body/w", initializer=np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
        v1.matmul(x, body, name="y")
        if head is not None:
            v1.get_variable("head/w", initializer=np.full((3, 2), head, np.float32))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            return str(v1.train.Saver().save(session, str(folder / "net")))


def _saved(fw, folder, head: float | None) -> str:
    """A SavedModel whose signature does not need the second of its variables."""
    tf = fw.tf
    module = tf.Module()
    module.body = tf.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    if head is not None:
        module.head = tf.Variable(np.full((3, 2), head, np.float32))
    function = tf.function(lambda x: {"y": x @ module.body})
    tf.saved_model.save(module, str(folder), function.get_concrete_function(x=tf.TensorSpec((None, 4), name="x")))
    return str(folder)


@pytest.mark.parametrize("make", [_graph, _saved])
@pytest.mark.parametrize(
    ("heads", "untested"),
    [((1.0, 1.0), 0), ((1.0, 2.0), 2), ((1.0, None), 1), ((None, 1.0), 1)],
    ids=["equal", "different", "only in the source", "only in the destination"],
)
def test_weights_that_no_output_needs(fw, tmp_path, make, heads, untested) -> None:
    a, b = (make(fw, tmp_path / name, head) for name, head in zip("ab", heads, strict=True))
    options = {"src_output": "y", "dst_output": "y"} if make is _graph else {}
    result = ckptkit.verify(a, b, **options)
    assert result.passed
    assert len(result.untested) == untested
    assert all("head" in name for name in result.untested)
    assert result.complete is (untested == 0)
    differs = {each.differs for each in result.coverage.untested}
    assert differs == ({True} if None not in heads and untested else {None} if untested else set())
    assert result.coverage.weights == tuple(2 - (head is None) for head in heads)
