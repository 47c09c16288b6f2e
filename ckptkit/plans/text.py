"""Plans as JSON: made to be read in a review and edited by hand; `docs/plan.schema.json` is the schema.

An operation is an object with one key that is its word, under which its operand stands:
`{"slice": {"read": "cell/kernel", "shape": [9, 4], "dtype": "float32"}, "axis": 0, "start": 0, "stop": 5}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

from ckptkit import dtypes
from ckptkit.errors import UsageError, without_secrets
from ckptkit.model import TensorSpec
from ckptkit.plans.document import Choice, Fingerprints, Kept, Open, Plan, Step, check_plan
from ckptkit.plans.ops import WORDS, AddLowRank, Concat, Fill, GatherRows, Op, Read, Sum, Template, word_of

SCHEMA = "ckptkit.remap/1"

# The planner nests no deeper than 10; the limit keeps every walk over an edited plan far from Python's own.
_DEEPEST = 40

# No tensor of any format has more axes (TensorFlow allows 254) and no axis is longer (signed 64 bits).
_MOST_AXES = 254
_LONGEST_AXIS = 2**63 - 1

_T = TypeVar("_T")


def encode_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data."""
    prints = plan.fingerprints
    taken = {} if prints is None else {"fingerprints": {"source": dict(prints.source), "target": dict(prints.target)}}
    return {
        "schema": SCHEMA,
        "source": without_secrets(plan.source),
        "target": without_secrets(plan.target),
        "by": plan.by,
        "order_source": None if plan.order_source is None else list(plan.order_source),
        **taken,
        "steps": [_encode_step(step) for step in plan.steps],
        "kept": [{"target": kept.target, "key": kept.key, "why": kept.why} for kept in plan.kept],
        "missing": list(plan.missing),
        "unexpected": list(plan.unexpected),
        "ambiguous": list(plan.ambiguous),
        "open": [_encode_open(place) for place in plan.open],
        "left_out": list(plan.left_out),
    }


def _encode_step(step: Step) -> dict[str, Any]:
    encoded = {
        "target": step.target.name,
        "key": step.key,
        "shape": list(step.target.shape),
        "dtype": step.target.dtype,
        "op": encode_op(step.op),
        "evidence": list(step.evidence),
        "confidence": None if step.confidence is None else round(step.confidence, 3),
        "doubts": list(step.doubts),
    }
    return {**encoded, "copies": [encode_op(copy) for copy in step.copies]} if step.copies else encoded


def _encode_open(place: Open) -> dict[str, Any]:
    candidates = [
        {
            "source": choice.source.name,
            "shape": list(choice.source.shape),
            "dtype": choice.source.dtype,
            "for": list(choice.speaks_for),
            "against": list(choice.against),
        }
        for choice in place.candidates
    ]
    return {
        "target": place.target.name,
        "key": place.key,
        "shape": list(place.target.shape),
        "dtype": place.target.dtype,
        "candidates": candidates,
        "why": place.why,
    }


def encode_op(op: Op) -> dict[str, Any]:
    """One operation as JSON data."""
    first, *rest = (field.name for field in fields(op))
    operand = getattr(op, first)
    match op:
        case Concat() | Sum():
            operand = [encode_op(part) for part in operand]
        case Read() | Fill() | Template():
            pass
        case _:
            operand = encode_op(operand)
    values = {name: getattr(op, name) for name in rest}
    if isinstance(op, AddLowRank):
        values.update(left=encode_op(op.left), right=encode_op(op.right))
    if isinstance(op, GatherRows):
        values.update(base=encode_op(op.base))
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {word_of(op): operand, **plain}


def parse_plan(text: str | bytes) -> Plan:
    """The plan that `text` holds, proven on shapes.

    Raises:
        UsageError: it is not JSON, not a plan of this version, has an unknown key or a wrong type, or its shapes do
            not fit; says where.
    """
    try:
        data = json.loads(text, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the plan is not JSON ({type(error).__name__})") from error
    plan = _parse_document(data)
    check_plan(plan)
    return plan


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two members with one name the first would be lost silently."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise UsageError("a key stands twice", key=next(name for name in names if names.count(name) > 1))
    return members


def _parse_document(data: object) -> Plan:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise UsageError("not a plan that this version reads", key="schema", expected=SCHEMA, found=schema)
    order = "order_source"
    values = _object(data, "plan", _DOCUMENT, {"fingerprints": None, "open": (), "left_out": ()})
    if values[order] is not None and len(values[order]) != 2:
        raise UsageError("wants two words, for source and target, or null", key=order)
    values.pop("schema")
    return Plan(**values)


def _parse_fingerprints(value: object, where: str) -> Fingerprints:
    return Fingerprints(**_object(value, where, {"source": _strings_by_name, "target": _strings_by_name}))


def _strings_by_name(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise UsageError("wants an object", key=where, found=_kind(value))
    return {name: _string(each, f"{where}.{name}") for name, each in value.items()}


def _parse_step(value: object, where: str) -> Step:
    values = _object(value, where, _STEP, {"copies": (), "confidence": None})
    target = TensorSpec(values.pop("target"), values.pop("shape"), values.pop("dtype"))
    return Step(target=target, **values)


def _parse_kept(value: object, where: str) -> Kept:
    return Kept(**_object(value, where, {"target": _string, "key": _string, "why": _string}))


def _parse_open(value: object, where: str) -> Open:
    values = _object(value, where, _OPEN, {"candidates": (), "why": ""})
    target = TensorSpec(values.pop("target"), values.pop("shape"), values.pop("dtype"))
    return Open(target=target, **values)


def _parse_choice(value: object, where: str) -> Choice:
    values = _object(value, where, _CHOICE, {"for": (), "against": ()})
    source = TensorSpec(values["source"], values["shape"], values["dtype"])
    return Choice(source, values["for"], values["against"])


def _parse_op(value: object, where: str, depth: int = 0) -> Op:
    if depth > _DEEPEST:
        raise UsageError("operations nest too deep", key=where, expected=f"at most {_DEEPEST} levels")
    words = [key for key in value if key in WORDS] if isinstance(value, dict) else []
    if len(words) != 1:
        raise UsageError("wants one operation", key=where, expected=" | ".join(WORDS), found=words or _kind(value))
    word = words[0]
    kind = WORDS[word]
    first, *rest = (field.name for field in fields(kind))

    def inner(operand: object, place: str) -> Op:
        return _parse_op(operand, place, depth + 1)

    parsers: dict[str, _Parser] = {name: _FIELDS.get(name, inner) for name in rest}
    match kind.__name__:
        case "Read" | "Template":
            parsers[word] = _string
        case "Fill":
            parsers[word] = _number
        case "Concat" | "Sum":
            parsers[word] = _list_of(inner)
        case _:
            parsers[word] = inner
    values = _object(value, where, parsers)
    return kind(**{first: values.pop(word), **values})


_Parser = Callable[[object, str], Any]


def _object(
    value: object, where: str, parsers: Mapping[str, _Parser], defaults: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """The members of a JSON object, each parsed by its own parser; no member may be unknown or lacking."""
    if not isinstance(value, dict):
        raise UsageError("wants an object", key=where, found=_kind(value))
    defaults = defaults or {}
    for key in value:
        if key not in parsers:
            raise UsageError("unknown key", key=f"{where}.{key}", expected=", ".join(parsers))
    lacking = next((key for key in parsers if key not in value and key not in defaults), None)
    if lacking is not None:
        raise UsageError("lacks a key", key=where, expected=lacking)
    return {
        key: parse(value[key], f"{where}.{key}") if key in value else defaults[key] for key, parse in parsers.items()
    }


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError("wants a string", key=where, found=_kind(value))
    return value


def _dtype(value: object, where: str) -> str:
    if _string(value, where) not in dtypes.BY_NAME:
        raise UsageError("no such dtype", key=where, found=value)
    return cast("str", value)


def _number(value: object, where: str) -> float:
    # 2**1000 keeps the conversion itself from failing.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2.0**1000:
        raise UsageError("wants a finite number", key=where, found=_kind(value))
    return float(value)


def _natural(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LONGEST_AXIS:
        raise UsageError("wants a number from 0", key=where, found=_kind(value))
    return value


def _naturals(value: object, where: str) -> tuple[int, ...]:
    numbers = _list_of(_natural)(value, where)
    if len(numbers) > _MOST_AXES or math.prod(numbers) > _LONGEST_AXIS:
        raise UsageError("no tensor is that large", key=where)
    return numbers


def _rows(value: object, where: str) -> tuple[int | None, ...]:
    return _list_of(lambda item, place: None if item is None else _natural(item, place))(value, where)


def _list_of(parse: Callable[[object, str], _T]) -> Callable[[object, str], tuple[_T, ...]]:
    def parse_all(value: object, where: str) -> tuple[_T, ...]:
        if not isinstance(value, list):
            raise UsageError("wants a list", key=where, found=_kind(value))
        return tuple(parse(item, f"{where}[{place}]") for place, item in enumerate(value))

    return parse_all


def _kind(value: object) -> str:
    """JSON's word for a value's type, for messages: the value itself may be of any size."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


_FIELDS: dict[str, _Parser] = {
    "shape": _naturals,
    "dtype": _dtype,
    "axes": _naturals,
    "axis": _natural,
    "start": _natural,
    "stop": _natural,
    "order": _naturals,
    "blocks": _natural,
    "block": _natural,
    "value": _number,
    "scale": _number,
    "rows": _rows,
}
_STEP: dict[str, _Parser] = {
    "target": _string,
    "key": _string,
    "shape": _naturals,
    "dtype": _dtype,
    "op": _parse_op,
    "evidence": _list_of(_string),
    "confidence": lambda value, where: None if value is None else _number(value, where),
    "doubts": _list_of(_string),
    "copies": _list_of(_parse_op),
}
_CHOICE: dict[str, _Parser] = {
    "source": _string,
    "shape": _naturals,
    "dtype": _dtype,
    "for": _list_of(_string),
    "against": _list_of(_string),
}
_OPEN: dict[str, _Parser] = {
    "target": _string,
    "key": _string,
    "shape": _naturals,
    "dtype": _dtype,
    "candidates": _list_of(_parse_choice),
    "why": _string,
}
_DOCUMENT: dict[str, _Parser] = {
    "schema": _string,
    "source": _string,
    "target": _string,
    "by": _string,
    "order_source": lambda value, where: None if value is None else _list_of(_string)(value, where),
    "steps": _list_of(_parse_step),
    "kept": _list_of(_parse_kept),
    "missing": _list_of(_string),
    "unexpected": _list_of(_string),
    "ambiguous": _list_of(_string),
    "fingerprints": _parse_fingerprints,
    "open": _list_of(_parse_open),
    "left_out": _list_of(_string),
}
