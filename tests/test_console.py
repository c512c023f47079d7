from __future__ import annotations

import math

import pytest
from rich.console import Console

from rise_vlm import console
from rise_vlm.console import Progress, duration, field, progress, say


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console.time, "monotonic", clock)
    return clock


def test_messages_go_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]as it is[/bold]")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "[bold]as it is[/bold]\n")


def test_without_a_terminal_a_line_comes_every_ten_seconds_and_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("Reason", total=40) as bar:
        for _ in range(40):
            clock.now += 1
            bar.update(reward=0.5)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and len(lines) == 4
    assert lines[0] == "Reason: 10/40  1.0/s  30 s left  reward=0.500"
    assert lines[-1] == "Reason: 40/40  1.0/s  40 s  reward=0.500"


def test_steps_done_before_do_not_flatter_the_time_left(clock: Clock) -> None:
    bar = Progress("Reason", total=100)
    bar.skip(80)
    clock.now += 10
    bar.update(10)
    assert bar.rate == pytest.approx(1.0) and bar.left == pytest.approx(10.0)


def test_without_a_total_nothing_is_promised(clock: Clock) -> None:
    bar = Progress("Reading")
    clock.now += 2
    bar.update(6)
    assert math.isinf(bar.left) and bar.line() == "Reading: 6  3.0/s  2 s"


def test_slow_steps_show_their_length(clock: Clock) -> None:
    bar = Progress("Train", total=10)
    clock.now += 8
    bar.update(2)
    assert bar.speed() == "4.0 s each" and "32 s left" in bar.line()


def test_fields_stay_until_they_are_replaced(clock: Clock) -> None:
    bar = Progress("Train", total=10)
    clock.now += 1
    bar.update(reward=0.25, stage="warm up")
    bar.update(reward=0.5)
    assert "reward=0.500 stage=warm up" in bar.line()


def test_the_end_is_told_once_however_often_the_bar_is_updated(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = Progress("Importing", total=2)
    for advance in (1, 1, 0, 0, 0):
        clock.now += 1
        bar.update(advance)
    assert capsys.readouterr().err.splitlines() == ["Importing: 2/2  1.0/s  2 s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (math.inf, "?")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.53219, "0.532"), (0.0, "0.000"), (5e-5, "5.0e-05"), (1234.5, "1234"), ("warm up", "warm up"), (7, "7")],
)
def test_fields_are_short(value: float | str, text: str) -> None:
    assert field(value) == text


def test_on_a_terminal_a_bar_shows_count_rate_and_fields_and_messages_stand_above_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Console(stderr=True, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    with progress("Reason", total=3) as bar:
        bar.update(3, reward=0.75)
        say("a message [1]")
        with progress("inner", total=1) as inner:
            inner.update()
        print("for the program")
    captured = capsys.readouterr()
    assert captured.out == "for the program\n"
    assert "3/3" in captured.err and "reward 0.750" in captured.err and "inner: 1/1" in captured.err
    assert captured.err.index("a message [1]") < captured.err.rindex("3/3")


def test_an_error_inside_passes_and_leaves_no_bar_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(stderr=True, force_terminal=True, width=100)
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    with pytest.raises(KeyboardInterrupt), progress("Reason", total=3):
        raise KeyboardInterrupt
    assert console._active == []
