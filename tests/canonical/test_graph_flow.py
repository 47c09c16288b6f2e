"""What feeds what in a TensorFlow 1 graph, made by hand node by node."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial

from ckptkit.canonical.graph_flow import read_flow
from ckptkit.model import Contents, GraphOp, MetaGraph, MetaVariable
from tests.canonical.made import built, tensor


def _nodes(text: str) -> tuple[GraphOp, ...]:
    """Nodes from lines of `name type input input …`."""
    rows = (line.split() for line in text.splitlines() if line)
    return tuple(GraphOp(name, kind, tuple(inputs)) for name, kind, *inputs in rows)


def _flow(text: str, layers: Mapping[str, str]) -> Mapping[str, tuple[str, ...]] | None:
    found = read_flow(partial(_nodes, text), layers)
    return found.feeds if found else None


def _dense(name: str, source: str) -> str:
    return f"""
{name}/kernel VariableV2
{name}/kernel/read Identity {name}/kernel
{name}/bias VarHandleOp
{name}/b ReadVariableOp {name}/bias
{name}/MatMul MatMul {source} {name}/kernel/read
{name}/BiasAdd BiasAdd {name}/MatMul {name}/b"""


LAYERS = {f"{layer}/{word}": layer for layer in ("a", "b", "c") for word in ("kernel", "bias")}


def test_weights_through_nodes_without_weights() -> None:
    text = f"""
x Placeholder
y Placeholder
{_dense("a", "x")}
{_dense("b", "y")}
keep Const
a/Relu Relu a/BiasAdd
drop Mul a/Relu keep
cat ConcatV2 b/BiasAdd drop
size Shape y
shaped Reshape cat size
{_dense("c", "shaped")}
decay L2Loss b/kernel/read
loss AddN c/BiasAdd decay
"""
    assert _flow(text, LAYERS) == {"a": ("input:0",), "b": ("input:1",), "c": ("b", "a")}


def test_a_branch_says_nothing_and_writes_are_no_use() -> None:
    text = f"""
x Placeholder
training Placeholder
{_dense("a", "x")}
left Switch a/BiasAdd training
merged Merge left left
{_dense("b", "merged")}
update AssignSub a/kernel b/BiasAdd
"""
    assert _flow(text, LAYERS) == {"a": ("input:0",), "b": ("a",)}


def test_what_a_loop_gives_and_feeds_back() -> None:
    text = f"""
x Placeholder
zeros Const
enter Enter zeros
merge Merge enter next
switch Switch merge x
read TensorArrayReadV3 x
cat ConcatV2 read switch
{_dense("a", "cat")}
{_dense("b", "a/BiasAdd")}
next NextIteration b/BiasAdd
exit Exit switch
{_dense("c", "exit")}
"""
    assert _flow(text, LAYERS) == {"a": ("input:0", "b"), "b": ("a",), "c": ("b",)}


def test_of_a_function_with_several_layers_nothing_is_known_but_what_follows() -> None:
    text = f"""
x Placeholder
a/kernel VarHandleOp
b/kernel VarHandleOp
call StatefulPartitionedCall x a/kernel b/kernel
{_dense("c", "call")}
"""
    assert _flow(text, LAYERS) == {"c": ("a", "b")}


def test_partitions_cycles_and_missing_nodes() -> None:
    text = """
x Placeholder
a/kernel/part_0 VariableV2
a/kernel/part_1 VariableV2
joined ConcatV2 a/kernel/part_0 a/kernel/part_1 nowhere
product MatMul x joined
round Add round product
"""
    assert _flow(text, LAYERS) == {"a": ("input:0",)}
    assert _flow("", LAYERS) is None


def test_too_much_to_pass_on_is_not_passed_on() -> None:
    lines = ["x Placeholder", *(f"v{n} VariableV2\nm{n} MatMul x v{n}" for n in range(2500))]
    lines += [
        "all0 AddN " + " ".join(f"m{n}" for n in range(2500)),
        *(f"all{n} Relu all{n - 1}" for n in range(1, 1000)),
    ]
    assert _flow("\n".join(lines), {f"v{n}": f"v{n}" for n in range(2500)}) is None


def test_layers_of_a_checkpoint_with_a_graph() -> None:
    names = [f"{layer}/{word}" for layer in ("b", "a") for word in ("kernel", "bias")]
    tensors = tuple(tensor(name, (4, 4) if name.endswith("kernel") else (4,)) for name in names)
    nodes = partial(_nodes, "x Placeholder" + _dense("b", "x") + _dense("a", "b/BiasAdd"))
    meta = MetaGraph(tuple(MetaVariable(name, True) for name in names), {}, nodes)
    spec = built(Contents("tensor-bundle", None, tensors, None, meta))
    assert all(layer.feeds is None for layer in spec.layers)
    spec = pickle.loads(pickle.dumps(spec)).with_flow()
    assert {layer.name: layer.feeds for layer in spec.layers} == {"b": ("input:0",), "a": ("b",)}
    assert all(layer.feeds is None for layer in built(Contents("tensor-bundle", None, tensors)).with_flow().layers)
