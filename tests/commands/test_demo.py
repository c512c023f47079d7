"""``rise demo``: four arms on one dataset, merged; again, it does nothing twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rise_vlm.cli import run
from rise_vlm.commands import demo
from rise_vlm.errors import UserError
from rise_vlm.recipes import demo as sizes
from rise_vlm.recipes import load_recipe

STEPS = (
    "warm_up.steps=1", "warm_up.samples=1", "warm_up.max_new_tokens=8", "closed_loop.steps=1",
    "closed_loop.records_per_step=1", "closed_loop.group=2", "closed_loop.rollouts.max_new_tokens=8",
    "reconstruct.max_new_tokens=8", "probes.records=1", "harvest.samples=1", "harvest.max_new_tokens=8",
    "sft.steps=1", "grpo.steps=1", "grpo.records_per_step=1", "grpo.group=2", "grpo.max_new_tokens=8",
    "evaluate.max_new_tokens=8", "evaluate.resamples=5",
)  # fmt: skip


@pytest.fixture
def speck(monkeypatch: pytest.MonkeyPatch) -> sizes.Size:
    """A demo of two records and one step of everything."""
    overrides = {
        arm: tuple(
            line for line in STEPS
            if {"reconstruct": "closed_loop", "probes": "closed_loop"}.get(line.split(".")[0], line.split(".")[0])
            in load_recipe(arm).stages
        )
        for arm in sizes.ARMS
    }  # fmt: skip
    size = replace(sizes.QUICK, train=2, val=1, test=2, overrides=overrides)
    monkeypatch.setattr(sizes, "QUICK", size)
    return size


@pytest.mark.parametrize("world", ["affect", "errand"])
def test_four_arms_are_judged_side_by_side(world: str, model: Path, tmp_path: Path, speck, capsys) -> None:
    out = tmp_path / "demo"
    arguments = ["demo", "--world", world, "--quick", "--out", str(out), "--model", str(model), "--json"]
    assert run(arguments) == 0
    results = json.loads(capsys.readouterr().out)
    found = {(arm["arm"], arm["split"]) for arm in results["arms"]}
    assert found == {(arm, split) for arm in (*sizes.ARMS, "zero_shot_answer") for split in ("test", "ood")}
    assert {"ceiling"} <= {floor["name"] for floor in results["floors"]}
    assert results["loop"]["facts"] is not None
    assert results["notes"][0].startswith("demo: a --quick demo shows") and "say nothing" in results["notes"][0]
    assert "say nothing" in (out / "report.html").read_text(encoding="utf-8").partition("<main>")[0]
    assert {path.stem for path in (out / "predictions").iterdir()} == {f"{arm}-{split}" for arm, split in found}
    assert (out / "report.html").is_file() and json.loads((out / "results.json").read_text(encoding="utf-8")) == results

    stamps = {path: path.stat().st_mtime_ns for path in out.glob("arms/*/stages/*/done.json")}
    assert run(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def made(out: Path, size: sizes.Size, world: str = "affect", seed: int = 0, train: int | None = None) -> bytes:
    """The training rows of a demo's data, made by the steps of the command."""
    wanted = demo.wanted_data(world, size, seed=seed, train=train)
    demo.check_folder(out, wanted, "tiny", force=False)
    demo.make_data(out, wanted, "tiny")
    return (out / "data" / "train.jsonl").read_bytes()


def test_the_same_demo_keeps_its_data(tmp_path: Path, speck) -> None:
    first = made(tmp_path, speck)
    stamp = (tmp_path / "data" / "train.jsonl").stat().st_mtime_ns
    assert made(tmp_path, speck) == first
    assert (tmp_path / "data" / "train.jsonl").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "other", [["--world", "errand"], ["--seed", "1"], ["--train", "3"], ["--model", "{other}"], ["full size"]]
)
def test_a_folder_that_holds_another_demo_is_refused_and_left_alone(
    other: list[str], tmp_path: Path, model: Path, speck, capsys, monkeypatch
) -> None:
    out = tmp_path / "demo"
    wanted = demo.wanted_data("affect", speck, seed=0, train=None)
    demo.make_data(out, wanted, str(model))
    (out / "report.html").write_text("of before", encoding="utf-8")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    arguments = ["demo", "--out", str(out), "--model", str(model), "--quick"]
    if other == ["full size"]:
        monkeypatch.setattr(sizes, "AFFECT", replace(speck, val=2))
        arguments.remove("--quick")
        other = []
    assert run([*arguments, *(word.format(other=copy) for word in other)]) == 2
    told = capsys.readouterr().err
    assert "holds the demo of 'affect' (seed 0, 2/1/2 records" in told
    assert f"--out {out}-" in told and "--force" in told
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_force_replaces_the_demo_of_another_world(tmp_path: Path, speck) -> None:
    first = made(tmp_path, speck)
    wanted = demo.wanted_data("affect", speck, seed=1, train=3)
    demo.check_folder(tmp_path, wanted, "tiny", force=True)
    demo.make_data(tmp_path, wanted, "tiny")
    again = (tmp_path / "data" / "train.jsonl").read_bytes()
    assert again != first and again.count(b"\n") == 3
    assert made(tmp_path, speck, seed=1, train=3) == again


def test_a_demo_killed_while_it_drew_or_wrote_its_stamp_goes_on(tmp_path: Path, speck) -> None:
    first = made(tmp_path, speck)
    stamp = json.loads((tmp_path / demo.STAMP).read_text(encoding="utf-8"))
    del stamp["summary"]
    (tmp_path / demo.STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    assert made(tmp_path, speck) == first
    assert "summary" in json.loads((tmp_path / demo.STAMP).read_text(encoding="utf-8"))


def test_data_that_the_demo_did_not_make_is_left_alone(tmp_path: Path, speck) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(UserError, match="was not made by the demo"):
        made(tmp_path, speck)
    assert (tmp_path / "data" / "mine.txt").read_text(encoding="utf-8") == "keep"


def test_an_unknown_world_names_the_known_ones(tmp_path: Path, model: Path, capsys) -> None:
    assert run(["demo", "--world", "afect", "--out", str(tmp_path / "d"), "--model", str(model)]) == 2
    assert "Did you mean 'affect'" in capsys.readouterr().err


@pytest.mark.parametrize("size", [sizes.AFFECT, sizes.ERRAND, sizes.QUICK])
def test_the_sizes_of_the_demo_are_settings_that_exist(size: sizes.Size) -> None:
    for arm in sizes.ARMS:
        assert load_recipe(arm, size.overrides.get(arm, ())).name == arm
