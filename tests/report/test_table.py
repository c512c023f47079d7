from __future__ import annotations

from typing import Any

from rise_vlm.report.read import Results
from rise_vlm.report.table import Table, arm_name, build_table, headline


def entry(arm: str, score: float, spread: float = 0.01, **more: Any) -> dict[str, Any]:
    ends = {"score": [score - spread, score + spread]}
    return {"arm": arm, "split": "test", "n": 50, "seed": 0, "metrics": {"score": score}, "intervals": ends} | more


def table_of(*entries: dict[str, Any], **more: Any) -> Table:
    table = build_table(Results.model_validate({"arms": entries, **more}))
    assert table is not None
    return table


def bold(table: Table, metric: str = "score", split: str = "test") -> list[str]:
    return [row.key for row in table.rows if row.cells[split, metric].best]


def test_no_arm_makes_no_table() -> None:
    assert build_table(Results()) is None


def test_the_best_is_marked_only_where_its_interval_is_clear_of_all_others() -> None:
    assert bold(table_of(entry("a", 0.5), entry("b", 0.6))) == ["b"]
    assert bold(table_of(entry("a", 0.59), entry("b", 0.6))) == []
    assert bold(table_of(entry("a", 0.5, 0.2), entry("b", 0.6), entry("c", 0.55))) == []


def test_without_intervals_nothing_is_called_best() -> None:
    assert bold(table_of(entry("a", 0.5, intervals={}), entry("b", 0.9, intervals={}))) == []


def test_one_arm_alone_is_not_the_best() -> None:
    assert bold(table_of(entry("a", 0.5))) == []


def test_of_a_divergence_the_least_is_best() -> None:
    low = entry("a", 0, metrics={"score": 0.5, "jsd": 0.1}, intervals={"jsd": [0.09, 0.11]})
    high = entry("b", 0, metrics={"score": 0.5, "jsd": 0.3}, intervals={"jsd": [0.29, 0.31]})
    assert bold(table_of(high, low), "jsd") == ["a"]


def test_several_seeds_show_their_mean_and_range() -> None:
    cell = table_of(entry("a", 0.5), entry("a", 0.7, seed=1)).rows[0].cells["test", "score"]
    assert (round(cell.value or 0, 9), cell.low, cell.high) == (0.6, 0.5, 0.7)


def test_the_main_metric_comes_first_whatever_the_order_of_the_file() -> None:
    assert table_of(entry("a", 0, metrics={"parsed": 1.0, "score": 0.4})).metrics == ["score", "parsed"]


def test_a_metric_that_was_not_measured_is_empty() -> None:
    table = table_of(entry("a", 0.5), entry("b", 0.5, metrics={"score": None, "top1": float("nan")}))
    assert table.rows[1].cells["test", "score"].value is None
    assert table.rows[1].cells["test", "top1"].value is None


def test_floors_are_the_last_rows_and_never_best() -> None:
    floors = [{"name": "uniform", "split": "test", "metrics": {"score": 0.99}}]
    table = table_of(entry("a", 0.5), entry("b", 0.7), floors=floors)
    assert [row.key for row in table.rows] == ["a", "b", "uniform"]
    assert bold(table) == ["b"]


def test_cost_is_counted_once_per_seed_and_not_per_split() -> None:
    cost = {"seconds": 60.0}
    rows = [entry("a", 0.5, cost=cost), entry("a", 0.4, split="ood", cost=cost)]
    shown = table_of(*rows, entry("a", 0.5, seed=1, cost={"seconds": 100.0})).rows[0].cost
    assert shown is not None and shown.seconds == 80.0 and shown.tokens is None


def test_the_headline_claims_no_more_than_the_intervals_allow() -> None:
    clear = headline(table_of(entry("rise", 0.8), entry("ans_sft", 0.5)))
    close = headline(table_of(entry("rise", 0.8), entry("ans_sft", 0.795)))
    blind = headline(table_of(entry("rise", 0.8, intervals={}), entry("ans_sft", 0.5, intervals={})))
    assert clear == ["On test, RISE is ahead of ANS-SFT: 0.800 against 0.500."]
    assert "too close to call" in close[0]
    assert "without an interval" in blind[0]
    assert headline(table_of(entry("rise", 0.8))) == []


def test_the_headline_says_when_nothing_is_above_the_floor() -> None:
    floors = [{"name": name, "split": "test", "metrics": {"score": x}} for name, x in (("mean", 0.6), ("uniform", 0.5))]
    floors += [{"name": "additive", "split": "test", "metrics": {"score": 0.9}, "blind": False}]
    floors += [{"name": "ceiling", "split": "test", "metrics": {"score": 0.3}}]
    for best in (0.4, 0.55):
        assert headline(table_of(entry("rise", best), entry("ans_sft", 0.3), floors=floors)) == [
            "On test, nothing is above the floor (mean, 0.600)."
        ]
    assert "ahead" in headline(table_of(entry("rise", 0.65), entry("ans_sft", 0.4), floors=floors))[0]


def test_the_axis_covers_every_interval() -> None:
    table = table_of(entry("a", 0.31, 0.05), entry("b", 0.93, 0.02))
    low, high, marks = table.scale()
    assert low <= 0.26 and high >= 0.95 and marks[0] == low and marks[-1] == high


def test_the_arms_of_the_papers_go_by_their_names_there() -> None:
    arms = ("ans_sft", "reason_rft_zero", "activation", "reason_rft", "rise", "rise_no_loop")
    named = ["ANS-SFT", "Reason-RFT-Zero", "Activation", "Reason-RFT", "RISE", "rise no loop"]
    assert [arm_name(arm) for arm in arms] == named
