"""The same moves as a person types them: pages, plans, exit codes, and nothing left behind after a refusal."""

from __future__ import annotations

import json

import pytest

from tests.moves.architectures import made, stack
from tests.moves.graphs import Graph
from tests.moves.proof import assert_agree, batch, randomize, towers
from tests.moves.test_cells import CASES, layers


@pytest.fixture
def single_and_double(fw, mover):
    source, target = made(fw, "tf_keras", "flat", 1), made(fw, "keras", "flat", 2)
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    return source, target, mover.save(source, "h5"), mover.save(target, "keras")


def test_look_first_then_move_then_prove(fw, mover, run_cli, single_and_double):
    source, target, old, template = single_and_double
    output = mover.path(".keras")
    looked = run_cli("remap", old, "--like", template, "-o", output, "--dry-run")
    assert looked.returncode == 0, looked.stderr
    lines = looked.stdout.splitlines()
    counts = "10 of 10 target variables found · 0 missing · 0 unexpected · 0 ambiguous"
    assert lines[0].startswith(f"{counts} · ")
    assert lines[0].endswith(" · order: stored and config")
    assert lines[-1] == "nothing written (dry run)"
    assert "keras2/" not in looked.stdout, "nothing is converted"
    done = run_cli("remap", old, "--like", template, "-o", output, "--verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{output}: 10 moved, 0 kept; read back and equal" in done.stdout
    assert "PASS" in done.stdout
    found = target.run(batch(source), fw.keras.models.load_model(output))
    for tower in towers(found, 2):
        assert_agree(tower, source.run(batch(source)))


def test_a_conversion_is_shown_with_what_it_assumes(fw, mover, run_cli):
    in_graph, in_keras = CASES["LSTMCell"]
    graph, model = Graph(fw, in_graph(fw)), layers(fw, "keras", in_keras)
    graph.randomize(1)
    paths = graph.save(mover.path()), mover.save(model, "weights.h5")
    looked = run_cli("remap", paths[0], "--like", paths[1], "--dry-run")
    assert looked.returncode == 0, looked.stderr
    rows = [line for line in looked.stdout.splitlines() if "←" in line]
    assert len(rows) == 3
    assert all("rnn_cell/LSTMCell → keras3/LSTM" in row for row in rows)
    assert "rows 0–3" in rows[0]
    assert "rows 4–9" in rows[1]
    assert "+1 on block 1" in rows[2]
    assert looked.stdout.count("assumes forget_bias=1.0") == 1


def test_a_plan_is_written_edited_and_applied(fw, mover, run_cli, single_and_double, tmp_path):
    source, target, old, template = single_and_double
    plan, output = tmp_path / "plan.json", mover.path(".keras")
    assert run_cli("remap", old, "--like", template, "--dry-run", "--plan-out", plan).returncode == 0
    data = json.loads(plan.read_text())
    assert data["schema"] == "ckptkit.remap/1"
    head = next(step for step in data["steps"] if step["shape"] == [5])
    head["op"] = {"fill": 0.5, "shape": [5], "dtype": "float32"}
    plan.write_text(json.dumps(data))
    done = run_cli("remap", old, "--plan", plan, "-o", output, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["moved"] == 9, "what is filled is not of the source"
    bias = source.live.layers[-1].get_weights()[1]
    found = towers(target.run(batch(source), fw.keras.models.load_model(output)), 2)[0]
    assert_agree(found, source.run(batch(source)) - bias + 0.5)
    data["steps"][0]["op"] = {"read": "no/such", "shape": head["shape"], "dtype": "float32"}
    plan.write_text(json.dumps(data))
    stale = run_cli("remap", old, "--plan", plan, "-o", mover.path(".keras"))
    assert stale.returncode == 2
    assert stale.stderr.count("\n") == 1


def test_a_refusal_has_a_line_for_each_layer_and_leaves_nothing(fw, mover, run_cli, tmp_path):
    source = stack(fw, "tf_keras", [("body", 7), ("cls", 10)])
    target = stack(fw, "keras", [("body", 7), ("head", 3)])
    old, template = mover.save(source, "weights"), mover.save(target, "weights.h5")
    before = set(tmp_path.iterdir())
    output = tmp_path / "out.weights.h5"
    refused = run_cli("remap", old, "--like", template, "-o", output)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == (
        f"ckptkit: {template} wants 2 variables that {old} has no weight for; {old} has 2 variables that {template} has no "
        "place for. --allow-missing leaves what is missing as it is, --allow-unexpected leaves behind what "
        "has no place.\n"
        "  missing: head/kernel [7, 3] (nearest: cls/kernel [7, 10], another shape), head/bias [3] (nearest: cls/bias "
        "[10], another shape)\n"
        "  unexpected: cls/kernel [7, 10] (nearest: head/kernel [7, 3], another shape), cls/bias [10] (nearest: head/bias "
        "[3], another shape)\n"
    )
    assert set(tmp_path.iterdir()) == before
    done = run_cli("remap", old, "--like", template, "-o", output, "--allow-missing", "--allow-unexpected")
    assert done.returncode == 0, done.stderr
    assert "keeps the template's values: head/kernel, head/bias" in done.stdout
    assert "left behind: cls/kernel, cls/bias" in done.stdout
    assert run_cli("remap", old, "--like", template, "-o", output, "--allow-missing").returncode == 2
