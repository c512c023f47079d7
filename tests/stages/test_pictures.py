"""Pictures: found in order, put beside others of their size, read ahead."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rise_vlm.errors import UserError
from rise_vlm.stages.pictures import BATCH, BATCH_PIXELS, WINDOW, ahead, by_size, find_images


def save(path: Path, width: int = 8, height: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "teal").save(path)
    return path


def test_a_folder_is_searched_throughout_in_the_order_of_paths(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a/z.JPG", "a/inner/y.webp", "c.png"):
        save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no picture", encoding="utf-8")
    (tmp_path / "loop").symlink_to(tmp_path)
    expected = ["a/inner/y.webp", "a/z.JPG", "b.png", "c.png"]
    assert find_images(["."]) == expected
    assert find_images([str(tmp_path)]) == [str(tmp_path / name) for name in expected]
    assert find_images(["c.png", "./c.png", "*.png"]) == ["c.png", "b.png"]


@pytest.mark.parametrize("name", ["nowhere", "no/*.png", "x" * 300, "a\0b", "", "notes/"])
def test_a_name_that_matches_nothing_is_told(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match="matches nothing|holds no image"):
        find_images([name])


def test_a_photo_that_cannot_be_read_is_found_so_that_it_is_told(tmp_path: Path) -> None:
    for name in ("1.HEIC", "2.jxl", "3.txt", "4.pgm", "5.jfif"):
        (tmp_path / name).write_bytes(b"no picture")
    assert find_images([str(tmp_path)]) == [str(tmp_path / name) for name in ("1.HEIC", "2.jxl", "4.pgm", "5.jfif")]


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="neither a file"):
        find_images([str(tmp_path / "pipe.png")])
    with pytest.raises(UserError, match="holds no image"):
        find_images([str(tmp_path)])


def test_batches_are_of_like_size_and_lose_nothing(tmp_path: Path) -> None:
    names = [str(save(tmp_path / f"{i:03}.png", *((8, 8) if i % 2 else (40, 40)))) for i in range(2 * BATCH + 6)]
    broken = tmp_path / "broken.png"
    broken.write_text("no picture", encoding="utf-8")
    batches = list(by_size([*names, str(broken)], None))
    assert sorted(name for batch in batches for name in batch) == sorted([*names, str(broken)])
    assert all(len(batch) <= BATCH for batch in batches)
    mixed = [
        batch for batch in batches if len({int(Path(name).stem) % 2 for name in batch if "broken" not in name}) > 1
    ]
    assert len(mixed) <= 1
    assert [*batches[0], batches[1][0]] == [str(broken), names[1], names[3]]
    assert [len(batch) for batch in batches[:2]] == [2, 4]  # the first answers and the rate come soon


def test_large_pictures_make_small_batches_unless_the_model_shrinks_them(tmp_path: Path) -> None:
    side = 1800
    names = [str(save(tmp_path / f"{i}.png", side, side)) for i in range(5)]
    assert [len(batch) for batch in by_size(names, None)] == [BATCH_PIXELS // side**2] * 2 + [1]
    assert [len(batch) for batch in by_size(names, 336 * 336)] == [2, 3]


def test_only_a_window_of_names_is_taken_at_once(tmp_path: Path) -> None:
    name = str(save(tmp_path / "a.png"))
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield name

    batches = by_size(endless(), None)
    assert len(next(batches)) == 2 and taken == WINDOW


def test_the_next_is_made_while_one_is_used() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    found = ahead(items())
    assert next(found) == 1
    assert begun.wait(10)
    assert list(found) == [2]


def test_a_fault_in_the_thread_comes_out_where_the_items_are_used() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise UserError("no more")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(UserError, match="no more"):
        next(found)
