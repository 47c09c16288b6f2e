"""A pickle as data: what it would call is a name with arguments, and nothing is looked up, imported or called.

The stream is cut into opcodes by the standard library's `pickletools.genops`, which reads and does nothing else. Here
they are applied to a stack of plain nodes. What they mean is told by `rebuild`, from a closed list of names.

Source: https://docs.python.org/3/library/pickletools.html and the opcodes' own documentation in `pickletools`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ckptkit.errors import FormatError, LimitError, UnsupportedError

if TYPE_CHECKING:
    from ckptkit.formats.torch.feed import Feed

# An opcode makes at most one node of some 110 bytes: 3 million take about as much memory as the largest JSON text may. A
# tensor is written with some 30 of them.
MAX_OPCODES = 3_000_000
# Protocol 2 writes integers of up to 255 bytes in its short form; PyTorch's magic number has 10.
_MOST_BITS = 8 * 255

Value = Any
"""None, bool, int, float, str, bytes, a tuple of values, or one of the nodes below."""


@dataclass(frozen=True, slots=True)
class Global:
    """What an unpickler would import."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """`module.name`."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Dict:
    """A dictionary, as the pairs that were put in, in order."""

    pairs: list[tuple[Value, Value]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class List:
    """A list, or a set."""

    items: list[Value] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Call:
    """An object as it would be made.

    Attributes:
        of: what would be called, most often a `Global`.
        args: with what, most often a tuple.
        pairs: what would be set by key afterwards.
        items: what would be appended.
        state: what its `__setstate__` would get; None for nothing.
    """

    of: Value
    args: Value
    pairs: list[tuple[Value, Value]] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)
    state: Value = None


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """What lies outside of the pickle, by the id that the pickle has for it."""

    id: Value


def read_pickle(feed: Feed) -> Value:
    """The value of the pickle that begins where `feed` is; raises as `read_object`."""
    return read_object(feed).value


@dataclass(frozen=True, slots=True)
class Pickle:
    """A pickle, decoded.

    Attributes:
        value: what it stands for.
        persistent: whatever in it lies outside of it.
        names: everything that an unpickler would import on the way, whether it is still in the value or not.
    """

    value: Value
    persistent: list[Persistent]
    names: dict[Global, None]


def read_object(feed: Feed) -> Pickle:
    """The pickle that begins where `feed` is, which is behind it afterwards.

    Raises:
        FormatError: not a pickle, cut short, or opcodes that contradict each other.
        UnsupportedError: an opcode that PyTorch does not write.
        LimitError: too long, or of too many opcodes.
    """
    path = feed.storage.name
    machine = _Machine()
    handlers = _HANDLERS
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(feed):  # type: ignore[arg-type]  # it reads, and asks for no more
            count += 1
            if count > MAX_OPCODES:
                raise LimitError("the pickle has too many opcodes", path=path, expected=f"at most {MAX_OPCODES}")
            handler = handlers.get(opcode.name)
            if handler is None:
                raise UnsupportedError("a pickle with an opcode that is not read", path=path, found=opcode.name)
            handler(machine, argument)
    # Of an old text string with an odd escape Python warns, and where warnings are errors that is one.
    except (ValueError, DeprecationWarning, SyntaxWarning) as error:
        reason = str(error).partition("\n")[0][:120]
        raise FormatError(f"not a pickle that can be read ({reason})", path=path) from error
    except (IndexError, _WrongOrderError) as error:
        raise FormatError("the pickle's opcodes contradict each other", path=path) from error
    if len(machine.stack) != 1 or machine.marks:
        raise FormatError("the pickle ends with more or less than one value", path=path, found=len(machine.stack))
    return Pickle(machine.stack[0], machine.persistent, machine.names)


class _WrongOrderError(Exception):
    """An opcode where none of its kind can stand."""


class _Mark:
    __slots__ = ()


_MARK = _Mark()


class _Machine:
    """The stack and the memo of an unpickler."""

    def __init__(self) -> None:
        self.stack: list[Value] = []
        self.memo: dict[int, Value] = {}
        self.marks: list[int] = []
        self.persistent: list[Persistent] = []
        self.names: dict[Global, None] = {}

    def pop(self) -> Value:
        if self.marks and self.marks[-1] == len(self.stack) - 1:
            raise _WrongOrderError
        return self.stack.pop()

    def top(self) -> Value:
        if self.stack[-1] is _MARK:
            raise _WrongOrderError
        return self.stack[-1]

    def since_mark(self) -> list[Value]:
        at = self.marks.pop()
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def push_name(self, module: str, name: str) -> None:
        found = Global(module, name)
        self.names[found] = None
        self.stack.append(found)

    def remember(self, number: int) -> None:
        if number < 0:
            raise _WrongOrderError
        self.memo[number] = self.top()

    def recall(self, number: int) -> None:
        if number not in self.memo:
            raise _WrongOrderError
        self.stack.append(self.memo[number])


def _push(machine: _Machine, argument: Value) -> None:
    if isinstance(argument, int) and argument.bit_length() > _MOST_BITS:
        raise ValueError("an integer of too many digits")
    machine.stack.append(argument)


def _push_text(machine: _Machine, argument: str) -> None:
    """A byte string of Python 2, which is text where it can be; `genops` hands it over as Latin-1."""
    raw = argument.encode("latin-1")
    try:
        machine.stack.append(raw.decode())
    except UnicodeDecodeError:
        machine.stack.append(raw)


def _constant(make: Callable[[], Value]) -> Callable[[_Machine, Value], None]:
    return lambda machine, _: machine.stack.append(make())


def _forget(machine: _Machine, _: Value) -> None:
    machine.since_mark()


def _mark(machine: _Machine, _: Value) -> None:
    machine.marks.append(len(machine.stack))
    machine.stack.append(_MARK)


def _tuple_of(count: int) -> Callable[[_Machine, Value], None]:
    def make(machine: _Machine, _: Value) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return make


def _tuple(machine: _Machine, _: Value) -> None:
    items = tuple(machine.since_mark())
    machine.stack.append(items)


def _list(machine: _Machine, _: Value) -> None:
    items = machine.since_mark()
    machine.stack.append(List(items))


def _pairs(items: list[Value]) -> list[tuple[Value, Value]]:
    if len(items) % 2:
        raise _WrongOrderError
    return list(zip(items[::2], items[1::2], strict=True))


def _dict(machine: _Machine, _: Value) -> None:
    pairs = _pairs(machine.since_mark())
    machine.stack.append(Dict(pairs))


def _set_items(machine: _Machine, items: list[Value]) -> None:
    target = machine.top()
    if not isinstance(target, (Dict, Call)):
        raise _WrongOrderError
    target.pairs.extend(_pairs(items))


def _append(machine: _Machine, items: list[Value]) -> None:
    target = machine.top()
    if not isinstance(target, (List, Call)):
        raise _WrongOrderError
    target.items.extend(items)


def _setitem(machine: _Machine, _: Value) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push_name(module, name)


def _stack_global(machine: _Machine, _: Value) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise _WrongOrderError
    machine.push_name(module, name)


def _reduce(machine: _Machine, _: Value) -> None:
    args, of = machine.pop(), machine.pop()
    machine.stack.append(Call(of, args))


def _newobj_ex(machine: _Machine, _: Value) -> None:
    named, args, of = machine.pop(), machine.pop(), machine.pop()
    machine.stack.append(Call(of, (args, named)))


def _obj(machine: _Machine, _: Value) -> None:
    found = machine.since_mark()
    machine.stack.append(Call(found[0], tuple(found[1:])))


def _inst(machine: _Machine, argument: str) -> None:
    _global(machine, argument)
    of = machine.stack.pop()
    args = tuple(machine.since_mark())
    machine.stack.append(Call(of, args))


def _build(machine: _Machine, _: Value) -> None:
    state = machine.pop()
    target = machine.top()
    if not isinstance(target, Call) or target.state is not None:
        raise _WrongOrderError
    target.state = state


def _persistent(machine: _Machine, name: Value) -> None:
    found = Persistent(name)
    machine.persistent.append(found)
    machine.stack.append(found)


def _nothing(machine: _Machine, _: Value) -> None:
    """Protocol, frames, and the end."""


_HANDLERS: dict[str, Callable[[_Machine, Value], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
         "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        _push,
    ),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _push_text),
    "BYTEARRAY8": lambda machine, argument: machine.stack.append(bytes(argument)),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_TUPLE": _constant(tuple),
    "EMPTY_LIST": _constant(List),
    "EMPTY_SET": _constant(List),
    "EMPTY_DICT": _constant(Dict),
    "MARK": _mark,
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": _list,
    "FROZENSET": _list,
    "DICT": _dict,
    "SETITEM": _setitem,
    "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
    "APPEND": lambda machine, _: _append(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "ADDITEMS": lambda machine, _: _append(machine, machine.since_mark()),
    "PUT": lambda machine, number: machine.remember(number),
    "BINPUT": lambda machine, number: machine.remember(number),
    "LONG_BINPUT": lambda machine, number: machine.remember(number),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "GET": lambda machine, number: machine.recall(number),
    "BINGET": lambda machine, number: machine.recall(number),
    "LONG_BINGET": lambda machine, number: machine.recall(number),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": _forget,
    "DUP": lambda machine, _: machine.stack.append(machine.top()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _newobj_ex,
    "OBJ": _obj,
    "INST": _inst,
    "BUILD": _build,
    "PERSID": _persistent,
    "BINPERSID": lambda machine, _: _persistent(machine, machine.pop()),
}  # fmt: skip
