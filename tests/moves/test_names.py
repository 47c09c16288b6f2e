"""Layers under other names, in another order of creation, inserted, left out: what names say and what order says."""

from __future__ import annotations

import json

import pytest

from ckptkit import plan, read_plan, remap
from ckptkit.errors import RefusedError
from tests.moves.architectures import made, stack
from tests.moves.proof import Model, assert_agree, assert_differ, batch, randomize

CONTAINER = {"keras": "weights.h5", "tf_keras": "weights"}
BOTH_WAYS = [("keras", "tf_keras"), ("tf_keras", "keras"), ("keras", "keras")]


def both(frameworks: tuple[str, str]) -> tuple[str, str]:
    return CONTAINER[frameworks[0]], CONTAINER[frameworks[1]]


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
@pytest.mark.parametrize("by", ["auto", "order"])
def test_renamed_layers_of_different_shapes(fw, mover, frameworks, by):
    source = stack(fw, frameworks[0], [("first", 7), ("second", 8), ("third", 5)])
    target = stack(fw, frameworks[1], [("alpha", 7), ("beta", 8), ("gamma", 5)])
    expected, found, _ = mover.move(source, target, both(frameworks), by=by)
    assert_agree(found, expected)


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
@pytest.mark.parametrize("by", ["auto", "order"])
def test_renamed_layers_of_one_shape_go_by_order(fw, mover, frameworks, by):
    source = stack(fw, frameworks[0], [("first", 6), ("second", 6), ("third", 6)])
    target = stack(fw, frameworks[1], [("alpha", 6), ("beta", 6), ("gamma", 6)])
    expected, found, done = mover.move(source, target, both(frameworks), by=by)
    assert_agree(found, expected)
    assert done.plan.order_source == ("file-layout" if frameworks[0] == "keras" else "stored",
                                      "file-layout" if frameworks[1] == "keras" else "stored")  # fmt: skip


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
def test_by_scope_names_no_pair_of_other_names(fw, mover, frameworks):
    source = stack(fw, frameworks[0], [("first", 6), ("second", 6)])
    target = stack(fw, frameworks[1], [("alpha", 6), ("beta", 6)])
    containers = both(frameworks)
    with pytest.raises(RefusedError, match=r"(?s)--allow-missing.*missing: alpha/kernel \[6, 6\]"):
        mover.move(source, target, containers, by="scope")
    expected, found, _ = mover.move(source, target, containers, by="scope", rename=["^first$=alpha", "^second$=beta"])
    assert_agree(found, expected)


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
@pytest.mark.parametrize("by", ["auto", "scope"])
def test_equal_shapes_made_in_another_order_go_by_the_names_their_user_gave(fw, mover, frameworks, by):
    """Keras 3's own loader swaps such layers without a word."""
    k = getattr(fw, frameworks[1])
    late = k.layers.Dense(6, activation="tanh", name="late")
    early = k.layers.Dense(6, activation="tanh", name="early")
    start = k.Input((6,))
    # Both branches are listed in the order of their making, which is not that of the source.
    target = Model(frameworks[1], k.Model(start, late(early(start))), (6,))
    k = getattr(fw, frameworks[0])
    start = k.Input((6,))
    first, second = (
        k.layers.Dense(6, activation="tanh", name="early"),
        k.layers.Dense(6, activation="tanh", name="late"),
    )
    source = Model(frameworks[0], k.Model(start, second(first(start))), (6,))
    expected, found, _ = mover.move(source, target, both(frameworks), by=by)
    assert_agree(found, expected)


def branches(fw, names: tuple[str, str]) -> Model:
    """Two layers of one shape side by side: the order in which Keras lists them is that of the call."""
    keras = fw.keras
    start = keras.Input((6,))
    one, other = (keras.layers.Dense(6, activation="tanh", name=name) for name in names)
    outputs = {name: layer(start) for name, layer in zip(names, (one, other), strict=True)}
    joined = keras.layers.Concatenate()([outputs[name] for name in names])
    return Model("keras", keras.Model(start, joined), (6,))


def test_swapped_branches_with_names_are_not_swapped(fw, mover):
    source, target = branches(fw, ("actor", "critic")), branches(fw, ("critic", "actor"))
    expected, found, done = mover.move(source, target, ("weights.h5", "weights.h5"))
    target.live.load_weights(done.plan.source)
    assert_agree(target.run(batch(target))[:, :6], expected[:, :6])  # Keras's own loader swaps them
    assert_agree(found[:, 6:], expected[:, :6])
    assert_agree(found[:, :6], expected[:, 6:])
    assert all(step.evidence == ("name",) for step in done.plan.steps)


def test_order_against_names_is_refused(fw, mover):
    source, target = branches(fw, ("actor", "critic")), branches(fw, ("critic", "actor"))
    with pytest.raises(RefusedError, match="ambiguous.*order says one thing and the names another"):
        mover.move(source, target, ("weights.h5", "weights.h5"), by="order")


@pytest.mark.parametrize("containers", [("weights.h5", "weights.h5"), ("h5", "keras"), ("checkpoint", "weights.h5")])
def test_ten_layers_and_more_are_not_sorted_as_text(fw, mover, containers):
    """HDF5 lists `dense_10` before `dense_2`."""
    source, target = made(fw, "keras", "mlp", 1), made(fw, "keras", "mlp", 2)
    expected, found, _ = mover.move(source, target, containers, by="order")
    assert_agree(found[:, :5], expected)


@pytest.mark.parametrize("shift", [1, 2, 5])
@pytest.mark.parametrize("frameworks", BOTH_WAYS)
def test_automatic_names_that_overlap_after_a_shift(fw, mover, frameworks, shift):
    """`dense` … `dense_4` against `dense_1` … `dense_5`: that both have a `dense_1` says nothing."""

    def numbered(framework: str, first: int) -> Model:
        names = [f"dense_{first + place}" if first + place else "dense" for place in range(6)]
        return stack(fw, framework, [*((name, 6) for name in names[:5]), (names[5], 4)])

    source, target = numbered(frameworks[0], 0), numbered(frameworks[1], shift)
    for one, other, containers in ((source, target, both(frameworks)), (target, source, both(frameworks[::-1]))):
        expected, found, _ = mover.move(one, other, containers)
        assert_agree(found, expected)


def test_counters_that_contradict_the_order_are_refused(fw, mover):
    source = stack(fw, "keras", [("dense_1", 6), ("dense_2", 6), ("dense_3", 5)])
    target = stack(fw, "keras", [("dense_2", 6), ("dense_1", 6), ("dense_3", 5)])
    with pytest.raises(RefusedError, match="ambiguous: dense_2/kernel.*fit in more than one way"):
        mover.move(source, target, ("weights.h5", "weights.h5"))
    _, found, _ = mover.move(source, target, ("weights.h5", "weights.h5"), by="name")
    for name in ("dense_1", "dense_2"):
        assert (source.live.get_layer(name).get_weights()[0] == target.live.get_layer(name).get_weights()[0]).all()
    expected, found, _ = mover.move(source, target, ("weights.h5", "weights.h5"), by="order")
    assert_agree(found, expected)


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
def test_an_inserted_layer_shifts_nothing(fw, mover, frameworks):
    source = stack(fw, frameworks[0], [("a", 6), ("b", 7), ("c", 6), ("d", 7), ("e", 4)])
    target = stack(fw, frameworks[1], [("one", 6), ("two", 7), ("new", 7), ("three", 6), ("four", 7), ("five", 4)])
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    containers = both(frameworks)
    paths = mover.save(source, containers[0]), mover.save(target, containers[1])
    with pytest.raises(RefusedError, match=r"new/kernel \[7, 7\]"):
        plan(*paths)
    kept = target.live.get_layer("new").get_weights()
    output = mover.path(target.container(containers[1]).ending)
    done = remap(*paths, output, allow_missing=True)
    assert set(done.plan.missing) == {"new/kernel", "new/bias"}
    target.live.load_weights(output)
    for name, other in zip("abcde", ("one", "two", "three", "four", "five"), strict=True):
        for mine, theirs in zip(source.live.get_layer(name).get_weights(), target.live.get_layer(other).get_weights(),
                                strict=True):  # fmt: skip
            assert (mine == theirs).all()
    assert all((a == b).all() for a, b in zip(kept, target.live.get_layer("new").get_weights(), strict=True))
    with pytest.raises(RefusedError, match=r"has new/kernel \[7, 7\].*--allow-unexpected"):
        plan(paths[1], paths[0])
    back = mover.path(source.container(containers[0]).ending)
    remap(output, paths[0], back, allow_unexpected=True)
    sample = batch(source)
    expected = source.run(sample)
    randomize(source.variables(), 3)
    source.live.load_weights(back)
    assert_agree(source.run(sample), expected)


def test_which_of_equal_layers_is_new_is_not_guessed(fw, mover):
    source = stack(fw, "keras", [("a", 6), ("b", 6), ("head", 4)])
    target = stack(fw, "keras", [("one", 6), ("two", 6), ("three", 6), ("top", 4)])
    paths = mover.save(source, "weights.h5"), mover.save(target, "weights.h5")
    for options in ({}, {"allow_missing": True, "allow_unexpected": True}):
        with pytest.raises(RefusedError, match="ambiguous: one/kernel, one/bias, two/kernel and 3 more .* ← a"):
            plan(*paths, **options)


@pytest.mark.parametrize("frameworks", BOTH_WAYS)
def test_another_head(fw, mover, frameworks):
    """Pre-trained on ten classes, wanted for three: the rest moves, the new head keeps its values."""
    source = stack(fw, frameworks[0], [("body", 7), ("neck", 8), ("head", 10)])
    target = stack(fw, frameworks[1], [("body", 7), ("neck", 8), ("head", 3)])
    containers = both(frameworks)
    with pytest.raises(RefusedError, match=r"head/kernel \[8, 3\] \(nearest: head/kernel \[8, 10\], another shape"):
        mover.move(source, target, containers)
    with pytest.raises(RefusedError, match=r"has head/kernel \[8, 10\]"):
        mover.move(source, target, containers, allow_missing=True)
    _, _, done = mover.move(source, target, containers, allow_missing=True, allow_unexpected=True)
    assert {step.target.name for step in done.plan.steps} == {
        f"{n}/{r}" for n in ("body", "neck") for r in ("kernel", "bias")
    }
    assert set(done.plan.missing) == set(done.plan.unexpected) == {"head/kernel", "head/bias"}
    for name in ("body", "neck"):
        for mine, theirs in zip(source.live.get_layer(name).get_weights(), target.live.get_layer(name).get_weights(),
                                strict=True):  # fmt: skip
            assert (mine == theirs).all()


def test_a_part_that_was_trained_alone(fw, mover):
    """Weights of one inner model go into the whole."""
    keras = fw.keras
    start = keras.Input((6,))
    alone = keras.Model(start, keras.layers.Dense(8, name="up")(keras.layers.Dense(7, name="down")(start)), name="ff1")
    part = Model("keras", alone, (6,))
    start = keras.Input((6,))
    inner_start = keras.Input((6,))
    inner = keras.Model(
        inner_start, keras.layers.Dense(8, name="up")(keras.layers.Dense(7, name="down")(inner_start)), name="ff1"
    )
    whole = Model("keras", keras.Model(start, keras.layers.Dense(3, name="head")(inner(start))), (6,))
    randomize(part.variables(), 1)
    randomize(whole.variables(), 2)
    output = mover.path(".weights.h5")
    remap(mover.save(part, "weights.h5"), mover.save(whole, "weights.h5"), output, allow_missing=True)
    whole.live.load_weights(output)
    sample = batch(part)
    assert_agree(Model("keras", whole.live.get_layer("ff1"), (6,)).run(sample), part.run(sample))


def test_a_plan_edited_by_hand(fw, mover, tmp_path):
    """Two layers of one shape change places, because the reviewer knows better."""
    source = stack(fw, "keras", [("first", 6), ("second", 6)])
    target = stack(fw, "keras", [("first", 6), ("second", 6)])
    randomize(source.variables(), 1)
    randomize(target.variables(), 2)
    paths = mover.save(source, "weights.h5"), mover.save(target, "weights.h5")
    data = json.loads(json.dumps(plan(*paths).to_json()))
    for step in data["steps"]:
        other = {"first": "second", "second": "first"}
        name, role = step["op"]["read"].split("/")
        step["op"]["read"] = f"{other[name]}/{role}"
    edited = tmp_path / "plan.json"
    edited.write_text(json.dumps(data))
    output = mover.path(".weights.h5")
    read_plan(edited).apply(output)
    target.live.load_weights(output)
    for name, other in (("first", "second"), ("second", "first")):
        for mine, theirs in zip(source.live.get_layer(name).get_weights(), target.live.get_layer(other).get_weights(),
                                strict=True):  # fmt: skip
            assert (mine == theirs).all()
    sample = batch(source)
    assert_differ(target.run(sample), source.run(sample))
