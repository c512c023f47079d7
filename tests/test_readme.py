"""Every command of the README works: it is run on a few small pictures, or, where it would take long, parsed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from rise_vlm import cli

sys.path.insert(0, str(Path(__file__).parent))

from page_commands import ROOT, SMALL_RUN, commands, parse, small

README = ROOT / "README.md"

RUN: dict[str, list[str]] = {
    "rise data import": ["--val", "0.2", "--test", "0.3"],
    "rise data check": [],
    "rise data make": ["--train", "6", "--val", "2", "--test", "2"],
    "rise run rise data=clothing --out": SMALL_RUN,
    "rise run rise_qwen2_vl_2b": [],
    "rise annotate": ["--max-new-tokens", "8"],
    "rise evaluate": ["--limit", "2"],
    "rise report": [],
}
"""Beginning of a command -> what is added to make it small. They are run in the README's order."""

PARSED = ("rise demo", "rise run ans_sft", "rise run rise data=scenes", "rise doctor")
"""These take long or have tests of their own; here their arguments are parsed."""


def test_the_readme_shows_the_two_commands_first_and_stays_short() -> None:
    assert commands(README)[:2] == ["make demo", "make test"]
    assert len(README.read_text(encoding="utf-8").splitlines()) < 120


def test_every_target_that_the_readme_names_is_one() -> None:
    named = set(re.findall(r"`make (\w+)`", README.read_text(encoding="utf-8")))
    assert "install" in named
    assert named <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M))


@pytest.mark.parametrize("command", commands(README))
def test_every_command_of_the_readme_is_known(command: str) -> None:
    if command.startswith("make "):
        target = command.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M)
        return
    assert small(command, RUN) is not None or command.startswith(PARSED), f"the README's '{command}' is not tested"
    parse(shlex.split(command)[1:])


def test_what_a_run_would_do_is_looked_at_in_the_folder_in_which_it_is_run() -> None:
    look, go = (command for command in commands(README) if command.startswith("rise run rise data=clothing"))
    assert look == f"{go} --dry-run"


def test_parsing_refuses_what_the_command_does_not_take() -> None:
    for arguments in (["demo", "--no-such"], ["evaluate", "one-argument-only"], ["data", "make"]):
        with pytest.raises(Exception, match=r"(?i)no such option|missing"):
            parse(arguments)


def photographs(folder: Path, count: int) -> None:
    """A few pictures of two classes, of a photo's size and shape."""
    for name, colour in (("hat", "darkred"), ("shoe", "steelblue")):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            picture = Image.new("RGB", (320, 240), "linen")
            ImageDraw.Draw(picture).ellipse((60 + 9 * index, 50, 220, 190), fill=colour)
            picture.save(folder / name / f"{name}-{index}.jpg")


def test_the_commands_of_the_readme_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "photos", 6)
    photographs(tmp_path / "new-photos", 1)
    monkeypatch.chdir(tmp_path)
    for line in filter(None, (small(command, RUN) for command in commands(README))):
        code = cli.run(line[1:])
        captured = capsys.readouterr()
        assert code == 0, f"{shlex.join(line)}\n{captured.out}\n{captured.err}"
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "runs" / "clothing" / "report.html").is_file()


def test_the_word_list_has_the_words_that_notes_and_plans_print() -> None:
    table = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").partition("## The words")[2].partition("\n## ")[0]
    listed = {word for row in re.findall(r"^\| ([^|]+) \|", table, flags=re.M) for word in row.split(", ")}
    assert {"record", "rationale", "controls", "recipe", "stage", "arm"} <= listed


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
