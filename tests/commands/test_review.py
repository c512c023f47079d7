"""``rise review`` from the command line: it starts, is stopped and continues; mistakes are one line."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from rise_vlm.cli import run

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from web_kit import make_answers, make_dataset, post, started


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_dataset(tmp_path / "data", "classification")
    return tmp_path


def test_a_killed_review_continues_with_every_decision_and_finishes(folder: Path) -> None:
    process, address = started("review", "data", "--port", "0")
    said = "What can be seen, number 0."
    counts = post(address, "api/items/0", {"action": "accept", "annotation": "red", "rationale": said})["counts"]
    assert counts["accepted"] == 1
    process.kill()
    process.communicate(timeout=60)
    process, address = started("review", "data", "--port", "0")
    with urllib.request.urlopen(f"{address}api/session", timeout=120) as answer:
        assert json.loads(answer.read())["counts"] == {"undecided": 2, "accepted": 1, "corrected": 0, "rejected": 0}
    assert post(address, "api/finish", {"undecided": "keep"})["splits"] == {"train": 3}
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "Stopped: 2 undecided, 1 accepted" in told and "Traceback" not in told
    assert run(["data", "check", "data-reviewed"]) == 0


def refused(*arguments: str) -> int:
    return run(["review", *arguments, "--port", "0"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "There is no dataset and no file nothing"),
        (["."], "is not a dataset: it has no dataset.yaml"),
        (["text.jsonl"], "row 1 is no answer of 'rise annotate'"),
        (["empty.jsonl"], "holds nothing to review"),
        (["data", "--split", "trian"], "Did you mean 'train'?"),
        (["data", "--task", "task.yaml"], "--task is for a file of answers"),
        (["answers/answers.jsonl", "--split", "train"], "--split is for a dataset"),
        (["answers/answers.jsonl", "--task", "none.yaml"], "none.yaml"),
        (["data", "--out", "data"], "is what is being reviewed"),
        (["data", "--out", "data/inner"], "or inside it"),
        (["data", "--out", "text.jsonl"], "is a file"),
        (["data", "--out", "answers"], "exists and is not a dataset"),
        (["data", "--out", "other"], "holds a dataset already; give another --out or add --force"),
        (["data", "--out", "text.jsonl/x"], "cannot be written"),
        (["data", "--token", "short"], "--token must be 12 or more"),
        (["data", "--host", "no.such.host.invalid"], "no address of this machine"),
        (["data", "--val", "0.7", "--test", "0.7"], "more than all images"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    (folder / "empty.jsonl").write_text("", encoding="utf-8")
    make_answers(folder / "answers", [{"annotation": [1, 1, 9, 9]}])
    make_dataset(folder / "other", "counting")
    assert refused(*arguments) in (1, 2)
    errors = capsys.readouterr().err
    assert told in errors and "Traceback" not in errors and errors.count("rise:") == 1


def test_a_port_that_is_taken_and_a_review_that_runs_already_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(["review", "data", "--port", str(other.getsockname()[1])]) == 1
    assert "is taken; give another --port" in capsys.readouterr().err
    process, _ = started("review", "data", "--port", "0")
    assert refused("data") == 1
    assert "Another 'rise review' is running" in capsys.readouterr().err
    process.kill()
    process.communicate(timeout=60)


def test_the_journal_of_another_review_is_not_added_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(folder / "other", "counting")
    process, _ = started("review", "other", "--out", "new", "--port", "0")
    process.kill()
    process.communicate(timeout=60)
    assert refused("data", "--out", "new") == 2
    assert "is the journal of another review" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    assert refused("data", "--out", "locked/new") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_beyond_this_machine_a_token_is_made_and_printed(folder: Path) -> None:
    process, address = started("review", "data", "--port", "0", "--host", "0.0.0.0")
    assert "/?token=" in address and len(address.partition("token=")[2]) >= 32
    process.kill()
    process.communicate(timeout=60)
