"""State dicts wherever they lie, and which weight an optimizer's numbers mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from tests.formats.conformance import counted
from tests.formats.torch_files import Storages, archive, ordered

SHAPES = {"a.weight": (2, 3), "a.bias": (2,), "b.weight": (4, 2), "b.bias": (4,)}


class Maker:
    """Makes a file, each of whose tensors counts on from the last one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storages = Storages()
        self.start = 1

    def tensor(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        self.start += 50
        return self.storages.tensor(counted(shape, dtype, self.start))

    def state(self, shapes: dict[str, tuple[int, ...]], prefix: str = "") -> Any:
        return ordered({prefix + name: self.tensor(shape) for name, shape in shapes.items()})

    def optimizer(self, shapes: list[tuple[int, ...]], groups: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        slots = {
            number: {"step": 5, "exp_avg": self.tensor(shape), "exp_avg_sq": self.tensor(shape)}
            for number, shape in enumerate(shapes)
        }
        return {"state": slots, "param_groups": groups or [{"lr": 0.1, "params": list(range(len(shapes)))}]}

    def open(self, value: Any) -> Any:
        path = self.folder / "model.pt"
        path.write_bytes(archive(value, self.storages))
        with ckptkit.open(path) as found:
            return found.spec


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def label(variable: Any) -> str:
    """The path of the layer and the file's own word, whatever role the tables give to it."""
    dotted, found, word = variable.key.rpartition("/")[2].rpartition(".")
    return f"{variable.layer}/{word}" if dotted and found and variable.layer else variable.name


def names(spec: Any, kind: str = "weight") -> list[str]:
    return [label(variable) for variable in spec.variables if variable.kind == kind]


def owners(spec: Any) -> dict[str, str | None]:
    """Key of each slot -> its weight."""
    labels = {variable.name: label(variable) for variable in spec.variables}
    slots = [variable for variable in spec.variables if variable.kind == "slot"]
    return {slot.key: labels[slot.slot_of] if slot.slot_of else None for slot in slots}


PLAIN = ["a/weight", "a/bias", "b/weight", "b/bias"]


@pytest.mark.parametrize("around", [(), ("state_dict",), ("model",), ("checkpoint", "net")])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_what_lies_around_is_no_name(make: Maker, around: tuple[str, ...], prefix: str) -> None:
    value = make.state(SHAPES, prefix)
    for key in reversed(around):
        value = {key: value, "epoch": 3}
    spec = make.open(value)
    assert names(spec) == PLAIN
    assert spec.order_source == "registration"
    assert [layer.name for layer in spec.layers] == ["a", "b"]
    assert all(layer.ordered for layer in spec.layers)
    assert spec.variables[0].key == "/".join((*around, f"{prefix}a.weight"))


def test_registration_is_no_alphabet(make: Maker) -> None:
    spec = make.open(make.state({"z.weight": (2, 2), "layer10.weight": (2, 2), "layer2.weight": (2, 2)}))
    assert [layer.name for layer in spec.layers] == ["z", "layer10", "layer2"]


def test_several_state_dicts_are_scopes(make: Maker) -> None:
    spec = make.open({"model": make.state(SHAPES), "ema": make.state(SHAPES, "module.")})
    assert names(spec) == [f"model/{name}" for name in PLAIN] + [f"ema/{name}" for name in PLAIN]


def test_a_module_called_module_stays(make: Maker) -> None:
    spec = make.open(make.state({"module.a.weight": (2, 2), "head.weight": (3, 2)}))
    assert names(spec) == ["module/a/weight", "head/weight"]


def test_compiled_inside(make: Maker) -> None:
    spec = make.open(make.state({"encoder._orig_mod.fc.weight": (2, 2), "head.weight": (3, 2)}))
    assert names(spec) == ["encoder/fc/weight", "head/weight"]


def test_state_is_told_from_weights(make: Maker) -> None:
    value = {
        "model": ordered({
            "a.weight": make.tensor((2, 3)), "bn.num_batches_tracked": make.tensor((), "int64"),
            "position_ids": make.tensor((1, 5), "int64"), "scale": make.tensor(()),
        }),
        "loss": make.tensor(()), "rng_state": make.tensor((7,), "uint8"), "latents": make.tensor((4,)),
    }  # fmt: skip
    spec = make.open(value)
    assert sorted(names(spec)) == ["latents", "model/a/weight", "model/scale"]
    assert sorted(names(spec, "state")) == ["loss", "model/bn/num_batches_tracked", "model/position_ids", "rng_state"]


def test_slots_by_number(make: Maker) -> None:
    spec = make.open({"model": make.state(SHAPES), "optimizer": make.optimizer(list(SHAPES.values()))})
    assert owners(spec) == {
        f"optimizer/state/{number}/{word}": name
        for number, name in enumerate(PLAIN)
        for word in ("exp_avg", "exp_avg_sq")
    }


def test_slots_behind_buffers_and_frozen_weights(make: Maker) -> None:
    shapes = {
        "a.weight": (2, 3),
        "bn.weight": (2,),
        "bn.bias": (2,),
        "bn.running_mean": (2,),
        "bn.running_var": (2,),
        "c.weight": (7, 2),
    }
    spec = make.open({"m": make.state(shapes), "o": make.optimizer([(2, 3), (2,), (2,), (7, 2)])})
    found = owners(spec)
    assert [found[f"o/state/{number}/exp_avg"] for number in range(4)] == [
        "a/weight",
        "bn/weight",
        "bn/bias",
        "c/weight",
    ]


def test_what_two_orders_disagree_on_stays_open(make: Maker) -> None:
    shapes = {"frozen.weight": (2, 2), "a.weight": (2, 2), "b.weight": (3, 2)}
    found = owners(make.open({"m": make.state(shapes), "o": make.optimizer([(2, 2), (3, 2)])}))
    assert (found["o/state/0/exp_avg"], found["o/state/1/exp_avg"]) == (None, "b/weight")


def test_each_of_several_groups_is_laid_in_order(make: Maker) -> None:
    groups: list[dict[str, Any]] = [{"params": [0, 1]}, {"params": [2, 3]}]
    shapes = [SHAPES[name] for name in ("a.weight", "b.weight", "a.bias", "b.bias")]
    value = {"m": make.state(SHAPES), "o": make.optimizer(shapes, groups)}
    wanted = ["a/weight", "b/weight", "a/bias", "b/bias"]
    found = owners(make.open(value))
    assert [found[f"o/state/{number}/exp_avg"] for number in range(4)] == wanted
    groups[0]["param_names"], groups[1]["param_names"] = ["b.weight", "a.weight"], ["a.bias", "b.bias"]
    found = owners(make.open(value))
    assert [found[f"o/state/{number}/exp_avg"] for number in range(4)] == ["b/weight", "a/weight", "a/bias", "b/bias"]


def test_groups_that_could_be_laid_otherwise_stay_open_and_it_is_said(make: Maker) -> None:
    state = make.state({"a.weight": (2, 2), "b.weight": (2, 2), "c.weight": (3, 2)})
    spec = make.open({"m": state, "o": make.optimizer([(2, 2), (2, 2), (3, 2)], [{"params": [0]}, {"params": [1, 2]}])})
    found = owners(spec)
    assert [found[f"o/state/{number}/exp_avg"] for number in range(3)] == [None, None, "c/weight"]
    assert any("to which weights 4 slots" in note for note in spec.notes)


def test_slots_by_name(make: Maker) -> None:
    state = {name: {"exp_avg": make.tensor(shape)} for name, shape in SHAPES.items()}
    value = {"m": make.state(SHAPES), "o": {"state": state, "param_groups": [{"params": list(SHAPES)}]}}
    assert list(owners(make.open(value)).values()) == PLAIN


def test_an_average_has_no_slots(make: Maker) -> None:
    shapes = list(SHAPES.values())
    spec = make.open({"ema": make.state(SHAPES), "model": make.state(SHAPES), "o": make.optimizer(shapes)})
    assert set(owners(spec).values()) == {f"model/{name}" for name in PLAIN}
    spec = make.open({"one": make.state(SHAPES), "two": make.state(SHAPES), "o": make.optimizer(shapes)})
    assert set(owners(spec).values()) == {None}


def test_optimizers_in_a_list(make: Maker) -> None:
    spec = make.open({"state_dict": make.state(SHAPES), "optimizer_states": [make.optimizer(list(SHAPES.values()))]})
    assert owners(spec)["optimizer_states/0/state/2/exp_avg"] == "b/weight"


def test_names_of_other_frameworks(make: Maker) -> None:
    spec = make.open(make.state({"dense.kernel": (3, 4), "dense.bias": (4,)}))
    assert spec.layers[0].kind == "Dense"
    assert names(spec) == ["dense/kernel", "dense/bias"]


def test_prefixes_do_not_matter_to_diff(make: Maker, tmp_path: Path) -> None:
    for name, value in {
        "plain": lambda: make.state(SHAPES), "wrapped": lambda: {"state_dict": make.state(SHAPES, "module."), "epoch": 1},
        "lightning": lambda: {"state_dict": make.state(SHAPES, "model.")},
    }.items():  # fmt: skip
        make.storages, make.start = Storages(), 1
        (tmp_path / f"{name}.pt").write_bytes(archive(value(), make.storages))
    for other in ("wrapped", "lightning"):
        found = ckptkit.diff(tmp_path / "plain.pt", tmp_path / f"{other}.pt")
        assert (found.verdict, len(found.pairs)) == ("identical", 4), other
    np.savez(tmp_path / "flat.npz", **{name: np.zeros(shape, "f4") for name, shape in SHAPES.items()})
    assert len(ckptkit.diff(tmp_path / "wrapped.pt", tmp_path / "flat.npz").pairs) == 4
