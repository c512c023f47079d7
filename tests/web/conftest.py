"""A running review page."""

from __future__ import annotations

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
