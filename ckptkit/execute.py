"""Applies a plan tensor by tensor: `PlannedSource` is a source of bytes whose tensors are the plan's targets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, NotFoundError, RefusedError
from ckptkit.model import CHUNK_BYTES
from ckptkit.plans import (
    AddLowRank,
    AddToBlock,
    Cast,
    Concat,
    Fill,
    GatherRows,
    NegateBlock,
    Op,
    PermuteBlocks,
    Plan,
    Read,
    Reshape,
    Slice,
    Step,
    Sum,
    Template,
    Transpose,
    reads,
)
from ckptkit.plans.ops import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from ckptkit.model import Checkpoint, TensorSource

# What to do where several sources of one target differ: copies of a tower, or a table and what was taken for its transpose.
_SEVERAL = "Choose one with --rename, or give each its own target."
_APART = "They are not one table; --allow-unexpected leaves the second behind."


def evaluate(op: Op, load: Callable[[str], np.ndarray], held: Callable[[str], np.ndarray] | None = None) -> np.ndarray:
    """The value of an expression.

    Args:
        op: proven.
        load: gives the value of a source variable; called once for each, and the value is let go after its last use.
        held: gives the value that the template has of a variable; needed where the expression reads one.
    """
    return _Evaluation(op, load, held).value(op)


class _Evaluation:
    def __init__(
        self, op: Op, load: Callable[[str], np.ndarray], held: Callable[[str], np.ndarray] | None = None
    ) -> None:
        self._load = load
        self._held = held
        self._uses = Counter(leaf.variable for leaf in leaves(op) if isinstance(leaf, Read))
        self._loaded: dict[str, np.ndarray] = {}

    def value(self, op: Op) -> np.ndarray:
        import numpy as np

        made: np.ndarray
        match op:
            case Read(variable=variable):
                return self._read(variable)
            case Fill(value=filled, shape=shape, dtype=dtype):
                made = np.full(shape, filled, dtype=dtypes.numpy_dtype(dtype))
                return made
            case Template(variable=variable):
                if self._held is None:
                    raise NotFoundError("there is no template to take it from", key=variable)
                return self._held(variable)
            case GatherRows(of=of_, base=base, rows=rows):
                made = self.value(base).copy()
                given = [place for place, row in enumerate(rows) if row is not None]
                made[given] = self.value(of_)[[row for row in rows if row is not None]]
                return made
            case Concat(parts=parts, axis=axis):
                made = np.concatenate([self.value(part) for part in parts], axis=axis)
                return made
            case Sum(parts=parts):
                made = self.value(parts[0]).copy()
                for part in parts[1:]:
                    made += self.value(part)
                return made
            case AddLowRank(of=of_, left=left, right=right, scale=scale):
                return _add_low_rank(self.value(of_), self.value(left), self.value(right), scale)
        of = self.value(op.of)
        match op:
            case Transpose(axes=axes):
                made = of.transpose(axes)
            case Reshape(shape=shape):
                made = of.reshape(shape)
            case Slice(axis=axis, start=start, stop=stop):
                made = of[(slice(None),) * axis + (slice(start, stop),)]
            case PermuteBlocks(axis=axis, order=order):
                blocks = np.split(of, len(order), axis=axis)
                made = np.concatenate([blocks[block] for block in order], axis=axis)
            case AddToBlock(axis=axis, blocks=count, block=block, value=added):
                made = of.copy()
                np.split(made, count, axis=axis)[block][...] += np.asarray(added, dtype=of.dtype)
            case NegateBlock(axis=axis, blocks=count, block=block):
                made = of.copy()
                negated = np.split(made, count, axis=axis)[block]
                # Not `np.negative(negated, out=negated)`: NumPy 2.4 reads a strided block as if it lay in one piece.
                negated[...] = -negated
            case Cast(dtype=dtype):
                with np.errstate(over="ignore", invalid="ignore"):
                    made = of.astype(dtypes.numpy_dtype(dtype))
        return made

    def _read(self, variable: str) -> np.ndarray:
        found = self._loaded.pop(variable, None)
        value = self._load(variable) if found is None else found
        self._uses[variable] -= 1
        if self._uses[variable]:
            self._loaded[variable] = value
        return value


def _add_low_rank(of: np.ndarray, left: np.ndarray, right: np.ndarray, scale: float) -> np.ndarray:
    """The sum in the dtype of `of`; what is narrower than float32 is added up in float32, as NumPy cannot multiply it."""
    import numpy as np

    wide = np.float64 if of.dtype == np.float64 else np.float32
    product = np.matmul(left.astype(wide), right.astype(wide))
    made: np.ndarray = (of.astype(wide) + wide(scale) * product).astype(of.dtype)
    return made


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A tensor that is handed through as it lies in another source."""

    source: TensorSource
    key: str


class PlannedSource:
    """The tensors of a plan's target as a `TensorSource`, under the target's native keys.

    What is merely read streams through without being held; any other tensor is made when it is asked for, one at a
    time. The last one made is kept for reading it in ranges. Where several source variables are to feed one target,
    they are compared before its first byte is given.

    Args:
        plan: proven against `source` (and `template`).
        source: the plan's source, open; it is not closed with this one.
        template: the plan's target, open, for the variables and the rows that keep its values.
    """

    def __init__(self, plan: Plan, source: Checkpoint, template: Checkpoint | None = None) -> None:
        self._plan = plan
        self._template = template
        self._source = source
        self._steps = {step.key: step for step in plan.steps}
        self._kept = {kept.key: _Elsewhere(template.source, kept.key) for kept in plan.kept} if template else {}
        self._lock = Lock()
        self._last: tuple[str, memoryview] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return PlannedSource, (self._plan, self._source, self._template)

    def restricted(self, keys: Iterable[str]) -> PlannedSource:
        """Its tensors `keys` only: what goes to the process that wants no others."""
        wanted = set(keys)
        steps = tuple(step for step in self._plan.steps if step.key in wanted)
        kept = tuple(kept for kept in self._plan.kept if kept.key in wanted)
        plan = replace(self._plan, steps=steps, kept=kept, missing=(), unexpected=(), ambiguous=())
        return PlannedSource(plan, self._source, self._template)

    def behind(self, key: str) -> tuple[TensorSource, str] | None:
        """See `ForwardingSource.behind`; copies that have to be equal are compared whole, so here."""
        step = self._steps.get(key)
        through = None if step is not None and step.copies else self._through(key)
        return None if through is None else (through.source, through.key)

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes of tensor `key` that begin at byte `offset`."""
        through = self._through(key)
        if through is not None:
            through.source.read_into(through.key, offset, buffer)
            return
        data = self._made(key)
        if offset < 0 or offset + len(buffer) > len(data):
            found = f"bytes {offset} to {offset + len(buffer)}"
            raise FormatError("not within the tensor", key=key, expected=f"{len(data)} bytes", found=found)
        buffer[:] = data[offset : offset + len(buffer)]

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes of tensor `key` in order, in pieces of at most `len(buffer)`, each a view of `buffer`."""
        step = self._steps.get(key)
        if step is not None:
            self._need_equal_copies(step)
        through = self._through(key)
        if through is not None:
            yield from through.source.stream(through.key, buffer)
            return
        data = _bytes_of(self._evaluate(self._steps[key].op))
        for start in range(0, len(data), len(buffer)):
            piece = data[start : start + len(buffer)]
            buffer[: len(piece)] = piece
            yield buffer[: len(piece)]

    def read_strings(self, key: str) -> list[bytes]:
        """The elements of a `string` tensor; strings are only ever handed through."""
        through = self._through(key)
        if through is None:
            raise FormatError("not a tensor of strings", key=key)
        return through.source.read_strings(through.key)

    def close(self) -> None:
        """Let go of what was made; the sources stay open."""
        with self._lock:
            self._last = None

    def _through(self, key: str) -> _Elsewhere | None:
        """Where tensor `key` is handed through from, or None if it has to be made."""
        step = self._steps.get(key)
        if step is None:
            if key not in self._kept:
                raise NotFoundError("the plan gives no value for it", key=key)
            return self._kept[key]
        if isinstance(step.op, Read):
            return _Elsewhere(self._source.source, self._source.find(step.op.variable).key)
        return None

    def _made(self, key: str) -> memoryview:
        with self._lock:
            if self._last is None or self._last[0] != key:
                self._last = None
                self._last = key, _bytes_of(self._evaluate(self._steps[key].op))
            return self._last[1]

    def _evaluate(self, op: Op) -> np.ndarray:
        template = self._template
        held = None if template is None else lambda name: template[name].read()
        return evaluate(op, lambda name: self._source[name].read(), held)

    def _need_equal_copies(self, step: Step) -> None:
        """Raise `RefusedError` where variables that are to feed one target do not hold the same values."""
        for copy in step.copies:
            # Pieces of what is made are the whole of it, and so must be those of what they are compared with.
            pieces = isinstance(step.op, Read) and isinstance(copy, Read)
            own, other = (self._chunks(step, op, pieces=pieces) for op in (step.op, copy))
            largest = max(map(_largest_difference, own, other), default=0.0)
            if largest != 0:
                raise RefusedError(
                    f"{', '.join(reads(step.op))} and {', '.join(reads(copy))} are to feed one variable and differ by "
                    f"up to {largest:.3g}",
                    key=step.target.name,
                    hint=_APART if isinstance(copy, Transpose) else _SEVERAL,
                )

    def _chunks(self, step: Step, op: Op, *, pieces: bool) -> Iterator[np.ndarray]:
        """The elements of an expression, those of a variable that is merely read in pieces of equal size if asked for."""
        import numpy as np

        dtype = dtypes.numpy_dtype(step.target.dtype)
        if not pieces or not isinstance(op, Read):
            yield self._evaluate(op)
            return
        key, nbytes = self._source.find(op.variable).key, step.target.nbytes
        for start in range(0, nbytes, CHUNK_BYTES):
            piece = bytearray(min(CHUNK_BYTES, nbytes - start))
            self._source.source.read_into(key, start, memoryview(piece))
            yield np.frombuffer(piece, dtype=dtype)


def _largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference; infinite where only one of two is not a number."""
    import numpy as np

    if a.tobytes() == b.tobytes():
        return 0.0
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a.astype(wide) - b.astype(wide))
    both = np.isnan(a.astype(wide)) & np.isnan(b.astype(wide)) | (a == b)
    return float(np.where(np.isnan(apart) & ~both, np.inf, np.where(both, 0.0, apart)).max())


def _bytes_of(value: np.ndarray) -> memoryview:
    """The bytes of an array in C order, little-endian."""
    import numpy as np

    plain = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
    return memoryview(plain.reshape(-1).view(np.uint8).data)
