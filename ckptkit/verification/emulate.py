"""A traced function as a TPU's default precision would compute it, on the CPU.

On a TPU, at default precision, the operands of matrix products and convolutions are rounded to bfloat16 and the products
are summed in float32 (https://cloud.google.com/tpu/docs/bfloat16). Here the frozen graph is rewritten: each such
operand passes through float32 → bfloat16 → float32 (round to nearest, ties to even), also inside the functions that
loops and branches call, so recurrent layers are covered. Everything else stays as it is. XLA, which compiles for TPUs,
compiles the result for the CPU where it can; it keeps the casts (measured: bit for bit the same as without it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

# Op type -> which of its inputs are multiplied; None: all data inputs (`Einsum` takes any number).
# tensorflow/core/ops/{math_ops,linalg_ops,nn_ops}.cc. The first input of the `BackpropInput` ops is a shape.
_MULTIPLIED: dict[str, tuple[int, ...] | None] = {
    "BatchMatMul": (0, 1),
    "BatchMatMulV2": (0, 1),
    "BatchMatMulV3": (0, 1),
    "Conv2D": (0, 1),
    "Conv2DBackpropInput": (1, 2),
    "Conv3D": (0, 1),
    "Conv3DBackpropInputV2": (1, 2),
    "DepthwiseConv2dNative": (0, 1),
    "Einsum": None,
    "MatMul": (0, 1),
}


def emulate_tpu(function: Any) -> Callable[..., list[Any]]:
    """`function` with bfloat16 operands in every matrix product and convolution.

    Args:
        function: a `tf.types.experimental.ConcreteFunction`; its variables are frozen at their present values.

    Returns:
        A callable on the function's flat inputs that gives the flat list of its outputs.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    _rewrite(graph.node, inside_function=False)
    for body in graph.library.function:
        _rewrite(body.node_def, inside_function=True)
    rename_functions(graph, "ckptkit_bfloat16")
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]

    def imported() -> None:
        tf.import_graph_def(graph, name="")

    wrapped = tf.compat.v1.wrap_function(imported, [])
    pruned = wrapped.prune(
        [wrapped.graph.as_graph_element(name) for name in inputs],
        [wrapped.graph.as_graph_element(name) for name in outputs],
    )

    def call(*values: Any) -> list[Any]:
        result = pruned(*values)
        return list(result) if isinstance(result, list | tuple) else [result]

    return _compiled_where_possible(call)


def _compiled_where_possible(function: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`function` through XLA, which is what a TPU runs; as it is where XLA cannot compile it (text, unknown sizes)."""
    import tensorflow as tf

    compiled = tf.function(function, jit_compile=True)
    usable = True

    def run(*values: Any) -> list[Any]:
        nonlocal usable
        if usable:
            try:
                return list(compiled(*values))
            except (tf.errors.OpError, ValueError):  # refused when it is traced, or when it is compiled
                usable = False
        return function(*values)

    return run


def _rewrite(nodes: Any, *, inside_function: bool) -> None:
    """Put the two casts before every multiplied operand of `nodes` (a repeated `NodeDef`)."""
    rounded: dict[str, str] = {}
    for node in list(nodes):
        if node.op not in _MULTIPLIED or not _is_float32(node):
            continue
        data = [i for i, name in enumerate(node.input) if not name.startswith("^")]
        positions: Iterable[int] = _MULTIPLIED[node.op] or data
        for position in positions:
            operand = node.input[position]
            if operand not in rounded:
                rounded[operand] = _add_rounding(nodes, operand, len(rounded), inside_function=inside_function)
            node.input[position] = rounded[operand]


def rename_functions(graph: Any, ending: str) -> None:
    """Give changed functions names of their own: TensorFlow already knows the unchanged ones by theirs.

    Args:
        graph: a `GraphDef`.
        ending: put behind each name.
    """
    names = {body.signature.name: f"{body.signature.name}_{ending}" for body in graph.library.function}
    for body in graph.library.function:
        body.signature.name = names[body.signature.name]
    for nodes in (graph.node, *(body.node_def for body in graph.library.function)):
        for node in nodes:
            node.op = names.get(node.op, node.op)
            for value in node.attr.values():
                for called in (value.func, *value.list.func):
                    if called.name in names:
                        called.name = names[called.name]


def _is_float32(node: Any) -> bool:
    import tensorflow as tf

    return bool(node.attr["T"].type == tf.float32.as_datatype_enum)


def _add_rounding(nodes: Any, operand: str, number: int, *, inside_function: bool) -> str:
    """Append float32 → bfloat16 → float32 behind `operand`; the name by which the result is taken."""
    import tensorflow as tf

    source = operand
    for target, word in ((tf.bfloat16, "down"), (tf.float32, "up")):
        cast = nodes.add()
        cast.op = "Cast"
        cast.name = f"ckptkit_bfloat16_{word}_{number}"
        cast.input.append(source)
        given = tf.float32 if target is tf.bfloat16 else tf.bfloat16
        cast.attr["SrcT"].type = given.as_datatype_enum
        cast.attr["DstT"].type = target.as_datatype_enum
        cast.attr["Truncate"].b = False
        # Inside a function body an output is named `node:argument:index`; `y` is Cast's only output.
        source = f"{cast.name}:y:0" if inside_function else cast.name
    return source
