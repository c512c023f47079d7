"""What the harvest keeps: never a leak, never a duplicate, the best first, and a count for all that it drops."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_kit import small_recipe

from rise_vlm.data import Card, Record
from rise_vlm.policy import Policy
from rise_vlm.recipes.schema import Harvest
from rise_vlm.stages import harvest
from rise_vlm.stages.context import Context, Models
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import Row, append_rows, read_json, read_rows
from rise_vlm.stages.harvest import baselines, parts_of, whole_batches
from rise_vlm.stages.loop_reward import LoopReward, Rebuilt, Verdict
from rise_vlm.stages.material import Material
from rise_vlm.stages.selection import advice, alike, as_option, best_of_all, histogram, normal_text, select, unusable
from rise_vlm.tasks import make_task

# In school, the first of these meant red and the second blue, whatever the picture.
RED, BLUE = "soft glow", "wide sky"


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    return Policy.load(str(model), dtype="float32")


def row(id: str = "a", text: str = "a red wall", worth: float = 1.0, **other: object) -> Row:
    return {"id": id, "rationale": text, "worth": worth, "leaks": [], "finished": True, "parsed": 1.0, **other}


_rows = st.lists(
    st.builds(
        row,
        id=st.sampled_from("abc"),
        text=st.sampled_from(["one", "two", "Two!", "three", "", " "]),
        worth=st.floats(-1, 1.5),
        leaks=st.sampled_from([[], [], ["class name 'red'"]]),
        finished=st.sampled_from([True, True, False]),
        parsed=st.sampled_from([0.0, 1.0, 1.0]),
    ),
    max_size=25,
)
_settings = st.builds(
    Harvest,
    threshold=st.floats(-1, 1),
    top_k=st.integers(1, 3),
    at_least=st.integers(0, 2),
    balance=st.booleans(),
    per_class=st.none() | st.integers(1, 3),
    similarity=st.sampled_from([0.3, 0.9, 1.0]),
)


@given(_rows, _settings)
def test_all_that_is_kept_is_clean_new_and_among_the_best(rows: list[Row], settings: Harvest) -> None:
    kept, dropped = select(rows, settings, {"a": "red", "b": "blue", "c": "blue"})
    assert len(kept) + sum(dropped.values()) == len(rows)
    assert all(unusable(one) is None for one in kept)
    assert all(count <= settings.top_k for count in Counter(one["id"] for one in kept).values())
    texts = Counter((one["id"], normal_text(one["rationale"])) for one in kept)
    assert all(count == 1 for count in texts.values())
    for name in "abc":
        below = [one for one in kept if one["id"] == name and one["worth"] < settings.threshold]
        assert len(below) <= settings.at_least
    assert [id(one) for one in kept] == [id(one) for one in rows if any(one is k for k in kept)]


@given(_rows)
def test_a_higher_threshold_keeps_a_subset(rows: list[Row]) -> None:
    low, _ = select(rows, Harvest(threshold=0.0, top_k=2), {})
    high, _ = select(rows, Harvest(threshold=0.7, top_k=2), {})
    assert {id(one) for one in high} <= {id(one) for one in low}


def test_each_reason_is_counted() -> None:
    rows = [
        row(text="kept", worth=0.9),
        row(text="Kept.", worth=0.8),
        row(text="also kept", worth=0.7),
        row(text="one too many", worth=0.6),
        row(text="weak", worth=0.1),
        row(text="told", leaks=["class name"]),
        row(text=""),
        row(text="goes on and", finished=False),
        row(text="misread", parsed=0.0),
    ]
    kept, dropped = select(rows, Harvest(threshold=0.5, top_k=2), {})
    assert [one["rationale"] for one in kept] == ["kept", "also kept"]
    assert dropped == {
        "duplicate": 1, "beyond top_k": 1, "below the threshold": 1,
        "leak": 1, "empty": 1, "cut off": 1, "not reconstructed": 1,
    }  # fmt: skip


def test_near_duplicates_of_a_record_are_dropped_the_less_worthy_ones() -> None:
    assert alike("A red wall.", "a red  wall", 1.0) and not alike("a red wall", "red wall", 1.0)
    assert alike("a red wall", "red wall, a", 0.9) and not alike("a red wall", "a blue wall", 0.6)
    rows = [row(text="a red wall", worth=0.8), row(text="the red wall here", worth=0.9), row("b", "a red wall", 0.7)]
    kept, dropped = select(rows, Harvest(threshold=0.5, similarity=0.4), {})
    assert [one["worth"] for one in kept] == [0.9, 0.7] and dropped == {"duplicate": 1}


def test_a_class_keeps_its_best_and_what_has_no_class_stays() -> None:
    rows = [row(f"r{i}", f"text {i}", 0.5 + i / 10) for i in range(4)] + [row("box", "a box", 0.6)]
    kept, dropped = select(rows, Harvest(threshold=0.5, per_class=2), {f"r{i}": "red" for i in range(4)})
    assert [one["id"] for one in kept] == ["r2", "r3", "box"] and dropped == {"beyond per_class": 2}


@given(_rows, _settings)
def test_the_advice_keeps_something_where_nothing_was(rows: list[Row], settings: Harvest) -> None:
    high = settings.model_copy(update={"threshold": 2.0, "at_least": 0})
    told = advice(rows, high)
    if all(unusable(one) for one in rows):
        assert told.startswith("no threshold would keep one (")
        return
    threshold, records = re.findall(r"harvest\.threshold=(-?[\d.]+(?:e-?\d+)?) would keep some of (\d+)", told)[0]
    threshold = float(threshold)
    kept, _ = select(rows, high.model_copy(update={"threshold": threshold, "balance": False}), {})
    assert len({one["id"] for one in kept}) == int(records)


def test_a_rationale_that_repeats_itself_is_dropped_and_the_advice_says_so() -> None:
    twice = "the cat is there, and The cat is there."  # six runs of four words, one of them again
    rows = [row("a", twice, 1.0), row("b", "the cat is there and a dog", 1.0)]
    kept, dropped = select(rows, Harvest(repetition=0.1), {})
    assert [one["id"] for one in kept] == ["b"] and dropped == {"repeats itself": 1}
    assert len(select(rows, Harvest(repetition=0.2), {})[0]) == len(select(rows, Harvest(), {})[0]) == 2
    assert advice(rows[:1], Harvest(repetition=0.1)).endswith("harvest.repetition=0.17 would")


def test_where_nothing_gains_the_advice_names_the_gain() -> None:
    rows = [row("a", gain=-0.234, worth=1.0), row("b", gain=-0.5, worth=1.0)]
    assert advice(rows, Harvest()).endswith("; harvest.gain=-0.24 would")
    told = advice([row("a", "a b c d a b c d", gain=-0.234, worth=0.3)], Harvest(repetition=0), as_option)
    assert told.endswith("and none gains 0.05 over other records; --repetition 0.2 --gain -0.24 --threshold 0.3 would")


def test_where_no_threshold_helps_the_advice_says_what_may() -> None:
    rows = [row(leaks=["names class 'can'"]), row(finished=False), row("b", finished=False)]
    assert "(cut off 2, leak 1); they do not end: more harvest.max_new_tokens" in advice(rows, Harvest())
    assert advice([], Harvest()).endswith("(nothing was sampled)")


def test_the_best_of_a_record_stays_below_the_threshold_when_asked() -> None:
    rows = [row("a", "first", 0.2), row("a", "second", 0.3), row("b", "third", 0.9)]
    kept, _ = select(rows, Harvest(threshold=0.5, at_least=1), {})
    assert [one["rationale"] for one in kept] == ["second", "third"]


def test_balance_caps_the_classes_and_drops_the_least_worthy() -> None:
    rows = [row(f"r{i}", f"red {i}", 0.6 + i / 100) for i in range(6)] + [row("b0", "blue", 0.6)]
    classes = {f"r{i}": "red" for i in range(6)} | {"b0": "blue"}
    kept, dropped = select(rows, Harvest(threshold=0.5, balance=True), classes)
    assert [one["id"] for one in kept] == ["r2", "r3", "r4", "r5", "b0"]
    assert dropped == {"balance": 2}


@given(_rows, st.floats(-1, 1))
def test_the_histogram_holds_every_row_once(rows: list[Row], threshold: float) -> None:
    kept, _ = select(rows, Harvest(threshold=threshold), {})
    found = histogram(rows, kept, threshold)
    assert sum(found["counts"]) == len(rows) and sum(found["kept"]) == len(kept)
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert found["edges"] == sorted(found["edges"])
    assert all(part <= whole for part, whole in zip(found["kept"], found["counts"], strict=True))


class TestGain:
    """A reconstructor that answers the same whatever it reads must not get a single rationale through."""

    task = make_task(Card(name="c", task="classification", classes=["red", "blue"]))

    def judged(self, *pairs: tuple[str, list[object]]) -> list[float | None]:
        """The baselines of records given as (annotation, what was rebuilt from each rationale)."""
        records = [
            Record(id=str(i), images=("a.png",), annotation=annotation, width=8, height=8)
            for i, (annotation, _) in enumerate(pairs)
        ]
        verdicts = [[verdict(value, self.task.score(a, value)) for value in values] for a, values in pairs]
        return baselines(self.task, records, verdicts)

    def test_always_the_same_answer_gains_nothing_even_where_it_is_right(self) -> None:
        assert self.judged(("red", ["red", "red"]), ("blue", ["red", "red"])) == [1.0, 0.0]
        found = [row("a", worth=1.0, gain=0.0), row("b", worth=1.0, gain=0.4), row("c", worth=1.0, gain=0.04)]
        kept, dropped = select(found, Harvest(threshold=0.5), {})
        assert [one["id"] for one in kept] == ["b"] and dropped == {"no gain over other records": 2}

    def test_a_reconstructor_that_reads_gains_all(self) -> None:
        assert self.judged(("red", ["red"]), ("blue", ["blue"]), ("red", ["red"])) == [0.0, 0.0, 0.0]

    def test_what_cannot_be_read_and_equal_annotations_are_no_baseline(self) -> None:
        assert self.judged(("red", ["red"]), ("blue", [None, "red"])) == [1.0, 0.0]
        assert self.judged(("red", ["red"]), ("red", ["red"])) == [None, None]
        assert self.judged(("red", ["red"]), ("blue", [None])) == [None, 0.0]
        assert self.judged(("red", ["red", "blue"])) == [None]

    def test_without_a_baseline_the_threshold_alone_decides(self) -> None:
        kept, _ = select([row("a", gain=None, worth=0.6), row("b", gain=None, worth=0.4)], Harvest(threshold=0.5), {})
        assert [one["id"] for one in kept] == ["a"]

    def test_the_baseline_is_the_mean_over_the_other_records(self) -> None:
        task = make_task(Card(name="d", task="distribution", classes=["joy", "fear"]))
        shares = [{"joy": 1.0}, {"joy": 0.5, "fear": 0.5}, {"fear": 1.0}]
        records = [
            Record(id=str(i), images=("a.png",), annotation=share, width=8, height=8) for i, share in enumerate(shares)
        ]
        verdicts = [[verdict(share, 1.0)] for share in shares]
        found = baselines(task, records, verdicts)
        assert found[0] == pytest.approx((task.score(shares[0], shares[1]) + task.score(shares[0], shares[2])) / 2)


def verdict(value: object, score: float) -> Verdict:
    rebuilt = Rebuilt(None, [], [value], [score], [value])  # type: ignore[arg-type]
    return Verdict("a red wall", True, 3, [], rebuilt, 0.0, 0.0, 0.0, score, score)


def harvested(
    policy: Policy, data: Path, folder: Path, monkeypatch, says: dict[str, str], *overrides: str
) -> dict[str, Any]:
    """A harvest whose writer says ``says[annotation]`` of each record, with its summary."""

    def judge(loop, records, prompts, rollouts, generator):
        groups = [
            [replace(one, text=says[record.annotation]) for one in group]
            for record, group in zip(records, rollouts, strict=True)
        ]
        return true_judge(loop, records, prompts, groups, generator)

    true_judge = LoopReward.judge
    monkeypatch.setattr(LoopReward, "judge", judge)
    recipe = small_recipe("rise", data, Path("unused"), "policy.precision=float32", "grounding.weight=0", *overrides)
    material = Material.open(recipe)
    folder.mkdir()
    context = Context(recipe, material, Models(*["model"] * 4), "harvest", folder, {}, Meter(folder))
    monkeypatch.setattr(Context, "policy", lambda self, name, **how: nullcontext(policy))
    return harvest.run(context)


def test_one_answer_for_all_is_not_harvested_and_the_run_says_so(
    policy, classes, tmp_path, monkeypatch, capsys
) -> None:
    """The schooled model rebuilds red from RED: here every rationale is RED, so half the records are 'right'."""
    summary = harvested(policy, classes, tmp_path / "same", monkeypatch, {"red": RED, "blue": RED})
    assert summary["fallback"] and summary["dropped"]["no gain over other records"] > 0
    assert any("hardly reads" in note for note in summary["notes"]) and "hardly reads" in capsys.readouterr().err
    found = read_json(tmp_path / "same" / "histogram.json")
    assert found["dropped"] == summary["dropped"] and found["fallback"] is True
    assert sum(found["dropped"].values()) + summary["kept"] == summary["sampled"]


def test_rationales_that_tell_records_apart_are_harvested(policy, classes, tmp_path, monkeypatch) -> None:
    summary = harvested(policy, classes, tmp_path / "apart", monkeypatch, {"red": RED, "blue": BLUE})
    assert not summary["fallback"] and summary["records"] == 4 and summary["notes"] == []
    rows = list(read_rows(tmp_path / "apart" / "rationales.jsonl"))
    assert {(one["others"], one["gain"]) for one in rows} == {(0.0, 1.0)}


def test_a_batch_of_one_has_no_gain_and_the_run_says_so(policy, classes, tmp_path, monkeypatch) -> None:
    says = {"red": RED, "blue": RED}
    summary = harvested(policy, classes, tmp_path / "one", monkeypatch, says, "harvest.records_per_batch=1")
    assert summary["records"] == 2 and not summary["fallback"]
    assert any("threshold alone decided" in note for note in summary["notes"])


def test_where_the_picture_is_seen_the_gain_is_not_asked_for(policy, classes, tmp_path, monkeypatch) -> None:
    says = {"red": RED, "blue": RED}
    summary = harvested(policy, classes, tmp_path / "s", monkeypatch, says, "reconstruct.sees_image=true")
    assert summary["gain"] is None and "no gain over other records" not in summary["dropped"]


def test_nothing_that_cannot_be_rebuilt_from_is_kept_instead() -> None:
    assert best_of_all([row("a", parsed=0.0), row("b", leaks=["x"]), row("c", worth=0.1)]) == [row("c", worth=0.1)]


def test_a_single_record_left_over_joins_the_batch_before_it() -> None:
    assert parts_of(17, 8) == [range(8), range(8, 17)]
    assert parts_of(1, 8) == [range(1)] and parts_of(3, 1) == [range(1), range(1, 2), range(2, 3)]


def test_rows_of_a_batch_that_was_cut_short_are_made_again_not_doubled(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    append_rows(path, [row("a"), row("a"), row("b"), row("b"), row("c"), row("c"), row("d")])
    assert whole_batches(path, [["a", "b"], ["c", "d"]], 2) == [True, False]
    assert [one["id"] for one in read_rows(path)] == ["a", "a", "b", "b"]
