"""`progress_bar`: nothing for quick work or where nobody looks, else a bar that says how far it is."""

from __future__ import annotations

import io
import sys
import threading

import pytest

import ckptkit
from ckptkit.report import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """`time` of the module under test; moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Cell:
    """Stands for IPython: a shell with a kernel, and the outputs of one cell."""

    def __init__(self) -> None:
        self.kernel = object()
        self.outputs: list[tuple[str, dict[str, str]]] = []

    def get_ipython(self) -> Cell:
        return self

    def put(self, how: str, data: dict[str, str]) -> None:
        self.outputs.append((how, data))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    display = pytest.importorskip("IPython.display")
    made = Cell()
    monkeypatch.setitem(sys.modules, "IPython", made)
    monkeypatch.setattr(display.DisplayHandle, "display", lambda self, data, raw: made.put("new", data))
    monkeypatch.setattr(display.DisplayHandle, "update", lambda self, data, raw: made.put("same", data))
    return made


def test_where_nobody_looks_nothing_is_drawn(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ckptkit.progress_bar() as advance:
        clock.now += 10
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_quick_work_shows_none(clock: Clock, cell: Cell) -> None:
    with ckptkit.progress_bar() as advance:
        clock.now += 0.4
        advance(10, 10)
    assert cell.outputs == []


def test_a_terminal_has_it_while_it_lasts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with ckptkit.progress_bar() as advance:
        clock.now += 1
        advance(3 << 20, 4 << 20)
    assert "MiB" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is gone


def test_a_notebook_has_one_output_that_changes(clock: Clock, cell: Cell) -> None:
    with ckptkit.progress_bar() as advance:
        for done in range(0, 101, 5):
            clock.now += 0.06
            advance(done << 20, 100 << 20)
    hows, data = zip(*cell.outputs, strict=True)
    assert hows[0] == "new"
    assert set(hows[1:]) == {"same"}
    assert 5 <= len(hows) <= 10  # at most ten a second of the 1.26 s, none in the first half
    assert '<progress value="41943040" max="104857600"' in data[0]["text/html"]
    assert data[0]["text/plain"].endswith("40.0 MiB of 100 MiB · 74.1 MiB/s · 1 s left")
    assert data[-1] == {"text/html": "100 MiB in 1.3 s", "text/plain": "100 MiB in 1.3 s"}


def test_what_stops_early_says_how_far_it_came(clock: Clock, cell: Cell) -> None:
    def interrupted() -> None:
        with ckptkit.progress_bar() as advance:
            clock.now += 1
            advance(1 << 20, 4 << 20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cell.outputs[-1][1]["text/plain"] == "stopped at 1.0 MiB of 4.0 MiB in 1.0 s"


def test_nothing_in_all_divides_by_nothing(clock: Clock, cell: Cell) -> None:
    with ckptkit.progress_bar() as advance:
        clock.now += 1
        advance(0, 0)
    assert cell.outputs[-1][1]["text/plain"] == "0 B in 1.0 s"


def test_threads_may_tell_it(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_MOMENT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_REDRAW_SECONDS", 0.0)
    with ckptkit.progress_bar() as advance:

        def work() -> None:
            for done in range(500):
                advance(done, 500)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [how for how, _ in cell.outputs].count("new") == 1
    assert len(cell.outputs) > 4
