"""Bad input: one clear message or a quarantined row with its reason; never a crash, a hang or a file elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bad_boxes import IN_FILES
from bad_rows import IN_ROWS
from bad_sources import BOX, BOXES_CSV, GOOD, coco, labelme, seg, swift, voc
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.checking import read_quarantine
from rise_vlm.data.formats import FORMATS

CASES = IN_FILES | IN_ROWS


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with images, good and bad, and beside it one that nobody may reach."""
    folder = tmp_path / "source"
    (folder / "folder").mkdir(parents=True)
    for path in (folder / "1.png", folder / "9.png", tmp_path / "secret.png"):
        Image.new("RGB", (20, 10), (len(path.name), 7, 7)).save(path)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    Image.effect_noise((20, 10), 90).save(folder / "half.png")
    (folder / "half.png").write_bytes((folder / "half.png").read_bytes()[:120])
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def put(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))


def test_there_are_cases_enough() -> None:

    assert len(CASES) >= 150 and {case.format for case in CASES.values()} >= FORMATS.keys() - {"folders"}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told(name: str, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    put(source, dict([GOOD[case.format]]) if case.format in GOOD and not case.whole else {})
    put(source, {"classes.txt": "cat\ndog"} if case.format == "yolo" and "data.yaml" not in case.files else {})
    put(source, case.files)
    out = source.parent / "out"
    one_file = case.format in ("coco", "labelstudio", "cvat", "openimages", "csv", "sharegpt", "reasonrft", "swift")
    given = source / next(iter(case.files)) if one_file else source
    before = {path: path.read_bytes() for path in source.parent.rglob("*") if path.is_file()}
    code = run(["data", "import", case.format, str(given), "--out", str(out), "--task", case.task])
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert "Traceback" not in told.err
    said = told.err
    if code:
        assert len([line for line in lines if line.startswith("rise: ")]) == 1 and not out.exists()
    else:
        assert not case.whole
        problems = read_quarantine(out)
        assert problems, "the bad row was taken"
        said = " ".join(f"{problem.kind} {problem.reason}" for problem in problems)
        dataset = Dataset.open(out)
        assert all(record.id for split in dataset.splits for record in dataset.records(split))
    assert case.said in said, said
    for path, content in before.items():
        assert path.read_bytes() == content
    left = {path.name for path in source.parent.iterdir()}
    assert left - {"out"} == {"source", "secret.png"}


BOM = b"\xef\xbb\xbf"
XML = '<?xml version="1.0" encoding="{}"?>'


@pytest.mark.parametrize(
    ("format", "file", "content"),
    [
        ("coco", "a.json", BOM + coco().encode()),
        ("coco", "a.json", coco().encode("utf-16")),
        ("voc", "1.xml", BOM + voc(BOX.format("cat", 1, 1, 5, 5)).encode()),
        ("voc", "1.xml", (XML.format("utf-16") + voc(BOX.format("cat", 1, 1, 5, 5))).encode("utf-16")),
        ("voc", "1.xml", (XML.format("latin-1") + voc(BOX.format("k\xe4fer", 1, 1, 5, 5))).encode("latin-1")),
        ("yolo", "1.txt", BOM + b"0 0.5 0.5 0.5 0.5\r\n"),
        ("csv", "a.csv", BOM + (BOXES_CSV + "1.png,cat,1,1,5,5\r\n").encode()),
        ("swift", "a.jsonl", BOM + swift().encode() + b"\r\n"),
        ("labelme", "1.json", BOM + labelme().encode()),
        ("reasonseg", "1.json", seg(text=["was f\xfcr"]).replace("\\u00fc", "\xfc").encode("cp1252")),
    ],
)  # fmt: skip
def test_byte_order_marks_and_declared_encodings_are_read(
    format: str, file: str, content: bytes, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / file).write_bytes(content)
    given = source if format in ("voc", "yolo", "labelme", "reasonseg") else source / file
    task = "grounding" if format == "reasonseg" else "detection"
    assert run(["data", "import", format, str(given), "--out", str(source.parent / "out"), "--task", task]) == 0
    dataset = Dataset.open(source.parent / "out")
    (record,) = dataset.records(dataset.splits[0])
    assert record.question == "was für" or len(record.annotation) == 1
    capsys.readouterr()


NAMES = ["new\nline.png", "🐞 é.png", "a" * 251 + ".png", "-rf;$(x).png"]


@pytest.mark.parametrize("name", NAMES, ids=["line break", "emoji", "255 bytes", "shell"])
def test_images_of_any_name_are_imported(name: str, source: Path) -> None:
    Image.new("RGB", (20, 10)).save(source / name)
    (source / "a.json").write_text(coco(image={"file_name": name}))
    out = source.parent / "out"
    assert run(["data", "import", "coco", str(source / "a.json"), "--out", str(out), "--task", "detection"]) == 0
    (image,) = (out / "images").rglob("*.png")
    assert "\n" not in image.name and len(image.name.encode()) < 200


def test_a_link_to_an_annotation_file_elsewhere_is_refused(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source.parent / "secret.json").write_text(labelme())
    (source / "1.json").symlink_to(source.parent / "secret.json")
    assert run(["data", "import", "labelme", str(source), "--out", str(source.parent / "out")]) == 2
    assert "leaves the folder" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["voc", "yolo", "csv"])
def test_a_folder_of_images_that_leads_out_is_not_entered(
    format: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source.parent / "private").mkdir()
    Image.new("RGB", (20, 10)).save(source.parent / "private" / "7.png")
    (source / "images").symlink_to(source.parent / "private")
    texts = {"voc": voc(BOX.format("cat", 1, 1, 5, 5), name="7.png"), "yolo": "0 .5 .5 .5 .5"}
    (source / {"voc": "7.xml", "yolo": "7.txt"}.get(format, "a.csv")).write_text(
        texts.get(format, BOXES_CSV + "7.png,cat,1,1,5,5")
    )
    arguments = ["data", "import", format, str(source), "--out", str(source.parent / "out"), "--task", "detection"]
    assert run(arguments) == 1
    told = capsys.readouterr().err
    assert "gave no record" in told and ("leaves the folder" in told or "is not in" in told)
