"""benchmarks/results.py: means with their range, differences within a seed, what the loop did."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "results.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_script", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(ans: float, rise: float) -> dict[str, Any]:
    arms = [
        {"arm": arm, "split": split, "metrics": {"score": score, "parsed": 1.0}, "cost": {"seconds": 120.0}}
        for arm, score in (("ans_sft", ans), ("rise", rise))
        for split in ("test", "ood")
    ]
    probes = {"real": 0.6, "empty": 0.5, "shuffled": 0.4}
    loop = {
        "before": probes,
        "reconstruction": probes,
        "facts_before": {"precision": 0.9, "recall": 0.3},
        "facts": {"precision": 0.95, "recall": 0.4},
        "leak_rate": 0.0,
    }
    floors = [{"name": "uniform", "split": "test", "metrics": {"score": 0.55}}]
    return {"arms": arms, "floors": floors, "loop": loop, "harvest": {"kept": 1, "sampled": 4}}


def test_tables_pair_arms_within_a_seed(script: ModuleType, tmp_path: Path) -> None:
    for seed, (ans, rise) in enumerate(((0.5, 0.7), (0.6, 0.7))):
        folder = tmp_path / f"affect-300-{seed}"
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(results(ans, rise)))
    lines = "\n".join(script.tables(tmp_path))
    assert "### `affect`, 300 training records, 2 seeds" in lines
    row = next(line for line in lines.splitlines() if line.startswith("| ans_sft"))
    assert "0.550 (0.500 to 0.600)" in row and "+0.150 (+0.100 to +0.200)" in row and "2.0 |" in row
    assert "| *uniform* | 0.550 (0.550 to 0.550) | - |" in lines
    assert "- reconstruction, shuffled: 0.400 (0.400 to 0.400) before the loop" in lines
    assert "share of rationales that the harvest kept: 0.250" in lines


def test_variants_stand_beside_the_arms(script: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "affect-300-0"
    other = folder / "variants" / "rise-token"
    other.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results(0.5, 0.7)))
    variant = [{**arm, "arm": "rise-token"} for arm in results(0.5, 0.6)["arms"] if arm["arm"] == "rise"]
    (other / "results.json").write_text(json.dumps({"arms": variant}))
    row = next(line for line in script.tables(tmp_path) if line.startswith("| rise-token"))
    assert "0.600" in row and "+0.100" in row


def test_a_size_with_no_results_has_no_table(script: ModuleType, tmp_path: Path) -> None:
    assert list(script.tables(tmp_path)) == []
