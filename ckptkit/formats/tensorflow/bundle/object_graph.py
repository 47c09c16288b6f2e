"""The object graph that `tf.train.Checkpoint` stores as a string beside the variables.

Source: tensorflow/core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.tensorflow.wire import (
    Buffer,
    encode_bytes,
    encode_number,
    encode_text,
    field_bytes,
    length_tag,
    number,
    parse_fields,
    text,
    varint_tag,
)
from ckptkit.model import GraphAttribute, GraphNode, GraphSlot, ObjectGraph

if TYPE_CHECKING:
    from collections.abc import Iterable

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""Bundle key of the graph (`OBJECT_GRAPH_PROTO_KEY` in tensorflow/python/trackable/base.py)."""

VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What the key of a variable ends in: attribute `VARIABLE_VALUE` of the object that the rest of it leads to."""

# A few hundred bytes and some ten microseconds each; a model of 100,000 variables with two slots has about as many.
MAX_NODES = 400_000

# Children, attributes and slots of all nodes: two bytes in the file, a hundred in memory.
MAX_REFERENCES = 2_000_000

_FIRST, _SECOND, _THIRD = length_tag(1), length_tag(2), length_tag(3)
_FIRST_NUMBER, _THIRD_NUMBER = varint_tag(1), varint_tag(3)


def parse_object_graph(data: Buffer) -> tuple[ObjectGraph, tuple[str, ...]]:
    """The graph, and what is wrong with it: references that lead to no node are left out and named.

    Raises:
        FormatError: the message is malformed or has no nodes.
        LimitError: it has more nodes than `MAX_NODES`.
    """
    bodies = [field_bytes(value) for tag, value in parse_fields(data) if tag == _FIRST]
    if not bodies:
        raise FormatError("the object graph has no nodes")
    if len(bodies) > MAX_NODES:
        raise LimitError("the object graph is too large", expected=f"at most {MAX_NODES} nodes", found=len(bodies))
    dangling: list[int] = []
    nodes = []
    references = 0
    for body in bodies:
        node = _parse_node(body, len(bodies), dangling)
        references += len(node.children) + len(node.attributes) + len(node.slots)
        if references > MAX_REFERENCES:
            raise LimitError("the object graph is too large", expected=f"at most {MAX_REFERENCES} references")
        nodes.append(node)
    if not dangling:
        return ObjectGraph(tuple(nodes)), ()
    lost = f"node {dangling[0]} of {len(bodies)}" + (f", and {len(dangling) - 1} more" if len(dangling) > 1 else "")
    return ObjectGraph(tuple(nodes)), (f"the object graph refers to what it does not have: {lost}",)


def parse_children(values: Iterable[Buffer], count: int, dangling: list[int]) -> tuple[tuple[str, int], ...]:
    """(name, node) of every `ObjectReference`; those beyond `count` nodes go to `dangling` instead."""
    children = []
    for value in values:
        node, name = 0, ""
        for tag, inner in parse_fields(value):
            if tag == _FIRST_NUMBER:
                node = number(inner)
            elif tag == _SECOND:
                name = text(inner)
        if 0 <= node < count:
            children.append((name, node))
        else:
            dangling.append(node)
    return tuple(children)


def _parse_node(data: bytes, count: int, dangling: list[int]) -> GraphNode:
    children: list[Buffer] = []
    attributes: list[GraphAttribute] = []
    slots: list[GraphSlot] = []
    for tag, value in parse_fields(data):
        if tag == _FIRST:
            children.append(field_bytes(value))
        elif tag == _SECOND:
            attributes.append(_parse_attribute(field_bytes(value)))
        elif tag == _THIRD:
            slot = _parse_slot(field_bytes(value))
            lost = [node for node in (slot.original, slot.slot) if not 0 <= node < count]
            if lost:
                dangling += lost
            else:
                slots.append(slot)
    return GraphNode(parse_children(children, count, dangling), tuple(attributes), tuple(slots))


def _parse_attribute(data: bytes) -> GraphAttribute:
    name = full_name = key = ""
    for tag, value in parse_fields(data):
        if tag == _FIRST:
            name = text(value)
        elif tag == _SECOND:
            full_name = text(value)
        elif tag == _THIRD:
            key = text(value)
    return GraphAttribute(name, full_name, key)


def _parse_slot(data: bytes) -> GraphSlot:
    original = slot = 0
    name = ""
    for tag, value in parse_fields(data):
        if tag == _FIRST_NUMBER:
            original = number(value)
        elif tag == _SECOND:
            name = text(value)
        elif tag == _THIRD_NUMBER:
            slot = number(value)
    return GraphSlot(original, name, slot)


def encode_object_graph(graph: ObjectGraph) -> bytes:
    """A `TrackableObjectGraph`; identifiers and metadata, which only SavedModels have, are not in it."""
    return b"".join(encode_bytes(1, _encode_node(node)) for node in graph.nodes)


def _encode_node(node: GraphNode) -> bytes:
    children = [encode_number(1, child) + encode_text(2, name) for name, child in node.children]
    attributes = [
        encode_text(1, attribute.name) + encode_text(2, attribute.full_name) + encode_text(3, attribute.key)
        for attribute in node.attributes
    ]
    slots = [
        encode_number(1, slot.original) + encode_text(2, slot.slot_name) + encode_number(3, slot.slot)
        for slot in node.slots
    ]
    fields = ((1, children), (2, attributes), (3, slots))
    return b"".join(encode_bytes(field, body) for field, bodies in fields for body in bodies)
