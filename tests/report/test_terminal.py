"""Pages: widths, wrapping, escaping."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ckptkit.report.terminal import Column, Styled, TerminalPage, _wrap
from ckptkit.report.words import count, listing, number, size


def page(width: int) -> tuple[TerminalPage, io.StringIO]:
    stream = io.StringIO()
    made = TerminalPage(stream)
    made.width = width
    return made, stream


def test_lists_break_between_their_items() -> None:
    assert _wrap("kernel [3, 4] f32 · bias [4] f32", 20) == ["kernel [3, 4] f32 ·", "bias [4] f32"]
    assert _wrap("decoder/cell/kernel", 13) == ["decoder/cell/", "kernel"]
    assert _wrap("short", 13) == ["short"]


@given(st.text(st.sampled_from("ab /·漢"), max_size=60), st.integers(4, 40))
def test_wrapping_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    lines = _wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width or (cell_len(line) <= 2 * width and "漢" in line) for line in lines)


def test_a_table_fits_the_page_where_columns_wrap() -> None:
    made, stream = page(40)
    made.table(
        (Column("name", wrap=True), Column("n", "right")), [("one two three four five six seven eight nine", "12")]
    )
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[1].endswith("12")


def test_pipes_are_not_wrapped_and_not_coloured() -> None:
    stream = io.StringIO()
    TerminalPage(stream).table((Column("name", wrap=True, style="bold"),), [("word " * 100,), (Styled("x", "red"),)])
    assert len(stream.getvalue().splitlines()) == 3
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("evil", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\u2028b", "a\rb", "a\x9bb"])
def test_nothing_from_a_name_moves_the_cursor(evil: str) -> None:
    made, stream = page(80)
    made.line(evil)
    made.paragraph(evil)
    made.table((Column(),), [(evil,), (Styled(evil, "bold"),)])
    assert len(stream.getvalue().splitlines()) == 4
    assert all(character.isprintable() or character == "\n" for character in stream.getvalue())


def test_words() -> None:
    assert (count(1, "layer"), count(1234, "layer"), count(2, "entry", "entries")) == (
        "1 layer",
        "1,234 layers",
        "2 entries",
    )
    assert (size(1023), size(27136), size(5 << 30), size(3 << 50)) == ("1023 B", "26.5 KiB", "5.0 GiB", "3072 TiB")
    assert (number(0.0), number(0.61234), number(1.1e-7)) == ("0", "0.612", "1.1e-07")
    assert listing(["a", "b", "c", "d"]) == "a, b, c and 1 more"
