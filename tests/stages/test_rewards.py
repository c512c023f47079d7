"""A user's own reward: both signatures, where it is found, what it may return, and that a mistake names it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from stage_kit import generator, small_recipe
from test_edges import car, make

from rise_vlm.data import Record
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.policy.frames import FRAMES
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.loop_reward import LoopReward
from rise_vlm.stages.material import Material, visits
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.rewards import NEEDS, SHIPPED, Sampled, load_rewards, rewards_digest
from rise_vlm.stages.run import prepare, run_recipe
from rise_vlm.tasks.base import Frame, think_answer

RECORD = Record(id="r1", images=("a.png",), annotation="red", width=8, height=8, meta={"level": 3})
GROUP = Sampled(
    RECORD, "Which class?", "red", ["<answer>red</answer>", "no no no no no no no no"], [[1], [2, 3]], [1.0, 0.0]
)

CODE = """
import re

def own(record, completion):
    return len(completion) / 100 + (record.id == "r1")

def trl(prompts, completions, solution, level, **kwargs):
    assert prompts[0][0]["role"] == "user" and len(kwargs["completion_ids"]) == len(completions)
    return [float(s in c[0]["content"]) + l for c, s, l in zip(completions, solution, level)]

def texts(completions: list[str], answer):
    return [float(re.search(a, c) is not None) for a, c in zip(answer, completions)]

def texts_unsaid(completions, **kwargs):
    return [float(bool(re.match("<answer>", c))) for c in completions]

def none(completions, **kwargs):
    return [None, 1]

def raises_in_time(record, completion):
    return float(len(record.strip()))

def raises(record, completion):
    return 1 / (len(record.id) - 2)

def trl_raises(completions):
    raise ValueError("no luck")

def array(completions, trainer_state, cot, image, log_metric, **kwargs):
    import torch
    assert trainer_state is None and image == ["a.png", "a.png"]
    log_metric("length", 1.0)
    return torch.tensor([1.0, 0.5])

def words(record, completion):
    return "much"

def nan(record, completion):
    return float("nan")

def few(completions, **kwargs):
    return [1.0]

def wants(completions, colour):
    return colour

async def slow(record, completion):
    return 1.0

def three(record, completion, mood):
    return 1.0

value = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory with a module of rewards of its own name, since modules stay imported."""
    (tmp_path / "rewards_of_mine.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rewarded(name: str, group: Sampled = GROUP) -> list[float]:
    return load_rewards({name: 1.0})[0].function(group)


THOUSAND = FRAMES["thousand"]()


def of(annotation: Any, *answers: str, frame: Frame = THOUSAND) -> Sampled:
    """A group of a picture of 1,000 x 500 pixels with these answers."""
    record = Record(id="r2", images=("a.png",), annotation=annotation, width=1000, height=500)
    texts = [think_answer("There.", answer) for answer in answers]
    return Sampled(record, "Find.", "", texts, [[1]] * len(texts), [0.0] * len(texts), frame)


def test_a_function_of_record_and_completion(here: Path) -> None:
    assert rewarded("rewards_of_mine.py:own") == pytest.approx([1.20, 1.23])


def test_a_function_as_trl_calls_it_gets_messages_and_columns(here: Path) -> None:
    assert rewarded("rewards_of_mine.py:trl") == [4.0, 3.0]


@pytest.mark.parametrize("name", ["texts", "texts_unsaid"])
def test_plain_texts_where_the_function_takes_those(here: Path, name: str) -> None:
    assert rewarded(f"rewards_of_mine.py:{name}") == [1.0, 0.0]


def test_a_function_of_trl_may_ask_for_what_its_trainer_passes_and_return_a_tensor(here: Path) -> None:
    assert rewarded("rewards_of_mine.py:array") == [1.0, 0.5]


@pytest.mark.parametrize("name", ["wants", "words", "raises_in_time"])
def test_a_reward_that_cannot_be_called_is_told_before_any_work(
    here: Path, classes: Path, model: Path, name: str
) -> None:
    recipe = small_recipe("visual_rft", classes, model, f"grpo.rewards=rewards_of_mine.py:{name}")
    with pytest.raises(UserError, match=f"reward 'rewards_of_mine.py:{name}'"):
        prepare(recipe, here / "run")
    assert not (here / "run").exists()


def test_none_counts_nothing(here: Path) -> None:
    assert rewarded("rewards_of_mine.py:none") == [0.0, 1.0]


def test_a_module_is_found_where_the_command_runs(here: Path) -> None:
    (here / "found_here_rewards.py").write_text("def one(record, completion):\n    return 1\n", encoding="utf-8")
    assert rewarded("found_here_rewards:one") == [1.0, 1.0]


TWO_CARS = [car(0, 0, 500, 250), car(500, 250, 1000, 500)]


def test_shipped_box_rewards_read_the_papers_spelling_in_the_models_frame() -> None:
    sure = "[{'Position': [0, 0, 500, 500], 'Confidence': 0.8}]"
    fenced = '```json\n[{"bbox_2d": [0, 0, 500, 500], "label": "CAR"}, {"bbox_2d": [0, 0, 1, 1], "label": "cow"}]\n```'
    group = of(TWO_CARS, sure, fenced, "car: [0, 0, 500, 500]", "none", "a car")
    assert rewarded("visual_rft_iou", group) == pytest.approx([0.5, 0.5, 0.5, 0, 0])
    assert rewarded("visual_rft_confidence", group) == pytest.approx([0.8, 0, 0, 0, 0])
    assert rewarded("vlm_r1_odlength", group) == pytest.approx([51 / 101, 51 / 202, 51 / 101, 0, 0])
    assert rewarded("vlm_r1_weighted_sum", group) == pytest.approx([0.575, 0.5, 0.575, 0, 0])
    assert rewarded("visual_rft_format", group) == rewarded("reason_rft_format", group) == [1.0] * 5
    pixels = FRAMES["resized_pixels"](max_pixels=28 * 28 * 8)  # resized to 112 x 56
    assert rewarded("vlm_r1_iou", of([0, 0, 500, 250], "[0, 0, 56, 28]", "[0, 0, 112, 28]", frame=pixels)) == [1, 0.5]


def test_a_box_without_a_label_is_right_only_where_one_class_is_shown() -> None:
    two = [TWO_CARS[0], {"label": "dog", "box": [500, 250, 1000, 500]}]
    assert rewarded("visual_rft_iou", of(two, "[0, 0, 500, 500]")) == [0.0]
    assert rewarded("visual_rft_iou", of(two[:1], "[0, 0, 500, 500]")) == [1.0]


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_a_reward_for_boxes_is_refused_where_there_are_none(name: str, classes: Path, model: Path) -> None:
    with pytest.raises(UserError, match=f"grpo.rewards: '{name}' rewards the boxes of .* task is classification"):
        prepare(small_recipe("visual_rft", classes, model, f"grpo.rewards={name}"), classes / "run")


def test_a_run_is_rewarded_as_in_the_papers(tmp_path: Path, model: Path, places: Path) -> None:
    cars = make(tmp_path / "cars", "detection", ["car"], [[], [car(0, 0, 56, 56)]])
    named = {name: 1.0 for name in SHIPPED if NEEDS.get(name, "detection") == "detection"}
    runs = {cars: named, places: {"vlm_r1_iou": 1.0, "reason_rft_format": 0.5}}
    for data, rewards in runs.items():
        given = f"grpo.rewards={json.dumps(rewards)}"
        out = tmp_path / f"run-{data.name}"
        run_recipe(small_recipe("visual_rft", data, model, given, "grpo.score_weight=0"), out, report=False)
        (row,) = read_rows(out / "stages" / "01-grpo" / "metrics.jsonl")
        assert all(-1 <= row[f"reward_{name}"] <= 1 for name in rewards)


REBUILDS = "grpo.rewards={reconstruction: 0.5}"


def test_reconstruction_pays_what_the_warm_up_s_model_rebuilds_from_each_rationale(
    tmp_path: Path, model: Path, classes: Path
) -> None:
    given = ("grpo.rewards={repetition: 0, reconstruction: 0.5}", "grpo.format_weight=0", "grpo.score_weight=0")
    recipe = small_recipe("rise", classes, model, *given)
    run_recipe(recipe, tmp_path / "run", report=False)
    folder = tmp_path / "run" / "stages" / "05-grpo"
    rows = pyarrow.parquet.read_table(folder / "rollouts.parquet").to_pylist()
    assert any(row["reconstruction"] > 0 for row in rows)
    reader = Policy.load(str(tmp_path / "run" / "stages" / "01-warm_up" / "model"), dtype="float32")
    material = Material.open(recipe)
    by_id = {record.id: record for record in material.train}
    prompter = Prompter(reader, material)
    loop = LoopReward(reader, prompter, recipe.closed_loop, Meter(tmp_path))
    answered = []
    for record, text in [(by_id[row["id"]], row["completion"]) for row in rows]:
        read = material.task.parse_completion(text, record, reader.frame, "think")
        answered.append((record, read.rationale or "", prompter.prompt("think", record).text))
    again = loop.worths(answered, generator())
    assert [row["reconstruction"] for row in rows] == again
    assert [row["reward"] for row in rows] == pytest.approx([0.5 * worth for worth in again], abs=1e-5)
    (metrics,) = read_rows(folder / "metrics.jsonl")
    assert metrics["reward_reconstruction"] == pytest.approx(sum(again) / len(again))


@pytest.mark.parametrize("other", ["closed_loop.reconstruct.temperature=0.7", "warm_up.train.weight_decay=0.5"])
def test_who_judges_and_how_decides_a_reinforcement_that_rebuilds(
    tmp_path: Path, model: Path, classes: Path, other: str
) -> None:
    def prints(*given: str) -> dict[str, str]:
        recipe = small_recipe("rise", classes, model, "stages=[warm_up, grpo, evaluate]", REBUILDS, *given)
        return {step.stage: step.fingerprint for step in prepare(recipe, tmp_path).plan}

    assert prints()["grpo"] != prints(other)["grpo"]


def test_a_weight_of_0_takes_a_reward_out_and_is_checked_all_the_same(
    tmp_path: Path, model: Path, classes: Path
) -> None:
    recipe = small_recipe("rise", classes, model, "grpo.rewards={repetition: 0}")
    assert load_rewards(recipe.grpo.rewards) == [] and not recipe.grpo.rebuilds
    assert recipe.resolved()["grpo"]["rewards"] == {}
    with pytest.raises(UserError, match=r"no reward 'reconstuction'.*Did you mean 'reconstruction'"):
        prepare(small_recipe("rise", classes, model, "grpo.rewards={reconstuction: 0}"), tmp_path)


@pytest.mark.parametrize(("stages", "told"), [("[grpo, evaluate]", True), ("[warm_up, grpo, evaluate]", False)])
def test_that_an_untaught_base_rebuilds_is_told(
    tmp_path: Path, model: Path, classes: Path, stages: str, told: bool
) -> None:
    recipe = small_recipe("rise", classes, model, f"stages={stages}", REBUILDS)
    notes = prepare(recipe, tmp_path).material.notes
    assert any("without a warm-up the base rebuilds" in note for note in notes) == told


def test_shipped_rewards_are_finite_for_each_completion() -> None:
    for name in SHIPPED.keys() - NEEDS.keys():
        values = rewarded(name)
        assert len(values) == 2 and all(-1 <= value <= 1 for value in values), name
    assert rewarded("repetition")[1] < 0 == rewarded("repetition")[0]
    assert rewarded("cosine_length")[0] > 0 > rewarded("cosine_length")[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("repetitoin", "Did you mean 'repetition'"),
        ("nowhere_at_all:f", "the module 'nowhere_at_all' is not found"),
        ("rewards_of_mine.py:onw", "Did you mean 'own'"),
        ("rewards_of_mine.py:value", "is not a function"),
        ("rewards_of_mine.py:slow", "is asynchronous"),
        ("rewards_of_mine.py:three", "must take (record, completion)"),
        ("missing.py:f", "there is no file missing.py"),
        ("broken.py:f", "importing 'broken.py' failed: SyntaxError"),
    ],
)
def test_a_reward_that_is_not_there_is_told_before_any_work(here: Path, name: str, says: str) -> None:
    (here / "broken.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_rewards({name: 1.0})
    assert says in str(caught.value) and "grpo.rewards" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raises", "ZeroDivisionError"),
        ("trl_raises", "ValueError: no luck"),
        ("words", "must return a finite number"),
        ("nan", "must return a finite number"),
        ("few", "a list of 2 numbers"),
        ("wants", "asks for 'colour'"),
    ],
)
def test_a_reward_that_fails_names_itself_and_the_record(here: Path, name: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        rewarded(f"rewards_of_mine.py:{name}")
    message = str(caught.value)
    assert says in message and f"rewards_of_mine.py:{name}" in message and "'r1'" in message
    assert caught.value.exit_code == 1, "the work failed, the command was right"
    assert "\n" not in message


def test_other_code_is_another_reward(here: Path) -> None:
    name = "rewards_of_mine.py:own"
    before = rewards_digest({name: 1.0, "repetition": 1.0})
    assert list(before) == [name] and rewards_digest({name: 2.0}) == before
    (here / "rewards_of_mine.py").write_text(CODE + "\n# changed\n", encoding="utf-8")
    assert rewards_digest({name: 1.0}) != before


FAILS = """
def mine(record, completion):
    if record.id == {bad!r}:
        raise ValueError("no such colour")
    return float(len(completion))

def another(record, completion):
    return 1.0
"""


def test_a_reward_that_fails_loses_nothing_and_mended_it_goes_on(
    here: Path, classes: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is one that comes up first in a later step, so that steps lie behind it."""
    first = [index for step in (1, 2) for index in visits(4, 2, step, 0)]
    bad = f"train-{first[2]}"
    (here / "failing_rewards.py").write_text(FAILS.format(bad=bad), encoding="utf-8")
    options = (
        "grpo.rewards={failing_rewards.py:mine: 1, failing_rewards.py:another: 1}",
        "stages=[grpo]",
        "grpo.steps=3",
        "grpo.save_every=10",
        "grpo.refill=0",
    )

    def run() -> None:
        for name in [name for name in sys.modules if name.startswith("rise_vlm_reward_")]:
            del sys.modules[name]  # another process would read the file anew
        run_recipe(small_recipe("visual_rft", classes, model, *options), here / "run", report=False)

    says = f"reward 'failing_rewards.py:mine' failed on record '{bad}': ValueError: no such colour"
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            run()
        assert says in str(caught.value) and "failing_rewards.py, line 4" in str(caught.value)
        assert caught.value.exit_code == 1
    stage = here / "run" / "stages" / "01-grpo"
    assert json.loads((stage / "checkpoint-last" / "state.json").read_text(encoding="utf-8"))["step"] == 1
    (here / "failing_rewards.py").write_text(FAILS.format(bad=None), encoding="utf-8")
    capsys.readouterr()
    run()
    said = capsys.readouterr().err
    assert "'failing_rewards.py:mine' is not what it was when it failed" in said and "continuing after step 1" in said
    assert [row["step"] for row in read_rows(stage / "metrics.jsonl")] == [1, 2, 3]
    assert not (here / "run" / "former").exists()
    (here / "failing_rewards.py").write_text(FAILS.format(bad="other"), encoding="utf-8")
    run()
    assert (here / "run" / "former" / "01-grpo.1").is_dir(), "one that did not fail and is changed is another reward"


def test_a_run_is_rewarded_by_it_and_one_that_fails_stops_in_one_line(here: Path, classes: Path, model: Path) -> None:
    named = "grpo.rewards={rewards_of_mine.py:texts: 2, repetition: 1}"
    recipe = small_recipe("visual_rft", classes, model, named, "grpo.score_weight=0", "grpo.format_weight=0")
    run_recipe(recipe, here / "run", report=False)
    (row,) = read_rows(here / "run" / "stages" / "01-grpo" / "metrics.jsonl")
    expected = 2 * row["reward_rewards_of_mine.py:texts"] + row["reward_repetition"]
    assert row["reward"] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(UserError, match=r"reward 'rewards_of_mine.py:words' must return .* record 'train-"):
        bad = small_recipe("visual_rft", classes, model, "grpo.rewards=rewards_of_mine.py:words")
        run_recipe(bad, here / "bad", report=False)
    with pytest.raises(UserError, match="no function 'nothing'"):
        prepare(small_recipe("visual_rft", classes, model, "grpo.rewards=rewards_of_mine.py:nothing"), here / "x")
