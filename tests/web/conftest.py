"""A running review page, and a browser for it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from web_kit import Running, serve_in_thread

from rise_vlm.web.guard import Door
from rise_vlm.web.items import load
from rise_vlm.web.review import MAX_BODY, make_app
from rise_vlm.web.server import listen
from rise_vlm.web.session import Session

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.fixture
def reviewing(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a review of a source in a thread; all are stopped at the end."""
    stops: list[Callable[[], None]] = []

    def start(source: Path, out: Path | None = None, token: str | None = None, **options: Any) -> Running:
        session = Session(load(source), out or tmp_path / "out", **options)
        server = listen("127.0.0.1", 0)
        port = server.getsockname()[1]
        stop = serve_in_thread(make_app(session, Door.of("127.0.0.1", port, token, max_body=MAX_BODY)), server)
        stops.extend([stop, session.journal.close])
        return Running(f"http://127.0.0.1:{port}", session)

    yield start
    for stop in stops:
        stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page is not tested in a browser")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
