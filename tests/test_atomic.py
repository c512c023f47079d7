"""A file that is written is there whole or as it was before."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from rise_vlm import atomic
from rise_vlm.atomic import clear_drafts, draft_of, write_text


def test_a_write_that_fails_leaves_the_file_of_before(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\ud800")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_kill_before_the_rename_leaves_the_file_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "before")

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "after")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("user", ["engine.checkpoint", "engine.metrics", "stages.files", "data.checking"])
def test_all_write_by_this_one_place(user: str) -> None:
    assert importlib.import_module(f"rise_vlm.{user}").write_text is write_text


def test_what_a_kill_has_left_is_found_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    kept = [tmp_path / name for name in ("a.txt", ".hidden", ".git.keep", "below/b.123")]
    for path in (*kept, draft_of(tmp_path / "a.txt"), tmp_path / "below" / ".rollouts.parquet.4711"):
        path.write_text("", encoding="utf-8")
    clear_drafts(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
