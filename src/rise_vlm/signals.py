"""Ctrl-C and SIGTERM from the first moment on: both end a command in one line, with exit code 130.

While a module is being imported an exception will not do: libraries turn it into errors of their own, or swallow it. So
there the process ends at once; files are whole or not there, as after a kill. Everywhere else SIGTERM raises
KeyboardInterrupt, as Ctrl-C does, and the command cleans up.
Left out: letting a training step end (``engine.interrupts``).
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
LOADING = b"rise: interrupted while the libraries were loading. Run the same command again.\n"


def take() -> None:
    """Handle both signals in this process; one that it forks ends without a word."""
    owner = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + signum)
        if importing(frame):
            if (os.environ.get("RANK") or "0") == "0":
                os.write(2, LOADING)  # print may be what was interrupted
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported in ``frame`` or in one that called it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
