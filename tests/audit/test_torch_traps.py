"""Each trap of PyTorch: what the audit says equals what PyTorch itself does, and nothing is left changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is an extra")

import torch

import ckptkit
from ckptkit import audit
from ckptkit.errors import ModelError, UsageError
from tests.audit.torch_traps import FINE, TRAPS, MadeInForward, Stacked, Trap

pytestmark = pytest.mark.torch


def x() -> Any:
    return torch.rand(2, 4, generator=torch.Generator().manual_seed(1)) + 0.2


class Truth(NamedTuple):
    in_weights: bool
    saved: bool
    trained: bool


def made(trap: Trap) -> tuple[Any, Any]:
    found = trap.make()
    model, optimizer = found if isinstance(found, tuple) else (found, None)
    return model, optimizer


def truth_of(trap: Trap, folder: Path) -> Truth:
    """By PyTorch alone: is it listed, does a fresh module that loads the file have it, does a step change it."""
    model, optimizer = made(trap)
    model(x())
    tensor = trap.find(model)
    listed = any(other is tensor for other in (*model.parameters(), *model.buffers()))
    with torch.no_grad():
        tensor.fill_(7.0)
    torch.save(model.state_dict(), folder / "x.pt")
    fresh, _ = made(trap)
    try:
        fresh.load_state_dict(torch.load(folder / "x.pt", weights_only=True), strict=True)
        # What the next call makes is not what was saved.
        saved = bool((trap.find(fresh) == 7.0).all())
    except (RuntimeError, AttributeError):
        saved = False
    model, optimizer = made(trap)
    model(x())
    optimizer = optimizer or torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    before = trap.find(model).detach().clone()
    kept = trap.find(model)
    optimizer.zero_grad()
    model(x()).square().sum().backward()
    if not kept.requires_grad:
        return Truth(listed, saved, trained=False)
    optimizer.step()
    return Truth(listed, saved, not torch.equal(kept.detach(), before))


@pytest.mark.parametrize("name", TRAPS)
def test_findings_equal_the_truth(name: str, tmp_path: Path) -> None:
    trap = TRAPS[name]
    truth = truth_of(trap, tmp_path)
    result = audit(trap.make, x())
    probe, _ = made(trap)
    probe(x())
    shape, listed = tuple(trap.find(probe).shape), truth.in_weights
    if name != "tied by data":
        facts = [f for f in result.variables if f.shape == shape and f.in_weights == listed]
        assert len(facts) == 1, [f.held_at for f in result.variables]
        assert facts[0].saved == {"state_dict": truth.saved}
        if facts[0].trainable:
            assert facts[0].trained == truth.trained
    found = [(finding.kind, finding.severity) for finding in result.findings]
    assert found == ([] if trap.kind == FINE else [(trap.kind, trap.severity)]), [f.message for f in result.findings]
    assert result.clean == (trap.severity != "error" or trap.kind == FINE)


def test_a_module_made_in_forward() -> None:
    result = audit(MadeInForward, x())
    assert [finding.kind for finding in result.findings] == ["made-each-call"]
    facts = result.findings[0].facts
    assert facts is not None
    assert facts.created_at is not None
    assert facts.created_at.startswith("torch_traps.py:")
    assert facts.made_by == "Linear"
    assert facts.method == "linear"


def test_a_live_module_is_left_as_it_was() -> None:
    model = Stacked().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    result = audit(model, x())
    assert not result.findings
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_known_modules_are_clean() -> None:
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.rnn = nn.LSTM(8, 6, 2, bidirectional=True, batch_first=True)
            self.norm = nn.BatchNorm1d(12)

        def forward(self, ids: Any) -> Any:
            y = self.rnn(self.encoder(self.embed(ids)))[0]
            return self.norm(y[:, -1])

    result = audit(Encoder, torch.arange(6).reshape(2, 3))
    assert result.verdict == "clean", [finding.message for finding in result.findings]
    assert {facts.saved["state_dict"] for facts in result.variables} == {True}


def test_inputs_are_given_by_shape_or_file(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(4, 2)\n")
    from ckptkit.api.audit import audit_reference

    assert audit_reference(f"{tmp_path}/net.py:make", input_shapes=["2,4"]).clean
    np.savez(tmp_path / "x.npz", x=np.ones((2, 4), "float32"))
    assert audit_reference(f"{tmp_path}/net.py:make", inputs=str(tmp_path / "x.npz")).clean
    with pytest.raises(UsageError, match="does not say what it takes"):
        audit_reference(f"{tmp_path}/net.py:make")
    with pytest.raises(ModelError, match="does not run"):
        audit_reference(f"{tmp_path}/net.py:make", input_shapes=["2,5"])


def pair() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))


def kinds(path: Path, make: Any = pair) -> list[tuple[str, str]]:
    found = ckptkit.audit(make, x(), checkpoint=str(path)).findings
    return [(each.kind, each.subject or (each.facts.variable if each.facts else "")) for each in found]


@pytest.mark.filterwarnings("ignore::UserWarning")  # that there is one process
def test_a_file_that_has_everything(tmp_path: Path) -> None:
    from torch.distributed.checkpoint import save

    torch.save({"epoch": 3, "state_dict": pair().state_dict()}, tmp_path / "whole.pt")
    save({"model": pair().state_dict()}, checkpoint_id=tmp_path / "run", no_dist=True)
    assert kinds(tmp_path / "whole.pt") == kinds(tmp_path / "run") == []


def test_what_a_file_lacks_has_too_much_or_in_another_shape(tmp_path: Path) -> None:
    state = pair().state_dict()
    del state["1.running_mean"], state["1.num_batches_tracked"]
    state["2.weight"] = torch.zeros(2, 5)
    state["3.weight"] = torch.zeros(2)
    torch.save({"state_dict": state, "ema": {"other": torch.zeros(2)}}, tmp_path / "part.pt")
    model = pair()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = ckptkit.audit(model, x(), checkpoint=str(tmp_path / "part.pt")).findings
    assert {(each.kind, each.subject or each.facts.variable) for each in found} == {
        ("not-in-checkpoint", "1.running_mean"), ("not-in-checkpoint", "1.num_batches_tracked"),
        ("not-in-checkpoint", "2.weight"), ("not-in-model", "3.weight"),
    }  # fmt: skip
    assert any("there it is [2, 5], here [2, 3]" in each.message for each in found)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_tied_tensor_needs_one_of_its_names(tmp_path: Path) -> None:
    def make() -> Any:
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return model

    state = make().state_dict()
    del state["1.weight"]
    torch.save(state, tmp_path / "tied.pt")
    assert kinds(tmp_path / "tied.pt", make) == []


def test_a_file_of_other_names(tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in pair().state_dict().items()}
    torch.save(state, tmp_path / "other.pt")
    (found,) = ckptkit.audit(pair, x(), checkpoint=str(tmp_path / "other.pt")).findings
    assert (found.kind, found.severity) == ("saver-fails", "error")
    assert "module.0.weight" in found.message


def test_a_file_of_every_dtype(tmp_path: Path) -> None:
    def make() -> Any:
        model = torch.nn.Sequential(torch.nn.Linear(4, 3))
        for name in ("bfloat16", "float64", "int32", "bool", "complex64"):
            model.register_buffer(f"of_{name}", torch.ones(2, 3).to(getattr(torch, name)))
        return model

    torch.save(make().state_dict(), tmp_path / "all.pt")
    assert kinds(tmp_path / "all.pt", make) == []
