"""Networks as lists of layers and a wiring; nothing here knows a framework."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

Path = tuple[str | int, ...]


class Ops(Protocol):
    """What a framework does for a wiring."""

    def __call__(self, path: Path, x: Any) -> Any: ...
    def add(self, xs: Sequence[Any]) -> Any: ...
    def join(self, xs: Sequence[Any]) -> Any: ...
    def pool(self, x: Any) -> Any: ...
    def attend(self, q: Any, k: Any, v: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A layer: its place as the network's author thinks of it, its kind, and its sizes.

    `sizes` is (inputs, units) of a dense or recurrent layer, (window, inputs, units) of a convolution, (channels,) of
    a normalisation.
    """

    path: Path
    kind: str
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Layers in the order of their calls, shapes of the inputs, and what feeds what."""

    family: str
    parts: tuple[Part, ...]
    inputs: tuple[tuple[int, ...], ...]
    wire: Callable[[Ops, Sequence[Any]], list[Any]]


ROLES: dict[str, Callable[..., list[tuple[str, tuple[int, ...]]]]] = {
    "dense": lambda i, o: [("kernel", (i, o)), ("bias", (o,))],
    "conv": lambda k, i, o: [("kernel", (k, k, i, o)), ("bias", (o,))],
    "bn": lambda c: [("gamma", (c,)), ("beta", (c,)), ("moving_mean", (c,)), ("moving_variance", (c,))],
    "ln": lambda c: [("gamma", (c,)), ("beta", (c,))],
    "lstm": lambda i, u: [("kernel", (i, 4 * u)), ("recurrent_kernel", (u, 4 * u)), ("bias", (4 * u,))],
    "gru": lambda i, u: [("kernel", (i, 3 * u)), ("recurrent_kernel", (u, 3 * u)), ("bias", (2, 3 * u))],
}


def value(part: Part, role: str, salt: str = "") -> np.ndarray:
    """The values of a variable: they depend on the layer's place and role alone, and on `salt` for a second copy."""
    shape = dict(ROLES[part.kind](*part.sizes))[role]
    digest = hashlib.blake2b(f"{part.path}{role}{salt}".encode(), digest_size=8).digest()
    values = np.random.default_rng(int.from_bytes(digest, "little")).normal(size=shape) * 0.4
    return (np.abs(values) + 0.5 if role == "moving_variance" else values).astype("float32")


def _chain(ops: Ops, paths: Sequence[Path], x: Any) -> Any:
    for path in paths:
        x = ops(path, x)
    return x


def mlp(rng: random.Random) -> Network:
    count, size = rng.choice([2, 3, 5, 11, 12]), rng.choice([4, 7])
    parts = [Part(("in",), "dense", (5, size))]
    parts += [Part(("hidden", i), "dense", (size, size)) for i in range(count)]
    parts.append(Part(("out",), "dense", (size, 3)))
    return Network("mlp", tuple(parts), ((5,),), lambda ops, xs: [_chain(ops, [p.path for p in parts], xs[0])])


def residual(rng: random.Random) -> Network:
    count, size = rng.choice([2, 3, 11]), 4
    parts = [Part(("stem", "conv"), "conv", (3, 3, size)), Part(("stem", "norm"), "bn", (size,))]
    for i in range(count):
        for step in ("first", "second"):
            parts += [Part(("block", i, step, "conv"), "conv", (3, size, size)),
                      Part(("block", i, step, "norm"), "bn", (size,))]  # fmt: skip
    parts.append(Part(("head",), "dense", (size, 3)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x = _chain(ops, [("stem", "conv"), ("stem", "norm")], xs[0])
        for i in range(count):
            steps = [("block", i, step, kind) for step in ("first", "second") for kind in ("conv", "norm")]
            x = ops.add([x, _chain(ops, steps, x)])
        return [ops(("head",), ops.pool(x))]

    return Network("residual", tuple(parts), ((6, 6, 3),), wire)


def _attention(ops: Ops, block: Path, x: Any, memory: Any) -> Any:
    q, k, v = ops((*block, "query"), x), ops((*block, "key"), memory), ops((*block, "value"), memory)
    return ops((*block, "output"), ops.attend(q, k, v))


def _attention_parts(block: Path, size: int) -> list[Part]:
    return [Part((*block, role), "dense", (size, size)) for role in ("query", "key", "value", "output")]


def _feed_forward(block: Path, size: int) -> list[Part]:
    return [Part((*block, "norm"), "ln", (size,)), Part((*block, "expand"), "dense", (size, 2 * size)),
            Part((*block, "contract"), "dense", (2 * size, size))]  # fmt: skip


def encoder(rng: random.Random) -> Network:
    count, size = rng.choice([1, 2, 3, 11]), 4
    parts = [Part(("embed",), "dense", (5, size))]
    for i in range(count):
        attention: Path = ("block", i, "attention")
        parts += [Part((*attention, "norm"), "ln", (size,)), *_attention_parts(attention, size)]
        parts += _feed_forward(("block", i, "mlp"), size)
    parts += [Part(("final", "norm"), "ln", (size,)), Part(("head",), "dense", (size, 3))]

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x = ops(("embed",), xs[0])
        for i in range(count):
            y = ops(("block", i, "attention", "norm"), x)
            x = ops.add([x, _attention(ops, ("block", i, "attention"), y, y)])
            x = ops.add([x, _chain(ops, [("block", i, "mlp", step) for step in ("norm", "expand", "contract")], x)])
        return [_chain(ops, [("final", "norm"), ("head",)], x)]

    return Network("encoder", tuple(parts), ((6, 5),), wire)


def decoder(rng: random.Random) -> Network:
    count, size = rng.choice([1, 2, 3]), 4
    parts = [Part(("memory",), "dense", (5, size)), Part(("embed",), "dense", (7, size))]
    for i in range(count):
        for kind in ("self", "cross"):
            parts += [Part(("layer", i, kind, "norm"), "ln", (size,)), *_attention_parts(("layer", i, kind), size)]
        parts += _feed_forward(("layer", i, "mlp"), size)
    parts.append(Part(("head",), "dense", (size, 3)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        memory, x = ops(("memory",), xs[0]), ops(("embed",), xs[1])
        for i in range(count):
            y = ops(("layer", i, "self", "norm"), x)
            x = ops.add([x, _attention(ops, ("layer", i, "self"), y, y)])
            y = ops(("layer", i, "cross", "norm"), x)
            x = ops.add([x, _attention(ops, ("layer", i, "cross"), y, memory)])
            x = ops.add([x, _chain(ops, [("layer", i, "mlp", step) for step in ("norm", "expand", "contract")], x)])
        return [ops(("head",), x)]

    return Network("decoder", tuple(parts), ((6, 5), (6, 7)), wire)


def towers(rng: random.Random) -> Network:
    count, size = rng.choice([1, 2, 3]), 4
    names = rng.choice([("query", "passage"), ("customer", "product"), ("left", "right"), ("image", "text", "sound")])
    parts = [Part((name, "fc", i), "dense", (size, size)) for name in names for i in range(count)]
    parts.append(Part(("merge",), "dense", (size * len(names), 3)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        ends = [_chain(ops, [(name, "fc", i) for i in range(count)], x) for name, x in zip(names, xs, strict=True)]
        return [ops(("merge",), ops.join(ends))]

    return Network("towers", tuple(parts), ((size,),) * len(names), wire)


def experts(rng: random.Random) -> Network:
    count, size = rng.choice([3, 4, 11]), 5
    parts = [Part(("gate",), "dense", (size, count))]
    for i in range(count):
        parts += [Part(("expert", i, "up"), "dense", (size, 6)), Part(("expert", i, "down"), "dense", (6, size))]
    parts.append(Part(("final",), "dense", (size, 3)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        gate = ops(("gate",), xs[0])
        made = [_chain(ops, [("expert", i, "up"), ("expert", i, "down")], xs[0]) for i in range(count)]
        return [ops(("final",), ops.add(made)), gate]

    return Network("experts", tuple(parts), ((size,),), wire)


def heads(rng: random.Random) -> Network:
    size = 4
    names = rng.choice([("age", "height", "income"), ("policy", "value"), ("mean", "variance"), ("start", "end"),
                        ("boxes", "classes", "masks")])  # fmt: skip
    parts = [Part(("trunk", i), "dense", (size, size)) for i in range(2)]
    parts += [Part((name, "head"), "dense", (size, 3)) for name in names]

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x = _chain(ops, [("trunk", 0), ("trunk", 1)], xs[0])
        return [ops((name, "head"), x) for name in names]

    return Network("heads", tuple(parts), ((size,),), wire)


def ensemble(rng: random.Random) -> Network:
    count, depth, size = rng.choice([2, 3, 5]), rng.choice([1, 2]), 4
    parts = [Part(("member", i, "fc", j), "dense", (size, size)) for i in range(count) for j in range(depth)]

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        ends = [_chain(ops, [("member", i, "fc", j) for j in range(depth)], xs[0]) for i in range(count)]
        return [ops.add(ends)]

    return Network("ensemble", tuple(parts), ((size,),), wire)


def recurrent(rng: random.Random) -> Network:
    kind, size, count = rng.choice(["lstm", "gru"]), 4, rng.choice([1, 2, 3])
    parts = [Part((side, "rnn", i), kind, (size, size)) for side in ("encoder", "decoder") for i in range(count)]
    parts.append(Part(("logits",), "dense", (size, 3)))
    paths = [part.path for part in parts]
    return Network("recurrent", tuple(parts), ((5, size),), lambda ops, xs: [_chain(ops, paths, xs[0])])


def u_net(rng: random.Random) -> Network:
    depth, size = rng.choice([2, 3, 4]), 4
    parts = [Part(("entry", "conv"), "conv", (3, 3, size))]
    parts += [Part(("down", i, "conv"), "conv", (3, size, size)) for i in range(depth)]
    parts.append(Part(("middle", "conv"), "conv", (3, size, size)))
    parts += [Part(("up", i, "conv"), "conv", (3, 2 * size, size)) for i in range(depth)]
    parts.append(Part(("exit", "conv"), "conv", (1, size, 2)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x, skips = ops(("entry", "conv"), xs[0]), []
        for i in range(depth):
            x = ops(("down", i, "conv"), x)
            skips.append(x)
        x = ops(("middle", "conv"), x)
        for i in range(depth):
            x = ops(("up", i, "conv"), ops.join([x, skips.pop()]))
        return [ops(("exit", "conv"), x)]

    return Network("u_net", tuple(parts), ((6, 6, 3),), wire)


def adversaries(rng: random.Random) -> Network:
    count, size = rng.choice([2, 3]), 5
    parts = [Part(("generator", "fc", i), "dense", (size, size)) for i in range(count)]
    parts += [Part(("discriminator", "fc", i), "dense", (size, size)) for i in range(count)]
    parts.append(Part(("discriminator", "score"), "dense", (size, 1)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        fake = _chain(ops, [("generator", "fc", i) for i in range(count)], xs[0])
        x = _chain(ops, [("discriminator", "fc", i) for i in range(count)], fake)
        return [fake, ops(("discriminator", "score"), x)]

    return Network("adversaries", tuple(parts), ((size,),), wire)


def siamese(rng: random.Random) -> Network:
    """One encoder on two inputs."""
    count, size = rng.choice([2, 3]), 5
    parts = [Part(("encoder", i), "dense", (size, size)) for i in range(count)]
    parts.append(Part(("compare",), "dense", (2 * size, 1)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        ends = [_chain(ops, [("encoder", i) for i in range(count)], x) for x in xs]
        return [ops(("compare",), ops.join(ends))]

    return Network("siamese", tuple(parts), ((size,), (size,)), wire)


def branches(rng: random.Random) -> Network:
    """Blocks of parallel convolutions of equal shapes."""
    count, size = rng.choice([1, 2, 3]), 4
    parts = [Part(("stem",), "conv", (3, 3, size))]
    for i in range(count):
        parts += [Part(("mixed", i, "short", "conv"), "conv", (1, size, size)),
                  Part(("mixed", i, "long", "reduce"), "conv", (1, size, size)),
                  Part(("mixed", i, "long", "conv"), "conv", (3, size, size)),
                  Part(("mixed", i, "join"), "conv", (1, 2 * size, size))]  # fmt: skip
    parts.append(Part(("classes",), "dense", (size, 3)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x = ops(("stem",), xs[0])
        for i in range(count):
            short = ops(("mixed", i, "short", "conv"), x)
            long = _chain(ops, [("mixed", i, "long", "reduce"), ("mixed", i, "long", "conv")], x)
            x = ops(("mixed", i, "join"), ops.join([short, long]))
        return [ops(("classes",), ops.pool(x))]

    return Network("branches", tuple(parts), ((6, 6, 3),), wire)


def twins(rng: random.Random) -> Network:
    """Actor and critic, or two critics: equal but for words, and the last layer of the former."""
    names = rng.choice([("actor", "critic"), ("critic_a", "critic_b")])
    count, size = rng.choice([1, 2]), 5
    parts = []
    for name in names:
        parts += [Part((name, "fc", i), "dense", (size, size)) for i in range(count)]
        parts.append(Part((name, "end"), "dense", (size, 2 if name == "actor" else 1)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        return [_chain(ops, [*((name, "fc", i) for i in range(count)), (name, "end")], xs[0]) for name in names]

    return Network("twins", tuple(parts), ((size,),), wire)


FAMILIES = (mlp, residual, encoder, decoder, towers, experts, heads, ensemble, recurrent, u_net, adversaries, siamese,
            branches, twins)  # fmt: skip


def without(network: Network, removed: Path) -> Network:
    """The network with one layer bypassed; its inputs and outputs must have equal sizes."""

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        return network.wire(_Bypassing(ops, removed), xs)

    return replace(network, parts=tuple(p for p in network.parts if p.path != removed), wire=wire)


class _Bypassing:
    def __init__(self, ops: Ops, removed: Path) -> None:
        self._ops, self._removed = ops, removed

    def __call__(self, path: Path, x: Any) -> Any:
        return x if path == self._removed else self._ops(path, x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)


def bypassable(network: Network) -> list[Path]:
    """Layers that may be left out without changing the shape of anything."""
    return [part.path for part in network.parts
            if part.kind in ("dense", "conv", "lstm", "gru") and part.sizes[-1] == part.sizes[-2]]  # fmt: skip
