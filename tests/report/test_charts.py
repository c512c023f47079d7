from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.report.charts import HEIGHT, WIDTH, Line, histogram, line_chart, number, smooth, thin, ticks

finite = st.floats(-1e6, 1e6)
points = st.lists(st.tuples(st.integers(0, 10_000).map(float), finite), min_size=1, max_size=400)


@given(finite, finite, st.integers(3, 9))
def test_ticks_are_few_round_and_cover_the_span(low: float, high: float, most: int) -> None:
    low, high = min(low, high), max(low, high)
    marks = ticks(low, high, most)
    slack = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert 2 <= len(marks) <= most
    assert marks[0] <= low + slack and marks[-1] >= high - slack
    steps = [after - before for before, after in pairwise(marks)]
    assert min(steps) > 0 and max(steps) - min(steps) < 1e-6 * max(abs(marks[0]), abs(marks[-1]), steps[0])


@given(points)
def test_the_running_mean_stays_within_the_values(line: list[tuple[float, float]]) -> None:
    values = [value for _, value in line]
    slack = 1e-6 * max(map(abs, values)) + 1e-9
    mean = smooth(line)
    assert [step for step, _ in mean] == [step for step, _ in line]
    assert all(min(values) - slack <= value <= max(values) + slack for _, value in mean)


def test_the_running_mean_follows_a_constant_from_its_first_step() -> None:
    assert [round(value, 12) for _, value in smooth([(step, 0.7) for step in range(100)])] == [0.7] * 100


@given(points, st.integers(1, 50))
def test_thinning_keeps_few_points_in_order(line: list[tuple[float, float]], most: int) -> None:
    line = sorted(line)
    kept = thin(line, most)
    assert len(kept) == min(len(line), most)
    assert [step for step, _ in kept] == sorted(step for step, _ in kept)


def test_thinning_to_equal_bins_keeps_the_mean() -> None:
    line = [(float(step), float(step % 7)) for step in range(100)]
    kept = thin(line, 10)
    assert abs(sum(y for _, y in kept) / 10 - sum(y for _, y in line) / 100) < 1e-12


@given(st.lists(points, min_size=1, max_size=4), st.booleans())
def test_a_chart_stays_inside_its_box(lines: list[list[tuple[float, float]]], share: bool) -> None:
    svg = str(line_chart([Line(f"line {i}", line, "a1") for i, line in enumerate(lines)], share=share))
    for path in re.findall(r'd="M([^"HV]+)"', svg):
        for x, y in (map(float, place.split()) for place in path.split("L")):
            assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


def test_on_an_axis_of_ratios_doubled_sizes_are_evenly_spaced() -> None:
    line = Line("rise", [(100 * 2**i, i / 9) for i in range(5)], "a1")
    svg = str(line_chart([line], across="records", ratios=True))
    places = [float(x) for x in re.findall(r'<text class="tick" x="([\d.]+)"[^>]*>(?:100|200|400|800|1,600)<', svg)]
    assert len(places) == 5 and ">records<" in svg
    assert len({round(after - before) for before, after in pairwise(places)}) == 1
    crowded = str(line_chart([Line("a", [(1000.0 + i, 0.5) for i in range(40)], "a1")], ratios=True))
    assert crowded.count("tick") < 40


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_names_at_the_ends_of_lines_do_not_overlap(values: list[float]) -> None:
    svg = str(line_chart([Line(f"arm {i}", [(1.0, value)], "a1") for i, value in enumerate(values)], share=True))
    heights = sorted(float(y) for y in re.findall(r'<text class="name[^>]* y="([\d.]+)"', svg))
    assert len(heights) == len(values)
    assert all(below - above >= 12.8 for above, below in pairwise(heights))
    assert heights[0] > 0 and heights[-1] <= HEIGHT


def test_no_points_make_no_chart() -> None:
    assert line_chart([]) is None
    assert line_chart([Line("empty", [], "a1")]) is None


def test_names_of_lines_are_escaped() -> None:
    svg = str(line_chart([Line("<b>&", [(0, 1)], "a1")], label='"><script>'))
    assert "<b>" not in svg and "<script>" not in svg and "&lt;b&gt;&amp;" in svg


def test_the_histogram_colours_what_was_kept_and_nothing_else() -> None:
    svg = str(histogram([0, 0.25, 0.5, 0.75, 1], [3, 5, 2, 4], 0.5, "worth", [0, 1, 2, 0]))
    assert svg.count('class="column"') == 4 and svg.count('class="column kept"') == 2
    heights = dict(re.findall(r'class="column kept" x="([\d.]+)"[^>]* height="([\d.]+)"', svg))
    whole = dict(re.findall(r'class="column" x="([\d.]+)"[^>]* height="([\d.]+)"', svg))
    shares = [float(height) / float(whole[x]) for x, height in heights.items()]
    assert [round(share, 1) for share in shares] == [0.2, 1.0]
    assert "threshold 0.50" in svg
    assert "kept" not in str(histogram([0, 1], [4], 0.1, "worth"))


def test_numbers_are_short_and_a_missing_one_is_a_dash() -> None:
    assert number(0.83125) == "0.831"
    assert number(12400) == "12,400"
    assert number(0.0000021) == "2e-06"
    assert number(930.4, 0) == "930"
    assert number(0) == "0.000"
    assert number(None) == number(float("nan")) == number(float("inf")) == "–"
