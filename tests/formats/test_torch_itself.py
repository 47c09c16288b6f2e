"""PyTorch writes what we read, and takes what we write."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.formats import open_contents
from tests.formats.conformance import whole

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def network() -> Any:
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 1, bias=False))
            self.rnn = nn.LSTM(4, 3, 2, bidirectional=True)
            self.attention = nn.MultiheadAttention(6, 2)
            self.table = nn.Embedding(7, 6)
            self.norm = torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
            self.extra = nn.ParameterList([nn.Parameter(torch.randn(2)), nn.Parameter(torch.randn(3))])
            self.register_buffer("mask", torch.ones(3, dtype=torch.bool))

    torch.manual_seed(3)
    return Net()


def leaves(value: Any, *path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        yield "/".join(path), value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, *path, str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from leaves(item, *path, str(number))


def raw(value: Any) -> bytes:
    plain = torch.as_tensor(value).detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def check(path: Path, value: Any) -> None:
    """What we read of a file is what `value` holds."""
    contents, source = open_contents(str(path))
    wanted = dict(leaves(value))
    assert [tensor.key for tensor in contents.tensors] == list(wanted)
    for tensor in contents.tensors:
        assert tensor.shape == tuple(wanted[tensor.key].shape)
        assert whole(source, tensor.key, 999) == raw(wanted[tensor.key]), tensor.key
    source.close()


def training() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.named_parameters())
    model(torch.randn(5, 3)).square().mean().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    return {
        "epoch": 2, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict(),
        "rng_state": torch.get_rng_state(), "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5),
    }  # fmt: skip


def views() -> dict[str, Any]:
    base = torch.arange(24.0).reshape(2, 3, 4)
    found = {
        "t": base.transpose(0, 2), "s": base[:, 1:, ::2], "e": torch.arange(3.0).expand(4, 3), "f": base.flip(1),
        "c": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 4), "conj": torch.randn(3, 4, dtype=torch.complex64).conj(),
        "neg": torch.randn(3, 4, dtype=torch.complex128).conj().imag, "one": torch.randn(1, 5, 1).expand(1, 5, 1),
        "p": torch.nn.Parameter(torch.ones(2)), "array": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "b": torch.nn.Buffer(torch.ones(3)), "big": torch.arange(600 * 700.0).reshape(600, 700).t(),
    }  # fmt: skip
    names = (
        "float16",
        "bfloat16",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    )
    return found | {name: torch.arange(6).to(getattr(torch, name)).reshape(2, 3) for name in names}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("make", [lambda: network().state_dict(), training, views])
def test_reads_as_torch_load(tmp_path: Path, make: Any, zipped: bool) -> None:
    torch.save(make(), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    check(tmp_path / "a.pt", torch.load(tmp_path / "a.pt", weights_only=False))


def test_types_without_storages_of_their_own(tmp_path: Path) -> None:
    names = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    torch.save({name: torch.arange(6).to(getattr(torch, name)) for name in names}, tmp_path / "a.pt")
    check(tmp_path / "a.pt", torch.load(tmp_path / "a.pt"))


def test_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(views(), tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    check(tmp_path / "a.pt", torch.load(tmp_path / "a.pt", weights_only=False))


def test_slots_by_the_names_of_parameters(tmp_path: Path) -> None:
    torch.save(training(), tmp_path / "a.pt")
    with ckptkit.open(tmp_path / "a.pt") as found:
        keys = {variable.name: variable.key for variable in found.spec.variables}
        slots = {variable.key: keys[variable.slot_of] for variable in found.spec.variables if variable.slot_of}
    assert slots["optimizer/state/2/exp_avg"] == "state_dict/1.weight"
    assert slots["optimizer/state/5/exp_avg_sq"] == "state_dict/2.bias"


def test_a_pickled_module_is_listed_as_its_state_dict(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.LSTM(3, 2))
    torch.save(model, tmp_path / "a.pt")
    contents, source = open_contents(str(tmp_path / "a.pt"))
    wanted = {key.replace(".", "/"): value for key, value in model.state_dict().items()}
    assert [tensor.key for tensor in contents.tensors] == list(wanted)
    assert all(whole(source, key) == raw(value) for key, value in wanted.items())
    source.close()
    with pytest.raises(ckptkit.CkptkitError, match="torch.nn.modules"):
        ckptkit.convert(tmp_path / "a.pt", tmp_path / "b.safetensors")


@pytest.mark.parametrize("through", ["safetensors", "npz", "pth", "bin.index.json"])
def test_what_is_written_loads_strictly(tmp_path: Path, through: str) -> None:
    model = network()
    state = model.state_dict()
    torch.save({"model": state}, tmp_path / "a.pt")
    ckptkit.convert(tmp_path / "a.pt", tmp_path / f"b.{through}")
    ckptkit.convert(tmp_path / f"b.{through}", tmp_path / "c.pt")
    loaded = torch.load(tmp_path / "c.pt", weights_only=True)
    other = network()
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    assert str(other.load_state_dict(loaded, strict=True)) == "<All keys matched successfully>"
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_remapped_template_loads(tmp_path: Path, zipped: bool) -> None:
    value = training()
    torch.save(value, tmp_path / "like.pt", _use_new_zipfile_serialization=zipped)
    other = training()["state_dict"]
    torch.save(other, tmp_path / "a.pt")
    ckptkit.remap(tmp_path / "a.pt", tmp_path / "like.pt", tmp_path / "b.pt")
    loaded = torch.load(tmp_path / "b.pt", weights_only=False)
    counters = {key for key in other if key.endswith("num_batches_tracked")}
    for key, tensor in loaded["state_dict"].items():
        assert torch.equal(tensor, (value["state_dict"] if key in counters else other)[key]), key
    assert vars(loaded["args"]) == {"lr": 0.1}
    optimizer = torch.optim.AdamW(
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).named_parameters()
    )
    optimizer.load_state_dict(loaded["optimizer"])


def test_every_dtype_is_taken(tmp_path: Path) -> None:
    from tests.formats.test_torch import DTYPES
    from tests.formats.test_torch_writing import TENSORS, contents_of, counted, write_new

    tensors = {f"of.{dtype}": counted((2, 3), dtype) for dtype in DTYPES} | {"empty": counted((0, 3)), **TENSORS}
    write_new(tmp_path / "a.pt", contents_of(tensors), tensors)
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    assert list(loaded) == list(tensors)
    assert {key: raw(value) for key, value in loaded.items()} == {
        key: value.tobytes() for key, value in tensors.items()
    }


@pytest.mark.parametrize("options", [{}, {"single_file_per_rank": False}, {"thread_count": 3}])
def test_distributed_checkpoints(tmp_path: Path, options: dict[str, Any]) -> None:
    from torch.distributed.checkpoint import FileSystemWriter, save
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    value = {**training(), "many": {"of": [{"a": torch.arange(4.0)}, 3]}}
    save(value, storage_writer=FileSystemWriter(tmp_path / "run", **options), no_dist=True)
    dcp_to_torch_save(tmp_path / "run", tmp_path / "whole.pt")
    check(tmp_path / "run", torch.load(tmp_path / "whole.pt", weights_only=False))
    contents, source = open_contents(str(tmp_path / "run"))
    source.close()
    assert contents.damage == contents.wants == ()
    spec = ckptkit.open(tmp_path / "run").spec
    slots = [each.slot_of for each in spec.variables if each.kind == "slot"]
    assert len(slots) == 18  # three for each of six parameters, of which two are of the normalization
    assert len(set(slots)) == 6


def test_distributed_checkpoints_of_safetensors(tmp_path: Path) -> None:
    """PyTorch's own reader takes the items of such a folder for pickles, so it is compared with what was saved."""
    pytest.importorskip("safetensors")
    from torch.distributed.checkpoint import FileSystemWriter, save
    from torch.distributed.checkpoint.filesystem import SerializationFormat

    value = network().state_dict()
    writer = FileSystemWriter(tmp_path / "run", serialization_format=SerializationFormat.SAFETENSORS)
    save(value, storage_writer=writer, no_dist=True)
    check(tmp_path / "run", value)
