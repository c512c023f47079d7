"""Talking to the person at the terminal: messages and progress on stderr, tables of figures on stdout, which stays
clean for ``--json``.

On a terminal a step shows a bar with rate, time left and fields; elsewhere (a log, CI) a plain line every ten seconds.
Left out: logging levels and log files. What must last is written to a run's metrics.jsonl.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rise_vlm.ranks import is_main, rank

PLAIN_INTERVAL = 10.0
"""Seconds between two progress lines where there is no terminal."""

_active: list[Live] = []


def many(number: int, noun: str) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def say(text: str, *, everywhere: bool = False) -> None:
    """Print one message on stderr, above the bar when one is shown. Of several processes the main one alone speaks, or
    with ``everywhere`` this one too, and says which it is."""
    if not is_main():
        if everywhere:
            print(f"process {rank()}: {text}", file=sys.stderr, flush=True)
    elif _active:
        _active[-1].console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


def stdout_console() -> Console:
    """Where a command prints its figures. A file or a pipe has no edge at which to cut them off: 160 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def figures_table() -> Table:
    """An empty table as all commands print theirs."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def duration(seconds: float) -> str:
    """``8 s``, ``3 min 05 s`` or ``2 h 07 min``; ``?`` where it is not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def field(value: float | str) -> str:
    """A field's value, short: three significant digits, and no exponent where a plain number reads better."""
    if not isinstance(value, float):
        return str(value)
    if value and math.isfinite(value) and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


class Progress:
    """Counts the steps of one piece of work and knows its rate, time left and latest fields (``reward=0.53``)."""

    def __init__(self, description: str, total: int | None = None) -> None:
        self.description, self.total, self.done = description, total, 0
        self.fields: dict[str, float | str] = {}
        self._skipped = 0
        self._ended = False
        self._start = self._told = time.monotonic()

    def update(self, advance: int = 1, **fields: float | str) -> None:
        """Advance by ``advance`` steps; ``fields`` are shown beside the bar and stay until they are replaced."""
        self.done += advance
        self.fields.update(fields)
        self._show()

    def skip(self, steps: int) -> None:
        """Count ``steps`` as done before: a continued run's first steps take no time and must not flatter the rate."""
        self.done += steps
        self._skipped += steps

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Steps a second, 0 before the first."""
        return (self.done - self._skipped) / max(self.seconds, 1e-9)

    @property
    def left(self) -> float:
        """Seconds left at the present rate; infinite where the total or the rate is not known."""
        if self.total is None or self.rate == 0:
            return math.inf
        return max(self.total - self.done, 0) / self.rate

    def speed(self) -> str:
        """``3.2/s`` or, for slow steps, ``4.1 s each``; empty before the first step."""
        if self.rate == 0:
            return ""
        return f"{self.rate:.1f}/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s each"

    def line(self) -> str:
        """The plain form: description, count, speed, time and fields in one line."""
        count = str(self.done) if self.total is None else f"{self.done}/{self.total}"
        finished = self.total is not None and self.done >= self.total
        known_left = math.isfinite(self.left) and not finished
        clock = f"{duration(self.left)} left" if known_left else duration(self.seconds)
        shown = " ".join(f"{name}={field(value)}" for name, value in self.fields.items())
        return "  ".join(part for part in (f"{self.description}: {count}", self.speed(), clock, shown) if part)

    def _show(self) -> None:
        now = time.monotonic()
        ends = not self._ended and self.total is not None and self.done >= self.total
        if ends or now - self._told >= PLAIN_INTERVAL:
            self._told, self._ended = now, self._ended or ends
            say(self.line())


class _Bar(Progress):
    """The same on a terminal: drawn by rich, ten times a second, with the last state left standing."""

    def __rich__(self) -> Table:
        row = Table.grid(padding=(0, 1))
        for _ in range(6):
            row.add_column(no_wrap=True)
        count = str(self.done) if self.total is None else f"{self.done}/{self.total}"
        finished = self.total is not None and self.done >= self.total
        clock = duration(self.seconds) if finished or self.total is None else f"{duration(self.left)} left"
        row.add_row(
            Text(self.description),
            ProgressBar(total=self.total, completed=self.done, width=24, pulse=self.total is None),
            Text(count),
            Text(self.speed(), style="cyan"),
            Text(clock, style="dim"),
            Text("  ".join(f"{name} {field(value)}" for name, value in self.fields.items()), overflow="ellipsis"),
        )
        return row

    def _show(self) -> None:
        """Nothing: rich draws at its own pace."""


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Progress]:
    """Show progress on stderr while the block runs; yields the ``Progress`` to ``update``."""
    console = Console(stderr=True)
    # One bar at a time: an inner step inside an outer bar falls back to plain lines above it.
    if not console.is_terminal or _active or not is_main():
        yield Progress(description, total)
        return
    bar = _Bar(description, total)
    with Live(bar, console=console, refresh_per_second=10, redirect_stdout=False) as live:
        _active.append(live)
        try:
            yield bar
        finally:
            _active.remove(live)
