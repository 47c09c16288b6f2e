"""The layout notation: what it parses to, what shapes it solves, what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.conventions import ROWS, Row
from ckptkit.conventions.layout import Gate, parse_layout, solve
from tests.conventions.layers import DIMS, dims_of, shape_of


def test_gates() -> None:
    axis = parse_layout("-zr^n*H").axes[0]
    assert axis.pieces[0].gates == (Gate("z", negated=True), Gate("r", raised=True), Gate("n"))
    assert axis.pieces[0].dims == ("H",)


def test_joined_axes_products_and_fill_order() -> None:
    layout = parse_layout("1 I+H C.M ifgo*H @ * I")
    assert [len(axis.pieces) for axis in layout.axes] == [1, 2, 1, 1]
    assert layout.axes[0].pieces[0].dims == ()
    assert layout.axes[2].pieces[0].dims == ("C", "M")
    assert layout.filled == ("*", "I")


@pytest.mark.parametrize("text", ["i", "2", "IO", "*H", "i!*H", "I.o", "3*H"])
def test_what_is_no_layout(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_layout(text)


@pytest.mark.parametrize(
    ("pairs", "dims"),
    [
        ([("I O", (3, 4)), ("O", (4,))], {"I": 3, "O": 4}),
        ([("I O", (3, 4)), ("O", (3,))], None),
        ([("I O", (3, 4, 5))], None),
        ([("I+H ifgo*H", (30, 40)), ("ifgo*H", (40,))], {"I": 20, "H": 10}),
        ([("I+H ifgo*H", (10, 40))], None),
        ([("I+H ifgo*H", (30, 42))], None),
        ([("I+H", (30,))], None),
        ([("zrn*H+zrn*H", (30,))], {"H": 5}),
        ([("1+1 zrn*H", (2, 30))], {"H": 10}),
        ([("1+1 zrn*H", (3, 30))], None),
        ([("1 1 C.M O", (1, 1, 6, 5)), ("X Y C M", (2, 4, 3, 2))], {"C": 3, "M": 2, "O": 5, "X": 2, "Y": 4}),
        ([("1 O", (2, 5))], None),
        ([("1.. C", (1, 1, 7))], {"C": 7}),
        ([("1.. C", (7,))], {"C": 7}),
        ([("1.. C", (1, 2, 7))], None),
        ([("1.. C 1..", (1, 7, 1, 1)), ("C 1..", (7, 1, 1))], {"C": 7}),
        ([("1.. C 1..", (1, 1, 1))], {"C": 1}),
        ([("...", (3, 4))], {}),
        ([("", ())], {}),
        ([("", (1,))], None),
        ([("I O", (0, 4))], None),
    ],
)
def test_solving(pairs: list[tuple[str, tuple[int, ...]]], dims: dict[str, int] | None) -> None:
    assert solve(pairs) == dims


def test_products_that_a_row_takes_apart() -> None:
    assert solve([("I N K", (3, 4, 5))], [("O", "N.K")]) == {"I": 3, "N": 4, "K": 5, "O": 20}
    assert solve([("I N K", (3, 4, 5)), ("O", (21,))], [("O", "N.K")]) is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_row_is_solved_from_its_shapes(row: Row, data: st.DataObject) -> None:
    sizes = {name: data.draw(st.integers(1, 9)) for name in DIMS}
    units = data.draw(st.integers(0, 3))
    dims = dims_of(row, sizes)
    weights = [native for native in row.natives if native.kind == "weight"]
    found = solve([(native.layout, shape_of(native.layout, dims, units=units)) for native in weights], row.where)
    assert found is not None
    assert found == {name: dims[name] for name in found}
