"""What the harvest keeps: never a leak, never a duplicate, the best first, and a count for all that it drops."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.recipes.schema import Harvest
from rise_vlm.stages.files import Row
from rise_vlm.stages.harvest import histogram, normal_text, select, unusable


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
