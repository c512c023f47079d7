"""A lock on a folder or a file, which keeps a second program out of it and ends with the process, however that ends.

Left out: Windows and file systems without locks, where nothing keeps it out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rise_vlm.errors import UserError
from rise_vlm.ranks import is_main

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def take(held: int) -> bool:
    """Lock what the descriptor ``held`` has open, until it is closed; False where another program has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second program out of the folder ``out``, or off the file. A file that is not there is made, and goes
    again if nothing was written to it.

    Raises:
        UserError: another one is at work there, or it cannot be opened.
    """
    if not is_main() or fcntl is None:
        yield
        return
    new = not out.exists()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(out, os.O_RDONLY | (os.O_CREAT if new else 0), 0o666)
    except OSError as error:
        raise UserError(f"--out {out} cannot be opened: {error.strerror}.", exit_code=1) from None
    try:
        if not take(held):
            kind = "folder" if out.is_dir() else "file"
            raise UserError(
                f"--out {out}: another process is at work in this {kind}. Let it finish, or give another {kind}.",
                exit_code=1,
            )
        try:
            yield
        finally:
            if new and not os.fstat(held).st_size:
                out.unlink(missing_ok=True)
    finally:
        os.close(held)
