"""`REF` of the command line: `path/to/file.py:callable` or `package.module:callable`.

The one place where code of the user is imported and run: the user typed its name for that purpose. Nothing else that
ckptkit reads, such as a configuration in a checkpoint, ever names code that is run.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import ModelError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FORMS = "path/to/file.py:callable or package.module:callable"


def load_reference(reference: str) -> object:
    """Import what `reference` names, and call it.

    Args:
        reference: `file.py:callable` or `package.module:callable`; dots in `callable` reach into classes.

    Returns:
        What the callable returned.

    Raises:
        UsageError: the reference does not parse, names nothing, or names what cannot be called without arguments.
        ModelError: the user's code raised; its exception is the `__cause__`.
    """
    return call_factory(load_callable(reference), reference)


def load_callable(reference: str) -> Callable[[], object]:
    """Import what `reference` names, without calling it.

    Raises:
        UsageError: see `load_reference`.
        ModelError: importing the user's code raised.
    """
    place, colon, attribute = reference.rpartition(":")
    if not colon or not place or not attribute:
        raise UsageError("not a reference to a model", key=reference, expected=_FORMS)
    load_triton()
    if place.endswith(".py") or os.sep in place:
        module = _import_file(Path(place), reference)
    else:
        module = _import_module(place, reference)
    target = _find(module, attribute, reference)
    if not callable(target):
        raise UsageError(
            "does not name a callable", key=reference, expected="a function or class", found=type(target).__name__
        )
    _check_arguments(target, reference)
    return target  # type: ignore[no-any-return]


def call_factory(factory: Callable[[], object], reference: str) -> object:
    """Call `factory`, the callable that `reference` names.

    Raises:
        ModelError: it raised, or returned None.
    """
    with user_code(f"{reference} failed"):
        made = factory()
    if made is None:
        raise ModelError("returned None", key=reference, expected="a model, layer or module")
    return made


@contextmanager
def user_code(problem: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a `ModelError` that names it in one line.

    `SystemExit` is among it: a script that calls `sys.exit` on import must not end ckptkit with its own code.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelError(f"{problem}: {describe(error)}") from error


def describe(error: BaseException | None) -> str:
    """Class and first telling line of an exception, for a one-line message.

    Keras puts a line that only names the layer before the message, and colours some of it.
    """
    if error is None:
        return "unknown error"
    lines = [_COLOUR.sub("", line).strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    message = next(iter(telling or filter(None, lines)), "")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def load_triton() -> None:
    """Load Triton, which PyTorch's builds for GPUs bring, so that TensorFlow in the same process does not break it.

    TensorFlow's wheels since 2.20 put their LLVM among the symbols of the whole process, and Triton's since 3.7 take it
    for their own: PyTorch, which imports Triton when an optimizer is made or something is compiled, then ends in a
    segmentation fault (github.com/tensorflow/tensorflow/issues/124205). Triton first is safe, and so is Triton that
    prefers its own symbols. Nothing is done where one of the three is not installed.
    """
    if "triton" in sys.modules or not all(map(_installed, ("torch", "triton", "tensorflow"))):
        return
    own_first = getattr(os, "RTLD_DEEPBIND", 0) if "tensorflow" in sys.modules else 0
    flags = sys.getdlopenflags() if own_first else 0
    try:
        if own_first:
            sys.setdlopenflags(flags | own_first)
        importlib.import_module("triton")
    except (ImportError, OSError):  # PyTorch does without a Triton that cannot be loaded
        return
    finally:
        if own_first:
            sys.setdlopenflags(flags)


def _installed(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _import_file(path: Path, reference: str) -> ModuleType:
    if not path.is_file():
        raise NotFoundError("no such Python file", path=path, hint=f"A reference reads {_FORMS}.")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise UsageError("not a Python file", path=path, expected=_FORMS)
    module = importlib.util.module_from_spec(specification)
    shadowed = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses and pickling look their module up by name while the file runs
    with _searched(path.resolve().parent):
        try:
            with user_code(f"{reference} cannot be imported"):
                specification.loader.exec_module(module)
        except ModelError:
            del sys.modules[path.stem]
            raise
        finally:
            if shadowed is not None:
                sys.modules[path.stem] = shadowed
    return module


def _import_module(name: str, reference: str) -> ModuleType:
    # Modules are looked for where `python -m` would: in the current folder too, because the user named one.
    with _searched(Path.cwd()), user_code(f"{reference} cannot be imported"):
        return importlib.import_module(name)


@contextmanager
def _searched(folder: Path) -> Iterator[None]:
    """Put `folder` first on `sys.path` for as long as the user's file is loaded."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _find(module: ModuleType, attribute: str, reference: str) -> Any:
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            import difflib

            near = difflib.get_close_matches(part, [name for name in dir(target) if not name.startswith("_")], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else None
            raise NotFoundError(f"has no {part!r}", key=reference, hint=hint)
        target = getattr(target, part)
    return target


def _check_arguments(target: Callable[..., object], reference: str) -> None:
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # builtins without one: calling them will tell
        return
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in signature.parameters.values() if p.kind in kinds and p.default is p.empty]
    if needed:
        raise UsageError(
            "takes arguments",
            key=reference,
            expected="a callable without required arguments",
            found=", ".join(needed),
            hint="Name a function that passes them.",
        )
