"""Which call in a pickle is a tensor, and what that tensor is: where its numbers lie, how, and why they may not be read.

Source: torch/_utils.py, `_rebuild_*`; torch/_tensor.py, `_rebuild_from_type_v2`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ckptkit.formats.torch import arrays
from ckptkit.formats.torch.names import DTYPES, MAPPINGS, STORAGE_MODULES, STORAGES, TENSOR_CLASSES, UNTYPED
from ckptkit.formats.torch.pickles import Call, Dict, Global, List, Persistent, Value

MOST_DIMENSIONS = 64
# A parameter is made of a tensor, and one with a class of its own of that: no deeper.
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage as a pickle refers to it.

    Attributes:
        key: its name in the file.
        dtype: canonical dtype of its items; None for bytes without a type.
        items: how many, or bytes where it has no type.
        begin, end: of its items those that a view of it has; the end is None for all.
    """

    key: str
    dtype: str | None
    items: int
    begin: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as a pickle describes it.

    Attributes:
        storage: where its numbers lie: outside of the pickle, in it, or nowhere.
        dtype: canonical.
        shape: dimensions.
        strides: items from one element to the next, by axis.
        offset: items before the first.
        trainable: `requires_grad`, where the file says it of a parameter.
        conj: whether it stands for the complex conjugate of its numbers.
        neg: whether it stands for their negative.
        swapped: whether the pickle's own bytes are in falling order of significance.
        problem: why it is not read.
    """

    storage: Stored | bytes | None
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    trainable: bool | None = None
    conj: bool = False
    neg: bool = False
    swapped: bool = False
    problem: str | None = None


class MalformedError(Exception):
    """A call on the closed list whose arguments are not what PyTorch writes."""


Persist = Callable[[Value], "Stored | Tensor | None"]
"""What a file's kind makes of a persistent id."""


def mapping(value: Value) -> tuple[list[tuple[Value, Value]], Value] | None:
    """The pairs of a dictionary of any class on the list, and its attributes; None for anything else."""
    if isinstance(value, Dict):
        return value.pairs, None
    if isinstance(value, Call) and isinstance(value.of, Global) and value.of.path in MAPPINGS and not value.items:
        given = value.args[-1] if isinstance(value.args, tuple) and value.args else None
        pairs = list(value.pairs)
        if isinstance(given, List):  # Python 2: OrderedDict([[key, value], …])
            found = [item.items if isinstance(item, List) else item for item in given.items]
            if not all(isinstance(item, (list, tuple)) and len(item) == 2 for item in found):
                return None
            pairs = [(key, item) for key, item in found] + pairs
        elif isinstance(given, Dict):
            pairs = given.pairs + pairs
        return pairs, value.state
    return None


def read_tensor(value: Value, persist: Persist, depth: int = 0) -> Tensor | None:
    """The tensor that a node is; None for what is none.

    Args:
        value: any node.
        persist: what the file makes of persistent ids.
        depth: how often it has been entered.

    Raises:
        MalformedError: a call that PyTorch writes, with arguments that it does not.
    """
    if isinstance(value, Persistent):
        found = persist(value.id)
        if isinstance(found, Stored):
            dtype, items = found.dtype or "uint8", (found.items if found.end is None else found.end) - found.begin
            return Tensor(found, dtype, (items,), (1,), problem="a bare storage, which is no tensor of a model")
        return found
    if not isinstance(value, Call):
        return None
    if arrays.is_array(value):
        return _of_array(value)
    if not isinstance(value.of, Global):
        return None
    maker = MAKERS.get(value.of.path)
    if maker is None:
        return None
    if depth > _DEEPEST or not isinstance(value.args, tuple) or value.pairs or value.items:
        raise MalformedError
    try:
        return maker(value.args, persist, depth)
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError from error


def _of_array(value: Call) -> Tensor | None:
    array = arrays.read_array(value)
    if array is None:
        return None
    strides = contiguous(array.shape)
    if array.fortran:
        strides = tuple(reversed(contiguous(tuple(reversed(array.shape)))))
    return Tensor(array.data, array.dtype, array.shape, strides, swapped=array.swapped)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in C order."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def sizes(value: Value) -> tuple[int, ...]:
    """A shape or strides: a tuple, a `torch.Size` or a list of numbers from 0 up."""
    if isinstance(value, Call) and isinstance(value.of, Global) and value.of.path == "torch.Size":
        (value,) = value.args
    found = tuple(value.items) if isinstance(value, List) else value
    if not isinstance(found, tuple) or len(found) > MOST_DIMENSIONS:
        raise MalformedError
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in found):
        raise MalformedError
    return found


def _whole(value: Value) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise MalformedError
    return value


def storage_of(kind: Value, key: Value, items: Value) -> Stored:
    """A storage by its class, name and length.

    Raises:
        MalformedError: no class of storages, or no name.
    """
    if not isinstance(kind, Global) or not isinstance(key, str):
        raise MalformedError
    if kind.path in UNTYPED:
        return Stored(key, None, _whole(items))
    if kind.module not in STORAGE_MODULES or kind.name not in STORAGES:
        raise MalformedError
    return Stored(key, STORAGES[kind.name], _whole(items))


def dtype_of(value: Value) -> str:
    """The canonical dtype that `torch.<name>` stands for."""
    if not isinstance(value, Global) or value.module != "torch" or value.name not in DTYPES:
        raise MalformedError
    return DTYPES[value.name]


def _storage(value: Value, persist: Persist) -> Stored:
    found = persist(value.id) if isinstance(value, Persistent) else None
    if not isinstance(found, Stored):
        raise MalformedError
    return found


def _bits(metadata: Value) -> dict[str, bool]:
    """The negative and conjugate bits (torch/csrc/serialization.h of `get_tensor_metadata`)."""
    if metadata is None:
        return {}
    found = mapping(metadata)
    if found is None:
        raise MalformedError
    bits = {key: value for key, value in found[0] if isinstance(key, str)}
    if bits.keys() - {"conj", "neg"} or not all(type(value) is bool for value in bits.values()):
        raise MalformedError
    return bits


def _plain(args: tuple[Value, ...], persist: Persist, dtype: str | None, metadata: Value) -> Tensor:
    storage = _storage(args[0], persist)
    shape, strides = sizes(args[2]), sizes(args[3])
    found = dtype or storage.dtype
    if len(shape) != len(strides) or found is None:
        raise MalformedError
    trainable = True if len(args) > 4 and args[4] is True else None
    bits = _bits(metadata)
    return Tensor(
        storage, found, shape, strides, _whole(args[1]), trainable, bits.get("conj", False), bits.get("neg", False)
    )


def _tensor(args: tuple[Value, ...], persist: Persist, _: int) -> Tensor:
    return _plain(args, persist, None, args[6] if len(args) > 6 else None)


def _tensor_v3(args: tuple[Value, ...], persist: Persist, _: int) -> Tensor:
    return _plain(args, persist, dtype_of(args[6]), args[7] if len(args) > 7 else None)


def _inner(value: Value, persist: Persist, depth: int) -> Tensor:
    found = read_tensor(value, persist, depth + 1)
    if found is None:
        raise MalformedError
    return found


def _parameter(args: tuple[Value, ...], persist: Persist, depth: int) -> Tensor:
    if type(args[1]) is not bool:
        raise MalformedError
    return replace(_inner(args[0], persist, depth), trainable=args[1])


def _from_type(args: tuple[Value, ...], persist: Persist, depth: int) -> Tensor:
    of, kind, given = args[:3]
    found = _inner(Call(of, given), persist, depth)
    if isinstance(kind, Global) and kind.path in TENSOR_CLASSES:
        return found
    name = kind.path if isinstance(kind, Global) else "unknown"
    return replace(found, problem=f"a tensor of the class {name}, which ckptkit does not know")


def _on_device(args: tuple[Value, ...], persist: Persist, depth: int) -> Tensor:
    found, dtype = _inner(args[0], persist, depth), dtype_of(args[1])
    problem = None if found.dtype == dtype else f"stored as {found.dtype} for a tensor of {dtype}"
    return replace(found, problem=found.problem or problem)


def _meta(args: tuple[Value, ...], _: Persist, __: int) -> Tensor:
    return Tensor(None, dtype_of(args[0]), sizes(args[1]), sizes(args[2]), problem="a meta tensor, which has no data")


def _quantized(args: tuple[Value, ...], persist: Persist, _: int) -> Tensor:
    return replace(_plain(args[:4], persist, None, None), problem="a quantized tensor, which is shown and not moved")


def _sparse(args: tuple[Value, ...], persist: Persist, depth: int) -> Tensor:
    data = args[1]
    coordinates = len(data) == 3 or type(data[3]) is bool  # else rows, columns, values, size
    values, size = (data[1], data[2]) if coordinates else (data[2], data[3])
    shape, problem = sizes(size), "a sparse tensor, which is shown and not moved"
    return Tensor(None, _inner(values, persist, depth).dtype, shape, contiguous(shape), problem=problem)


def _nested(args: tuple[Value, ...], persist: Persist, depth: int) -> Tensor:
    buffer = _inner(args[0], persist, depth)
    return replace(buffer, problem="a nested tensor, which is shown as its numbers and not moved")


def _wrapper(args: tuple[Value, ...], _: Persist, __: int) -> Tensor:
    shape = sizes(args[2])
    name = args[0].path if isinstance(args[0], Global) else "unknown"
    problem = f"a tensor of the class {name}, which ckptkit does not know"
    return Tensor(None, dtype_of(args[1]), shape, contiguous(shape), problem=problem)


MAKERS: Mapping[str, Callable[[tuple[Value, ...], Persist, int], Tensor]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch.tensor._rebuild_from_type": _from_type,
    "torch._utils._rebuild_device_tensor_from_numpy": _on_device,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _on_device,
    "torch._utils._rebuild_xla_tensor": _on_device,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_wrapper_subclass": _wrapper,
}
