"""A lock keeps others out, leaves nothing behind, and is no hindrance where there are none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rise_vlm import lock
from rise_vlm.errors import UserError
from rise_vlm.lock import alone


def test_a_file_is_made_for_the_lock_and_goes_with_it_unless_it_was_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.jsonl"
    with alone(out):
        assert out.read_bytes() == b""
        with pytest.raises(UserError, match="another process is at work in this file"), alone(out):
            pass
        assert out.exists()  # whoever was refused took nothing away
    assert not out.exists()
    with alone(out):
        out.write_text("a row")
    with alone(out):
        assert out.read_text() == "a row"


def test_what_was_there_empty_stays(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    with alone(tmp_path / "a.jsonl"), alone(tmp_path):
        pass
    assert (tmp_path / "a.jsonl").exists()


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a.jsonl cannot be opened"), alone(tmp_path / "file" / "a.jsonl"):
        pass


def test_where_there_are_no_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if lock.fcntl is not None:
        monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with (tmp_path / "a").open("wb") as file:
        assert lock.take(file.fileno())
    monkeypatch.setattr(lock, "fcntl", None)
    with (tmp_path / "a").open("rb") as file, alone(tmp_path / "a"):
        assert lock.take(file.fileno())
