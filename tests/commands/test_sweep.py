"""rise sweep runs: every cell a run of its own, stages made once, one failure among others, nothing run twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rise_vlm.cli import run
from rise_vlm.errors import Interrupted
from rise_vlm.stages import sweep as stages_sweep
from rise_vlm.stages.preflight import Prepared

QUICK = """
settings: {{model: {model}, evaluate.max_new_tokens: 32, evaluate.resamples: 5, sft.records_per_step: 2, sft.steps: 1}}
"""


def test_cells_share_stages_fail_alone_and_are_not_run_again(
    classes: Path, model: Path, tmp_path: Path, capsys
) -> None:
    text = (
        QUICK.format(model=model)
        + f"""
data: {{noise: {classes}, gone: {tmp_path / "nowhere"}}}
arms:
  ans_sft:
  longer_answers: {{recipe: ans_sft, set: {{evaluate.max_new_tokens: 40}}}}
"""
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    words = ["sweep", str(path), "--out", str(tmp_path / "out"), "--json"]
    assert run([*words, "--dry-run", "--into", str(path)]) == 2
    assert "give one of them" in capsys.readouterr().err and path.read_text(encoding="utf-8") == text
    assert run([*words, "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()
    plan = {one["folder"]: one["status"] for one in json.loads(capsys.readouterr().out)["runs"]}
    assert sorted(plan.values()) == ["failed", "failed", "waiting", "waiting"]
    assert run(words) == 1
    captured = capsys.readouterr()
    found = {(one["data"], one["arm"]): one for one in json.loads(captured.out)["runs"]}
    assert found["gone", "ans_sft"]["status"] == "failed" and "nowhere" in found["gone", "ans_sft"]["message"]
    assert {arm: found["noise", arm]["status"] for arm in ("ans_sft", "longer_answers")} == dict.fromkeys(
        ("ans_sft", "longer_answers"), "done"
    )
    assert "the same as in noise/all/ans_sft/seed-0" in captured.err
    homes = [tmp_path / "out" / "noise" / "all" / arm / "seed-0" for arm in ("ans_sft", "longer_answers")]
    one, other = (home / "stages" / "01-sft" / "model" / "model.safetensors" for home in homes)
    assert one.stat().st_ino == other.stat().st_ino
    results = [json.loads((home / "results.json").read_text(encoding="utf-8")) for home in homes]
    assert results[0]["arms"][0]["cost"] == results[1]["arms"][0]["cost"]
    assert (tmp_path / "out" / "report.html").is_file()
    assert run(["sweep", str(tmp_path / "out"), "data={noise: " + str(classes) + "}", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["runs"]
    assert [one["status"] for one in again] == ["before", "before"]


def test_ctrl_c_stops_the_whole_sweep(
    classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    begun = []

    def stopped(run: Prepared, **how: object) -> None:
        begun.append(run.out)
        raise Interrupted("sft: stopped after step 1 of 2")

    monkeypatch.setattr(stages_sweep, "run_prepared", stopped)
    path = tmp_path / "mine.yaml"
    cells = f"data: {{noise: {classes}}}\nseeds: [0, 1]\narms: {{ans_sft: }}\n"
    path.write_text(QUICK.format(model=model) + cells, encoding="utf-8")
    assert run(["sweep", str(path), "--out", str(tmp_path / "out")]) == 130
    assert len(begun) == 1 and "stopped after step 1" in capsys.readouterr().err


def test_an_arm_is_given_the_time_of_another(classes: Path, model: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.yaml"
    arms = "arms: {equal: {like: ans_sft, time_of: twice}, ans_sft: , twice: {recipe: ans_sft, set: {sft.steps: 3}}}\n"
    path.write_text(QUICK.format(model=model) + f"data: {{noise: {classes}}}\n" + arms, encoding="utf-8")
    words = ["sweep", str(path), "--out", str(tmp_path / "out")]
    assert run([*words, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "# equal: like ans_sft, in the time of twice" in out and "its steps will give it the time of twice" in out
    assert run([*words, "--json"]) == 0
    found = [(one["arm"], one["status"]) for one in json.loads(capsys.readouterr().out)["runs"]]
    assert found == [("ans_sft", "done"), ("twice", "done"), ("equal", "done")]
    results = json.loads((tmp_path / "out/noise/all/equal/seed-0/results.json").read_text(encoding="utf-8"))
    (note,) = [note for note in results["notes"] if "equal compute" in note]
    assert f"{results['stages']['sft']['summary']['steps']} steps of sft" in note
    assert run([*words, "--json"]) == 0
    assert {one["status"] for one in json.loads(capsys.readouterr().out)["runs"]} == {"before"}
    path.write_text(path.read_text(encoding="utf-8").replace("sft.steps: 3", "sft.steps: 4"), encoding="utf-8")
    for also in (["--dry-run"], []):  # a dry run says what the run would
        assert run([*words, *also]) == 2
        assert "arms.twice is another than asked for now" in capsys.readouterr().err
