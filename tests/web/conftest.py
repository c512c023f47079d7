"""A running review, and its page in a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from page_kit import PATIENCE, Open
from web_kit import Running, serve_in_thread

from rise_vlm.web.guard import Door
from rise_vlm.web.items import load
from rise_vlm.web.review import MAX_BODY, make_app
from rise_vlm.web.server import listen
from rise_vlm.web.session import Session


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


@pytest.fixture
def opened(browser: Any, reviewing: Callable[..., Running]) -> Iterator[Open]:
    """Opens the page of a source; a test fails where the page reported an error of its own."""
    pages, faults = [], []

    def open_page(source: Path, width: int = 1280, height: int = 800, **options: Any) -> tuple[Any, Running]:
        running = reviewing(source, **options)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        page.goto(running.address)
        page.wait_for_selector("body[data-ready]")
        pages.append(page)
        return page, running

    yield open_page
    for page in pages:
        page.close()
    assert faults == []
