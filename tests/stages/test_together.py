"""Runs of several processes end as a run of one: the same rollouts, losses to 1e-4, one set of files."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml
from stage_kit import environment, small_recipe
from test_unkillable import left_in

from rise_vlm import cli, ranks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and talks by gloo")

TRAINED = {"warm_up": "01-warm_up", "closed_loop": "02-closed_loop", "sft": "04-sft", "grpo": "05-grpo"}
EVEN = ("loss", "reward", "score", "reconstruction", "leak_rate", "length", "tokens", "entropy", "grounding", "ratio")
"""Metrics that must agree; all but the loss are means over rollouts that are the same."""

# Three records a step for two and four processes: uneven shares, and processes without any. The classes are rebuilt
# blind, so that rows of text stand beside rows with pictures; the tower trains.
UNEVEN = (
    "policy.precision=float32", "policy.freeze_tower=false", "data.limit=3", "warm_up.steps=3", "closed_loop.steps=4",
    "closed_loop.records_per_step=3", "closed_loop.objective.beta=0.02", "sft.epochs=null", "sft.steps=3",
    "sft.records_per_step=3", "grpo.steps=3", "grpo.records_per_step=3", "harvest.threshold=-9", "harvest.gain=-9",
)  # fmt: skip
SAVES = tuple(f"{stage}.save_every=1" for stage in TRAINED)


def recipe_in(folder: Path, name: str, data: Path, model: Path, *options: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(small_recipe(name, data, model, *options).resolved()), encoding="utf-8")
    return str(path)


def together(*jobs: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Run the jobs one after the other; for each the exit codes of its processes and what they said."""
    program = Path(__file__).with_name("together.py")
    given = json.dumps([[recipe, str(out), *rest] for recipe, out, *rest in jobs])
    done = subprocess.run(
        [sys.executable, str(program), given], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def losses(out: Path) -> dict[tuple[str, int, str], float]:
    found: dict[tuple[str, int, str], float] = {}
    for path in sorted(out.glob("stages/*/metrics.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            found |= {(path.parent.name, row["step"], name): row[name] for name in EVEN if row.get(name) is not None}
    return found


def test_processes_share_a_run(classes: Path, model: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "rise", classes, model, *UNEVEN)
    outs = {count: tmp_path / f"of-{count}" / "run" for count in (1, 2, 4)}
    for done in together(*((recipe, out, count, None) for count, out in outs.items())):
        assert set(done["codes"]) == {0}, done["said"]
        assert all(not said.strip() for said in done["said"][1:]), "the main process speaks for all"
        assert done["said"][0].count("tracked") == len(TRAINED), "trackers end, and the processes stay together"
    alone = losses(outs[1])
    assert {stage for stage, _, _ in alone} == set(TRAINED.values())
    assert all(alone[place, 1, "loss"] for place in TRAINED.values()), "a loss of 0 would agree with anything"
    whole = left_in(outs[1])
    for count in (2, 4):
        assert losses(outs[count]) == pytest.approx(alone, abs=1e-4), count
        assert set(left_in(outs[count])) == set(whole), "the same files, each once"
        for stage in ("02-closed_loop", "05-grpo"):
            ours, theirs = (
                pyarrow.parquet.read_table(outs[n] / "stages" / stage / "rollouts.parquet") for n in (count, 1)
            )
            text = "rationale" if stage == "02-closed_loop" else "completion"
            assert ours["id"].equals(theirs["id"])
            assert ours[text].equals(theirs[text])
        texts = [
            [json.loads(line)["completion"] for line in (outs[n] / "predictions/rise-test.jsonl").open()]
            for n in (count, 1)
        ]
        assert texts[0] == texts[1]


def test_adapters_and_muon_and_rewards_of_ones_own(
    classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reward that says something else in each process: only the main one's is asked."""
    (tmp_path / "mine.py").write_text(
        "import os\n\ndef whose(record, completion):\n    return len(completion) / 50 + int(os.environ['RANK'])\n"
    )
    lora = ("policy.lora={r: 4}", "policy.precision=float32", "grpo.steps=3", "grpo.records_per_step=3")
    own = (f"grpo.rewards={{'{tmp_path}/mine.py:whose': 1.0}}",)
    muon = ("policy.precision=float32", "sft.steps=3", "sft.train.optimizer=muon", "sft.records_per_step=3")
    adapters = recipe_in(tmp_path, "visual_rft", classes, model, *lora, *own)
    answers = recipe_in(tmp_path, "ans_sft", classes, model, *muon)
    monkeypatch.setenv("RANK", "0")
    jobs = [(recipe, tmp_path / f"{n}-{Path(recipe).stem}", n, None) for recipe in (adapters, answers) for n in (1, 2)]
    for done in together(*jobs):
        assert set(done["codes"]) == {0}, done["said"]
    for (_, alone, _, _), (_, two, _, _) in (jobs[:2], jobs[2:]):
        found = losses(alone)
        assert len(found) >= 3
        assert losses(two) == pytest.approx(found, abs=1e-4)
    assert list(tmp_path.glob("2-visual_rft/stages/01-grpo/model/adapter_model.safetensors"))


def test_half_precision(classes: Path, model: Path, tmp_path: Path) -> None:
    """In bfloat16 how a step is cut decides its last digits: micro-batches of one group each are alike everywhere.

    Gradients are added up in another order all the same, and after some steps a token turns out otherwise: so the
    first steps are compared.
    """
    stages = "stages=[warm_up, closed_loop, harvest, sft, evaluate]"
    cut = tuple(f"{stage}.token_budget=1" for stage in TRAINED if stage != "grpo")
    options = [one for one in UNEVEN if not one.startswith(("policy.precision", "grpo"))]
    recipe = recipe_in(tmp_path, "rise", classes, model, stages, *options, *cut, "policy.precision=bfloat16")
    outs = {count: tmp_path / f"of-{count}" / "run" for count in (1, 3)}
    for done in together(*((recipe, out, count, None) for count, out in outs.items())):
        assert set(done["codes"]) == {0}, done["said"]
    alone, shared = ({key: value for key, value in losses(out).items() if key[1] <= 2} for out in outs.values())
    assert {stage for stage, _, _ in alone} == {TRAINED[name] for name in ("warm_up", "closed_loop", "sft")}
    assert shared == pytest.approx(alone, abs=2e-3)


def test_a_training_that_fails_is_saved_and_told_once(classes: Path, model: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "ans_sft", classes, model, "sft.steps=9", "sft.learning_rate=1e30",
                       "policy.precision=float32")  # fmt: skip
    (done,) = together((recipe, tmp_path / "run", 2, None))
    assert done["codes"] == [1, 1]
    assert "was not finite" in done["said"][0]
    assert not done["said"][1]
    assert (tmp_path / "run/stages/01-sft/checkpoint-last/state.json").is_file()


def test_processes_that_see_other_files_are_refused(classes: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    recipes = [recipe_in(tmp_path / part, "ans_sft", classes, model, f"seed={seed}")
               for seed, part in ((0, "."), (1, "one"))]  # fmt: skip
    (done,) = together((" ".join(recipes), tmp_path / "run", 2, None))
    assert done["codes"] == [1, 1]
    assert "the run in process 1 is not the one in the main process" in done["said"][0]
    assert not (tmp_path / "run/stages").exists()


def test_a_dead_process_ends_the_run_and_others_resume_it(classes: Path, model: Path, tmp_path: Path) -> None:
    """Four processes, of which one dies in the loop's third step; then two that resume; then one."""
    recipe = recipe_in(tmp_path, "rise", classes, model, *UNEVEN, *SAVES)
    out, alone = tmp_path / "run", tmp_path / "alone"
    dead, dead_again, resumed, undisturbed = together(
        (recipe, out, 4, [2, "closed_loop", 3]),
        (recipe, out, 2, [0, "grpo", 3]),
        (recipe, out, 1, None),
        (recipe, alone, 1, None),
    )
    assert dead["codes"][2] == -9
    assert all(dead["codes"])
    assert "another process of this run has ended" in dead["said"][0]
    assert "Traceback" not in "".join(dead["said"])
    assert dead_again["codes"][0] == -9
    assert "continuing after step 2 of 4" in dead_again["said"][0]
    assert resumed["codes"] == undisturbed["codes"] == [0]
    assert "continuing after step 2 of 3" in resumed["said"][0]
    assert losses(out) == pytest.approx(losses(alone), abs=1e-4)
    assert set(left_in(out)) == set(left_in(alone))


def test_accelerate_starts_a_run(classes: Path, model: Path, tmp_path: Path) -> None:
    """The shipped configurations; the one of weights in parts is that of test_parts."""
    recipe = recipe_in(tmp_path, "ans_sft", classes, model)
    config = Path(__file__).parents[2] / "recipes/accelerate/one_machine.yaml"
    started = launched(config, recipe, tmp_path / "run")
    assert started.returncode == 0, started.stderr
    assert (tmp_path / "run" / "results.json").is_file()
    assert "holds a part" not in started.stderr


def launched(config: Path, recipe: str, out: Path) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    command = [*launcher, "--main_process_port", "0", "-m", "rise_vlm", "run", recipe, "--out", str(out)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def test_other_commands_do_not_run_in_parts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.run(["demo"]) == 2
    assert "several processes can share 'rise run', not 'rise demo'" in capsys.readouterr().err


def test_shares_are_neighbours_of_like_weight() -> None:
    assert ranks.shares([1] * 8, 4) == [range(2), range(2, 4), range(4, 6), range(6, 8)]
    assert ranks.shares([9, 1, 1, 1], 2) == [range(1), range(1, 4)]
    assert ranks.shares([5], 3) == [range(0), range(1), range(1, 1)]
    assert ranks.shares([], 2) == [range(0), range(0)]
    dice = random.Random(0)
    for _ in range(200):
        weights = [dice.randint(1, 50) for _ in range(dice.randint(1, 30))]
        found = ranks.shares(weights, dice.randint(1, 9))
        assert [i for part in found for i in part] == list(range(len(weights)))
        loads = [sum(weights[i] for i in part) for part in found]
        assert max(loads) <= sum(weights) / len(found) + max(weights)


def test_a_mistake_is_told_once(classes: Path, model: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "ans_sft", classes, model)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    (done,) = together((recipe, tmp_path / "other", 2, None))
    assert done["codes"] == [2, 2]
    assert "holds something else" in done["said"][0]
    assert not done["said"][1]
