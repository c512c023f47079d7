"""Settings for all tests: hypothesis draws the same examples every time and never fails for a slow machine.

One thread, here and in every process a test starts: sums over two threads are ordered differently, and several tests
compare bits across processes. Tiny models run no slower for it. One browser serves the tests of all pages.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")


LONGEST = (
    "stages/test_worlds.py", "stages/test_parts.py", "stages/test_run.py", "stages/test_together.py",
    "test_benchmarks.py", "policy/test_tiny.py", "commands/test_bench.py", "stages/test_quality.py", "test_tutorial.py",
)  # fmt: skip
"""The files that take a minute and more, the longest first: begun last, one process would end alone with them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        file = item.path.relative_to(Path(__file__).parent).as_posix()
        return LONGEST.index(file) if file in LONGEST else len(LONGEST)

    items.sort(key=place)


def chromium(own: str) -> str | None:
    """The machine's Chromium, else ``own``, which ``playwright install chromium`` fetches; None without either."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in (*names, own) if (found := shutil.which(name))), None)


class Connected:
    """A running Chromium that cannot make contexts, as QtWebEngine: its first page opens the others."""

    def __init__(self, browser: Any) -> None:
        self.context = browser.contexts[0]

    def new_page(self, viewport: dict[str, int]) -> Any:
        with self.context.expect_page() as made:
            self.context.pages[0].evaluate("void open('about:blank')")
        made.value.set_viewport_size(viewport)
        return made.value


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    named = os.environ.get("RISE_BROWSER", "")  # a path, or the address of a running one
    with playwright.sync_playwright() as driver:
        if named.startswith("http://"):
            yield Connected(driver.chromium.connect_over_cdp(named, no_defaults=True))
            return
        found = named or chromium(driver.chromium.executable_path)
        if found is None:
            pytest.skip("no Chromium here, so the page is not tested in a browser: playwright install chromium")
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()
