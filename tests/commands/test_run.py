"""``rise run``, as a user types it: exit codes, what goes to stdout, and that a mistake stops it before any work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stage_kit import environment, make_classification

from rise_vlm.cli import run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs start in an empty folder, where ``runs/`` may appear."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


QUICK = ("sft.steps=1", "sft.records_per_step=2", "evaluate.max_new_tokens=32", "evaluate.resamples=5")


def test_a_run_prints_the_table_and_names_the_report(classes: Path, model: Path, capsys) -> None:
    assert run(["run", "ans_sft", f"data={classes}", f"model={model}", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "ans_sft" in out and "majority" in out and "report.html" in out
    assert Path("runs/ans_sft-noise/results.json").is_file()


def test_json_is_one_object_on_stdout_and_nothing_else(classes: Path, model: Path, capsys) -> None:
    assert run(["run", "ans_sft", f"data={classes}", f"model={model}", "--out", "here", "--json", *QUICK]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["arms"][0]["arm"] == "ans_sft"
    assert "stage 1 of 2" in captured.err


def test_a_dry_run_shows_the_plan_and_writes_nothing(classes: Path, model: Path, capsys) -> None:
    arguments = ["run", "rise", f"data={classes}", f"model={model}", "--dry-run", "closed_loop.steps=3"]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"model: {model}, a folder\nrecords: 4 to train on")
    assert shown.endswith("runs/rise-noise/stages/06-evaluate: to run\n") and shown.count("\n") < 20
    assert run([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [stage["stage"] for stage in plan["stages"]][:2] == ["warm_up", "closed_loop"]
    assert plan["recipe"]["closed_loop"]["train"]["steps"] == 3
    assert list(Path().iterdir()) == []


def test_a_dry_run_says_what_would_go_on_and_what_would_be_made_anew(classes: Path, model: Path, capsys) -> None:
    arguments = ["run", "ans_sft", f"data={classes}", f"model={model}", "sft.steps=1", "--out", "mine"]
    assert run(arguments) == 0
    capsys.readouterr()
    assert run([*arguments, "--dry-run"]) == 0
    assert "mine/stages/01-sft: done before" in capsys.readouterr().out
    assert run([*arguments, "sft.learning_rate=1e-5", "--dry-run"]) == 0
    assert "mine/stages/01-sft: to run anew" in capsys.readouterr().out


def test_a_folder_of_something_else_is_refused_and_left_alone(classes: Path, model: Path, capsys) -> None:
    Path("photos").mkdir()
    Path("photos/report.html").write_text("mine")
    for out in (str(classes), "photos"):
        before = sorted(Path(out).rglob("*"))
        assert run(["run", "ans_sft", f"data={classes}", f"model={model}", "--out", out]) == 2
        assert "holds something else" in capsys.readouterr().err
        assert sorted(Path(out).rglob("*")) == before
    assert run(["demo", "--out", "photos", "--model", str(model)]) == 2
    assert "photos holds something else (report.html; no demo.json)" in capsys.readouterr().err


def test_a_mistyped_run_is_no_hub_id(classes: Path, model: Path, capsys) -> None:
    Path("runs/clothing").mkdir(parents=True)
    Path("runs/clothing/recipe.yaml").write_text("name: rise\n")
    for command in (
        ["evaluate", "runs/cloting", str(classes)],
        ["run", "ans_sft", f"data={classes}", "model=runs/cloting"],
    ):
        assert run(command) == 2
        assert "runs/cloting: no such folder" in (told := capsys.readouterr().err) and "runs/clothing'?" in told


def test_a_dry_run_says_that_a_model_is_not_on_this_machine(classes: Path, capsys) -> None:
    assert run(["run", "ans_sft", f"data={classes}", "model=nobody/no-such-model", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("model: nobody/no-such-model, not on this machine: the first run fetches")
    assert torch.cuda.is_available() or "note: nobody/no-such-model wants a GPU" in told


@pytest.mark.parametrize(("megabytes", "gpu", "noted"), [(2000, False, 1), (2000, True, 0), (5, False, 0)])
def test_a_dry_run_says_that_a_large_model_wants_a_gpu_and_there_is_none(
    classes: Path, model: Path, tmp_path: Path, capsys, monkeypatch, megabytes: int, gpu: bool, noted: int
) -> None:
    large = tmp_path / "large"
    shutil.copytree(model, large)
    with (large / "more.safetensors").open("wb") as file:
        file.truncate(megabytes * 1_000_000)  # a sparse file: it takes no room
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert run(["run", "ans_sft", f"data={classes}", f"model={large}", "--dry-run"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "wants a GPU" in line]
    assert len(told) == noted
    assert all(f"note: {large} (2.0 GB of weights) wants a GPU, and there is none here (" in line for line in told)


def test_a_dry_run_says_what_is_trained_and_what_the_validation_records_are_for(
    classes: Path, model: Path, capsys
) -> None:
    def lines(*words: str) -> list[str]:
        assert run(["run", *words, f"data={classes}", f"model={model}", "--dry-run"]) == 0
        return capsys.readouterr().out.splitlines()[1:3]

    records, trains = lines("rise")
    assert "for the loop's controls (rationales that are empty or another picture's)" in records
    assert trains == "trains: all weights of the language model; the vision tower stays"
    records, trains = lines("ans_sft", "lora.r=4")
    assert "in val, which no stage of it uses" in records and "LoRA adapters of rank 4" in trains
    assert lines("ans_sft", "freeze_tower=false")[1].endswith("language model and of the vision tower")
    assert lines("zero_shot")[1].startswith("trains: nothing")


def test_the_settings_are_a_recipe_and_need_no_dataset(capsys) -> None:
    assert run(["run", "rise", "closed_loop.steps=3", "--settings"]) == 0
    Path("mine.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(["run", "mine.yaml", "--settings", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert settings["name"] == "rise" and settings["closed_loop"]["train"]["steps"] == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rize"], "Did you mean 'rise'"),
        (["rise"], "add data=FOLDER"),
        (["rise", "data=nowhere"], "There is no folder nowhere"),
        (["rise", "data={data}", "closed_loop.stpes=1"], "Did you mean 'closed_loop.steps'"),
        (["rise", "data={data}", "closed_loop.steps=few"], "rise: closed_loop.steps=few: it should be a valid integer"),
        (["rise", "data={data}", "model=nowhere"], "no such folder"),
        (["rise", "data={data}", "--out", "{data}/dataset.yaml"], "is a file"),
        (["ans_sft", "data={data}", "evaluate.splits=[]", "sft.records_per_step=0"], "sft.records_per_step"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(classes: Path, model: Path, capsys, arguments, says) -> None:
    options = [argument.format(data=classes) for argument in arguments]
    if not any(option.startswith("model=") for option in options):
        options.append(f"model={model}")
    assert run(["run", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err
    assert "Traceback" not in captured.err
    assert list(Path().iterdir()) == []


def test_unicode_and_blanks_in_paths(tmp_path: Path, model: Path) -> None:
    data = make_classification(tmp_path / "été 猫" / "mes données", train=2, val=1, test=1)
    assert run(["run", "ans_sft", f"data={data}", f"model={model}", "--out", "où là", *QUICK]) == 0
    assert Path("où là/report.html").is_file()


def test_ctrl_c_leaves_a_run_that_goes_on(classes: Path, model: Path, tmp_path: Path, capsys) -> None:
    import signal
    import time

    out = tmp_path / "run"
    arguments = ["ans_sft", f"data={classes}", f"model={model}", "--out", str(out), "sft.steps=40", "--json"]
    command = [sys.executable, "-c", "from rise_vlm.cli import main; main()", "run", *arguments, *QUICK[1:]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    metrics = out / "stages" / "01-sft" / "metrics.jsonl"
    until = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < until and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert (out / "stages" / "01-sft" / "checkpoint-last").is_dir()
    assert not (out / "results.json").exists()
    steps = sum(1 for _ in metrics.open(encoding="utf-8"))
    assert steps < 40
    assert run(["run", *arguments, *QUICK[1:]]) == 0
    captured = capsys.readouterr()
    assert "continuing after step" in captured.err
    assert json.loads(captured.out)["arms"]
