"""What may change between a training that was stopped and the one that goes on, and what it shows meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy import ToyPolicy, ToyWork, result_of, rows_of, settings

from rise_vlm.console import Progress
from rise_vlm.engine.trainer import train
from rise_vlm.errors import Interrupted, UserError


def run(folder: Path, **changes: Any) -> None:
    policy = ToyPolicy()
    train(policy, ToyWork(policy), settings(**changes), folder, "toy")


def stopped(folder: Path, **changes: Any) -> None:
    """A training that was stopped behind step 2, whose checkpoint is there."""

    def stop(step: int) -> None:
        if step == 3:
            raise Interrupted("stopped")

    policy = ToyPolicy()
    with pytest.raises(Interrupted):
        train(policy, ToyWork(policy, during=stop), settings(**changes), folder, "toy")
    assert (folder / "checkpoint-last").is_dir()


def test_a_smaller_token_budget_goes_on(tmp_path: Path) -> None:
    """It is what the message of a training that runs out of memory asks for."""
    stopped(tmp_path, token_budget=2048)
    run(tmp_path, token_budget=512)
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_training_at_a_constant_rate_may_be_made_longer(tmp_path: Path) -> None:
    run(tmp_path / "whole", steps=6)
    run(tmp_path / "longer", steps=4)
    run(tmp_path / "longer", steps=6)
    assert result_of(tmp_path / "longer") == result_of(tmp_path / "whole")
    stopped(tmp_path / "cosine", schedule="cosine")
    with pytest.raises(UserError, match="written with steps=6, now it is 8"):
        run(tmp_path / "cosine", schedule="cosine", steps=8)


def test_fewer_steps_than_were_made_are_refused(tmp_path: Path) -> None:
    run(tmp_path, steps=4)
    with pytest.raises(UserError, match="at step 4 already, and steps is now 3: ask for at least 4"):
        run(tmp_path, steps=3)


def test_steps_of_before_do_not_flatter_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path)
    shown: list[Progress] = []

    class Kept(Progress):
        def __init__(self, description: str, total: int | None = None) -> None:
            super().__init__(description, total)
            shown.append(self)

    monkeypatch.setattr("rise_vlm.console.Progress", Kept)
    run(tmp_path)
    (bar,) = shown
    assert bar.done == 6
    assert bar.rate * bar.seconds == pytest.approx(4, rel=0.05), "two of the six were made before"
