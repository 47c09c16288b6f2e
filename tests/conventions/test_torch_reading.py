"""How PyTorch's names are read where one word stands for several things; no framework is needed."""

from __future__ import annotations

from dataclasses import replace

from ckptkit import canonical
from ckptkit.conventions import read_forms
from ckptkit.model import CheckpointSpec, Contents, StoredTensor

Shapes = dict[str, tuple[int, ...]]

GPT2: Shapes = {
    "h.0.attn.c_attn.weight": (8, 24), "h.0.attn.c_attn.bias": (24,),
    "h.0.attn.c_proj.weight": (8, 8), "h.0.attn.c_proj.bias": (8,),
}  # fmt: skip
LINEAR: Shapes = {
    "fc.weight": (24, 8), "fc.bias": (24,), "square.weight": (8, 8), "square.bias": (8,),
}  # fmt: skip


def spec_of(shapes: Shapes, dtypes: dict[str, str] | None = None) -> CheckpointSpec:
    tensors = tuple(StoredTensor(name, shape, (dtypes or {}).get(name, "float32"), 0) for name, shape in shapes.items())
    return read_forms(canonical.build(Contents("safetensors", None, tensors), "x"))


def rows(spec: CheckpointSpec) -> dict[str, list[str]]:
    return {layer.name: [form.row for form in layer.forms if not form.of] for layer in spec.layers}


def test_square_matrices_lie_as_the_others_of_the_file() -> None:
    assert rows(spec_of(GPT2))["h/0/attn/c_proj"] == ["torch/Conv1D"]
    assert rows(spec_of(LINEAR))["square"] == ["torch/Linear"]
    both = rows(spec_of({**GPT2, **LINEAR}))
    assert both["h/0/attn/c_attn"] == ["torch/Conv1D"]
    assert both["fc"] == ["torch/Linear"]
    assert both["square"] == ["torch/Linear", "torch/Conv1D"]


def test_what_is_taken_for_granted_is_said_and_can_be_told() -> None:
    alone = {name: shape for name, shape in LINEAR.items() if name.startswith("square")}
    spec = spec_of(alone)
    assert [form.assumed for form in spec.layers[0].forms] == [("linear=outputs_first",), ("linear=inputs_first",)]
    bare = replace(spec, layers=tuple(replace(layer, forms=()) for layer in spec.layers))
    assert rows(read_forms(bare, {"linear": "inputs_first"}))["square"] == ["torch/Conv1D"]


def test_a_lone_weight_is_whatever_its_shape_can_be() -> None:
    found = rows(spec_of({"tok.weight": (30, 8), "norm.weight": (8,), "act.bias": (8,)}))
    assert found["tok"] == ["torch/Linear(no bias)", "torch/Embedding"]
    assert set(found["norm"]) == {"torch/LayerNorm", "torch/GroupNorm", "torch/RMSNorm", "torch/PReLU"}


def test_modules_of_several_layers_and_directions_are_parted() -> None:
    names = [f"rnn.{part}_{kind}_l{level}{way}" for level in (0, 1) for way in ("", "_reverse")
             for part in ("weight", "bias") for kind in ("ih", "hh")]  # fmt: skip
    shapes = {name: (20, 3 if "_ih" in name else 5) if "weight" in name else (20,) for name in names}
    spec = spec_of(shapes)
    assert [layer.name for layer in spec.layers] == [
        "rnn/l0/forward", "rnn/l0/backward", "rnn/l1/forward", "rnn/l1/backward"
    ]  # fmt: skip
    assert {row for found in rows(spec).values() for row in found} == {"torch/LSTM"}
    one = spec_of({"rnn.weight_ih_l0": (20, 3), "rnn.weight_hh_l0": (20, 5)})
    assert rows(one) == {"rnn": ["torch/LSTM"]}
    assert rows(spec_of({"attn.in_proj_weight": (24, 8), "attn.in_proj_bias": (24,)})) == {
        "attn/in_proj": ["torch/Linear"]
    }


def test_counters_and_indices_are_state_and_packed_weights_are_not() -> None:
    shapes: Shapes = {
        "bn.weight": (8,), "bn.bias": (8,), "bn.running_mean": (8,), "bn.running_var": (8,), "bn.num_batches_tracked": (),
        "emb.position_ids": (1, 9), "fc.qweight": (4, 8), "mask": (3, 3),
    }  # fmt: skip
    dtypes = {"bn.num_batches_tracked": "int64", "emb.position_ids": "int64", "fc.qweight": "int32", "mask": "bool"}
    kinds = {variable.key: variable.kind for variable in spec_of(shapes, dtypes).variables}
    assert {key for key, kind in kinds.items() if kind == "state"} == {
        "bn.num_batches_tracked", "emb.position_ids", "mask"
    }  # fmt: skip


def test_weights_that_are_computed_when_the_module_runs_are_named() -> None:
    for names in (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")):
        found = spec_of({f"conv.{names[0]}": (8, 1, 1, 1), f"conv.{names[1]}": (8, 3, 3, 3), "conv.bias": (8,)})
        assert rows(found) == {"conv": ["torch/Conv2d(weight norm)"]}
    for names in (
        ("weight_orig", "weight_u", "weight_v"),
        ("parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"),
    ):
        shapes = zip(names, ((8, 3, 3, 3), (8,), (27,)), strict=True)
        found = spec_of({"conv.bias": (8,), **{f"conv.{name}": shape for name, shape in shapes}})
        assert rows(found) == {"conv": ["torch/Conv2d(spectral norm)"]}
