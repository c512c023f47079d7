"""A text file that is there whole or as it was before, whatever kills the process. The one place that writes so.

A process killed while writing leaves a hidden draft, ``.NAME.PID``, which `clear_drafts` finds.
Left out: folders (``engine.checkpoint.replacing``) and appending (``stages.files``).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

DRAFT = re.compile(r"\..+\.\d+")


def draft_of(path: Path) -> Path:
    """Where this process writes before it renames."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def clear_drafts(folder: Path) -> None:
    """Delete drafts below ``folder`` that killed processes have left. Only for a folder that no other writes to."""
    for path in folder.rglob(".*"):
        if DRAFT.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file, or the renames in a folder, to the disk, against power cuts. Windows sees to it itself."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8: flushed to the disk under another name, then renamed.

    Raises:
        OSError: the folder is not there or cannot be written, or the disk is full; ``path`` is then as before.
    """
    draft = draft_of(path)
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
