"""Opening many images at once: in order, each once, stopped at once."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from PIL import Image

from rise_vlm.data import scanning
from rise_vlm.data.scanning import Scan, scan, scan_all


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for at in range(40):
        paths.append(tmp_path / f"{at}.png")
        Image.new("RGB", (at + 1, 3), (at, 0, 0)).save(paths[-1])
    return paths


def test_results_come_in_order_with_a_tick_for_each(files: list[Path]) -> None:
    ticks: list[int] = []
    found = list(scan_all(files, tick=lambda: ticks.append(1), workers=4))
    assert [scan.size.upright for scan in found if scan.size] == [(at + 1, 3) for at in range(40)]
    assert len(ticks) == 40
    assert [one.digest for one in found] == [hashlib.sha256(path.read_bytes()).digest()[:16] for path in files]


def test_an_image_that_cannot_be_read_does_not_stop_the_others(files: list[Path], tmp_path: Path) -> None:
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: len(whole) // 2])
    found = list(scan_all([files[0], files[1], tmp_path / "none.png", files[2]], workers=2))
    assert [one.error is None for one in found] == [True, False, False, True]
    assert "1.png" in str(found[1].error) and "none.png" in str(found[2].error)


def test_without_decoding_the_header_is_read_and_damage_in_the_pixels_is_not_seen(files: list[Path]) -> None:
    found = scan(files[5], decode=False)
    assert found.size is not None and found.size.upright == (6, 3) and found.look is None
    assert scan(files[5]).look is not None


def test_leaving_early_opens_no_further_image(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    lock = threading.Lock()

    def slow(path: Path, *, decode: bool = True) -> Scan:
        with lock:
            opened.append(path)
        return Scan()

    monkeypatch.setattr(scanning, "scan", slow)
    results = scan_all(files * 100, workers=2)
    next(results)
    results.close()
    assert len(opened) <= 2 * 8 + 2


def test_an_interrupt_passes_through(files: list[Path]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(scan_all(files, tick=interrupt, workers=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scan")]
