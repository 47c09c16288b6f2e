"""A canonical map bound to the source it can be read from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptkit import dtypes
from ckptkit.display import Displayed
from ckptkit.errors import FormatError, NotFoundError, UsageError
from ckptkit.model.canonical import CheckpointSpec, Layer, OrderSource, Variable
from ckptkit.model.evidence import StoredTensor
from ckptkit.model.tensors import CHUNK_BYTES, TensorSource

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

    from ckptkit.formats.location import Location


class LazyVariable:
    """A variable whose bytes are read when asked for.

    Attributes of `Variable` (`name`, `shape`, `dtype`, `role` …) are readable on it directly.
    """

    __slots__ = ("_source", "spec")

    def __init__(self, spec: Variable, source: TensorSource) -> None:
        self.spec = spec
        self._source = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "spec":
            raise AttributeError(name)
        return getattr(self.spec, name)

    def __repr__(self) -> str:
        return f"<variable {self.spec.name!r} {list(self.spec.shape)} {self.spec.dtype}>"

    def read(self) -> np.ndarray:
        """The whole value, checksum verified: an array of `shape`, of `object` items (`bytes`) for strings.

        Raises:
            CkptkitError: the data is missing, cut short or does not match its checksum.
        """
        return read_tensor(self._source, self.spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = self.read()
        return value if dtype is None else value.astype(dtype)


def read_tensor(source: TensorSource, tensor: StoredTensor | Variable) -> np.ndarray:
    """The whole value of `tensor`, checksum verified: an array of its shape, of `bytes` objects for strings.

    Raises:
        CkptkitError: the data is missing, cut short or does not match its checksum.
    """
    import numpy as np

    if tensor.problem:
        raise FormatError(tensor.problem, key=tensor.key)
    if tensor.dtype == "string":
        strings = np.empty(math.prod(tensor.shape), dtype=object)
        strings[:] = source.read_strings(tensor.key)
        return strings.reshape(tensor.shape)
    value = np.empty(tensor.shape, dtype=dtypes.numpy_dtype(tensor.dtype))
    if value.nbytes:
        whole = memoryview(value.reshape(-1).view(np.uint8).data)
        buffer = memoryview(bytearray(min(len(whole), CHUNK_BYTES)))
        at = 0
        for piece in source.stream(tensor.key, buffer):
            whole[at : at + len(piece)] = piece
            at += len(piece)
    return value


class Checkpoint(Displayed, Mapping[str, LazyVariable]):
    """An open checkpoint: a mapping from canonical or native name to a lazy variable, and a context manager.

    Iteration gives canonical names in order. Looking up accepts the canonical name, the native key or an alias that is
    unique in the file.

    Example:
        >>> with ckptkit.open("model.weights.h5") as checkpoint:  # doctest: +SKIP
        ...     checkpoint["dense/kernel"].read()
    """

    def __init__(self, spec: CheckpointSpec, source: TensorSource, location: Location | None = None) -> None:
        self.spec = spec
        self.source = source
        self.location = location
        """Where it was found; None for one that is no file."""
        self.reopen: tuple[Callable[..., Checkpoint], tuple[str, ...]] | None = None
        """A function and its arguments that give this checkpoint in another process; None where it stays in this one."""
        self._variables = {variable.name: variable for variable in spec.variables}
        self._other_names: dict[str, str | None] | None = None

    def __reduce__(self) -> tuple[Callable[..., Checkpoint], tuple[str, ...]]:
        if self.reopen is None:
            raise UsageError(
                "an open checkpoint stays in its process", path=self.path, hint="Give an engine elsewhere its path"
            )
        return self.reopen

    @property
    def path(self) -> str:
        """As it was given to `open`."""
        return self.spec.path

    @property
    def format(self) -> str:
        """Name of the format (see `Contents.format`)."""
        return self.spec.format

    @property
    def producer(self) -> str | None:
        """Who wrote the file, as far as it says."""
        return self.spec.producer

    @property
    def order_source(self) -> OrderSource:
        """Where the order of the layers comes from."""
        return self.spec.order_source

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that own variables, in order."""
        return self.spec.layers

    def find(self, name: str) -> Variable:
        """The variable called `name`, by canonical name, native key or unique alias.

        Raises:
            NotFoundError: there is none; the hint carries the nearest names.
        """
        found = self._variables.get(name)
        if found is None:
            canonical = self._aliases().get(name)
            found = None if canonical is None else self._variables[canonical]
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, [*self._variables, *self._aliases()], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"`ckptkit inspect {self.path}` lists them."
            raise NotFoundError("no such variable", path=self.path, key=name, hint=hint)
        return found

    def _aliases(self) -> dict[str, str | None]:
        """Native keys and aliases -> canonical name; None where several variables share the alias."""
        if self._other_names is None:
            names: dict[str, str | None] = {}
            for variable in self.spec.variables:
                for alias in dict.fromkeys(variable.aliases):
                    names[alias] = None if alias in names else variable.name
            names.update((variable.key, variable.name) for variable in self.spec.variables)
            self._other_names = names
        return self._other_names

    def __getitem__(self, name: str) -> LazyVariable:
        try:
            return LazyVariable(self.find(name), self.source)
        except NotFoundError as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"<Checkpoint {self.path!r} ({self.format}): {len(self.layers)} layers, {len(self)} variables>"

    def confirm(self) -> None:
        """Raise unless it still is what was opened, where that is not noticed by reading on.

        To be called before what was made of it becomes visible.

        Raises:
            CkptkitError: a file of it is another one by now.
        """
        if self.location is not None:
            self.location.at.store.confirm()

    def close(self) -> None:
        """Give back files; idempotent."""
        self.source.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
