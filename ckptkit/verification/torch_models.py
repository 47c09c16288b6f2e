"""Runner for live PyTorch modules: on the CPU, in one pool of threads, as at inference, and put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

from ckptkit.errors import ModelError, UsageError
from ckptkit.references import describe, load_triton
from ckptkit.verification.inputs import InputSpec, make_inputs
from ckptkit.verification.layouts import Turning, axes_between, channels_first, usual

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.runner import Runner

# What random ops are seeded with; those of a free run with another one.
_SEED, _OTHER = 20_000, 1

_HALF = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Layouts:
    """How a side's arrays lie, as far as a person said it.

    Attributes:
        own: of the PyTorch side.
        other: of the other side, whose arrays it gets.
        torch: whether the other side is PyTorch, too, so that nothing is turned unless it is said.
    """

    own: str | None = None
    other: str | None = None
    torch: bool = False


class TorchRunner:
    """Runs a live module. It takes the other side's inputs, and turns them and what it gives where images lie otherwise.

    Attributes:
        name: as `Runner.name`.
        inputs: as `Runner.inputs`, as the other side has them.
        outputs: as `Runner.outputs`.
        loaded_by: as `Runner.loaded_by`.
        path: as `Runner.path`.
        unused: weights of the file that the module has no place for: none, as it is loaded strictly.
        note: what was concluded about layouts, in words; "" where nothing was.
    """

    def __init__(
        self,
        module: Any,
        name: str,
        specs: Sequence[InputSpec],
        layouts: Layouts = Layouts(),
        *,
        loaded_by: str = "live",
        path: str | None = None,
    ) -> None:
        """Bind a module.

        Args:
            module: a `torch.nn.Module`.
            name: for people.
            specs: its inputs, as the other side, or a file of them, has them.
            layouts: what was said of them.
            loaded_by: as `Runner.loaded_by`.
            path: as `Runner.path`.

        Raises:
            ModelError: it cannot be run on such inputs.
            UsageError: it can be run on them in several layouts.
        """
        self.name, self.loaded_by, self.path, self.note = name, loaded_by, path, ""
        self.unused: dict[str, tuple[int, ...]] = {}
        load_triton()
        self._module = module
        self._turned_back: dict[int, Turning] = {}
        self._layouts = layouts
        self.inputs = tuple(_with_limit(spec, module) for spec in specs)
        self._turnings = self._choose()
        made = self._call(self._trial(), free=False)
        self.outputs = tuple(made) if len(made) > 1 else ("output",)

    # --------------------------------------------------------------------------------------------------------- layouts

    def _choose(self) -> tuple[Turning, ...]:
        """How each input is turned: as it was said, else in the only way in which the module takes it."""
        said, other = self._layouts.own, self._layouts.other
        if said is not None or other is not None:
            own = said or usual(other or "", first=True)
            theirs = other or usual(own, first=self._layouts.torch)
            axes = axes_between(theirs, own)
            turning = Turning(axes if axes != tuple(range(len(axes))) else ())
            return tuple(turning if len(spec.shape) == len(axes) else Turning() for spec in self.inputs)
        plain = tuple(Turning() for _ in self.inputs)
        images = [spec for spec in self.inputs if len(spec.shape) > 2 and not spec.dtype.startswith(("int", "uint"))]
        if self._layouts.torch or not images:
            return plain
        turned = tuple(channels_first(len(spec.shape)) if spec in images else Turning() for spec in self.inputs)
        tried = {ways: self._fails(ways) for ways in (turned, plain)}
        fitting = [ways for ways, failure in tried.items() if failure is None]
        if not fitting:
            raise ModelError(
                f"running the model failed: {tried[turned]}", key=self.name,
                hint="--src-layout and --dst-layout say how the inputs lie.",
            )  # fmt: skip
        if len(fitting) > 1:
            shapes = ", ".join(str(list(spec.shape)) for spec in images)
            raise UsageError(
                "the model takes the inputs with the channels first and with the channels last", key=self.name,
                found=shapes, hint="--src-layout or --dst-layout says how this side has them, such as NCHW.",
            )  # fmt: skip
        if fitting[0] is turned:
            self.note = f"{self.name} takes its inputs with the channels first, and only so"
        return fitting[0]

    def _fails(self, ways: tuple[Turning, ...]) -> str | None:
        """Why the module does not take a trial batch that is turned in these ways."""
        self._turnings = ways
        try:
            self._call(self._trial(), free=False)
        except ModelError as error:
            return error.problem.removeprefix("running the model failed: ")
        return None

    def _trial(self) -> list[np.ndarray]:
        return make_inputs(self.inputs, seed=0, batch=2)

    def lie_as(self, other: Runner) -> None:
        """Turn outputs back where the other side's have the same axes in another order.

        Args:
            other: the other side, which gives what this side's outputs are compared with.

        Raises:
            UsageError: shapes leave two ways and nothing tells which is meant.
        """
        if self._layouts.torch and not (self._layouts.own or self._layouts.other):
            return
        trial = make_inputs([_common(a, b) for a, b in zip(self.inputs, other.inputs, strict=False)], seed=0, batch=2)
        if len(trial) != len(self.inputs) or len(other.inputs) != len(self.inputs):
            return
        wanted = other.run(trial)
        for number, (ours, theirs) in enumerate(zip(self.run(trial), wanted, strict=False)):
            if ours.ndim < 3 or ours.ndim != theirs.ndim:
                continue
            same_rank = [way for way in self._turnings if len(way.axes) == ours.ndim]
            way = same_rank[0] if same_rank else channels_first(ours.ndim)
            back = way.back()
            turned = tuple(ours.shape[axis] for axis in back)
            # Where both ways fit, outputs lie as inputs of as many axes do.
            if turned == theirs.shape and (ours.shape != theirs.shape or same_rank):
                self._turned_back[number] = way

    # ------------------------------------------------------------------------------------------------------------- runs

    def run(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> list[np.ndarray]:
        """As `Runner.run`."""
        return [_as_array(value) for value in self._call(arrays, free=free).values()]

    def _call(self, arrays: Sequence[np.ndarray], *, free: bool) -> dict[str, Any]:
        import torch

        with self._as_at_inference(free=free), torch.no_grad():
            return self._given(self._module, arrays)

    def _given(self, run: Any, arrays: Sequence[np.ndarray]) -> dict[str, Any]:
        """What `run` gives for a batch of the other side, with its outputs turned back."""
        try:
            made = dict(_tensors(run(*self._tensors_of(arrays))))
        except Exception as error:  # the user's model may raise anything
            raise ModelError(f"running the model failed: {describe(error)}", key=self.name) from error
        if not made:
            raise ModelError("the model gives no tensor", key=self.name)
        return {
            name: value.permute(self._turned_back[number].back()) if number in self._turned_back else value
            for number, (name, value) in enumerate(made.items())
        }

    def _tensors_of(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        import numpy as np
        import torch

        turned = [way.there(array) for way, array in zip(self._turnings, arrays, strict=True)]
        made = [torch.from_numpy(np.array(array)) for array in turned]
        # What a module looks up must be 64 bits wide, or 32; narrower integers are nobody's indices.
        return [
            value.long() if not value.is_floating_point() and value.dtype != torch.bool else value for value in made
        ]

    @contextmanager
    def _as_at_inference(self, *, free: bool) -> Iterator[None]:
        """`eval`, one thread pool of one thread, fixed samples; afterwards all is what it was."""
        import torch

        training = {module: module.training for module in self._module.modules()}
        threads, state = torch.get_num_threads(), self._tensors()
        before = {name: value.detach().clone() for name, value in state.items()}
        self._module.eval()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(_SEED + (_OTHER if free else 0))
                yield
        finally:
            torch.set_num_threads(threads)
            for module, was in training.items():
                module.training = was
            with torch.no_grad():
                for name, value in self._tensors().items():
                    if name in before and not torch.equal(value, before[name]):
                        value.copy_(before[name])

    def draws(self, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
        """As `Runner.draws`."""
        import torch

        return tuple(
            f"{name} {list(shape)}" for name, tags, shape, _ in self._operations(arrays)
            if torch.Tag.nondeterministic_seeded in tags
        )  # fmt: skip

    def half_precision(self, arrays: Sequence[np.ndarray]) -> str | None:
        """As `Runner.half_precision`."""
        products = ("mm", "bmm", "addmm", "baddbmm", "convolution", "linear", "scaled_dot_product")
        found = {dtype for name, _, _, dtype in self._operations(arrays) if name.partition(".")[0].endswith(products)}
        return next((half for half in _HALF if half in found), None)

    def _operations(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, Any, tuple[int, ...], str]]:
        """(name, tags, shape, dtype) of what runs."""
        from torch.utils._python_dispatch import TorchDispatchMode

        found: list[tuple[str, Any, tuple[int, ...], str]] = []

        class Watching(TorchDispatchMode):  # type: ignore[misc]  # no types where PyTorch is not installed
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                result = func(*args, **(kwargs or {}))
                first = next((value for _, value in _tensors(result)), None)
                if first is not None:
                    dtype = str(first.dtype).removeprefix("torch.")
                    found.append((func.__name__, func.tags, tuple(first.shape), dtype))
                return result

        with Watching():
            self._call(arrays, free=False)
        return found

    # ---------------------------------------------------------------------------------------------------------- weights

    def _tensors(self) -> dict[str, Any]:
        """Parameters and buffers by name, each once."""
        named = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        return {name: value for name, value in named.items() if value is not None}

    def names(self) -> list[str]:
        """As `Runner.names`."""
        return list(self._tensors())

    def weights(self) -> list[np.ndarray]:
        """As `Runner.weights`."""
        return [_as_array(value) for value in self._tensors().values()]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """As `Runner.assign`."""
        import numpy as np
        import torch

        with torch.no_grad():
            for tensor, value in zip(self._tensors().values(), values, strict=True):
                tensor.copy_(torch.from_numpy(np.array(value)))

    def gradients(
        self, arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None] | None:
        """As `Runner.gradients`."""
        import torch

        tensors = self._tensors()
        leaves = {
            name: value.detach().clone().requires_grad_(value.is_floating_point()) for name, value in tensors.items()
        }
        wanted = {name: value for name, value in leaves.items() if value.requires_grad}
        # PyTorch's own has no gradient of the averages, which are weights like others here.
        normalise = mock.patch.object(torch.nn.functional, "batch_norm", _batch_norm)
        with self._as_at_inference(free=False), torch.enable_grad(), normalise:
            try:
                made = self._given(lambda *given: torch.func.functional_call(self._module, leaves, given), arrays)
                terms = [
                    (value.float() * torch.from_numpy(factor)).sum()
                    for value, factor in zip(made.values(), factors, strict=True)
                    if factor is not None and value.is_floating_point()
                ]
                total = sum(terms[1:], terms[0]) if terms else None
                if total is None or not total.requires_grad:
                    return None
                found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
            except (RuntimeError, ModelError):  # an operation without a gradient: values are compared then
                return None
        known = dict(zip(wanted, found, strict=True))
        return [None if known.get(name) is None else _as_array(known[name].abs()) for name in tensors]

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:  # noqa: ARG002
        """As `Runner.traced`: nothing that could be rewritten.

        Raises:
            CannotWiden: always.
        """
        from ckptkit.verification.widen import CannotWiden

        raise CannotWiden("it is a PyTorch module")

    def live(self) -> Any:
        """The module."""
        return self._module

    def call(self, arrays: Sequence[np.ndarray]) -> object:
        """As `Runner.call`."""
        return self._call(arrays, free=False)


def _batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """What `torch.nn.functional.batch_norm` computes, in operations that have a gradient in every operand."""
    import torch

    if training or running_mean is None:
        return torch.batch_norm(
            x, weight, bias, running_mean, running_var, training, momentum, eps, torch.backends.cudnn.enabled
        )
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    y = (x - running_mean.view(shape)) * torch.rsqrt(running_var.view(shape) + eps)
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


def _common(a: InputSpec, b: InputSpec) -> InputSpec:
    limits = [limit for limit in (a.limit, b.limit) if limit is not None]
    return replace(a, limit=min(limits, default=None))


def _with_limit(spec: InputSpec, module: Any) -> InputSpec:
    """An input of integers is taken for one that looks rows up in the smallest table, where the model has tables."""
    import torch

    tables = [part.num_embeddings for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    if not tables or not spec.dtype.startswith(("int", "uint")):
        return spec
    return replace(spec, limit=min(table for table in (*tables, spec.limit or max(tables))))


def _as_array(value: Any) -> np.ndarray:
    """A tensor as an array; bfloat16, which NumPy has no type for, as float32."""
    import torch

    value = value.detach()
    found: np.ndarray = (value.float() if value.dtype == torch.bfloat16 else value).contiguous().numpy().copy()
    return found


def _tensors(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, tensor) of every tensor in what a module gives, in order."""
    import torch

    if isinstance(tree, torch.Tensor):
        yield name or "output", tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from _tensors(value, f"{name}.{number}" if name else f"output {number}")
    elif is_dataclass(tree) and not isinstance(tree, type):
        for field in fields(tree):
            yield from _tensors(getattr(tree, field.name), f"{name}.{field.name}" if name else field.name)


def declared_inputs(module: Any) -> tuple[InputSpec, ...] | None:
    """What a module says of its inputs: Lightning's `example_input_array`, a tensor or several."""
    import torch

    example = getattr(module, "example_input_array", None)
    given = (example,) if isinstance(example, torch.Tensor) else example
    if not isinstance(given, list | tuple) or not given or not all(isinstance(x, torch.Tensor) for x in given):
        return None
    return tuple(
        InputSpec(f"input {number}", (None, *value.shape[1:]), str(value.dtype).removeprefix("torch."))
        for number, value in enumerate(given)
    )
