"""The tables themselves, and the page that is made from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ckptkit.conventions import FURTHER, ROWS, Row, by_id, rows_of
from ckptkit.conventions.layout import parse_layout
from ckptkit.conventions.page import page
from tests.conftest import ROOT

DIALECTS = (
    "keras0",
    "keras1",
    "keras2",
    "keras3",
    "tf_layers",
    "rnn_cell",
    "slim",
    "sonnet1",
    "sonnet2",
    "torch",
    "flax",
    "haiku",
    "by_hand",
)


def test_ids_are_unique_and_found() -> None:
    assert max(Counter(row.id for row in (*ROWS, *FURTHER)).values()) == 1
    assert all(by_id(row.id) is row for row in (*ROWS, *FURTHER))
    with pytest.raises(KeyError):
        by_id("keras3/Nothing")


def test_every_dialect_has_its_rows() -> None:
    assert {row.dialect for row in ROWS} == set(DIALECTS)
    assert tuple(row for dialect in DIALECTS for row in rows_of(dialect)) != ()
    assert rows_of("plain") == ()


@pytest.mark.parametrize("row", [*ROWS, *FURTHER], ids=lambda row: row.id)
def test_a_row_is_whole(row: Row) -> None:
    assert row.source
    suffixes = [name for native in row.natives for name in (native.suffix, *native.aliases)]
    assert len(suffixes) == len(set(suffixes))
    for native in row.natives:
        layout = parse_layout(native.layout)
        assert native.kind in ("weight", "state")
        factor = any(native.suffix in factors for _, *factors in row.adapters)
        assert bool(native.roles) == (native.kind == "weight" and not factor)
        joined = {len(axis.pieces) for axis in layout.axes} - {0, 1}
        assert joined <= {len(native.roles)}, "an axis is joined of as many pieces as there are roles"
        assert len(native.roles) <= 1 or joined


def test_every_kind_is_known_to_keras_or_to_several_dialects() -> None:
    keras = {row.kind for row in (*ROWS, *FURTHER) if row.dialect == "keras3"}
    assert {row.kind for row in (*ROWS, *FURTHER)} - keras == {"VectorQuantizer", "VectorQuantizerEMA"}


def test_the_page_is_made_from_the_tables() -> None:
    written = Path(ROOT, "docs", "conventions.md").read_text(encoding="utf-8")
    assert written == page(), "run `python -m ckptkit.conventions > docs/conventions.md`"
    assert all(f"| `{row.name}` |" in written for row in ROWS)
