"""docs/datasets.md works as it is read: its class lists and its commands, on folders that look like the real ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import lookalikes
import pytest

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.class_list import ClassList

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n")[0].split(" ")[0]: part for part in PAGE.split("\n## ")[1:]}
NAMES = ("Emotion6", "ReasonSeg", "ImageNet", "COCO")
RELEASED = (
    "A1-Spatial-Transformation-train-60k-cot", "A2-Structure-Perception-train-4k5-cot",
    "A3-Visual-Counting-train-35k-cot", "Visual-Counting-id-test-1k", "Visual-Counting-ood-test-1k",
    "Structure-Perception-id-test-820", "Structure-Perception-ood-test-800", "Spatial-Transformation-id-test-1k",
    "Spatial-Transformation-ood-left-test-1k", "Spatial-Transformation-ood-right-test-1k",
)  # fmt: skip
LISTS = dict(re.findall(r"^`(\w+\.txt)`, our list.*?:\n```text\n(.*?)```", PAGE, flags=re.M | re.S))


def commands(section: str) -> list[list[str]]:
    """The lines of a section's bash block."""
    blocks = re.findall(r"^```bash\n(.*?)^```", SECTIONS[section], flags=re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def downloads(section: str, root: Path) -> None:
    """Small folders where the page expects the download, and the page's lists beside."""
    for name, text in LISTS.items():
        (root / name).write_text(text)
    if section == "Reason-RFT":
        lookalikes.reason_rft(root / "downloads" / "Reason-RFT-CoT-Dataset")
    elif section == "Tests":
        lookalikes.super_clevr(root / "downloads" / "Super-CLEVR")
        lookalikes.geometry3k(root / "downloads" / "geometry3k")
        lookalikes.trance(root / "downloads" / "TRANCE")
        lookalikes.nlvr(root / "downloads" / "nlvr")
    elif section == "Emotion6":
        lookalikes.emotion6(root / "downloads" / "Emotion6")
    elif section == "ReasonSeg":
        lookalikes.reasonseg(root / "downloads" / "ReasonSeg")
    elif section == "ImageNet":
        listed = (line.partition(" ") for line in LISTS["imagenet20.txt"].splitlines())
        names = {id_: f"{name}, another {name}" for id_, _, name in listed}
        lookalikes.ilsvrc(root / "downloads" / "imagenet", {**names, "n01440764": "tench, Tinca tinca"})
    else:
        names = [line.partition(":")[0] for line in LISTS["coco20.txt"].splitlines()]
        lookalikes.coco2017(root / "downloads" / "coco", ["person", *names, "toothbrush"], train=90)


def test_every_data_set_has_its_place_licence_folder_and_three_commands() -> None:
    for name in NAMES:
        section = SECTIONS[name]
        assert all(f"- **{word}**" in section for word in ("Where", "Licence", "Folder"))
        first, *_, last = commands(name)
        assert len(commands(name)) == 3
        assert first[:3] == ["rise", "data", "import"] and last[:3] == ["rise", "run", "rise"]


def test_the_lists_are_ours_and_have_twenty_classes(tmp_path: Path) -> None:
    assert list(LISTS) == ["imagenet20.txt", "coco20.txt"] and "class lists below are ours" in PAGE
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
        assert len(ClassList.read(str(tmp_path / name)).lines) == 20


def run_all(section: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the section's commands in the folder that is current; what trains is only checked, what evaluates is left."""
    for command in commands(section):
        more = ["--dry-run"] if command[1] in ("run", "sweep") else []
        if command[1] != "evaluate":
            code = run([*command[1:], *more])
            captured = capsys.readouterr()
            assert code == 0, f"{shlex.join(command)}\n{captured.out}\n{captured.err}"


def splits(folder: str) -> dict[str, int]:
    """Split -> good records of a dataset; no row is bad."""
    dataset = Dataset.open(folder)
    found = {split: sum(1 for _ in dataset.records(split)) for split in dataset.splits}
    assert not any(counts.quarantined for counts in dataset.counts.values())
    return found


def test_reason_rfts_files_are_read_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads("Reason-RFT", tmp_path)
    monkeypatch.chdir(tmp_path)
    run_all("Reason-RFT", capsys)
    assert splits("data/counting") == splits("data/structure") == {"train": 24, "test": 4, "ood": 4}
    assert splits("data/transformation") == {"train": 24, "test": 4, "ood_left": 4, "ood_right": 4}
    names = {path.name for path in Path("counting-again").glob("*.json")}
    assert names == {f"{name}.json" for name in (
        "A3-Visual-Counting-train", "Visual-Counting-id-test", "Visual-Counting-ood-test")}  # fmt: skip
    for name in RELEASED:
        assert re.sub(r"^.*(?=-ood-)|^.*/", "", name) in SECTIONS["Reason-RFT"]


def test_the_tests_of_others_are_read_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads("Tests", tmp_path)
    monkeypatch.chdir(tmp_path)
    run_all("Tests", capsys)
    assert splits("data/superclevr") == {"test": 6 + 6 * 4}
    assert splits("data/geometry3k") == {"train": 3, "val": 3, "test": 3}
    assert splits("data/trance") == {"test": 3, "ood_left": 3, "ood_right": 3}
    assert splits("data/nlvr") == {"train": 6, "val": 6, "test": 6}


@pytest.mark.parametrize("section", NAMES)
def test_the_commands_run_in_order(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads(section, tmp_path)
    monkeypatch.chdir(tmp_path)
    run_all(section, capsys)
    dataset = Dataset.open(Path(commands(section)[0][-1]))
    assert {"train", "val", "test"} <= set(dataset.splits)
    records = [record for split in dataset.splits for record in dataset.records(split)]
    assert records and not any(counts.quarantined for counts in dataset.counts.values())
    if section in ("ImageNet", "COCO"):
        assert len(dataset.card.classes) == 20 and dataset.card.synonyms


def test_the_lines_that_a_class_list_may_have_are_read(tmp_path: Path) -> None:
    block = re.search(r"```text\n(.*?)```", SECTIONS["Class"], flags=re.S)
    assert block is not None
    lines = block.group(1).splitlines()
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.txt").write_text(line)
        (one,) = ClassList.read(str(tmp_path / f"{number}.txt")).lines
        assert one.name or one.id
    assert len(lines) == 5
