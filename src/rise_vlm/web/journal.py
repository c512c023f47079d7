"""The journal of a review: one JSON line per decision, on the disk before it is answered, so that no kill loses one.

The first line says what is reviewed; a journal of something else is refused, never added to. Left out: merging the
journals of two people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rise_vlm.errors import UserError
from rise_vlm.lock import take
from rise_vlm.stages.files import mend_rows

Row = dict[str, Any]


class Journal:
    """An open journal; one process at a time holds it. ``rows`` are those that were there at the start.

    Raises:
        UserError: it cannot be written, is held by another process, or is of something else.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise UserError(
                f"The journal {path} cannot be written ({error.strerror}); give another --out.", 1
            ) from None
        if not take(self._file.fileno()):
            self._file.close()
            raise UserError(f"Another 'rise review' is running on {path}; stop it or give another --out.", 1)
        try:
            self.rows = list(self._begun(head))
        except BaseException:
            self._file.close()
            raise

    def _begun(self, head: Mapping[str, Any]) -> Iterator[Row]:
        rows = mend_rows(self.path)
        if not rows:
            self.write(head)
            return
        for key, value in head.items():
            if rows[0].get(key) != value:
                raise UserError(
                    f"{self.path} is the journal of another review ({key}: {str(rows[0].get(key))[:80]}); "
                    "give another --out, or move it away to begin anew."
                )
        yield from rows[1:]

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row with the time, and wait until the disk has it."""
        stamped = {**row, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        line = json.dumps(stamped, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def abandon(self) -> None:
        """Let go of it, and leave none behind where it holds nothing yet."""
        if not self.rows:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
