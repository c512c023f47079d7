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
