"""How the pages stand in a browser: no number is broken or cut off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_runs import fake_run

from rise_vlm.report import write_report
from rise_vlm.report.comparison import compare
from rise_vlm.report.comparison_page import Group, write_page
from rise_vlm.report.run_answers import read_answers

Show = Callable[[Path, int], Any]
SIZES = pytest.mark.parametrize("width", [1280, 390])


@pytest.fixture
def show(browser: Any) -> Iterator[Show]:
    """Opens a file in a window of a width."""
    pages: list[Any] = []

    def open_page(path: Path, width: int) -> Any:
        pages.append(browser.new_page(viewport={"width": width, "height": 800}))
        pages[-1].goto(path.as_uri())
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


@SIZES
def test_a_difference_stands_on_one_line(show: Show, tmp_path: Path, width: int) -> None:
    arms = {"ans_sft": [0.5] * 20, "rise": [0.5] * 20, "visual_rft": [0.0, 1.0] * 10}
    runs = [fake_run(tmp_path / arm, arm, {"test": scores}) for arm, scores in arms.items()]
    found = compare(read_answers([str(run) for run in runs]))
    page = show(write_page(tmp_path / "page.html", "Two", [Group("Two", found)]), width)
    figures = page.locator(".lane:not(.axis) .figure")
    assert "+0.000" in figures.all_inner_texts()
    sizes = figures.evaluate_all("all => all.map((one) => [one.offsetHeight, one.scrollWidth - one.clientWidth])")
    assert all(height < 30 and over <= 0 for height, over in sizes)


@SIZES
def test_a_table_wider_than_the_window_scrolls_in_its_frame(
    show: Show, make_run: Callable[..., Path], width: int
) -> None:
    page = show(write_report(make_run("distribution")), width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    frame = page.locator("#results .wide").first
    style = frame.evaluate("(one) => [getComputedStyle(one).overflowX, getComputedStyle(one).borderRightWidth]")
    assert style == ["auto", "1px" if width < 620 else "0px"]
    ends = frame.evaluate("""(one) => {
      one.scrollLeft = one.scrollWidth;
      const last = one.querySelector("thead th:last-child").getBoundingClientRect();
      return [last.right, one.getBoundingClientRect().right];
    }""")
    assert ends[0] <= ends[1]
