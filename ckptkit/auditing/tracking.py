"""Which variables come into being, where in the user's code, and by what call.

`tf.variable_creator_scope` sees every `tf.Variable` that Keras 3, tf_keras, Sonnet or plain TensorFlow makes, while the
user's file and line are still on the stack. Functions compiled by `tf.function` make their variables past that scope,
therefore models are run with `tf.config.run_functions_eagerly`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptkit.frameworks import framework_of, require_tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType, TracebackType

# Variables that the machinery of a framework keeps for itself; nobody means them to be weights.
_OPTIMIZERS = frozenset({"Optimizer", "_BaseOptimizer", "OptimizerV2"})
_SERVICE_CLASSES = _OPTIMIZERS | {"Metric", "SeedGenerator", "Generator"}
_SERVICE_MODULES = ("keras.", "tf_keras.", "tensorflow.")

_BY_NAME = ("add_weight", "add_variable", "get_variable", "get_local_variable")
_GENERATED = "__autograph_generated_file"


@dataclass(frozen=True, slots=True, eq=False)
class Creation:
    """One variable that was made while somebody watched.

    Attributes:
        variable: the `tf.Variable`, kept alive so that its identity stays unique.
        created_at: `file:line` of the innermost frame of user code, or None when there is none.
        method: name of the user's function in that frame (`build`, `call`, `__init__`).
        made_by: what the user called there: `tf.Variable`, `add_weight`, `get_variable`, or the class of a layer.
        service: an optimizer, metric or random generator made it for its own use.
    """

    variable: Any
    created_at: str | None
    method: str | None
    made_by: str
    service: bool


class Recorder:
    """Context manager that collects the variables made inside it, in order, in `creations`; may be entered again.

    Two things are watched besides. While Keras 3 builds a model symbolically it makes its own variables at once and
    their `tf.Variable`s later, when the user's frame has gone. And where the framework itself calls a layer for the
    first time, the place in the user's code is that where the layer was made.

    Attributes:
        creations: what was made so far.
        eager: run the bodies of `tf.function`s as plain Python from the next entry on.
    """

    def __init__(self) -> None:
        self.eager = True
        self.creations: list[Creation] = []
        self._stack = ExitStack()
        self._known: dict[int, _Origin] = {}
        self._homes: dict[int, _Origin] = {}
        self._kept: list[Any] = []  # alive, or a new object could take the identity of an old one

    def __enter__(self) -> Recorder:
        tf = require_tensorflow()
        if self.eager:
            self._stack.enter_context(eager_functions())
        self._stack.enter_context(tf.variable_creator_scope(self._create))
        keras, tf_keras = sys.modules.get("keras"), sys.modules.get("tf_keras")
        bases = [tf.Module, *(module.layers.Layer for module in (keras, tf_keras) if module is not None)]
        for base in bases:
            self._stack.enter_context(watched(base, self._note_home))
        if keras is not None:
            self._stack.enter_context(watched(keras.Variable, self._note_variable))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _create(self, next_creator: Any, **arguments: Any) -> Any:
        variable = next_creator(**arguments)
        origin = _origin(sys._getframe(1), self._homes, self._known)
        self.creations.append(Creation(variable, *origin))
        return variable

    def _note_variable(self, keras_variable: Any) -> None:
        self._kept.append(keras_variable)
        self._known[id(keras_variable)] = _origin(sys._getframe(2), self._homes, {})

    def _note_home(self, layer: Any) -> None:
        if id(layer) not in self._homes:  # a class and its base may both call the watched `__init__`
            self._kept.append(layer)
            self._homes[id(layer)] = _origin(sys._getframe(2), {}, {})


def origin_of(frame: FrameType | None, homes: Mapping[int, _Origin]) -> _Origin:
    """Where what is being made at `frame` comes from, for a recorder of other variables."""
    return _origin(frame, homes, {})


class _Origin(NamedTuple):
    created_at: str | None
    method: str | None
    made_by: str
    service: bool


@contextmanager
def watched(kind: Any, note: Callable[[Any], None]) -> Iterator[None]:
    """Call `note` with every new instance of `kind`, before its own `__init__` runs."""
    own = vars(kind).get("__init__")
    original = kind.__init__

    def noted(self: Any, *arguments: Any, **options: Any) -> None:
        note(self)
        original(self, *arguments, **options)

    kind.__init__ = noted
    try:
        yield
    finally:
        if own is None:
            del kind.__init__
        else:
            kind.__init__ = own


@contextmanager
def eager_functions() -> Iterator[None]:
    """Run the bodies of `tf.function`s as plain Python, so that what they make is seen."""
    tf = require_tensorflow()
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _origin(frame: FrameType | None, homes: Mapping[int, _Origin], known: Mapping[int, _Origin]) -> _Origin:
    """The innermost place in user code on the stack from `frame` on.

    Args:
        frame: where to begin.
        homes: `id` of a layer -> where it was made; the answer where no user code is on the stack.
        known: `id` of a Keras 3 variable -> where it was made, which its own frames lead to.
    """
    between: list[FrameType] = []
    service = False
    home: _Origin | None = None
    while frame is not None and not _is_ours(frame):
        owner = frame.f_locals.get("self")
        if id(owner) in known:
            return known[id(owner)]
        service = service or _descends(type(owner), _SERVICE_CLASSES)
        home = home or homes.get(id(owner))
        place = _user_place(frame)
        if place is not None:
            return _Origin(place, frame.f_code.co_name.removeprefix("tf__"), _maker(between), service)
        between.append(frame)
        frame = frame.f_back
    if home is not None:
        return home._replace(made_by=_maker(between, innermost=True), service=service)
    return _Origin(None, None, _maker(between), service)


def is_optimizer(thing: object) -> bool:
    """Whether a thing is an optimizer of either Keras."""
    return _descends(type(thing), _OPTIMIZERS)


def _descends(kind: type, names: frozenset[str]) -> bool:
    return any(base.__name__ in names and base.__module__.startswith(_SERVICE_MODULES) for base in kind.__mro__)


def _is_ours(frame: FrameType) -> bool:
    """Whether the frame is the audit's own: what called the audit did not make the variable."""
    return frame.f_globals.get("__name__", "").startswith("ckptkit.") and frame.f_globals is not globals()


def _maker(frames: list[FrameType], *, innermost: bool = False) -> str:
    """What the user called, told from the framework's frames between the user's line and the variable.

    Args:
        frames: those frames, the innermost first.
        innermost: prefer the layer nearest to the variable rather than what stands nearest to the user.
    """
    for frame in frames if innermost else reversed(frames):
        if frame.f_code.co_name in _BY_NAME and not innermost:
            return frame.f_code.co_name
        owner = frame.f_locals.get("self")
        if framework_of(owner) is not None and in_framework(type(owner)) and frame.f_code.co_name != "__setattr__":
            return type(owner).__name__
        if type(owner).__module__.startswith("keras.") and type(owner).__name__.endswith("Variable") and not innermost:
            return "keras.Variable"
    return "tf.Variable"


def _user_place(frame: FrameType) -> str | None:
    filename, line = frame.f_code.co_filename, frame.f_lineno
    if _GENERATED in filename:
        filename, line = _before_autograph(frame)
    if not filename or not is_user_file(filename):
        return None
    return f"{_shorten(filename)}:{line}"


def _before_autograph(frame: FrameType) -> tuple[str, int]:
    """Where the code that AutoGraph rewrote stands in the user's file; ("", 0) when its map is not to be found.

    The converted function, which carries the map, is a local of AutoGraph's `converted_call` a few frames further out.
    """
    outer: FrameType | None = frame.f_back
    while outer is not None:
        mapping = getattr(outer.f_locals.get("converted_f"), "ag_source_map", None)
        if mapping:
            for generated, origin in mapping.items():
                same_file = Path(generated.filename).name == Path(frame.f_code.co_filename).name
                if generated.lineno == frame.f_lineno and same_file:
                    return origin.loc.filename, origin.loc.lineno
        outer = outer.f_back
    return "", 0


def _shorten(filename: str) -> str:
    """The path as seen from the current folder when it lies below it, else in full."""
    try:
        return os.fspath(Path(filename).relative_to(Path.cwd()))
    except ValueError:
        return filename


def in_framework(kind: type) -> bool:
    """Whether a class is a framework's own rather than the user's subclass of it."""
    module = sys.modules.get(kind.__module__)
    filename = getattr(module, "__file__", None)
    return kind.__module__ == "builtins" or (filename is not None and not is_user_file(filename))


def is_user_file(filename: str) -> bool:
    """Whether a source file is the user's: not of a framework, of Python itself, or of ckptkit."""
    return _is_user_file(filename, tuple(name for name in _FRAMEWORKS if name in sys.modules))


_FRAMEWORKS = (
    "tensorflow",
    "keras",
    "tf_keras",
    "sonnet",
    "torch",
    "jax",
    "flax",
    "tree",
    "optree",
    "wrapt",
    "decorator",
    "ckptkit",
)


@lru_cache(maxsize=4096)
def _is_user_file(filename: str, loaded: tuple[str, ...]) -> bool:
    if filename.startswith("<"):  # a frozen module or generated code; `<stdin>` and notebooks are people's
        return filename in ("<stdin>", "<string>") or filename.startswith("<ipython")
    path = os.path.realpath(filename)
    if any(path.startswith(folder) for folder in _folders(loaded)):
        return False
    return "site-packages" in path or not path.startswith(os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep)


@lru_cache(maxsize=32)
def _folders(loaded: tuple[str, ...]) -> tuple[str, ...]:
    paths = [path for name in loaded for path in getattr(sys.modules[name], "__path__", ())]
    return tuple(os.path.realpath(path) + os.sep for path in paths)
