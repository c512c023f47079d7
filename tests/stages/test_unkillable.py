"""A whole run, from the first stage to the report, killed with SIGKILL at random moments: nobody can tell afterwards.

``RISE_KILLS=50`` kills it so often (the suite does it seven times), and ``RISE_KILLS_SEED`` at other moments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from stage_kit import environment, small_recipe

from rise_vlm.stages.files import read_rows

KILLS, SEED = int(os.environ.get("RISE_KILLS", "7")), int(os.environ.get("RISE_KILLS_SEED", "0"))

SPENT = {"cost", "seconds", "started", "finished", "command", "created", "machine", "versions"}
"""What two runs of the same differ in."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_anywhere_ends_like_one_that_was_not(classes: Path, model: Path, tmp_path: Path) -> None:
    options = ("policy.precision=float32", "reconstruct.reconstructor=ema", "harvest.records_per_batch=1",
               "evaluate.records_per_batch=1", "warm_up.steps=2", "closed_loop.steps=3", "sft.epochs=null",
               "sft.steps=3", "grpo.steps=3")  # fmt: skip
    saves = [f"{stage}.save_every=1" for stage in ("warm_up", "closed_loop", "sft", "grpo")]
    recipe = small_recipe("rise", classes, model, *options, *saves)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.resolved()), encoding="utf-8")
    program = Path(__file__).with_name("killed_run.py")
    command = [sys.executable, str(program), str(path), str(tmp_path), str(KILLS), str(SEED)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    print(f"seed {SEED}: {told}")
    assert sum(told["killed"].values()) == KILLS
    whole = left_in(tmp_path / "whole" / "run")
    assert {"results.json", "report.html", "predictions/rise-test.jsonl"} <= set(whole)
    assert sum(name.endswith("model.safetensors") for name in whole) == 5, "four stages' and the reconstructor's"
    for number in range(1, told["runs"] + 1):
        found = left_in(tmp_path / f"killed-{number}" / "run")
        assert set(found) == set(whole), number
        for name, content in whole.items():
            assert found[name] == content, (number, name)


def left_in(out: Path) -> dict[str, Any]:
    """All files of a run by name: their bytes, or what is in them but for times and costs."""
    return {str(path.relative_to(out)): _content(path, out) for path in sorted(out.rglob("*")) if path.is_file()}


def _content(path: Path, out: Path) -> Any:
    if path.name in ("cost.json", "report.html"):
        return path.stat().st_size > 0
    if path.suffix == ".jsonl":
        return [_timeless(row, out) for row in read_rows(path)]
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text(encoding="utf-8")), out)
    return path.read_bytes()


def _timeless(value: Any, out: Path) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner, out) for key, inner in value.items() if key not in SPENT}
    if isinstance(value, list):
        return [_timeless(inner, out) for inner in value]
    return value.replace(str(out), "RUN") if isinstance(value, str) else value
