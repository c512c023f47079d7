"""Files that survive a kill: whole or as before, and never a torn row."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.errors import DataError
from rise_vlm.stages import files
from rise_vlm.stages.files import (
    RolloutLog,
    append_rows,
    finite,
    mend_rows,
    read_json,
    read_rows,
    write_json,
)

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(_values)
def test_any_value_becomes_standard_json(value: object) -> None:
    plain = finite(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.5, math.nan], "é": "ü"})
    assert read_json(tmp_path / "a.json") == {"x": [1.5, None], "é": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", [None, "", "{", "\x00"])
def test_json_that_is_not_there_or_broken_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content, encoding="utf-8")
    assert read_json(tmp_path / "a.json") is None


@given(st.integers(0, 200))
def test_a_file_cut_anywhere_gives_its_whole_rows_and_takes_new_ones(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        rows = [{"n": n, "text": "añb\nc" * n} for n in range(6)]
        append_rows(path, rows)
        whole = path.read_bytes()
        path.write_bytes(whole[:cut])
        kept = mend_rows(path)
        assert kept == rows[: len(kept)]
        assert len(kept) == whole[:cut].count(b"\n")
        append_rows(path, [{"n": "new"}])
        assert list(read_rows(path)) == [*kept, {"n": "new"}]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"my notes\nline two", 1),
        (b"\xff\xd8\xff\xe0 a picture\n\x00\x01", 1),
        (b'{"n": 1}\n{"n": 2\n{"n": 3}\n', 2),
        (b'{"n": 1}\n[2]\n{"n": 3', 2),
        (b'{"n": 1}\n\xff\xfe\n', 2),
    ],
)
def test_a_bad_line_that_no_kill_can_leave_is_told_and_the_file_is_left_alone(
    tmp_path: Path, content: bytes, line: int
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"rows.jsonl, line {line}"):
        mend_rows(path)
    assert path.read_bytes() == content


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 1}\n' + b'{"n": "' + b"x" * 200_000)
    assert mend_rows(path) == [{"n": 1}]
    assert path.read_bytes() == b'{"n": 1}\n'


def test_a_log_drops_the_steps_that_are_repeated(tmp_path: Path) -> None:
    log = RolloutLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, [{"id": f"first {step}", "leaks": ["x"]}, {"id": f"second {step}", "leaks": []}])
    again = RolloutLog(tmp_path)
    again.write(2, [{"id": "again", "leaks": []}])
    again.write(3, [{"id": "again", "leaks": []}])
    again.finish()
    table = pyarrow.parquet.read_table(tmp_path / "rollouts.parquet").to_pylist()
    assert [(row["step"], row["id"]) for row in table] == [(1, "first 1"), (1, "second 1"), (2, "again"), (3, "again")]
    assert table[0]["leaks"] == '["x"]'
    assert not (tmp_path / "rollouts.jsonl").exists()


def test_a_log_without_rows_leaves_no_table(tmp_path: Path) -> None:
    RolloutLog(tmp_path).finish()
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_on_the_disk_before_the_rows_that_it_was_made_of_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, flushed = RolloutLog(tmp_path), []

    def sync(path: Path) -> None:
        assert log.path.exists() and pyarrow.parquet.read_table(path).num_rows == 1
        flushed.append(path)

    monkeypatch.setattr(files, "sync", sync)
    log.write(1, [{"id": "a"}])
    log.finish()
    assert len(flushed) == 1 and log.final.exists() and not log.path.exists()
