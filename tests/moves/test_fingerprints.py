"""A plan knows the files that it was made for, and says so of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import RefusedError
from ckptkit.plans import encode_plan, parse_plan

Values = dict[str, np.ndarray]
Save = Callable[[Path, Values], str]
Run = Callable[..., "CompletedProcess[str]"]

# Large enough for a sample to leave something out.
ROWS = 5000


def values(seed: int) -> Values:
    rng = np.random.default_rng(seed)
    return {"dense/kernel": rng.normal(size=(ROWS, 3)).astype("f4"), "dense/bias": rng.normal(size=3).astype("f4")}


def npz(path: Path, given: Values) -> str:
    np.savez(path.with_suffix(".npz"), **given)
    return str(path.with_suffix(".npz"))


def into(ending: str, to: str | None = None) -> Save:
    def save(path: Path, given: Values) -> str:
        plain = npz(path.with_name("plain"), given)
        ckptkit.convert(plain, path.with_suffix(ending), to=to, force=True)
        return str(path.with_suffix(ending))

    return save


CONTAINERS = {
    "crc32": npz, "crc32c": into(".ckpt", "tensor-bundle"), "sample": into(".safetensors"),
    "sample of HDF5": into(".h5"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTAINERS)
def test_another_source_is_refused_and_taken_when_told(kind: str, tmp_path: Path) -> None:
    save = CONTAINERS[kind]
    template = npz(tmp_path / "template", {f"net/{name}": value for name, value in values(9).items()})
    source = save(tmp_path / "a", values(1))
    proposal = ckptkit.plan(source, template)
    known = proposal.plan.fingerprints
    assert known is not None
    assert {each.partition(":")[0] for each in known.source.values()} == {kind.split(" ")[0]}
    (tmp_path / "plan.json").write_text(json.dumps(proposal.to_json()))

    # The kernels of the two sides are larger than a sample; the template's archive has a checksum of its own.
    notes = ckptkit.read_plan(tmp_path / "plan.json").apply(tmp_path / "out.npz").notes
    assert notes == () if kind.startswith("crc") else "of 1 tensors" in notes[0]
    other = save(tmp_path / "b", {**values(1), "dense/bias": values(2)["dense/bias"]})
    again = ckptkit.read_plan(tmp_path / "plan.json", other)
    with pytest.raises(RefusedError, match=r"source .* 1 of 2 tensors with other contents \(dense/bias\)"):
        again.apply(tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()
    done = again.apply(tmp_path / "other.npz", force=True)
    assert [note.partition(":")[0] for note in done.notes] == ["not the source that the plan was made for"]
    with ckptkit.open(done.output) as written:
        assert np.array_equal(written["net/dense/bias"].read(), values(2)["dense/bias"])


def test_another_template_is_refused(tmp_path: Path) -> None:
    source = npz(tmp_path / "a", values(1))
    template = npz(tmp_path / "t", {**values(2), "epoch": np.array(3)})
    proposal = ckptkit.plan(source, template)
    npz(tmp_path / "t", {**values(2), "epoch": np.array(4)})
    with pytest.raises(RefusedError, match=r"template .* 1 of 3 .*epoch"):
        proposal.apply(tmp_path / "out.npz")


@pytest.mark.parametrize(("depth", "seen"), [("sample", False), ("full", True)])
def test_a_sample_looks_at_three_places_and_full_at_all(depth: str, seen: bool, tmp_path: Path) -> None:
    save = CONTAINERS["sample"]
    template = npz(tmp_path / "template", values(9))
    given = values(1)
    proposal = ckptkit.plan(save(tmp_path / "a", given), template, fingerprints=depth)  # type: ignore[arg-type]
    given["dense/kernel"][ROWS // 4] += 1
    save(tmp_path / "a", given)
    if seen:
        with pytest.raises(RefusedError, match="dense/kernel"):
            proposal.apply(tmp_path / "out.npz")
    else:
        assert proposal.apply(tmp_path / "out.npz").notes == ()
    given["dense/kernel"][0] += 1
    save(tmp_path / "a", given)
    with pytest.raises(RefusedError, match="dense/kernel"):
        proposal.apply(tmp_path / "other.npz")


def test_a_weight_that_the_plan_does_not_know_makes_another_source(tmp_path: Path) -> None:
    """It would be left behind without a word, as nothing in the plan reads it."""
    source, template = npz(tmp_path / "a", values(1)), npz(tmp_path / "t", values(2))
    proposal = ckptkit.plan(source, template)
    npz(tmp_path / "a", {**values(1), "adapter/kernel": np.ones((3, 2), "f4"), "steps": np.array(4)})
    with pytest.raises(RefusedError, match=r"source .* 1 that the plan does not know \(adapter/kernel\)"):
        proposal.apply(tmp_path / "out.npz")
    assert proposal.apply(tmp_path / "out.npz", force=True).notes


def test_a_plan_within_a_scope_knows_the_rest(tmp_path: Path) -> None:
    given = {f"{scope}/{name}": value for scope in ("net", "old") for name, value in values(1).items()}
    source, template = npz(tmp_path / "a", given), npz(tmp_path / "t", values(2))
    proposal = ckptkit.plan(source, template, source_scope="net")
    assert proposal.apply(tmp_path / "out.npz").notes == ()
    assert parse_plan(json.dumps(encode_plan(proposal.plan))) == proposal.plan


def test_a_plan_without_fingerprints_applies_with_a_note(tmp_path: Path) -> None:
    paths = npz(tmp_path / "a", values(1)), npz(tmp_path / "t", values(2))
    old = ckptkit.plan(*paths, fingerprints=None).to_json()
    assert "fingerprints" not in old
    (tmp_path / "plan.json").write_text(json.dumps(old))
    notes = ckptkit.read_plan(tmp_path / "plan.json").apply(tmp_path / "out.npz").notes
    assert len(notes) == 1
    assert "no fingerprints" in notes[0]
    assert ckptkit.remap(*paths, tmp_path / "direct.npz").notes == ()


def test_the_command_line(tmp_path: Path, run_cli: Run) -> None:
    source, template = npz(tmp_path / "a", values(1)), npz(tmp_path / "t", values(2))
    plan, out = tmp_path / "plan.json", tmp_path / "out.npz"
    made = run_cli("remap", source, "--like", template, "--dry-run", "--plan-out", plan)
    assert made.returncode == 0
    document = json.loads(plan.read_text())
    assert document["fingerprints"]["source"].keys() == {"dense/kernel", "dense/bias"}
    assert run_cli("remap", source, "--plan", plan, "-o", out).returncode == 0
    npz(tmp_path / "a", values(3))
    refused = run_cli("remap", source, "--plan", plan, "-o", tmp_path / "no.npz")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "2 of 2 tensors with other contents" in refused.stderr
    forced = run_cli("remap", source, "--plan", plan, "-o", tmp_path / "yes.npz", "--force")
    assert forced.returncode == 0
    assert "note: not the source that the plan was made for" in " ".join(forced.stdout.split())


def test_text_keeps_fingerprints(tmp_path: Path) -> None:
    paths = npz(tmp_path / "a", values(1)), npz(tmp_path / "t", values(2))
    plan = ckptkit.plan(*paths).plan
    assert parse_plan(json.dumps(encode_plan(plan))).fingerprints == plan.fingerprints
