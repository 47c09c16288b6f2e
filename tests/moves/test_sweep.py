"""The same layer in another container: right, or refused where a reason is known; never a bare exception.

Both models are of one layer and differ in the layer's automatic name. The target loads the result by its own framework's
loader, and every weight must have the source's bits. `match` leaves nothing over, and `diff` calls the two different
before the move and identical after it.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError
from tests.moves.sweep import Subject, model, subjects

CONTAINERS = ("w.weights.h5", "m.h5", "m.keras", "checkpoint")

# Wrappers, which stand in the sweep around what they wrap; layers of JAX; and what owns a table or counts, and no weights.
NOT_TRIED = frozenset(
    {"Layer", "Wrapper", "RNN", "Bidirectional", "SpectralNormalization", "JaxLayer", "FlaxLayer", "Discretization"}
)


def is_excused(framework: str, subject: Subject, *containers: str) -> bool:
    """What is refused, and why.

    Keras 3's checkpoints do not reach cells in a list at all. A kernel of LocallyConnected is anybody's by its shape, and a
    weights-only file of one such layer has nothing else to go by.
    """
    if subject.name.startswith(("RNN([", "RNN(Stacked")):
        return framework == "keras" and "checkpoint" in containers
    return subject.name.startswith("LocallyConnected") and "m.h5" in containers


def save(tf: Any, framework: str, live: Any, path: str) -> bool:
    """By the framework's own saver; False where it has none for this model."""
    try:
        if path.endswith("checkpoint"):
            tf.train.Checkpoint(model=live).write(path)
        elif path.endswith(".weights.h5") or (framework == "tf_keras" and path.endswith(".h5")):
            live.save_weights(path)
        else:
            live.save(path)
    except Exception:  # noqa: BLE001 - whatever a framework raises over what it cannot write
        return False
    return True


def values(live: Any) -> list[np.ndarray]:
    return [np.array(weight) for weight in live.weights if "float" in str(weight.dtype)]


def scramble(live: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    for weight in live.weights:
        if "float" in str(weight.dtype):
            weight.assign(np.abs(random.normal(size=weight.shape)) + 0.1)


def covering(number: int, held: list[str], templates: list[str]) -> Iterator[tuple[str, str]]:
    """One target for each container, another one for the next subject: four subjects in a row cover all pairs."""
    for place, container in enumerate(held):
        yield container, templates[(place + number) % len(templates)]


class Sweep:
    """Subjects through containers, and a count of what came of it."""

    def __init__(self, fw: SimpleNamespace, framework: str, folder: Path) -> None:
        self.fw = fw
        self.framework = framework
        self.folder = folder
        self.counts: Counter[str] = Counter()

    def run(self, chosen: list[Subject]) -> Counter[str]:
        for number, subject in enumerate(chosen):
            here = self.folder / str(number)
            here.mkdir()
            self._one(subject, number, here)
        return self.counts

    def _one(self, subject: Subject, number: int, here: Path) -> None:
        (source, held), (target, templates) = (
            self._made(subject, here, seed, name) for seed, name in enumerate(("one", "two"))
        )
        wanted = values(source)
        if not wanted:
            return
        for a, b in covering(number, held, templates):
            self._try(subject, (a, b), lambda a=a, b=b: self._moved(here, a, b, target, wanted))
        for a in held if number % 2 else ():
            self._try(subject, (a, "live"), lambda a=a: self._loaded(here, a, target, wanted))

    def _made(self, subject: Subject, here: Path, seed: int, name: str) -> tuple[Any, list[str]]:
        live = model(getattr(self.fw, self.framework), subject, name)
        scramble(live, seed)
        return live, [c for c in CONTAINERS if save(self.fw.tf, self.framework, live, str(here / f"{name}-{c}"))]

    def _try(self, subject: Subject, containers: tuple[str, str], attempt: Any) -> None:
        self.counts["tried"] += 1
        what = f"{self.framework} {subject.name}: {' -> '.join(containers)}"
        try:
            wrong = attempt()
        except CkptkitError as error:
            assert is_excused(self.framework, subject, *containers), f"{what}: {error}"
            self.counts["refused"] += 1
        else:
            assert not wrong, f"{what}: {wrong}"

    def _moved(self, here: Path, a: str, b: str, target: Any, wanted: list[np.ndarray]) -> str:
        source, template, out = here / f"one-{a}", here / f"two-{b}", here / f"{a}-to-{b}"
        ckptkit.remap(source, template, out)
        before, after = ckptkit.diff(source, template), ckptkit.diff(source, out)
        alone = {item.name for item in (*before.only_a, *before.only_b)} - before.others
        scramble(target, 7)
        if b == "checkpoint":
            self.fw.tf.train.Checkpoint(model=target).read(str(out)).expect_partial()
        else:
            target.load_weights(str(out))
        if not all(map(np.array_equal, values(target), wanted)):
            return "loaded something else"
        if before.verdict != "different" or before.ambiguous or alone or after.verdict != "identical":
            return f"diff says {before.verdict} ({alone or before.ambiguous}), then {after.verdict}"
        return "" if ckptkit.match(source, template).complete else "match leaves something over"

    def _loaded(self, here: Path, a: str, target: Any, wanted: list[np.ndarray]) -> str:
        scramble(target, 8)
        ckptkit.load_into(target, here / f"one-{a}")
        return "" if all(map(np.array_equal, values(target), wanted)) else "loaded something else"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_every_ninth_layer_through_containers(framework: str, fw: SimpleNamespace, tmp_path: Path) -> None:
    counts = Sweep(fw, framework, tmp_path).run(list(subjects(getattr(fw, framework)))[4::9])
    assert counts["tried"] > 60
    assert counts["refused"] < counts["tried"] / 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_every_third_layer_through_containers(framework: str, fw: SimpleNamespace, tmp_path: Path) -> None:
    counts = Sweep(fw, framework, tmp_path).run(list(subjects(getattr(fw, framework)))[::3])
    assert counts["tried"] > 170
    assert counts["refused"] < counts["tried"] / 10


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_every_layer_through_containers(framework: str, fw: SimpleNamespace, tmp_path: Path) -> None:
    counts = Sweep(fw, framework, tmp_path).run(list(subjects(getattr(fw, framework))))
    assert counts["tried"] > 500
    assert counts["refused"] < counts["tried"] / 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_no_class_with_weights_is_left_out(framework: str, fw: SimpleNamespace) -> None:
    keras: ModuleType = getattr(fw, framework)
    tried = " ".join(subject.name for subject in subjects(keras))
    for cls in vars(keras.layers).values():
        own = inspect.isclass(cls) and issubclass(cls, keras.layers.Layer) and "build" in vars(cls)
        if own and "add_weight" in inspect.getsource(cls):
            name = cls.__name__
            assert f"{name}(" in tried or name.endswith("Cell") or name in NOT_TRIED, name
