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
LISTS = dict(re.findall(r"^`(\w+\.txt)`, our list.*?:\n```text\n(.*?)```", PAGE, flags=re.M | re.S))


def commands(section: str) -> list[list[str]]:
    """The lines of a section's bash block."""
    blocks = re.findall(r"^```bash\n(.*?)^```", SECTIONS[section], flags=re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def downloads(section: str, root: Path) -> None:
    """A small folder where the page expects the download, and the page's lists beside."""
    for name, text in LISTS.items():
        (root / name).write_text(text)
    if section == "Emotion6":
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


@pytest.mark.parametrize("section", NAMES)
def test_the_commands_run_in_order(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads(section, tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in commands(section):
        more = ["--dry-run"] if command[1] == "run" else []
        code = run([*command[1:], *more])
        captured = capsys.readouterr()
        assert code == 0, f"{shlex.join(command)}\n{captured.out}\n{captured.err}"
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
