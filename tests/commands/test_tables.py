"""The result table on a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from rise_vlm.commands.tables import print_results


def results(parsed: dict[str, float]) -> dict[str, Any]:
    arms = [
        {"arm": "rise", "split": split, "n": 9, "metrics": {"score": 0.5, "parsed": share}, "intervals": {},
         "cost": {"seconds": 0}}
        for split, share in parsed.items()
    ]  # fmt: skip
    data = {"name": "d", "task": "counting", "counts": {"train": 4}}
    return {"arms": arms, "floors": [], "stages": ["evaluate"], "data": data}


def floor(name: str, split: str, score: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "split": split, "metrics": {"score": score}, **more}


@pytest.mark.parametrize(
    ("parsed", "head", "share"),
    [({"test": 1.0, "ood": 0.25}, "least parsed", "0.25"), ({"test": 0.75}, "parsed", "0.75")],
)
def test_the_share_that_could_be_read_is_that_of_the_worst_split_and_called_so(
    parsed: dict[str, float], head: str, share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_results(results(parsed))
    lines = capsys.readouterr().out.splitlines()
    titles = next(line for line in lines if "trained in" in line)
    row = next(line for line in lines if line.strip().startswith("rise"))
    at = titles.index(head) + len(head)
    assert ("least" in titles) is (len(parsed) > 1) and row[:at].endswith(share)


def test_floors_are_said_to_be_no_models_and_where_no_arm_is_above_them(capsys: pytest.CaptureFixture[str]) -> None:
    known = results({"test": 1.0, "ood": 1.0})
    known["floors"] = [floor("ceiling", "test", 0.9), floor("dataset_mean", "test", 0.6), floor("majority", "ood", 0.4)]
    known["floors"] += [floor("single_cue", "ood", 0.7, blind=False)]  # it knows what was drawn
    print_results(known)
    *_, about, above = capsys.readouterr().out.splitlines()
    assert about.startswith("majority, dataset mean, single cue: floors (answers by a rule), no models; ceiling: ")
    assert above == "On test no arm is above the floor (dataset mean, 0.600)."


def test_without_floors_nothing_is_said_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results({"test": 1.0}))
    assert "floor" not in capsys.readouterr().out
