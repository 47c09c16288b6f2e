"""What one object holds: attributes, items, closures, defaults, globals, caches.

A link through a public attribute costs least, and one through a framework's own bookkeeping most.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import sys
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from ckptkit.auditing.tracking import in_framework, is_optimizer, is_user_file
from ckptkit.frameworks import framework_of, keras_elsewhere, require_tensorflow

Link = Literal[
    "attribute", "class attribute", "object", "list", "tuple", "dict", "set", "deque", "closure", "default", "global",
    "partial", "cache", "generator", "weakref", "iterator",
]  # fmt: skip

BOOKKEEPING = 1000
_PUBLIC, _PRIVATE = 1, 2

_CODE = (types.FunctionType, property, functools.cached_property)


class Hop(NamedTuple):
    """One link of a path: how the next object is held, by which word, and of what framework the holder is."""

    link: Link
    text: str
    framework: str | None


def bookkeeping_names() -> frozenset[str]:
    """Names that a bare layer, model or module has of its own: measured on an instance of each, not listed."""
    return _bookkeeping_names(tuple(name for name in ("keras", "tf_keras") if name in sys.modules))


@functools.cache
def _bookkeeping_names(frameworks: tuple[str, ...]) -> frozenset[str]:
    """The instances get a name, so that the counters behind `dense`, `dense_1` … stay as they were."""
    things: list[Any] = []
    if not keras_elsewhere():
        module = require_tensorflow().Module()
        module.child = require_tensorflow().Module()  # only what holds another has all of its bookkeeping
        things.append(module)
    for name in frameworks:
        things += [sys.modules[name].layers.Layer(name="bare"), sys.modules[name].Model(name="bare")]
    found = {name for thing in things for name in vars(thing) if name.startswith("_")}
    return frozenset(found | {"_functional", "_operations"})  # Sequential and Functional make these later


def links_of(thing: Any, framework: str | None, bookkeeping: frozenset[str]) -> Iterator[tuple[int, Hop, Any]]:
    """What an object holds: (price, step, held object) of each link.

    Args:
        thing: any object.
        framework: that of the layer or model which it belongs to.
        bookkeeping: attribute names that layers and models have for themselves, from `bookkeeping_names`.
    """

    def edge(link: Link, text: str, child: Any, price: int = _PUBLIC) -> tuple[int, Hop, Any]:
        return price, Hop(link, text, framework), child

    if isinstance(thing, Mapping):
        yield from (edge("dict", f"[{key!r}]" if _plain(key) else "[…]", value) for key, value in list(thing.items()))
    elif isinstance(thing, tuple) and hasattr(thing, "_fields"):
        yield from (edge("tuple", f".{name}", value) for name, value in zip(thing._fields, thing, strict=False))
    elif isinstance(thing, (list, tuple)):
        link: Link = "list" if isinstance(thing, list) else "tuple"
        yield from (edge(link, f"[{index}]", value) for index, value in enumerate(thing))
    elif isinstance(thing, collections.deque):
        yield from (edge("deque", f"[{index}]", value) for index, value in enumerate(thing))
    elif isinstance(thing, (set, frozenset)):
        yield from (edge("set", "{…}", value) for value in list(thing))
    if isinstance(thing, weakref.ReferenceType):
        yield edge("weakref", "()", thing())
    elif isinstance(thing, functools.partial):
        yield edge("partial", ".func", thing.func)
        yield from (edge("partial", f".args[{index}]", value) for index, value in enumerate(thing.args))
        yield from (edge("partial", f".keywords[{key!r}]", value) for key, value in thing.keywords.items())
    elif isinstance(thing, functools._lru_cache_wrapper):
        yield edge("closure", ".__wrapped__", thing.__wrapped__)
        yield from (edge("cache", ".cache", value) for value in _cached(thing))
    elif isinstance(thing, types.GeneratorType):
        names = {} if thing.gi_frame is None else thing.gi_frame.f_locals
        yield from (edge("generator", f".{name}", value) for name, value in list(names.items()))
    elif isinstance(thing, types.MethodType):
        yield edge("attribute", ".__func__", thing.__func__)
        yield edge("attribute", ".__self__", thing.__self__)
    elif isinstance(thing, types.FunctionType):
        if is_user_file(thing.__code__.co_filename):
            yield from (edge(*found) for found in _of_function(thing))
    elif isinstance(thing, property):
        yield from (edge("attribute", "", part) for part in (thing.fget,) if part is not None)
    elif isinstance(thing, functools.cached_property):
        yield edge("attribute", "", thing.func)
    elif isinstance(thing, type):
        if not in_framework(thing):
            yield from (edge("attribute", "", base) for base in thing.__bases__)
            for name, value in _class_members(thing):
                yield edge("attribute" if isinstance(value, _CODE) else "class attribute", f".{name}", value)
    elif hasattr(type(thing), "__next__") and type(thing).__module__ in ("builtins", "itertools"):
        yield from (edge("iterator", "{…}", value) for value in gc.get_referents(thing))
    elif _walkable(thing):
        yield from _of_instance(thing, framework, bookkeeping)


def _of_instance(thing: Any, framework: str | None, bookkeeping: frozenset[str]) -> Iterator[tuple[int, Hop, Any]]:
    own = framework_of(thing)
    link: Link = "attribute" if own is not None else "object"
    if own in ("keras", "tf_keras"):
        layers = getattr(thing, "layers", ()) if in_framework(type(thing)) else ()
        for index, layer in enumerate(layers):  # a Functional or Sequential model: its users say `model.layers[2]`
            yield _PUBLIC, Hop("attribute", f".layers[{index}]", framework), layer
    for name, value in _members(thing):
        price = _PRIVATE if name.startswith("_") else _PUBLIC
        if own is not None and name in bookkeeping:
            price = BOOKKEEPING
        yield price, Hop(link, f".{_public(thing, name)}", framework), value
    if not in_framework(type(thing)):
        yield _PRIVATE, Hop("attribute", "", framework), type(thing)
    if hasattr(type(thing), "python_function"):  # a `tf.function`
        yield _PUBLIC, Hop("attribute", "", framework), thing.python_function


def _public(thing: Any, name: str) -> str:
    """`kernel` for `_kernel` where a property of that name gives the same object, as Keras's Dense has it."""
    stem = name.removeprefix("_")
    if stem != name and in_framework(type(thing)) and isinstance(getattr(type(thing), stem, None), property):
        return stem
    return name


def _members(thing: Any) -> list[tuple[str, Any]]:
    members = list(getattr(thing, "__dict__", {}).items())
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = kind.__dict__.get(name)
            if isinstance(descriptor, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # a slot that was never filled
                    members.append((name, descriptor.__get__(thing)))
    return members


def _class_members(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(kind).items()):
        if name not in ("__dict__", "__weakref__", "__doc__", "__module__"):
            yield name, value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def _of_function(function: types.FunctionType) -> Iterator[tuple[Link, str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not bound yet
            yield "closure", f".<closure>.{name}", cell.cell_contents
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    yield from (("default", ".<default>", value) for value in defaults)
    for name in _global_names(code):
        if name in function.__globals__:
            yield "global", f".<global>.{name}", function.__globals__[name]
    yield from (("attribute", f".{name}", value) for name, value in vars(function).items())


def _global_names(code: types.CodeType) -> Iterable[str]:
    """Names that the code and the functions defined inside it look up."""
    names: dict[str, None] = {}
    pending = [code]
    while pending:
        current = pending.pop()
        names.update(dict.fromkeys(current.co_names))
        pending.extend(constant for constant in current.co_consts if isinstance(constant, types.CodeType))
    return names


def _cached(function: Any) -> Iterator[Any]:
    """Values in a `functools.lru_cache`, which only the garbage collector's view of it shows.

    An unbounded cache has them in a dict; a bounded one is visited item by item.
    """
    for referent in gc.get_referents(function):
        if isinstance(referent, dict):
            yield from () if referent is vars(function) else list(referent.values())
        elif not isinstance(referent, (type, types.FunctionType)):
            yield referent


def is_proxy(thing: object) -> bool:
    """Whether a thing passes for another one: asking it anything runs code that may raise, so it is left alone.

    TensorFlow's own wrapped containers are proxies too, of a kind that can be asked.
    """
    kinds = type(thing).__mro__
    disguised = any("__class__" in vars(kind) for kind in kinds if kind is not object)
    return disguised and kinds[0].__module__.partition(".")[0] != "tensorflow"


def _walkable(thing: Any) -> bool:
    """Whether an object's own members can lead to a variable: not the runtime's graphs, tensors and nodes."""
    kind = type(thing)
    top = kind.__module__.partition(".")[0]
    if framework_of(thing) is not None or hasattr(kind, "python_function"):
        return True
    if is_optimizer(thing):
        return False  # what it has seen of other models does not belong to this one
    if top == "tensorflow":
        return kind.__name__ in ("ListWrapper", "_DictWrapper", "_TupleWrapper")
    if top in ("keras", "tf_keras"):
        return not kind.__name__.endswith(("Node", "KerasTensor", "KerasHistory", "Function", "Tracker"))
    return top not in ("numpy", "threading", "logging", "builtins", "_thread", "abc", "typing")


def _plain(key: object) -> bool:
    return isinstance(key, (str, int, float, bool)) and len(repr(key)) <= 60
