"""Writes the cases of a scheme: several containers, with and without a `.meta`, with slots, copies and heads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.matching.grading import CASE, write_case
from tests.matching.published.scheme import Scheme, Stored, Weights, path_of, variables_of


def fill(model: Any, seed: int) -> None:
    """Random values that no two variables share; variances are positive, integers and scalars stay."""
    rng = np.random.default_rng(seed)
    for variable in variables_of(model):
        shape, path = tuple(variable.shape), path_of(variable)
        if shape and "float" in str(variable.dtype) and "seed_generator" not in path:
            value = rng.normal(size=shape) * 0.2
            if "variance" in path:
                value = np.abs(value) + 0.5
            variable.assign(value.astype("float32"))


def save_tf1(path: Path, stored: Mapping[str, np.ndarray], *, meta: bool) -> None:
    """A bundle by `tf.compat.v1.train.Saver`; the variables are made in the order of `stored`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        # Values are fed, not constants of the graph: the .meta stays small. One run: each change of the graph costs.
        holes = [v1.placeholder(value.dtype, value.shape) for value in stored.values()]
        made = [v1.get_variable(name, initializer=hole, use_resource=False)
                for name, hole in zip(stored, holes, strict=True)]  # fmt: skip
        session.run([v.initializer for v in made], dict(zip(holes, stored.values(), strict=True)))
        v1.train.Saver(made).save(session, str(path), write_meta_graph=meta, write_state=False)


def save_h5(path: Path, stored: Mapping[str, np.ndarray]) -> None:
    """Weights as Keras 2 saves a subclassed model: one group for the layer that holds all others, full names below it."""
    import h5py

    with h5py.File(path, "w") as file:
        groups: dict[str, list[str]] = {}
        for name in stored:
            groups.setdefault(name.split("/")[1], []).append(f"{name}:0")
        file.attrs["layer_names"] = [group.encode() for group in groups]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for group, names in groups.items():
            made = file.create_group(group)
            made.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                made[name] = stored[name.removesuffix(":0")]


def _save(model: Any, path: Path) -> None:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".ckpt":
        import tensorflow as tf

        tf.train.Checkpoint(module=model).write(str(path))
    else:
        model.save(path)


def slots(stored: Stored) -> Stored:
    """As training with Adam leaves it: two slots a trained variable, and the optimizer's own numbers."""
    rng = np.random.default_rng(77)
    more: Stored = {"global_step": np.int64(1234).reshape(())}
    for name, value in stored.items():
        if "moving_" not in name and value.dtype == np.float32:
            for slot in ("Adam", "Adam_1"):
                more[f"{name}/{slot}"] = rng.normal(size=value.shape).astype("float32")
    more["beta1_power"], more["beta2_power"] = np.float32(0.5).reshape(()), np.float32(0.7).reshape(())
    return {**stored, **more}


def averages(stored: Stored) -> Stored:
    """With a moving average beside each variable."""
    rng = np.random.default_rng(78)
    more = {f"{name}/ExponentialMovingAverage": value + rng.normal(size=value.shape).astype("float32")
            for name, value in stored.items() if value.dtype == np.float32}  # fmt: skip
    return {**stored, **more}


def make_cases(name: str, scheme: Scheme, root: Path, *, short: bool = False) -> list[str]:
    """Write the cases of a scheme below `root`; files that are equal are linked, not written twice.

    Args:
        name: the scheme's.
        scheme: what to write.
        root: where to.
        short: few cases only: a bundle with and without `.meta` and with heads, into two containers.

    Returns:
        The names of the cases.
    """
    import keras

    pool = root / name
    shutil.rmtree(pool, ignore_errors=True)
    pool.mkdir(parents=True)
    # Each made anew rather than cloned: what people load into is a model of its own, with counters of its own.
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    template = scheme.build()
    fill(template, 2)
    keras.backend.clear_session()
    truth = scheme.build()
    fill(truth, 1)
    for wanted, kept in zip(variables_of(truth), variables_of(template), strict=True):
        if scheme.untouched and path_of(wanted).endswith(scheme.untouched):
            wanted.assign(kept)
    weights = Weights(truth)
    stored = scheme.store(weights)
    lost = [path for path in weights if path not in weights.asked and not path.endswith(scheme.untouched or ("//",))
            and weights[path].shape and "seed_generator" not in path]  # fmt: skip
    if lost:
        raise AssertionError(f"{name}: the scheme does not store {lost}")
    suffixes = scheme.targets[:2] if short else scheme.targets
    for suffix in suffixes:
        for role, model in (("truth", truth), ("target", template)):
            _save(model, pool / f"{role}{suffix}")
    sources = dict(_sources(scheme, stored, weights, pool, short=short))
    cases = []
    for source, (file, options) in sources.items():
        plain = source in ("meta", "bare", "npz", "h5")
        for suffix in suffixes if plain and not short else suffixes[:1] if source != "bare" else suffixes[-1:]:
            folder = pool / f"{source}{suffix.replace('.', '-')}"
            files = (file, pool / f"target{suffix}", pool / f"truth{suffix}")
            expect = scheme.extra_expect if source.startswith("heads") else scheme.expect
            _case(folder, *files, {**scheme.options, **options}, expect)
            cases.append(folder.relative_to(root).as_posix())
    if scheme.back and scheme.container == "tf1" and not short:
        other = scheme.store(Weights(template))
        for kind, meta in (("back-meta", True), ("back-bare", False)):
            save_tf1(pool / f"{kind}.ckpt", other, meta=meta)
            folder = pool / kind
            first = "meta.ckpt" if meta else "bare.ckpt"
            _case(folder, pool / f"truth{suffixes[0]}", pool / f"{kind}.ckpt", pool / first, {}, scheme.back)
            cases.append(folder.relative_to(root).as_posix())
    for file in [path for path in pool.iterdir() if path.is_file()]:
        file.unlink()  # each case has its own link
    return cases


def _sources(
    scheme: Scheme, stored: Stored, weights: Weights, pool: Path, *, short: bool
) -> Iterator[tuple[str, tuple[Path, dict[str, Any]]]]:
    if scheme.container == "npz":
        np.savez(pool / "npz.npz", **stored)
        yield "npz", (pool / "npz.npz", {})
        return
    if scheme.container == "h5":
        save_h5(pool / "h5.h5", stored)
        yield "h5", (pool / "h5.h5", {})
        return
    for kind, meta in (("meta", True), ("bare", False)):
        save_tf1(pool / f"{kind}.ckpt", stored, meta=meta)
        yield kind, (pool / f"{kind}.ckpt", {})
    allowed = {"allow_unexpected": True}
    if scheme.extra is not None:
        for kind, meta in (("heads-meta", True), ("heads-bare", False)):
            save_tf1(pool / f"{kind}.ckpt", {**stored, **scheme.extra(weights)}, meta=meta)
            yield kind, (pool / f"{kind}.ckpt", allowed)
    if not short:
        save_tf1(pool / "slots-meta.ckpt", slots(stored), meta=True)
        yield "slots-meta", (pool / "slots-meta.ckpt", {})
        save_tf1(pool / "slots-bare.ckpt", slots(stored), meta=False)
        yield "slots-bare", (pool / "slots-bare.ckpt", {})
        save_tf1(pool / "average-bare.ckpt", averages(stored), meta=False)
        yield "average-bare", (pool / "average-bare.ckpt", allowed)


def _case(
    folder: Path, source: Path, target: Path, truth: Path, options: Mapping[str, Any], expect: tuple[str, ...]
) -> None:
    folder.mkdir()
    files = {}
    for role, path in (("source", source), ("target", target), ("truth", truth)):
        stem = path.name.partition(".")[0]
        for file in path.parent.iterdir():
            if file.is_file() and (file.name == path.name or file.name.startswith(f"{path.name}.")):
                os.link(file, folder / f"{role}{file.name.removeprefix(stem)}")
        files[role] = f"{role}{path.name.removeprefix(stem)}"
    write_case(folder, **files, options=dict(options), expect=expect)


__all__ = ["CASE", "fill", "make_cases", "save_tf1"]
