"""A random pair for a seed: two files of one network, and what is known of each."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

from tests.matching.grading import write_case
from tests.matching.networks import keras_files, other_files
from tests.matching.networks.families import FAMILIES, Network, Path, bypassable, without
from tests.matching.networks.naming import CREATION, Naming, created, naming

WRITERS = (("keras functional",) * 5 + ("tf_keras functional",) * 3 + ("keras subclass",) * 4 + ("tf_keras subclass",) * 2
           + ("graph",) * 4 + ("module",) * 2 + ("archive",) * 2 + ("keras sequential",))  # fmt: skip
LAYOUTS = ("flat", "nested", "nested", "list", "dict")
CHAINS = ("mlp", "recurrent")
SCOPES = (("Online", "Target"), ("pi", "oldpi"), ("main", "ema"), ("q_func", "target_q_func"))


def make_pair(seed: int, folder: File) -> None:
    """Write the pair of a seed into `folder`, which is made anew, and describe it in `case.json`.

    Of twelve seeds one has a layer removed from one side, and one has a second copy of the network in its source.
    """
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    network = rng.choice(FAMILIES)(rng)
    twist = rng.choice(["removed", "copies", *[""] * 10])
    sides, options, expect = [network, network], {}, ["right"]
    if twist == "removed" and bypassable(network):
        place = rng.randrange(2)
        sides[place] = without(network, rng.choice(bypassable(network)))
        options, expect = ({"allow_missing": True} if place == 0 else {"allow_unexpected": True}), ["right", "refused"]
    files, known = [], []
    for role, side in zip(("source", "target"), sides, strict=True):
        writer = rng.choice(WRITERS)
        if twist == "copies" and role == "source":
            writer = "graph"
        if writer == "keras sequential" and side.family not in CHAINS:
            writer = "keras functional"
        copies = rng.choice(SCOPES) if twist == "copies" and role == "source" else ("",)
        file, facts = write(rng, side, writer, folder / role, copies)
        files.append(file.relative_to(folder).as_posix())
        known.append(facts)
        if len(copies) > 1:
            named = rng.random() < 0.5
            options = {"source_scope": copies[0]} if named else {"allow_unexpected": True}
            expect = ["right"] if named else ["refused"]
    write_case(
        folder, files[0], files[1], files[1], options=options, expect=expect,
        known={"user_words": [side.pop("words") for side in known], "call_order": [side.pop("order") for side in known],
               "family": network.family, "twist": twist, "source": known[0], "target": known[1]},
    )  # fmt: skip


def write(
    rng: random.Random, network: Network, writer: str, folder: File, copies: Sequence[str]
) -> tuple[File, dict[str, Any]]:
    """One file of the network; what is known of it has `words` (the user's, for each layer) and `order` (of calls)."""
    folder.mkdir()
    order_name = rng.choice([*["call"] * 5, *CREATION[1:]])
    order = created(rng, [(part.path, part.kind) for part in network.parts], order_name)
    facts: dict[str, Any] = {"writer": writer, "created": order_name}
    if writer == "archive":
        file = _archive(rng, network, order, folder, facts)
    elif writer == "graph":
        file = _graph(rng, network, order, folder, copies, facts)
    elif writer == "module":
        file = _modules(rng, network, order, folder, facts)
    else:
        file = _keras(rng, network, order, writer, folder, facts)
    return file, facts


def _archive(rng: random.Random, network: Network, order: list[Path], folder: File, facts: dict[str, Any]) -> File:
    habits = naming(rng, ("/", ".", "_", "camel"))
    suffix = rng.choice([".npz", ".safetensors"])
    other_files.archive(
        network, order, habits.name, "/" if habits.joint in ("/", "camel") else ".", folder / f"m{suffix}"
    )
    facts |= {"names": habits.known(), "words": True, "order": False, "suffix": suffix}
    return folder / f"m{suffix}"


def _graph(
    rng: random.Random, network: Network, order: list[Path], folder: File, copies: Sequence[str], facts: dict[str, Any]
) -> File:
    habits, meta, automatic = naming(rng, ("/", "/", "_", "camel")), rng.random() < 0.6, rng.random() < 0.25
    if automatic:
        words = {
            "dense": "dense",
            "conv": "conv2d",
            "bn": "batch_normalization",
            "ln": "LayerNorm",
            "lstm": "lstm",
            "gru": "gru",
        }
        kinds, counts, names = {part.path: part.kind for part in network.parts}, dict.fromkeys(words, 0), {}
        for path in order:
            kind = kinds[path]
            names[path] = words[kind] + (f"_{counts[kind]}" if counts[kind] else "")
            counts[kind] += 1
    name = names.__getitem__ if automatic else habits.name
    dialect = rng.choice(other_files.DIALECTS)
    other_files.graph(network, order, name, dialect, folder / "m.ckpt", meta=meta, copies=copies)
    # A graph tells what feeds what, in whatever order its variables were made; counters tell the order of creation.
    ordered = meta or (automatic and facts["created"] == "call")
    facts |= {
        "names": "automatic" if automatic else habits.known(),
        "words": not automatic,
        "order": ordered,
        "meta": meta,
    }
    return folder / "m.ckpt"


def _attributes(habits: Naming) -> Any:
    """Words of a path that can be attributes: a number is never alone."""
    return Naming(habits.vocabulary, "_", "underscore" if habits.number == "own" else habits.number, habits.first,
                  habits.padded).words  # fmt: skip


def _modules(rng: random.Random, network: Network, order: list[Path], folder: File, facts: dict[str, Any]) -> File:
    habits, layout = naming(rng, ("_",)), rng.choice(LAYOUTS)
    sonnet = rng.random() < 0.5
    other_files.modules(network, order, _attributes(habits), layout, folder / "m.ckpt", sonnet=sonnet)
    # A dict of a module is saved by its keys, in the order in which they were set.
    kept = facts["created"] == "call" and layout != "nested"
    facts |= {"names": habits.known(), "layout": layout, "sonnet": sonnet, "words": layout != "list", "order": kept}
    return folder / "m.ckpt"


def _keras(
    rng: random.Random, network: Network, order: list[Path], writer: str, folder: File, facts: dict[str, Any]
) -> File:
    import keras
    import tf_keras

    ours = writer.startswith("keras")
    framework = keras if ours else tf_keras
    framework.backend.clear_session()
    in_call_order = facts["created"] == "call"
    if writer.endswith("subclass"):
        habits, layout, named = naming(rng, ("_",)), rng.choice(LAYOUTS), rng.random() < 0.3
        suffixes = [".weights.h5"] if ours else [".w.h5", ".ckpt"]
        if ours and layout == "flat":
            suffixes.append(".ckpt")  # of lists and dicts tf.train.Checkpoint saves nothing
        suffix, namer = rng.choice(suffixes), habits.name if named else None
        model = keras_files.subclass(framework, network, order, namer, _attributes(habits), layout)
        by_attribute = layout in ("flat", "nested") or (layout == "dict" and suffix == ".ckpt")
        words = named or (by_attribute and suffix != ".w.h5")
        # Keras 3 walks attributes by the alphabet; automatic names still count in the order of creation.
        walked = ours and suffix == ".weights.h5" and layout in ("flat", "nested")
        order_kept = in_call_order and (not named if walked else layout != "nested")
        facts |= {"names": habits.known(), "named": named, "layout": layout}
    else:
        habits = naming(rng, ("_", "_", "camel", ".") if ours else ("_", "/", "camel"))
        words = rng.random() < 0.6
        namer, order_kept = habits.name if words else None, True
        suffix = rng.choice([".weights.h5", ".weights.h5", ".keras", ".h5"] if ours else [".h5", ".ckpt"])
        if writer.endswith("sequential"):
            model = keras_files.sequential(framework, network, order, namer)
        else:
            model = keras_files.functional(framework, network, order, namer, rng.choice([0, 0, 3, 8]))
        facts |= {"names": habits.known() if words else "automatic"}
    keras_files.save(model, folder / f"m{suffix}")
    facts |= {"words": words, "order": order_kept, "suffix": suffix}
    return folder / f"m{suffix}"
