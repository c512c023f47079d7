"""What the tests of the review page do with it, as a person would: keys, drags, and waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from web_kit import Running, journal

Open = Callable[..., tuple[Any, Running]]
PATIENCE = 60_000
"""Milliseconds; machines that are busy are slow."""


def at(page: Any, index: int) -> None:
    """Wait until the page shows an item and takes keys."""
    page.wait_for_selector(f"body[data-index='{index}']")
    page.wait_for_timeout(50)


def press_until(page: Any, key: str, index: int) -> None:
    page.keyboard.press(key)
    at(page, index)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag between two points given in pixels of the record (200 x 150)."""
    frame = page.locator("#frame").bounding_box()
    (x, y), (u, v) = (
        (frame["x"] + a * frame["width"] / 200, frame["y"] + b * frame["height"] / 150) for a, b in (start, end)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + u) / 2, (y + v) / 2)
    page.mouse.move(u, v)
    page.mouse.up()


def saved(page: Any, running: Running, count: int) -> list[dict[str, Any]]:
    """The journal once it has ``count`` rows."""
    for _ in range(600):
        rows = journal(running.session)
        if len(rows) >= count:
            return rows
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(rows)} decisions in the journal, not {count}: {rows}")


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait in steps of 50 ms; the page's own security policy forbids Playwright to wait inside it."""
    for _ in range(PATIENCE // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to be")


def finish(page: Any) -> str:
    page.keyboard.press("f")
    page.click("#write")
    page.wait_for_selector("#finish-result:text-matches('Written:|Nothing')")
    return page.inner_text("#finish-result")
