"""What a traced graph says about the function it computes: rows it looks up, samples it draws, what it changes.

Graphs call others: functions, branches, the bodies of loops. Each question here is asked of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Ops that look rows up in a table, the indices being their second input; tensorflow/core/ops/{array_ops,
# resource_variable_ops}.cc.
_LOOKUPS = {"Gather", "GatherV2", "ResourceGather"}
_CALLS = {"PartitionedCall": "f", "StatefulPartitionedCall": "f"}
_LOOPS = {"While": "body", "StatelessWhile": "body"}
_BRANCHES = {"If": ("then_branch", "else_branch"), "StatelessIf": ("then_branch", "else_branch")}

# Ops that draw random numbers; tensorflow/core/ops/{random_ops,stateful_random_ops,stateless_random_ops*}.cc. What only
# derives keys (`StatelessRandomGetKeyCounter`) or moves a counter draws nothing itself.
_DRAWS = (
    "Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoisson", "RandomShuffle", "RandomStandardNormal",
    "RandomUniform", "StatefulRandomBinomial", "StatefulStandardNormal", "StatefulTruncatedNormal", "StatefulUniform",
    "StatelessMultinomial", "StatelessParameterizedTruncatedNormal", "StatelessRandomBinomial", "StatelessRandomGammaV",
    "StatelessRandomNormal", "StatelessRandomPoisson", "StatelessRandomUniform", "StatelessShuffle",
    "StatelessTruncatedNormal", "TruncatedNormal",
)  # fmt: skip
_CHANGES = ("Assign", "ResourceScatter", "RngReadAndSkip", "RngSkip", "Scatter", "StatefulRandom", "StatefulUniform")
# Ops that TensorFlow counts as having state although they only read variables or call others, whose ops are asked themselves.
_STATELESS = {
    *_CALLS, *_LOOPS, *_BRANCHES, "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VarHandleOp", "Placeholder",
}  # fmt: skip
# Python code, which may do anything, and counts as having none.
_OPAQUE = ("PyFunc", "EagerPyFunc")
_PRODUCTS = ("BatchMatMul", "Conv", "DepthwiseConv", "Einsum", "MatMul")
_HALVES = ("float16", "bfloat16")


def operations(graph: Any) -> Iterator[Any]:
    """Every op of a graph and of the graphs that it calls, each called one once."""
    seen: set[str] = set()
    pending = [graph]
    while pending:
        current = pending.pop()
        for operation in current.get_operations():
            yield operation
            for name in _called(operation):
                if name not in seen:
                    seen.add(name)
                    inner = _function_graph(current, name)
                    if inner is not None:
                        pending.append(inner)


def changes(graph: Any) -> bool:
    """Whether computing a graph changes variables."""
    return any(operation.type.startswith(_CHANGES) for operation in operations(graph))


def is_function(graph: Any) -> bool:
    """Whether no op of a graph could answer the same inputs differently the next time: variables are read, and not set."""
    return not any(
        operation.type.startswith((*_DRAWS, *_CHANGES, *_OPAQUE))
        or (operation.op_def.is_stateful and operation.type not in _STATELESS)
        for operation in operations(graph)
    )


def draws(graph: Any) -> tuple[str, ...]:
    """The random draws of a graph, sorted: op and shape of each; two graphs of equal draws can be given equal samples."""
    return draws_of(operations(graph))


def draws_of(ops: Iterable[Any]) -> tuple[str, ...]:
    """As `draws`, of these operations."""
    return tuple(
        sorted(
            f"{operation.type} {operation.outputs[0].shape}{_own_seeds(operation)}"
            for operation in ops
            if operation.type.startswith(_DRAWS) and operation.outputs
        )
    )


def _own_seeds(operation: Any) -> str:
    """Seeds of an op that keeps its own state; they were fixed when it was traced."""
    if operation.type.startswith("State"):
        return ""
    return f" {operation.get_attr('seed')} {operation.get_attr('seed2')}"


def half_precision(graph: Any) -> str | None:
    """`float16` or `bfloat16` where matrix products or convolutions are computed in it, else None."""
    return half_precision_of(operations(graph))


def half_precision_of(ops: Iterable[Any]) -> str | None:
    """As `half_precision`, of these operations."""
    for operation in ops:
        if operation.type.startswith(_PRODUCTS) and operation.outputs:
            name = operation.outputs[0].dtype.base_dtype.name
            if name in _HALVES:
                return str(name)
    return None


def lookup_limits(graph: Any, inputs: Sequence[Any]) -> list[int | None]:
    """For each input, the rows of the smallest table that it indexes, or None for one that indexes nothing.

    Args:
        graph: a traced graph.
        inputs: tensors of it.
    """
    limits: dict[int, int] = {}
    _follow(graph, {id(tensor): frozenset({number}) for number, tensor in enumerate(inputs)}, limits, depth=0)
    return [limits.get(number) for number in range(len(inputs))]


_NOTHING: frozenset[int] = frozenset()
_DEEPEST = 32  # functions that call functions; a recursive one has no bottom


def _follow(graph: Any, marks: dict[int, frozenset[int]], limits: dict[int, int], *, depth: int) -> None:
    """Carry the marks of inputs along ops that give integers; where a mark arrives at a lookup, note the limit."""
    if depth > _DEEPEST:
        return
    for operation in graph.get_operations():
        given = [marks.get(id(tensor), _NOTHING) for tensor in operation.inputs]
        if not any(given):
            continue
        indices, rows = _lookup(operation)
        if rows:
            for number in given[indices]:
                limits[number] = min(rows, limits.get(number, rows))
        inner_marks = _inside(graph, operation, given, limits, depth)
        mixed = frozenset().union(*given)
        for position, tensor in enumerate(operation.outputs):
            if inner_marks is not None:
                marks[id(tensor)] = inner_marks[position] if position < len(inner_marks) else _NOTHING
            elif tensor.dtype.base_dtype.is_integer or operation.type in ("Identity", "Reshape", "ExpandDims"):
                marks[id(tensor)] = mixed


def _inside(
    graph: Any, operation: Any, given: list[frozenset[int]], limits: dict[int, int], depth: int
) -> list[frozenset[int]] | None:
    """Follow the marks into what an op calls; the marks of its outputs, or None where it calls nothing."""
    names = list(_called(operation, loops_too=False))
    if not names:
        return None
    arguments = given[1:] if operation.type in _BRANCHES else given
    found: list[frozenset[int]] = []
    for name in names:
        inner = _function_graph(graph, name)
        if inner is None:
            continue
        marks = {id(tensor): mark for tensor, mark in zip(inner.inputs, arguments, strict=False) if mark}
        _follow(inner, marks, limits, depth=depth + 1)
        outputs = [marks.get(id(tensor), _NOTHING) for tensor in inner.outputs]
        found = [a | b for a, b in zip(found, outputs, strict=False)] if found else outputs
    return found


def _called(operation: Any, *, loops_too: bool = True) -> Iterator[str]:
    kinds = (*((_CALLS.get(operation.type),)), _LOOPS.get(operation.type), *_BRANCHES.get(operation.type, ()))
    for attribute in filter(None, kinds):
        yield operation.get_attr(attribute).name
    if loops_too and operation.type in _LOOPS:
        yield operation.get_attr("cond").name


def _function_graph(graph: Any, name: str) -> Any:
    """The graph of a function that `graph` knows, or None where TensorFlow does not hand it out."""
    found = graph._get_function(name) if hasattr(graph, "_get_function") else None  # no public way to ask
    return getattr(found, "graph", None)


def _lookup(operation: Any) -> tuple[int, int | None]:
    """(position of the indices, rows of the table) of an op that looks rows up; rows None for any other."""
    import tensorflow as tf

    if operation.type == "OneHot":
        depth = tf.get_static_value(operation.inputs[1])
        return 0, None if depth is None else int(depth)
    if operation.type not in _LOOKUPS:
        return 0, None
    if operation.type != "Gather" and operation.get_attr("batch_dims"):
        return 1, None  # one table for each sample: positions within it, such as the last step of a sequence
    table = operation.inputs[0]
    shape = table.shape if operation.type != "ResourceGather" else _resource_shape(table)
    if shape is None or shape.rank is None or shape.rank < 2:
        return 1, None
    axis = 0
    if operation.type == "GatherV2":
        static = tf.get_static_value(operation.inputs[2])
        axis = 0 if static is None else int(static)
    return 1, shape[axis]


def _resource_shape(handle: Any) -> Any:
    import tensorflow as tf

    data = getattr(handle, "_handle_data", None)
    if data is not None and data.is_set and data.shape_and_type:
        return tf.TensorShape(data.shape_and_type[0].shape)
    if handle.op.type == "VarHandleOp":  # in a graph that was imported, where handles carry no data
        return tf.TensorShape(handle.op.get_attr("shape"))
    return None
