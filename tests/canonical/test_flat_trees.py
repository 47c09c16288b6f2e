"""Trees of Flax and Haiku under flat names: one layer from several collections, and whose words they are."""

from __future__ import annotations

from ckptkit.conventions import read_forms
from ckptkit.model import CheckpointSpec
from tests.canonical.made import built, flat


def read(shapes: dict[str, tuple[int, ...]]) -> CheckpointSpec:
    return read_forms(built(flat(shapes, container="npz")))


def first_rows(spec: CheckpointSpec) -> dict[str, str]:
    return {layer.name: layer.forms[0].row if layer.forms else "" for layer in spec.layers}


def test_collections_of_linen_make_one_layer() -> None:
    spec = read({
        "params/Conv_0/kernel": (3, 3, 1, 4), "params/BatchNorm_0/scale": (4,), "params/BatchNorm_0/bias": (4,),
        "batch_stats/BatchNorm_0/mean": (4,), "batch_stats/BatchNorm_0/var": (4,), "params/Embed_0/embedding": (19, 5),
    })  # fmt: skip
    assert first_rows(spec) == {
        "BatchNorm_0": "flax/BatchNorm", "Conv_0": "flax/Conv(2d)", "Embed_0": "flax/Embed",
    }  # fmt: skip
    keys = {variable.name: variable.key for variable in spec.variables}
    assert keys["BatchNorm_0/moving_mean"] == "batch_stats/BatchNorm_0/mean"
    assert keys["BatchNorm_0/gamma"] == "params/BatchNorm_0/scale"


def test_collections_of_parts_of_an_agent_stay_apart() -> None:
    spec = read({f"{part}/params/Dense_0/kernel": (3, 4) for part in ("actor", "critic")})
    assert [layer.name for layer in spec.layers] == ["actor/Dense_0", "critic/Dense_0"]


def test_names_that_would_be_one_stay_as_they_are() -> None:
    spec = read({"params/a/kernel": (3, 4), "a/kernel": (3, 4), "b/params/c/kernel": (4, 3)})
    assert {variable.name for variable in spec.variables} == {"params/a/kernel", "a/kernel", "b/c/kernel"}


def test_a_state_without_parameters_is_no_collection() -> None:
    spec = read({"state/a/kernel": (3, 4), "batch_stats/b/mean": (4,)})
    assert {layer.name for layer in spec.layers} == {"state/a", "batch_stats/b"}


def test_levels_of_haiku_are_one_path_and_the_averages_belong_to_their_layer() -> None:
    spec = read({
        "params/mlp/~/linear_0/w": (3, 4), "params/mlp/~/linear_0/b": (4,),
        "params/net/~/batch_norm/scale": (1, 4), "params/net/~/batch_norm/offset": (1, 4),
        **{f"state/net/~/batch_norm/~/{name}_ema/average": (1, 4) for name in ("mean", "var")},
        **{f"state/net/~/batch_norm/~/{name}_ema/hidden": (1, 4) for name in ("mean", "var")},
        "params/lstm/linear/w": (16, 44), "params/lstm/linear/b": (44,),
    })  # fmt: skip
    assert first_rows(spec) == {
        "lstm": "haiku/LSTM", "mlp/linear_0": "haiku/Linear", "net/batch_norm": "haiku/BatchNorm",
    }  # fmt: skip
    kinds = {variable.name: variable.kind for variable in spec.variables}
    assert kinds["net/batch_norm/moving_mean"] == "weight"
    assert kinds["net/batch_norm/mean_ema/hidden"] == "state"


def test_a_matrix_of_four_gates_is_no_lstm_unless_it_is_called_so() -> None:
    spec = read({"mlp/~/linear/w": (16, 44), "mlp/~/linear/b": (44,)})
    assert {layer.kind for layer in spec.layers} == {"Dense"}


def test_cells_of_flax_are_one_layer_each() -> None:
    lstm = {f"i{gate}/kernel": (5, 11) for gate in "ifgo"}
    lstm |= {f"h{gate}/kernel": (11, 11) for gate in "ifgo"}
    lstm |= {f"h{gate}/bias": (11,) for gate in "ifgo"}
    linen = {f"params/LSTMCell_0/{name}": shape for name, shape in lstm.items()}
    assert first_rows(read(linen)) == {"LSTMCell_0": "flax/LSTMCell"}
    nnx = {f"rnn/cell/{name.replace('if/', 'if_/')}": shape for name, shape in lstm.items()}
    assert first_rows(read(nnx)) == {"rnn/cell": "flax/LSTMCell"}


def test_which_way_a_transposed_kernel_lies_is_assumed_aloud_and_can_be_said() -> None:
    spec = built(flat({"params/up/kernel": (3, 3, 6, 6), "params/up/bias": (6,)}, container="npz"))
    forms = [form for form in read_forms(spec).layers[0].forms if form.kind == "Conv2DTranspose"]
    assert [form.assumed for form in forms] == [("transpose_kernel=false",), ("transpose_kernel=true",)]
    told = read_forms(spec, {"transpose_kernel": "true"}).layers[0].forms
    assert [form.row for form in told if form.kind == "Conv2DTranspose"] == ["flax/ConvTranspose(2d, transpose_kernel)"]
