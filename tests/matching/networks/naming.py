"""How people name layers: words, their joints, and where they start to count."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from tests.matching.networks.families import Path

# What the same part is called by different people; a word that is missing keeps its name.
VOCABULARIES: tuple[dict[str, str], ...] = (
    {},
    {"query": "q", "key": "k", "value": "v", "output": "out", "attention": "attn", "expand": "fc1", "contract": "fc2",
     "hidden": "fc", "in": "input", "block": "layer", "norm": "ln", "expert": "experts", "member": "net"},
    {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj", "attention": "self_attn", "block": "blk",
     "expand": "up_proj", "contract": "down_proj", "hidden": "h", "out": "output", "head": "classifier", "rnn": "cell"},
    {"query": "wq", "key": "wk", "value": "wv", "output": "wo", "expand": "intermediate", "contract": "projection",
     "norm": "layer_norm", "fc": "dense", "conv": "convolution", "member": "model", "merge": "merged"},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Naming:
    """One person's habits.

    Attributes:
        vocabulary: index into `VOCABULARIES`.
        joint: what stands between words; "camel" for none and capitals.
        number: "glued" to the word before it, behind an "underscore", or a word of its own ("own").
        first: the number of the first of several.
        padded: whether numbers have leading zeros.
    """

    vocabulary: int
    joint: str
    number: str
    first: int
    padded: bool

    def words(self, path: Path) -> list[str]:
        """The words of a path, numbers where they belong."""
        out: list[str] = []
        for item in path:
            if isinstance(item, str):
                out.append(VOCABULARIES[self.vocabulary].get(item, item))
                continue
            number = f"{item + self.first:02}" if self.padded else str(item + self.first)
            if self.number == "own" or not out:
                out.append(number)
            else:
                out[-1] += number if self.number == "glued" else f"_{number}"
        return out

    def name(self, path: Path, joint: str | None = None) -> str:
        """The path as one name."""
        joint, words = joint or self.joint, self.words(path)
        if joint == "camel":
            capitals = ["".join(piece[:1].upper() + piece[1:] for piece in word.split("_")) for word in words]
            return capitals[0][:1].lower() + capitals[0][1:] + "".join(capitals[1:])
        return joint.join(words)

    def known(self) -> dict[str, Any]:
        return asdict(self)


def naming(rng: random.Random, joints: tuple[str, ...]) -> Naming:
    """Random habits with one of the joints that the container can hold."""
    return Naming(rng.randrange(len(VOCABULARIES)), rng.choice(joints), rng.choice(["glued", "underscore", "own"]),
                  rng.choice([0, 0, 1]), rng.random() < 0.15)  # fmt: skip


CREATION = ("call", "reversed", "by kind", "by role", "shuffled")


def created(rng: random.Random, paths: list[tuple[Path, str]], order: str) -> list[Path]:
    """Paths (with their kinds) in the order in which somebody makes the layers."""
    plain = [path for path, _ in paths]
    if order == "reversed":
        return plain[::-1]
    if order == "by kind":
        return [path for path, _ in sorted(paths, key=lambda item: item[1])]
    if order == "by role":
        return sorted(plain, key=lambda path: [str(item) for item in reversed(path) if isinstance(item, str)])
    if order == "shuffled":
        rng.shuffle(plain)
    return plain
