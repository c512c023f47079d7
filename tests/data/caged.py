"""Runs ``rise`` commands, given as JSON lists in lines of stdin, in a process that can do less, and prints what came.

Root's right to read everything is given up, memory may grow by GROWTH, and each command has SECONDS.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import resource
import signal
import sys
from pathlib import Path

GROWTH = 900_000_000
SECONDS = 30


def give_up_rights() -> None:
    """No capabilities, so that modes of files count for root too (Linux, capset(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def memory() -> int:
    """Bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    """The first command is run without limits, so that modules are loaded."""
    from rise_vlm.cli import run

    for at, line in enumerate(sys.stdin):
        told = io.StringIO()
        signal.alarm(SECONDS if at else 0)
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            code = run(json.loads(line))
        signal.alarm(0)
        print(json.dumps({"code": code, "told": told.getvalue()}), flush=True)
        if at == 0:
            limit = memory() + GROWTH
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            give_up_rights()


if __name__ == "__main__":
    main()
