"""Settings for all tests: hypothesis draws the same examples every time and never fails for a slow machine.

One thread, here and in every process a test starts: sums over two threads are ordered differently, and several tests
compare bits across processes. Tiny models run no slower for it. One browser serves the tests of all pages.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")


def chromium(own: str) -> str | None:
    """The machine's Chromium, else ``own``, which ``playwright install chromium`` fetches; None without either."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in (*names, own) if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    with playwright.sync_playwright() as driver:
        found = chromium(driver.chromium.executable_path)
        if found is None:
            pytest.skip("no Chromium here, so the page is not tested in a browser: playwright install chromium")
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()
