"""What a person hands over as a model of JAX: linen with its variables, an NNX module, Haiku with its trees, any function.

Each becomes a function over one tree. Nothing here imports a framework: an object of one exists only where it is loaded.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ckptkit.errors import ModelError
from ckptkit.trees.leaves import flatten, like, to_numpy

# What a call is told so that it runs as at inference, where its signature has such a word.
_INFERENCE: Mapping[str, bool] = {
    "train": False, "training": False, "is_training": False, "deterministic": True, "use_running_average": True,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FunctionalModel:
    """A model as a function over a tree.

    Attributes:
        title: what it is, for people.
        tree: its variables.
        apply: (tree, key of a random generator, inputs) -> outputs.
        loader: what restores a tree in the framework, in words.
        restore: puts a tree of equal structure into the framework's own; raises where it does not fit.
        watch: (tree, inputs, record) runs it layer by layer, eagerly, calling `record(name, kind, given, made)`; None where
            the framework offers no way.
        module: the NNX module, which can be filled in place; None for any other.
    """

    title: str
    tree: Any
    apply: Callable[[Any, Any, tuple[Any, ...]], Any]
    loader: str
    restore: Callable[[Any, Any], Any]
    watch: Callable[[Any, tuple[Any, ...], Callable[[str, str, Any, Any], None]], None] | None = None
    module: Any = None

    def save(self, path: str) -> str:
        """Write the tree as an `.npz` whose names are paths; halves go as float32, which holds them."""
        import numpy as np

        tree = flatten(self.tree)
        held = {}
        for name, leaf in zip(tree.names, tree.leaves, strict=True):
            value = to_numpy(leaf)
            held[name] = value if value.dtype.isbuiltin == 1 else value.astype(np.float32)
        np.savez(f"{path}.npz", **held)  # type: ignore[arg-type]
        return f"{path}.npz"

    def with_tree(self, tree: Any) -> FunctionalModel:
        """The same model over other values."""
        return replace(self, tree=tree)


def as_functional(thing: object) -> FunctionalModel | None:
    """A model of JAX as a function over its tree; None for what is none.

    Args:
        thing: `(linen module, variables)`, a bound linen module, an NNX module, `(hk.Transformed, params)`,
            `(hk.TransformedWithState, params, state)`, `(function of a tree and arrays, tree)`, or a function of arrays
            while JAX is loaded.

    Raises:
        ModelError: a module or a transformed function without its variables.
    """
    if isinstance(thing, FunctionalModel):
        return thing
    if "jax" not in sys.modules:
        return None
    nnx, linen = sys.modules.get("flax.nnx"), sys.modules.get("flax.linen")
    haiku = sys.modules.get("haiku")
    if nnx is not None and isinstance(thing, nnx.Module):
        return _of_nnx(nnx, thing)
    head, *rest = thing if isinstance(thing, tuple) and thing else (thing,)
    if haiku is not None and isinstance(thing, haiku.Transformed | haiku.TransformedWithState):
        head, rest = thing, []
    if linen is not None and isinstance(head, linen.Module):
        return _of_linen(linen, head, rest)
    if haiku is not None and isinstance(head, haiku.Transformed | haiku.TransformedWithState):
        return _of_haiku(haiku, head, rest)
    if isinstance(thing, tuple):
        return _of_function(head, rest[0]) if callable(head) and len(rest) == 1 else None
    return _of_function(head, None) if inspect.isroutine(head) or _is_jitted(head) else None


def _is_jitted(thing: object) -> bool:
    return callable(thing) and hasattr(thing, "lower") and hasattr(thing, "__wrapped__")


def _words_for(function: Any) -> dict[str, bool]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {word: value for word, value in _INFERENCE.items() if word in parameters}


def _same(_old: Any, new: Any) -> Any:
    return new


def _of_linen(linen: Any, module: Any, rest: list[Any]) -> FunctionalModel:
    if not rest and module.scope is not None:
        module, variables = module.unbind()
        rest = [variables]
    if len(rest) != 1 or not isinstance(rest[0], Mapping):
        raise ModelError(
            "a linen module without its variables", key=type(module).__name__, expected="(module, variables)",
            hint="Return the module together with what module.init gave.",
        )  # fmt: skip
    words = _words_for(type(module).__call__)
    errors = sys.modules["flax.errors"]

    def apply(tree: Any, key: Any, inputs: tuple[Any, ...]) -> Any:
        rngs = dict.fromkeys(("dropout", "params", "noise", "default"), key)
        try:
            return module.apply(tree, *inputs, rngs=rngs, mutable=False, **words)
        except errors.ModifyScopeVariableError:  # it keeps statistics even then; what it would keep is let go
            return module.apply(tree, *inputs, rngs=rngs, mutable=True, **words)[0]

    def watch(tree: Any, inputs: tuple[Any, ...], record: Callable[[str, str, Any, Any], None]) -> None:
        def interceptor(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
            made = run(*args, **kwargs)
            if context.method_name == "__call__" and "params" in context.module.variables:
                record("/".join(context.module.path), type(context.module).__name__, (args, kwargs), made)
            return made

        import jax

        with linen.intercept_methods(interceptor):
            apply(tree, jax.random.PRNGKey(0), inputs)

    def restore(old: Any, new: Any) -> Any:
        return sys.modules["flax.serialization"].from_state_dict(old, new)

    return FunctionalModel("Flax (linen)", rest[0], apply, "flax.serialization.from_state_dict", restore, watch)


def _of_nnx(nnx: Any, module: Any) -> FunctionalModel:
    graph, state = nnx.split(module)
    words = _words_for(type(module).__call__)

    def merged(tree: Any, key: Any) -> Any:
        copy = nnx.merge(graph, tree)
        if hasattr(copy, "eval"):
            copy.eval()
        if key is not None:
            import jax

            for stream in (node for _, node in nnx.iter_graph(copy) if isinstance(node, nnx.RngKey)):
                held = stream.get_value()
                typed = jax.dtypes.issubdtype(held.dtype, jax.dtypes.prng_key)
                made = jax.random.wrap_key_data(key, impl=jax.random.key_impl(held)) if typed else key
                if made.shape == held.shape:  # several keys in one are as the module has them
                    stream.set_value(made)
        return copy

    def apply(tree: Any, key: Any, inputs: tuple[Any, ...]) -> Any:
        return merged(tree, key)(*inputs, **words)

    def watch(tree: Any, inputs: tuple[Any, ...], record: Callable[[str, str, Any, Any], None]) -> None:
        from contextlib import ExitStack
        from unittest import mock

        copy = merged(tree, None)
        names = {
            id(node): "/".join(map(str, path)) for path, node in nnx.iter_graph(copy) if isinstance(node, nnx.Module)
        }

        def recording(original: Any) -> Any:
            def call(self: Any, *args: Any, **kwargs: Any) -> Any:
                made = original(self, *args, **kwargs)
                if id(self) in names:
                    record(names[id(self)], type(self).__name__, (args, kwargs), made)
                return made

            return call

        kinds = {type(node) for _, node in nnx.iter_graph(copy) if isinstance(node, nnx.Module)}
        with ExitStack() as stack:
            for kind in kinds:
                if "__call__" in kind.__dict__:
                    stack.enter_context(mock.patch.object(kind, "__call__", recording(kind.__call__)))
            copy(*inputs, **words)

    return FunctionalModel("Flax (NNX)", state, apply, "nnx.update", _same, watch, module)


def _of_haiku(haiku: Any, transformed: Any, rest: list[Any]) -> FunctionalModel:
    stateful = isinstance(transformed, haiku.TransformedWithState)
    if len(rest) != 1 + stateful:
        raise ModelError(
            "a Haiku function without its variables", key=type(transformed).__name__,
            expected="(transformed, params, state)" if stateful else "(transformed, params)",
            hint="Return it together with what its init gave.",
        )  # fmt: skip
    words = _words_for(getattr(transformed.apply, "_original_fn", transformed.apply))
    takes_key = "rng" in inspect.signature(transformed.apply).parameters
    tree = {"params": rest[0], "state": rest[1]} if stateful else {"params": rest[0]}

    def apply(tree: Any, key: Any, inputs: tuple[Any, ...]) -> Any:
        held = (tree["params"], tree["state"]) if stateful else (tree["params"],)
        made = transformed.apply(*held, *((key,) if takes_key else ()), *inputs, **words)
        return made[0] if stateful else made

    def watch(tree: Any, inputs: tuple[Any, ...], record: Callable[[str, str, Any, Any], None]) -> None:
        def interceptor(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
            made = run(*args, **kwargs)
            if context.method_name == "__call__" and context.module.params_dict():
                record(context.module.module_name, type(context.module).__name__, (args, kwargs), made)
            return made

        import jax

        with haiku.intercept_methods(interceptor):
            apply(tree, jax.random.PRNGKey(0), inputs)

    return FunctionalModel("Haiku", tree, apply, "a tree of equal structure", _same, watch)


def _of_function(function: Any, tree: Any) -> FunctionalModel:
    words = _words_for(function)

    def apply(held: Any, _key: Any, inputs: tuple[Any, ...]) -> Any:
        return function(*inputs, **words) if tree is None else function(held, *inputs, **words)

    return FunctionalModel("a function", {} if tree is None else tree, apply, "a tree of equal structure", _same)


def fill(module: Any, tree: Any) -> None:
    """Put the arrays of `tree`, the state of an NNX module, into the module."""
    sys.modules["flax.nnx"].update(module, tree)


__all__ = ["FunctionalModel", "as_functional", "fill", "like"]
