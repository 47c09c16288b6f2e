"""Checkpoints under well-known code's names, into the models that people load them into: every value in its place.

`python -m tests.matching.published` runs the same schemes with more containers, slots, averages and the way back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from tests.matching.grading import grade, read_cases
from tests.matching.published.schemes import SCHEMES

pytestmark = pytest.mark.filterwarnings("ignore")  # saving in old formats warns

# One of each kind of difference.
QUICK = (
    "bert", "bert_shortened_by_a_person", "gpt_2", "albert", "vgg_16", "mobilenet_v1", "baselines_ppo2_twin_networks",
    "baselines_dueling_dqn", "dopamine", "dcgan_generator", "tf_layers_counted_into_named", "sonnet_1_networks",
    "detection_heads", "word_vectors", "sequence_tagger",
)  # fmt: skip
HUB = {"bert", "bert_twelve_layers", "albert", "electra", "roberta_of_transformers", "distilbert_of_transformers",
       "vision_transformer", "gpt_2", "t5", "xlnet",
       "roberta_of_transformers_in_h5", "distilbert_of_transformers_in_h5"}  # fmt: skip

# Schemes of which some variant is refused today, with the reason on the page: nothing of them is wrong.
OPEN = {
    "albert", "darknet_of_slim", "inception_resnet_v2", "inception_v3", "pix2pix_generator", "sonnet_1_into_sonnet_2", "t5",
    "vision_transformer",
}  # fmt: skip


def _make(name: str, root: Path, *, short: bool) -> None:
    if name in HUB:
        pytest.importorskip("keras_hub")
    from tests.matching.published.making import make_cases

    make_cases(name, SCHEMES[name](), root, short=short)


def _right(name: str, root: Path, *, short: bool) -> None:
    _make(name, root, short=short)
    cases = list(read_cases(root))
    assert len(cases) >= (1 if SCHEMES[name]().container != "tf1" else 2)
    verdicts = {case.name: grade(case) for case in cases}
    further = ("refused",) if name in OPEN else ()
    bad = {
        case.name: verdicts[case.name] for case in cases if verdicts[case.name].status not in (*case.expect, *further)
    }
    assert not bad


@pytest.mark.parametrize("name", QUICK)
def test_every_value_has_its_place(name: str, tmp_path: Path) -> None:
    _right(name, tmp_path, short=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCHEMES if name not in QUICK][::5])
def test_some_in_every_container(name: str, tmp_path: Path) -> None:
    _right(name, tmp_path, short=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SCHEMES)
def test_in_every_container_and_beside_slots_averages_and_heads(name: str, tmp_path: Path) -> None:
    _right(name, tmp_path, short=False)


@pytest.mark.parametrize("name", ["bert", "vgg_16"])
def test_keras_loads_what_remap_writes(name: str, tmp_path: Path) -> None:
    _make(name, tmp_path, short=True)
    (case,) = read_cases(tmp_path, [f"{name}/meta"])
    ckptkit.remap(case.source, case.target, tmp_path / "out.weights.h5")
    models: dict[str, Any] = {}
    for role, file in (("made", tmp_path / "out.weights.h5"), ("truth", case.truth)):
        models[role] = SCHEMES[name]().build()
        models[role].load_weights(file)
    for made, truth in zip(models["made"].weights, models["truth"].weights, strict=True):
        np.testing.assert_allclose(np.asarray(made), np.asarray(truth), rtol=1e-5, atol=1e-6, err_msg=made.path)


def test_every_scheme_says_what_it_is() -> None:
    assert set(QUICK) <= set(SCHEMES)
    assert set(SCHEMES) >= HUB
    assert len(SCHEMES) >= 50
