"""The audit around its findings: inputs, checkpoints, sharing, savers that fail, the assertion, the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from ckptkit.api.audit import audit
from ckptkit.errors import CkptkitError, LimitError, ModelError, UsageError
from ckptkit.inputs import parse_shape
from ckptkit.testing import assert_no_untracked_weights
from tests.audit.keras_traps import in_set, tf_variable_in_build
from tests.audit.truth import x

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def mlp(K: Any, *sizes: int, names: str = "") -> Any:
    layers = [K.layers.Dense(size, name=f"{names}{i}" if names else None) for i, size in enumerate(sizes)]
    return K.Sequential([K.Input((4,)), *layers])


# ------------------------------------------------------------------------------------------------------------- inputs


def test_shapes() -> None:
    assert parse_shape("1,28,28,1") == ((1, 28, 28, 1), "float32")
    assert parse_shape("4,16:int32") == ((4, 16), "int32")
    assert parse_shape("[2, 3]") == ((2, 3), "float32")


@pytest.mark.parametrize("text", ["", "x", "1,,2", "1,-2", "3:complex", "3:text", "1;2", "1,2:", "²,3"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(UsageError):
        parse_shape(text)


def test_a_shape_that_would_take_all_memory() -> None:
    with pytest.raises(LimitError):
        parse_shape("1000000,1000000")


def test_several_inputs_as_a_list_and_by_name(K: Any) -> None:
    def two() -> Any:
        a, b = K.Input((3,), name="a"), K.Input((5,), name="b")
        return K.Model([a, b], K.layers.Dense(2)(K.layers.Concatenate()([a, b])))

    arrays = {"b": np.ones((2, 5), "float32"), "a": np.ones((2, 3), "float32")}
    for result in (audit(two), audit(two, input_shapes=["2,3", "2,5"]), audit(two, arrays)):
        assert result.findings == ()


def test_a_model_that_does_not_say_what_it_takes(K: Any) -> None:
    with pytest.raises(UsageError, match="--input-shape"):
        audit(lambda: K.layers.Dense(2))
    with pytest.raises(UsageError, match="both"):
        audit(lambda: K.layers.Dense(2), x(), input_shapes=["2,4"])


def test_inputs_that_do_not_fit(K: Any) -> None:
    with pytest.raises(ModelError, match="does not run on the inputs") as caught:
        audit(lambda: mlp(K, 3), input_shapes=["2,5"])
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("made", [3, None, "model", object()])
def test_what_is_no_model(made: object) -> None:
    with pytest.raises(ModelError):
        audit(lambda: made, x())
    with pytest.raises(ModelError):
        audit(made, x())


# -------------------------------------------------------------------------------------------------- sharing and twins


def kinds(result: Any) -> list[str]:
    return [finding.kind for finding in result.findings]


def test_one_layer_several_times_in_a_chain(K: Any) -> None:
    def chain() -> Any:
        inputs = K.Input((4,))
        layer, y = K.layers.Dense(4, name="again"), inputs
        for _ in range(3):
            y = layer(y)
        return K.Model(inputs, y)

    assert len(chain().weights) == 2
    result = audit(chain)
    assert kinds(result) == ["shared"]
    assert "again stands 3 times" in result.findings[0].message
    assert result.clean


def test_one_layer_several_times_in_a_list() -> None:
    snt = pytest.importorskip("sonnet")

    class Stack(snt.Module):
        def __init__(self):
            super().__init__()
            self.blocks = [snt.Linear(4)] * 3

        def __call__(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    result = audit(Stack, input_shapes=["2,4"])
    assert kinds(result) == ["shared"]
    assert result.findings[0].subject == "model.blocks[0]"


def test_twins(K: Any) -> None:
    def towers(shared: bool) -> Any:
        left, right = K.Input((4,)), K.Input((4,))
        one = K.layers.Dense(3, name="one")
        other = one if shared else K.layers.Dense(3, name="other")
        return K.Model([left, right], K.layers.Concatenate()([one(left), other(right)]))

    result = audit(lambda: towers(shared=False))
    assert kinds(result) == ["twins"]
    assert result.findings[0].subject == "one, other"
    assert result.clean
    assert audit(lambda: towers(shared=True)).findings == ()


# ---------------------------------------------------------------------------------------------------- savers that fail


def test_two_weights_of_one_name_break_tf_kerass_h5(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")

    class Layer(tf_keras.layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(shape=(shape[-1], 2), name="w")
            self.b = self.add_weight(shape=(2,), name="w")

        def call(self, x):
            return x @ self.a + self.b

    def model() -> Any:
        return tf_keras.Sequential([tf_keras.Input((4,)), Layer()])

    with pytest.raises(ValueError, match="exists"):
        model().save_weights(str(tmp_path / "x.h5"))
    result = audit(model)
    assert kinds(result) == ["saver-fails"]
    assert result.findings[0].subject == "h5"
    assert "name=" in result.findings[0].advice
    assert all(facts.saved["checkpoint"] for facts in result.variables)


def test_a_weight_whose_attribute_has_anothers_name_is_lost_by_the_checkpoint(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")

    class Layer(tf_keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 2), name="w")
            self.b = self.add_weight(shape=(2,), name="w")

        def call(self, x):
            return x @ self.w + self.b

    def model() -> Any:
        return tf_keras.Sequential([tf_keras.Input((4,)), Layer()])

    old, new = model(), model()
    path = tf.train.Checkpoint(model=old).write(str(tmp_path / "x"))
    tf.train.Checkpoint(model=new).read(path).expect_partial()
    kept = [np.array_equal(a.numpy(), b.numpy()) and bool(a.numpy().any()) for a, b in zip(old.weights, new.weights)]
    assert kept[0] is False
    lost = next(finding for finding in audit(model).findings if finding.kind == "lost")
    assert lost.facts is not None
    assert lost.facts.held_at == "model.layers[0].w"
    assert lost.facts.saved["checkpoint"] is False
    assert "name=" in lost.advice


# --------------------------------------------------------------------------------------------------------- checkpoint


def test_a_checkpoint_that_fits(K: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "x.weights.h5")
    mlp(K, 3, 2).save_weights(path)
    assert audit(lambda: mlp(K, 3, 2), checkpoint=path).findings == ()


def test_a_bundle_that_fits_and_one_that_does_not(K: Any, tmp_path: Path) -> None:
    tf.train.Checkpoint(model=mlp(K, 3, 2)).write(str(tmp_path / "same"))
    for ending in ("", ".index", ".data-00000-of-00001"):
        for scheme in ("", "file://"):
            path = f"{scheme}{tmp_path}/same{ending}"
            assert audit(lambda: mlp(K, 3, 2), checkpoint=path).findings == (), path
    tf.train.Checkpoint(model=mlp(K, 3)).write(str(tmp_path / "less"))
    result = audit(lambda: mlp(K, 3, 2), checkpoint=str(tmp_path / "less"))
    assert kinds(result) == ["not-in-checkpoint"] * 2
    assert {finding.facts.shape for finding in result.findings if finding.facts is not None} == {(3, 2), (2,)}
    tf.train.Checkpoint(model=mlp(K, 3, 2, 5)).write(str(tmp_path / "more"))
    result = audit(lambda: mlp(K, 3, 2), checkpoint=str(tmp_path / "more"))
    assert kinds(result) == ["not-in-model"] * 2
    assert result.clean


def test_a_checkpoint_that_is_none(K: Any, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"not HDF5")
    with pytest.raises(CkptkitError):
        audit(lambda: mlp(K, 3), checkpoint=str(tmp_path / "x.h5"))


# ------------------------------------------------------------------------------------------------ assertion and output


def test_the_public_call(K: Any) -> None:
    import ckptkit
    import ckptkit.auditing  # the room beside it does not take its name

    assert ckptkit.audit(lambda: mlp(K, 3)).clean


def test_the_assertion(K: Any) -> None:
    assert_no_untracked_weights(lambda: mlp(K, 3))
    assert_no_untracked_weights(mlp(K, 3), x())


def test_the_assertion_names_what_is_lost_and_how_to_mend_it() -> None:
    import keras

    with pytest.raises(AssertionError, match=r"self\.add_weight"):
        assert_no_untracked_weights(lambda: tf_variable_in_build(keras), x())


def test_the_fields_of_the_json() -> None:
    import keras

    value = json.loads(json.dumps(audit(lambda: tf_variable_in_build(keras), x()).to_json(), allow_nan=False))
    assert value["schema"] == "ckptkit.audit/1"
    finding = value["findings"][0]
    assert {
        "kind", "severity", "variable", "shape", "created_at", "held_at", "in_weights", "saved", "trained", "advice"
    } <= set(finding)  # fmt: skip
    assert finding["saved"] == {"weights.h5": False, "h5": False, "checkpoint": True}
    assert finding["shape"] == [3, 2]


def test_a_warning_alone_is_no_error() -> None:
    import keras

    result = audit(lambda: in_set(keras), x())
    assert result.findings
    assert {finding.severity for finding in result.findings} == {"warning"}
    assert result.verdict == result.to_json()["verdict"] == "ok"
    assert [len(result.warnings), result.to_json()["totals"]["warnings"]] == [len(result.findings)] * 2
    assert result.clean


NET = """
import tensorflow as tf, keras

class Block(keras.layers.Layer):
    def build(self, shape):
        self.w = tf.Variable(tf.ones((shape[-1], 6)))
        super().build(shape)
    def call(self, x):
        print("chatter")
        return x @ self.w

def build():
    return keras.Sequential([Block(), keras.layers.Dense(2)])

def clean():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

class Listed(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.parts = [keras.layers.Dense(3)]
    def build(self, shape):
        self.parts[0].build(shape)
    def call(self, x):
        return self.parts[0](x)

def warned():
    return keras.Sequential([keras.Input((4,)), Listed()])

def fails():
    raise RuntimeError("[red]no[/red]\\x1b[2J")
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(NET)
    return path


def test_the_command_finds(net: Path, run_cli: Callable[..., Any]) -> None:
    done = run_cli("audit", f"{net}:build", "--input-shape", "3,4", "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    finding = json.loads(done.stdout)["findings"][0]
    assert finding["created_at"] == f"{net}:6"
    assert finding["held_at"] == "model.layers[0].w"


def test_the_command_is_clean(net: Path, run_cli: Callable[..., Any]) -> None:
    done = run_cli("audit", f"{net}:clean")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("CLEAN")


def test_warnings_alone_are_ok_and_no_error_unless_strict(net: Path, run_cli: Callable[..., Any]) -> None:
    done = run_cli("audit", f"{net}:warned", "--strict")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("OK, 2 warnings   ")
    assert "CLEAN" not in done.stdout
    assert run_cli("audit", f"{net}:warned", "--quiet").returncode == 0


def test_the_command_takes_arrays(net: Path, run_cli: Callable[..., Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=x())
    done = run_cli("audit", f"{net}:build", "--inputs", tmp_path / "x.npz", "--json")
    assert done.returncode == 1
    assert [finding["kind"] for finding in json.loads(done.stdout)["findings"]] == ["untracked"]


def test_the_command_blames_the_factory_in_one_line(net: Path, run_cli: Callable[..., Any]) -> None:
    done = run_cli("audit", f"{net}:fails")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "RuntimeError: [red]no[/red]" in done.stderr
    assert "\x1b" not in done.stderr
