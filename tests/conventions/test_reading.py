"""What a layer could be: by names and roles, shapes, configuration, scope and what a person says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ckptkit.conventions import ROWS, Row, read_forms
from ckptkit.conventions.candidates import snake_case
from ckptkit.errors import UsageError
from ckptkit.model import CheckpointSpec, Form, Layer, Part, Variable
from tests.conventions.layers import dims_of, shape_of

Shape = tuple[int, ...]


def spec_of(*layers: tuple[Layer, tuple[Variable, ...]]) -> CheckpointSpec:
    return CheckpointSpec(
        "x", "npz", None, "stored", tuple(layer for layer, _ in layers), tuple(v for _, own in layers for v in own)
    )


def layer_of(
    name: str,
    dialect: str,
    weights: Mapping[str, Shape],
    kind: str | None = None,
    config: Mapping[str, Any] | None = None,
    roles: Mapping[str, str] | None = None,
) -> tuple[Layer, tuple[Variable, ...]]:
    variables = tuple(
        Variable(
            f"{name}/{word}", f"{name}/{word}", (), name, (roles or {}).get(word), "weight", None, shape, "float32", 0
        )
        for word, shape in weights.items()
    )
    return Layer(name, kind, tuple(v.name for v in variables), 1, dialect, config), variables


def forms_of(*args: Any, assume: Mapping[str, str] | None = None, **options: Any) -> tuple[Form, ...]:
    return read_forms(spec_of(layer_of(*args, **options)), assume).layers[0].forms


def rows(forms: tuple[Form, ...]) -> list[str]:
    """The readings of the layer's own kind."""
    return [form.row for form in forms if not form.of]


DENSE_OR_CELL = {"kernel": (30, 40), "bias": (40,)}
GRU_WITHOUT_BIAS = {"kernel": (5, 33), "recurrent_kernel": (11, 33)}


def test_names_that_several_rows_have_give_several_readings() -> None:
    forms = forms_of("net/fc1", "tf_layers", DENSE_OR_CELL)
    assert rows(forms) == ["tf_layers/dense", "rnn_cell/BasicLSTMCell", "rnn_cell/CudnnCompatibleLSTMCell"]
    assert forms[1].parts == (
        Part("kernel", (20, 40)),
        Part("recurrent_kernel", (10, 40)),
        Part("bias", (40,), optional=True),
    )
    assert forms[1].dims == {"I": 20, "H": 10}
    assert forms[1].assumed == ("forget_bias=1.0",)
    assert forms[1].natives == (("kernel", "net/fc1/kernel"), ("bias", "net/fc1/bias"))


@pytest.mark.parametrize(
    ("scope", "row"),
    [
        ("dense", "tf_layers/dense"),
        ("net/dense_3", "tf_layers/dense"),
        ("rnn/basic_lstm_cell", "rnn_cell/BasicLSTMCell"),
        ("rnn/multi_rnn_cell/cell_0/lstm_cell", "rnn_cell/LSTMCell"),
        ("cudnn_compatible_lstm_cell", "rnn_cell/CudnnCompatibleLSTMCell"),
    ],
)
def test_the_scope_decides(scope: str, row: str) -> None:
    assert rows(forms_of(scope, "tf_layers", DENSE_OR_CELL)) == [row]


def test_the_words_of_older_releases() -> None:
    forms = forms_of("rnn/basic_lstm_cell", "slim", {"weights": (30, 40), "biases": (40,)})
    assert rows(forms) == ["rnn_cell/BasicLSTMCell"]


def test_shapes_decide() -> None:
    assert rows(forms_of("c", "slim", {"weights": (3, 3, 5, 7), "biases": (7,)})) == ["slim/conv2d"]
    assert rows(forms_of("c", "slim", {"weights": (3, 3, 5, 7), "biases": (5,)})) == ["slim/conv2d_transpose"]
    assert rows(forms_of("g", "keras3", {"kernel": (5, 33), "recurrent_kernel": (11, 33), "bias": (33,)})) == [
        "keras3/GRU(reset_after=False)"
    ]
    assert forms_of("g", "keras3", {"kernel": (5, 34), "recurrent_kernel": (11, 33), "bias": (33,)}) == ()


def test_the_configuration_decides() -> None:
    assert rows(forms_of("g", "keras3", GRU_WITHOUT_BIAS)) == ["keras3/GRU", "keras3/GRU(reset_after=False)"]
    told = {"reset_after": False, "use_bias": False}
    assert rows(forms_of("g", "keras3", GRU_WITHOUT_BIAS, "GRU", told)) == ["keras3/GRU(reset_after=False)"]
    square = {"W": (3, 3, 3, 3), "b": (3,)}
    assert rows(forms_of("c", "keras1", square, "Conv2D", {"dim_ordering": "th"})) == ["keras1/Convolution2D(th)"]
    assert rows(forms_of("c", "keras1", square, "Conv2D", {"dim_ordering": "tf"})) == ["keras1/Convolution2D"]
    assert "keras1/Convolution2D(th)" in rows(forms_of("c", "keras1", square))


def test_what_only_the_configuration_could_tell_is_said_to_be_assumed() -> None:
    square = forms_of("c", "keras1", {"W": (3, 3, 3, 3), "b": (3,)}, "Conv2D")
    assert [(form.row, form.assumed) for form in square[:2]] == [
        ("keras1/Convolution2D", ("dim_ordering=tf",)),
        ("keras1/Convolution2D(th)", ("dim_ordering=th",)),
    ]
    assert forms_of("c", "keras1", {"W": (7, 5, 3, 3), "b": (7,)}, "Conv2D")[0].assumed == ()
    told = forms_of("c", "keras1", {"W": (3, 3, 3, 3), "b": (3,)}, "Conv2D", assume={"dim_ordering": "th"})
    assert (told[0].row, told[0].assumed) == ("keras1/Convolution2D(th)", ())


@pytest.mark.parametrize(
    ("format_", "producer", "row", "assumed"),
    [
        ("keras-h5", "Keras 2.1.3, theano", "keras2/Conv2D(theano)", ()),
        ("keras-h5", "Keras 2.1.3, tensorflow", "keras2/Conv2D", ()),
        ("keras-h5", None, "keras2/Conv2D", ("backend=tensorflow",)),
        ("saved-model", None, "keras2/Conv2D", ()),
    ],
)
def test_only_theano_turns_kernels(format_: str, producer: str | None, row: str, assumed: tuple[str, ...]) -> None:
    spec = spec_of(layer_of("c", "keras2", {"kernel": (3, 4, 5, 7), "bias": (7,)}))
    forms = read_forms(replace(spec, format=format_, producer=producer)).layers[0].forms
    found = next(form for form in forms if form.kind == "Conv2D")
    assert (found.row, found.assumed) == (row, assumed)
    told = read_forms(replace(spec, format=format_, producer=producer), {"backend": "theano"}).layers[0].forms
    assert told[0].row == ("keras2/Conv2D(theano)" if producer is None and format_ == "keras-h5" else row)


def test_what_a_person_says_counts_where_the_file_says_nothing() -> None:
    assert rows(forms_of("g", "keras3", GRU_WITHOUT_BIAS, "GRU", {}, assume={"reset_after": "false"})) == [
        "keras3/GRU(reset_after=False)"
    ]
    config = {"reset_after": True}
    assert rows(forms_of("g", "keras3", GRU_WITHOUT_BIAS, "GRU", config, assume={"reset_after": "false"})) == [
        "keras3/GRU"
    ]
    cell = forms_of("lstm_cell", "rnn_cell", DENSE_OR_CELL, assume={"forget_bias": "0"})
    assert cell[0].assumed == ("forget_bias=0.0",)


@pytest.mark.parametrize("assume", [{"forgetbias": "0"}, {"forget_bias": "none"}, {"forget_bias": "1e999"}, {"": ""}])
def test_assumptions_that_mean_nothing(assume: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        forms_of("lstm_cell", "rnn_cell", DENSE_OR_CELL, assume=assume)


def test_roles_are_words_too() -> None:
    roles = {"w": "kernel", "scale": "gamma"}
    assert rows(forms_of("l", "sonnet2", {"kernel": (3, 4), "bias": (4,)}, roles={"kernel": "kernel"})) == [
        "sonnet2/Linear"
    ]
    assert rows(forms_of("l", "sonnet2", {"gamma": (4,)}, roles=roles))[0] == "sonnet2/LayerNorm"


def test_states_and_strangers() -> None:
    weights = {"gamma": (7,), "beta": (7,), "moving_mean": (1, 1, 1, 7), "moving_variance": (1, 1, 1, 7)}
    layer, variables = layer_of("bn", "sonnet2", weights)
    hidden = Variable("bn/moving_mean/_hidden", "h", (), "bn", None, "state", None, (1, 1, 1, 7), "float32", 0)
    names = (*layer.variables, hidden.name)
    spec = spec_of((Layer("bn", None, names, 1, "sonnet2"), (*variables, hidden)))
    forms = read_forms(spec).layers[0].forms
    assert rows(forms) == ["sonnet2/BatchNorm", "haiku/BatchNorm"]
    assert [part.shape for part in forms[0].parts] == [(7,)] * 4
    assert forms_of("d", "keras3", {"kernel": (3, 4), "kernel_mask": (4,)}) == ()
    assert forms_of("d", "keras3", {}) == ()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_reads_its_own_layer(row: Row) -> None:
    dims = dims_of(row)
    weights = {native.suffix: shape_of(native.layout, dims) for native in row.natives if native.kind == "weight"}
    name = snake_case(row.class_name) if row.called else "layer"
    spec = replace(spec_of(layer_of(name, row.dialect, weights)), format="keras-h5")
    told = {key: str(value).lower() for key, value in row.when}
    forms = read_forms(spec, told).layers[0].forms
    twins = {other.id for other in ROWS if other.kind == row.kind and other.natives == row.natives}
    assert twins & set(rows(forms))
    reading = next((form for form in forms if form.row in twins), forms[0])
    assert reading.dims == {name: size for name, size in dims.items() if name in reading.dims}
    assert reading.kind == row.kind


@pytest.mark.slow
def test_a_hundred_thousand_layers_are_read_in_seconds() -> None:
    layers = [
        layer_of(f"net/l{number}", "tf_layers", {"kernel": (number % 500 + 2, 40), "bias": (40,)})
        for number in range(100_000)
    ]
    spec = spec_of(*layers)
    started = time.process_time()
    read = read_forms(spec)
    assert time.process_time() - started < 60
    assert all(layer.forms for layer in read.layers)
