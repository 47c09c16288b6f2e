"""The table of figures that a run of the benchmarks ends with, and that `docs/performance.md` shows."""

from __future__ import annotations

import datetime as dt
import os
import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from tests.benchmarks.measure import ROUNDS, Run

MIB = 1 << 20
BEGIN, END = "<!-- benchmarks: written by the command above -->", "<!-- benchmarks: end -->"
_HEAD = ("part", "what", "figure", "CPU", "compared with", "ratio", "peak memory", "bound", "held")
_BUSY = 0.35  # processes that want a core, per core; more than this and they take a visible share from the benchmarks
_PACKAGES = ("numpy", "h5py", "tensorflow", "keras")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        part: what it is about: the name of the benchmark's file.
        what: what was measured.
        figure: how much.
        unit: of what.
        against: what it is compared with; "" for nothing.
        ratio: `figure` over that one's.
        peak: largest resident memory, in bytes; None where it was not measured.
        cpu: seconds of CPU; likewise.
        bounds: what it should keep, in words.
        held: whether it does.
    """

    part: str
    what: str
    figure: float
    unit: str
    against: str
    ratio: float | None
    peak: int | None
    cpu: float | None
    bounds: tuple[str, ...]
    held: bool

    def cells(self) -> tuple[str, ...]:
        """As the table shows it, without the part."""
        return (
            self.what,
            f"{shown(self.figure)} {self.unit}",
            "" if self.cpu is None else f"{shown(self.cpu)} s",
            self.against,
            "" if self.ratio is None else f"{shown(self.ratio)} ×",
            "" if self.peak is None else f"{self.peak / MIB:,.0f} MiB",
            ", ".join(self.bounds),
            ("✓" if self.held else "✗ missed") if self.bounds else "",
        )


@dataclass(slots=True)
class Table:
    """Rows in the order in which they were measured, and what the machine did besides when they were begun."""

    rows: list[Row] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def markdown(self) -> str:
        """The table, headed by machine and date."""
        busy = " (busy: the figures are not to be trusted)" if self.load > _BUSY * (os.cpu_count() or 1) else ""
        lines = [f"{machine()}; load {self.load:.1f}{busy} before it began.", ""]
        lines.extend((_line(_HEAD), _line(("---",) * len(_HEAD))))
        previous = ""
        for row in self.rows:
            lines.append(_line(("" if row.part == previous else f"**{row.part}**", *row.cells())))
            previous = row.part
        return "\n".join(lines) + "\n"

    def write(self, page: Path) -> None:
        """Put the table into `page` between its two marks.

        Raises:
            ValueError: the page does not have both marks, once and in order.
        """
        text = page.read_text(encoding="utf-8")
        if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
            raise ValueError(f"{page}: should hold {BEGIN!r} and then {END!r}, once each")
        before, after = text[: text.index(BEGIN)], text[text.index(END) :]
        page.write_text(f"{before}{BEGIN}\n\n{self.markdown()}\n{after}", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one file of benchmarks."""

    name: str
    table: Table

    def add(
        self,
        what: str,
        measured: Run | float,
        unit: str = "s",
        *,
        against: Row | None = None,
        ratio_most: float | None = None,
        ratio_least: float | None = None,
        most: float | None = None,
        peak_most: int | None = None,
        cpu_most: float | None = None,
        cpu_ratio_most: float | None = None,
    ) -> Row:
        """Note a figure; the benchmark asserts that the row `held`.

        Args:
            what: what was measured.
            measured: a command's run, or a figure.
            unit: of the figure.
            against: an earlier row that the ratio is taken to.
            ratio_most: bound of that ratio.
            ratio_least: the other bound of it.
            most: bound of the figure itself.
            peak_most: bound of the peak memory, in MiB.
            cpu_most: bound of the seconds of CPU.
            cpu_ratio_most: bound of the seconds of CPU over those of `against`.
        """
        figure, peak = (measured.seconds, measured.peak) if isinstance(measured, Run) else (measured, None)
        cpu = measured.cpu if isinstance(measured, Run) else None
        cpu_ratio = None if against is None or cpu is None or against.cpu is None else cpu / against.cpu
        ratio = None if against is None else figure / against.figure
        bounds: list[str] = []
        held = True
        for value, sign, limit, word in (
            (ratio, "≤", ratio_most, "×"),
            (ratio, "≥", ratio_least, "×"),
            (figure, "≤", most, unit),
            (None if peak is None else peak / MIB, "≤", peak_most, "MiB"),
            (cpu, "≤", cpu_most, "s of CPU"),
            (cpu_ratio, "≤", cpu_ratio_most, "× the CPU"),
        ):
            if limit is not None:
                bounds.append(f"{sign} {limit:g} {word}")
                held = held and value is not None and (value <= limit if sign == "≤" else value >= limit)
        row = Row(
            self.name, what, figure, unit, against.what if against else "", ratio, peak, cpu, tuple(bounds), held
        )  # fmt: skip
        self.table.rows.append(row)
        return row


def shown(figure: float) -> str:
    """Three digits, or all that are left of the point."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.{1 if figure >= 10 else 2 if figure >= 1 else 3}f}"


def machine() -> str:
    """Date, processor, memory and versions, as one sentence without its end."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    versions = [f"{distribution} {metadata.version(distribution)}" for distribution in _PACKAGES]
    return (
        f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB of memory, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{', '.join(versions)}; best of {ROUNDS} with a warm page cache"
    )


def _processor() -> str:
    """Its name, the numbers that tell its generation (vendors name several alike), and the cache that each core has."""
    info = Path("/proc/cpuinfo")
    told: dict[str, str] = {}
    for line in info.read_text().splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    name = told.get("model name") or platform.processor() or "unknown processor"
    if "cpu family" in told:
        name += f" (family {told['cpu family']}, model {told.get('model', '?')})"
    cache = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    return f"{name} with {cache.read_text().strip()} of L2" if cache.exists() else name


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
