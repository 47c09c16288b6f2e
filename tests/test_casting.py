"""Casts that take numbers away: counted exactly, refused before anything is written, and allowed aloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.casting import find_losses
from ckptkit.errors import RefusedError

BFLOAT16 = "bfloat16"


def pair(folder: Path, values: dict[str, np.ndarray], dtype: str) -> tuple[str, str, str]:
    """A source with these values, a template of the same names and shapes in `dtype`, and a path for the output."""
    import ml_dtypes  # noqa: F401  (registers bfloat16 with NumPy)

    source, template = str(folder / "a.npz"), str(folder / "b.npz")
    np.savez(source, **values)
    np.savez(template, **{name: np.zeros(value.shape, dtype) for name, value in values.items()})
    return source, template, str(folder / "out.npz")


def norm(variance: list[float], dtype: str = "float32") -> dict[str, np.ndarray]:
    size = len(variance)
    values = {"gamma": np.ones(size), "beta": np.zeros(size), "moving_mean": np.ones(size), "moving_variance": variance}
    return {f"bn/{name}": np.asarray(value, dtype) for name, value in values.items()}


@pytest.mark.parametrize(
    ("before", "after", "variance", "said"),
    [
        ("float32", "float16", [1, 2e5, 3, 1e9], "of 4 numbers 2 infinite as float16"),
        ("float32", "float16", [1, 1e-9, 3, 4], "of 4 numbers 1 zero as float16"),
        ("float32", "float16", [1e9, 1e-9, 1e-10, 4], "of 4 numbers 1 infinite and 2 zero as float16"),
        ("float64", "float32", [1, 1e39, 3, 1e-60], "of 4 numbers 1 infinite and 1 zero as float32"),
    ],
)
def test_what_becomes_infinite_or_zero_is_refused_and_counted(
    tmp_path: Path, before: str, after: str, variance: list[float], said: str
) -> None:
    source, template, out = pair(tmp_path, norm(variance, before), after)
    with pytest.raises(RefusedError, match=f"bn/moving_variance: {said}") as caught:
        ckptkit.remap(source, template, out)
    assert "--allow-lossy" in (caught.value.hint or "")
    assert not Path(out).exists()
    done = ckptkit.remap(source, template, out, allow_lossy=True)
    assert [str(loss) for loss in done.lossy] == [f"bn/moving_variance: {said}"]
    assert done.to_json()["lossy"][0]["target"] == "bn/moving_variance"
    with np.load(out) as written, np.errstate(over="ignore"):
        np.testing.assert_array_equal(written["bn/moving_variance"], np.asarray(variance, before).astype(after))


@pytest.mark.parametrize("after", ["float16", "float32", "float64"])
def test_rounding_zeros_and_what_was_never_finite_lose_nothing(tmp_path: Path, after: str) -> None:
    """A zero stays zero, an infinity infinite, not a number stays that; 65504 is float16's largest, 6e-8 its smallest."""
    variance = [0.0, -0.0, np.inf, np.nan, 65504, 6e-8, 1 / 3, -65504]
    source, template, out = pair(tmp_path, norm(variance), after)
    assert ckptkit.remap(source, template, out).lossy == ()


def test_a_wider_dtype_is_not_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, template, _ = pair(tmp_path, norm([1, 2, 3, 4]), "float64")
    plan = ckptkit.plan(source, template).plan
    monkeypatch.setattr("ckptkit.casting.evaluate", lambda *_: pytest.fail("read"))
    with ckptkit.open(source) as opened:
        assert find_losses(plan, opened) == ()


def test_bfloat16_has_the_range_of_float32_but_for_the_smallest(tmp_path: Path) -> None:
    from ckptkit.dtypes import numpy_dtype
    from ckptkit.model import TensorSpec
    from ckptkit.plans import Cast, Plan, Read, Step

    values = np.asarray([3.4e38, 1e-40, 1e-44, 1.0], "float32")  # the largest of bfloat16 is 3.39e38
    np.savez(tmp_path / "a.npz", v=values)
    step = Step(TensorSpec("v", (4,), BFLOAT16), "v", Cast(Read("v", (4,), "float32"), BFLOAT16))
    with ckptkit.open(tmp_path / "a.npz") as opened:
        (loss,) = find_losses(Plan("a", "b", "name", None, (step,)), opened)
    cast = values.astype(numpy_dtype(BFLOAT16)).astype("float32")
    assert (loss.infinite, loss.zeros) == (np.isinf(cast).sum(), (cast == 0).sum())
    assert (loss.infinite, loss.zeros) == (1, 1)


def test_several_variables_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    values = {f"v{number}": np.asarray([1e9], "float32") for number in range(5)}
    source, template, out = pair(tmp_path, values, "float16")
    with pytest.raises(RefusedError, match=r"v0: .*; v1: .*; v2: .* and 2 more variables"):
        ckptkit.remap(source, template, out)


def test_on_the_command_line(tmp_path: Path, run_cli: Any) -> None:
    source, template, out = pair(tmp_path, norm([1, 2e5, 3, 4]), "float16")
    refused = run_cli("remap", source, "--like", template, "-o", out)
    assert refused.returncode == 2
    assert "--allow-lossy" in refused.stderr
    done = run_cli("remap", source, "--like", template, "-o", out, "--allow-lossy")
    assert done.returncode == 0
    assert "lost in a cast: bn/moving_variance: of 4 numbers 1 infinite as float16" in " ".join(done.stdout.split())
    told = run_cli("remap", source, "--like", template, "-o", out, "--allow-lossy", "--force", "--json")
    assert json.loads(told.stdout)["lossy"][0]["infinite"] == 1
