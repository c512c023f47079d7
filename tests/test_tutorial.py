"""The tutorial works: its commands run in order, small where they train, and print what the page shows of them."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from rise_vlm import cli
from rise_vlm.data import Dataset
from rise_vlm.policy.names import resolve

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "web"))

from web_kit import post, started

from page_commands import ROOT, SMALL_RUN, blocks, commands, lines, parse, small

PAGE = ROOT / "docs" / "tutorial.md"
CLOTHING = ROOT.parent / "shared" / "data" / "cls-clothing"
BY_HAND = "A short tail can be seen."
HUB_MODEL = "Qwen/Qwen2-VL-2B-Instruct"

SMALL: dict[str, list[str]] = {
    "rise data": [],
    "rise run": [],  # with --dry-run
    "rise run quick.yaml data=things --out runs/first": [*SMALL_RUN, "data.limit=4", "quality.records=0"],
    "rise run quick.yaml data=things --out runs/first --dry-run": [],
    "rise run quick.yaml data=things-2": [*SMALL_RUN, "data.limit=4", "quality.records=0"],
    "rise annotate": ["--max-new-tokens", "24"],
    "rise review": ["--port", "0"],
    "rise compare": [],
}
"""Beginning of a command -> what is added to make it small; where that is nothing, the page shows what it prints."""


def files_of(page: Path) -> dict[str, str]:
    """The files that the page says to save: YAML blocks whose first line is their name."""
    found = (re.match(r"# (\S+\.yaml)\n", text) for language, text in blocks(page) if language == "yaml")
    return {match[1]: match.string for match in found if match}


@pytest.mark.parametrize("command", commands(PAGE))
def test_every_command_of_the_tutorial_is_known(command: str) -> None:
    assert small(command, SMALL) is not None
    assert not command.startswith("rise run rise_qwen") or "--dry-run" in command
    parse(shlex.split(command)[1:])


def test_the_files_of_the_tutorial_are_small_and_named_in_its_commands() -> None:
    assert set(files_of(PAGE)) == {"quick.yaml", "task.yaml"}
    for name, text in files_of(PAGE).items():
        assert yaml.safe_load(text) and any(name in command for command in commands(PAGE))


def get(address: str, path: str) -> Any:
    with urllib.request.urlopen(address + path, timeout=120) as answer:
        return json.loads(answer.read())


def review(arguments: list[str]) -> dict[str, Any]:
    """Run ``rise review``, decide as a person would on its page, and finish; what finishing said.

    The first answer is corrected; what has no answer or no rationale gets one by hand.
    """
    process, address = started(*arguments)
    session = get(address, "api/session")
    for number in range(session["total"]):
        item = get(address, f"api/items/{number}")
        label, why = item["annotation"] or session["classes"][0], item["rationale"] or BY_HAND
        if number == 0:
            label, why = session["classes"][-1], BY_HAND
        post(address, f"api/items/{number}", {"action": "accept", "annotation": label, "rationale": why})
    said = post(address, "api/finish", {"undecided": "leave out"})
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[1].count("Traceback") == 0 and process.returncode == 0
    return said


def follow(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run one command as the page has it, but with what is on this machine; what it printed."""
    words = [str(resolve("tiny")[0]) if word == HUB_MODEL else word for word in arguments]
    if words[1] == "review":
        assert sum(review(words[1:])["splits"].values()) == 12
        return ""
    code = cli.run(words[1:])
    captured = capsys.readouterr()
    assert code == 0, f"{shlex.join(words)}\n{captured.out}\n{captured.err}"
    return captured.out + captured.err


def test_the_tutorial_runs_in_order_and_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files_of(PAGE).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    printed, exact = "", False
    for language, text in blocks(PAGE):
        if language == "bash":
            asked = [words for command in lines(text) if (words := small(command, SMALL)) is not None]
            printed = "".join(follow(words, capsys) for words in asked)
            exact = all(shlex.join(words) in lines(text) for words in asked)
        elif language == "text" and exact and printed:
            for line in text.splitlines():
                assert line in printed, f"the tutorial shows '{line}', but what is printed is\n{printed}"
    assert_a_second_round_was_made(tmp_path)


def assert_a_second_round_was_made(folder: Path) -> None:
    merged = Dataset.open(folder / "things-2")
    by_hand = [one for split in merged.splits for one in merged.records(split) if one.meta["from"] != "things"]
    assert BY_HAND in [one.rationale for one in by_hand]
    results = json.loads((folder / "runs" / "second" / "results.json").read_text(encoding="utf-8"))
    assert results["arms"] and (folder / "runs" / "second" / "report.html").is_file()
    assert (folder / "answers.html").is_file() and (folder / "check.html").is_file()
    assert Dataset.open(folder / "draft-reviewed").card.task == "classification"


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="there are no photographs on this machine")
def test_photographs_go_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text(files_of(PAGE)["quick.yaml"], encoding="utf-8")
    shown = [command for command in commands(PAGE) if "data=things --out" not in command or "--dry-run" in command]
    begins = ("rise data import", "rise data check things", "rise run quick.yaml data=things ")
    on_photographs = [command.replace("photos/train", str(CLOTHING)) for command in shown if command.startswith(begins)]
    printed = "".join(follow(shlex.split(command), capsys) for command in on_photographs)
    assert "110 to train on" in printed and "train: 110 records, 0 bad" in printed
    assert "the built-in model knows drawn scenes only" in printed
