"""Walks the value of a pickle: every tensor with the path that leads to it, what else lies beside, and what is not known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.torch import arrays
from ckptkit.formats.torch.known import is_known
from ckptkit.formats.torch.names import CONSTANTS, LISTS, NAMED, RECORDS
from ckptkit.formats.torch.pickles import Call, Global, List, Persistent, Value
from ckptkit.formats.torch.rebuild import MalformedError, Persist, Tensor, mapping, read_tensor

# As in other formats: the most names, and what they may take together. A dictionary that stands at many places is walked
# at each of them, so that a few opcodes can mean any number of visits.
MAX_TENSORS = 250_000
MAX_NAMES_BYTES = 64 << 20
MAX_VISITS = 3_000_000
MAX_DEPTH = 64
# Plain values beside the tensors; further ones are not kept.
MAX_PLAIN = 100_000

_LONGEST_NAME = 4096
_MOST_WANTED = 1000

# What a pickled `torch.nn.Module` keeps its own things in (torch/nn/modules/module.py); its `state_dict` leaves them out.
_OF_MODULES = ("_parameters", "_buffers", "_modules")
# The same tensors once more (torch/nn/modules/rnn.py).
_AGAIN = ("_flat_weights", "_all_weights")

Plain = bool | int | float | str | None
Path = tuple[str, ...]


@dataclass(slots=True)
class Found:
    """What a walk found.

    Attributes:
        tensors: by path, in order.
        modules: path of a dictionary with `_metadata` -> the paths of modules that it lists, in order.
        plain: numbers, texts and lists of numbers, by path.
        records: name of what is shown and not made -> path where the first one lies.
        attributes: texts that the outermost dictionary has as attributes.
        wants: what the pickle would call or import and is not on the list, in the same way.
    """

    tensors: dict[Path, Tensor] = field(default_factory=dict)
    modules: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    plain: dict[Path, Plain | tuple[Plain, ...]] = field(default_factory=dict)
    records: dict[str, Path] = field(default_factory=dict)
    wants: dict[str, Path] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


def flatten(root: Value, names: Iterable[Global], persist: Persist, path: str) -> Found:
    """All that lies below `root`.

    Args:
        root: the value of a pickle.
        names: what the file's pickles would import; what of it lies where nothing looks is wanted all the same.
        persist: what the file makes of persistent ids.
        path: the file, for messages.

    Raises:
        FormatError: a tensor's record is none of PyTorch's, two tensors have one path, or a container holds itself.
        LimitError: too many tensors, names that are too long, or containers within containers without end.
    """
    found = _Walk(persist, path).walk(root)
    for name in names:
        if not is_known(name) and name.path not in found.wants and len(found.wants) < _MOST_WANTED:
            found.wants[name.path] = ()
    return found


class _Walk:
    def __init__(self, persist: Persist, path: str) -> None:
        self.found = Found()
        self._persist = persist
        self._path = path
        self._around: set[int] = set()
        self._tensors: dict[int, Tensor | None] = {}
        self._named = 0
        self._visits = 0

    def walk(self, root: Value) -> Found:
        # An iterator for each container around, so that wide ones take no memory; `around` are the containers themselves.
        pending, around = [iter(self._below((), root, False))], [id(root)]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                self._around.discard(around.pop())
                continue
            at, value, _ = entry
            self._spend(1)
            if id(value) in self._around:
                raise FormatError("a container in the pickle holds itself", path=self._path, key="/".join(at))
            if len(pending) > MAX_DEPTH:
                raise LimitError("the pickle's containers are too deep", path=self._path, expected=MAX_DEPTH)
            self._around.add(id(value))
            around.append(id(value))
            pending.append(iter(self._below(*entry)))
        return self.found

    def _spend(self, visits: int) -> None:
        self._visits += visits
        if self._visits > MAX_VISITS:
            raise LimitError("the pickle unfolds to too many values", path=self._path, expected=MAX_VISITS)

    def _keep(self, at: Path, value: Plain | tuple[Plain, ...]) -> None:
        if len(self.found.plain) < MAX_PLAIN:
            self.found.plain[at] = value

    def _below(self, at: Path, value: Value, inside: bool) -> Iterator[tuple[Path, Value, bool]]:
        """What is in a container, after noting what `value` itself is; `inside` of something that is not made."""
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            if not inside and not isinstance(value, bytes):
                self._keep(at, value)
            return
        tensor = self._tensor(at, value)
        if tensor is not None:
            self._add(at, tensor)
            return
        pairs = mapping(value)
        if pairs is not None:
            self._note_modules(at, pairs[1])
            yield from ((self._longer(at, key), item, inside) for key, item in pairs[0])
            return
        items = self._items(value)
        if items is not None:
            self._spend(len(items))
            if all(item is None or isinstance(item, (bool, int, float, str)) for item in items):
                if not inside:
                    self._keep(at, tuple(items))
                return
            yield from ((self._longer(at, number), item, inside) for number, item in enumerate(items))
            return
        yield from self._foreign(at, value, inside)

    def _tensor(self, at: Path, value: Value) -> Tensor | None:
        if id(value) not in self._tensors:
            try:
                self._tensors[id(value)] = read_tensor(value, self._persist)
            except MalformedError as error:
                raise FormatError(
                    "a tensor's record is not as PyTorch writes it", path=self._path, key="/".join(at)[:_LONGEST_NAME]
                ) from error
        return self._tensors[id(value)]

    def _add(self, at: Path, tensor: Tensor) -> None:
        if at in self.found.tensors:
            raise FormatError("two tensors have this name", path=self._path, key="/".join(at))
        self._named += sum(map(len, at))
        if len(self.found.tensors) >= MAX_TENSORS or self._named > MAX_NAMES_BYTES:
            raise LimitError("too many tensors, or too long names", path=self._path, expected=MAX_TENSORS)
        self.found.tensors[at] = tensor

    def _longer(self, at: Path, key: Value) -> Path:
        if isinstance(key, str):
            text = key
        elif key is None or isinstance(key, (bool, int, float)):
            text = str(key)
        elif isinstance(key, tuple) and all(isinstance(part, (bool, int, float, str)) for part in key):
            text = ", ".join(map(str, key))
        else:
            text = self._name_of(key)
        if len(text) > _LONGEST_NAME:
            raise LimitError("a name is too long", path=self._path, key=text, expected=_LONGEST_NAME, found=len(text))
        return (*at, text)

    def _note_modules(self, at: Path, attributes: Value) -> None:
        pairs = mapping(attributes)
        for name, value in pairs[0] if pairs else ():
            if not at and isinstance(name, str) and isinstance(value, str):
                self.found.attributes[name] = value
            listed = mapping(value) if name == "_metadata" else None
            if listed is not None:
                self._spend(len(listed[0]))
                self.found.modules[at] = tuple(key for key, _ in listed[0] if isinstance(key, str))

    @staticmethod
    def _items(value: Value) -> list[Value] | tuple[Value, ...] | None:
        """The items of a list, a tuple or a set; None for anything else."""
        if isinstance(value, tuple):
            return value
        if isinstance(value, List):
            return value.items
        if isinstance(value, Call) and isinstance(value.of, Global) and value.of.path in LISTS and not value.pairs:
            given = value.args[0] if isinstance(value.args, tuple) and value.args else ()
            inner = given.items if isinstance(given, List) else given
            return (*inner, *value.items) if isinstance(inner, tuple | list) else None
        return None

    def _foreign(self, at: Path, value: Value, inside: bool) -> Iterator[tuple[Path, Value, bool]]:
        """Note what is on the list as harmless and what is not, and look inside for tensors, which are only shown."""
        if isinstance(value, Global):
            if value.path not in (CONSTANTS | NAMED):
                self._note(self.found.wants, value.path, at)
            return
        if arrays.is_array(value):
            self._note(self.found.records, "numpy.ndarray", at)
            return
        number = arrays.read_scalar(value)
        if number is not None:
            if not inside and not isinstance(number, complex):
                self._keep(at, number)
            return
        if arrays.bytes_of(value) is not None:
            return
        name = self._name_of(value)
        harmless = isinstance(value, Call) and isinstance(value.of, Global) and value.of.path in RECORDS
        self._note(self.found.records if harmless else self.found.wants, name, at)
        if isinstance(value, Call):
            if not isinstance(value.of, Global):
                yield at, value.of, True
            yield from self._inside(at, value)

    def _inside(self, at: Path, value: Call) -> Iterator[tuple[Path, Value, bool]]:
        state = mapping(value.state) if value.state is not None else None
        if state is not None:
            is_module = {key for key, _ in state[0] if isinstance(key, str)} >= set(_OF_MODULES)
            for key, item in state[0]:
                held = mapping(item) if is_module and key in _OF_MODULES else None
                if held is not None:
                    yield from ((self._longer(at, name), each, True) for name, each in held[0])
                elif not is_module or key not in _AGAIN:
                    yield self._longer(at, key), item, True
        elif value.state is not None:
            yield self._longer(at, "state"), value.state, True
        for number, item in enumerate(value.args if isinstance(value.args, tuple) else (value.args,)):
            yield self._longer(at, number), item, True
        yield from ((self._longer(at, key), item, True) for key, item in value.pairs)
        yield from ((self._longer(at, number), item, True) for number, item in enumerate(value.items))

    def _note(self, found: dict[str, Path], name: str, at: Path) -> None:
        if name not in found and len(found) < _MOST_WANTED:
            found[name] = at

    @staticmethod
    def _name_of(value: Value) -> str:
        of = value.of if isinstance(value, Call) else value
        if isinstance(of, Persistent) and isinstance(of.id, tuple) and len(of.id) > 1 and isinstance(of.id[1], Global):
            of = of.id[1]  # ("module", class, file, source): a module with its source, in old streams
        elif isinstance(of, Persistent):
            return "a persistent object"
        return of.path[:_LONGEST_NAME] if isinstance(of, Global) else "an object of a computed class"
