"""Ctrl-C and SIGTERM while a training runs: the first lets the step end and be saved, the second stops at once.

Left out: what is saved, which is the trainer's business.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rise_vlm import ranks
from rise_vlm.console import say
from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.errors import Interrupted

ECHO = 5.0
"""Seconds in which a second Ctrl-C counts as the first, where there are several processes."""


class Stop:
    """Whether the user asked to stop after the running step, and when."""

    asked = False
    since = 0.0


@contextmanager
def ctrl_c(describe: str, folder: Path) -> Iterator[Stop]:
    """Ctrl-C, or a scheduler's SIGTERM, once: finish the step, save, stop. Twice: stop at once. Only the main thread
    gets them."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        if stop.asked:
            # What starts several processes hands on the Ctrl-C that they have got from the terminal already.
            if ranks.size() > 1 and time.monotonic() - stop.since < ECHO:
                return
            raise KeyboardInterrupt
        stop.asked, stop.since = True, time.monotonic()
        say(f"{describe}: stopping after this step; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt:
        raise Interrupted(f"{describe}: stopped at once. {again(folder)}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def again(folder: Path) -> str:
    """What running the command again does."""
    if (folder / checkpoints.LAST).is_dir():
        return f"Run the same command again to continue from {folder / checkpoints.LAST}"
    return "Run the same command again to start over: there was no checkpoint yet"
