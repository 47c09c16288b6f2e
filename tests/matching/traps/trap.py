"""A trap: two files of one network or of nearly one, and the verdicts that are good enough."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from tests.matching.grading import write_case
from tests.matching.networks import keras_files, other_files
from tests.matching.networks.families import Network, Path
from tests.matching.networks.naming import Naming

RIGHT, SAFE, REFUSED = ("right",), ("right", "refused"), ("refused",)
PLAIN = Naming(0, "_", "underscore", 0, False)


@dataclass(frozen=True, slots=True)
class Writing:
    """How one file is written.

    Attributes:
        writer: `functional`, `subclass` (each by Keras 3, or with `old` by tf_keras), `graph`, `module` or `archive`.
        names: what a layer is called; None leaves names automatic.
        order: in which layers are made; None for the order of their calls.
        suffix: of the file.
        layout: of a subclass or a module.
        old: tf_keras instead of Keras 3.
        meta: whether a graph is saved with its `.meta`.
        copies: scopes of a graph's copies of the network, the first with its values.
    """

    writer: str = "functional"
    names: Callable[[Path], str] | None = PLAIN.name
    order: Callable[[list[Path]], list[Path]] | None = None
    suffix: str = ".weights.h5"
    layout: str = "flat"
    old: bool = False
    meta: bool = False
    copies: Sequence[str] = ("",)

    def write(self, network: Network, folder: File) -> File:
        """Write the network into a folder of its own."""
        folder.mkdir()
        order = [part.path for part in network.parts]
        order = self.order(order) if self.order else order
        file = folder / f"m{'.ckpt' if self.writer in ('graph', 'module') else self.suffix}"
        if self.writer == "graph":
            name = self.names or _automatic(network, order)
            other_files.graph(network, order, name, {}, file, meta=self.meta, copies=self.copies)
        elif self.writer == "module":
            other_files.modules(network, order, _words(self.names), self.layout, file, sonnet=True)
        elif self.writer == "archive":
            other_files.archive(network, order, self.names or _automatic(network, order), "/", file)
        else:
            self._keras(network, order, file)
        return file

    def _keras(self, network: Network, order: list[Path], file: File) -> None:
        import keras
        import tf_keras

        framework = tf_keras if self.old else keras
        framework.backend.clear_session()
        if self.writer == "functional":
            model = keras_files.functional(framework, network, order, self.names, 0)
        else:
            model = keras_files.subclass(framework, network, order, None, _words(self.names), self.layout)
        keras_files.save(model, file)


def _words(names: Callable[[Path], str] | None) -> Callable[[Path], list[str]]:
    """Attributes of a path: `names` makes one of each, else the words of the path one by one."""
    return (lambda path: names(path).split("/")) if names else PLAIN.words


def _automatic(network: Network, order: Sequence[Path]) -> Callable[[Path], str]:
    words = {"dense": "dense", "conv": "conv2d", "bn": "batch_normalization", "ln": "layer_normalization"}
    kinds, counts, names = {part.path: part.kind for part in network.parts}, dict.fromkeys(words, 0), {}
    for path in order:
        kind = kinds[path]
        names[path] = words[kind] + (f"_{counts[kind]}" if counts[kind] else "")
        counts[kind] += 1
    return names.__getitem__


@dataclass(frozen=True, slots=True)
class Trap:
    """One case.

    Attributes:
        name: unique within its module.
        source: network and writing of the source.
        target: the same of the target.
        expect: verdicts that are good enough.
        options: keywords of `ckptkit.plan`.
    """

    name: str
    source: tuple[Network, Writing]
    target: tuple[Network, Writing]
    expect: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


TRAPS: dict[str, Callable[[], Iterator[Trap]]] = {}


def traps(make: Callable[[], Iterator[Trap]]) -> Callable[[], Iterator[Trap]]:
    """Register a kind of trap by its function's name."""
    TRAPS[make.__name__] = make
    return make


def write_trap(trap: Trap, folder: File) -> None:
    """Write both files of a trap, and its description."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = [writing.write(network, folder / role).relative_to(folder).as_posix()
             for role, (network, writing) in (("source", trap.source), ("target", trap.target))]  # fmt: skip
    write_case(folder, files[0], files[1], files[1], options=dict(trap.options), expect=trap.expect)
