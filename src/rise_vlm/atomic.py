"""A text file that is there whole or as it was before, whatever kills the process. The one place that writes so.

Left out: folders (``engine.checkpoint.replacing``) and appending (``stages.files``).
"""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8: flushed to the disk under another name, then renamed.

    Raises:
        OSError: the folder is not there or cannot be written, or the disk is full; ``path`` is then as before.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
