"""The curves of a loop's controls: every measurement, the one at the loop's end too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rise_vlm.report.curves import Chart, loop_charts
from rise_vlm.report.read import Run, read_run


def loop(folder: Path, probed: Mapping[int, float], steps: int = 6) -> Path:
    """The stage of a loop whose controls measured ``probed``: score of the real rationale by steps done."""
    folder.mkdir(parents=True)
    rows = [{"step": step, "reconstruction": 0.5} for step in range(1, steps + 1)]
    for after, score in probed.items():
        if after < steps:  # what is measured at the end has no step to stand beside
            rows[after]["probe_real"] = score
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def keep(folder: Path, probed: Mapping[int, float]) -> None:
    rows: list[dict[str, Any]] = []
    for after, score in probed.items():
        records = [{"id": "a", "real": score - 0.01}, {"id": "b", "real": score + 0.01}]
        rows.append({"after": after, "records": records, "wrong_annotation": None})
    (folder / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def reconstruction(run: Run) -> Chart:
    (group,) = loop_charts(run)
    return next(chart for chart in group.charts if chart.title == "Reconstruction")


def test_the_curve_ends_with_the_measurement_at_the_loops_last_step(tmp_path: Path) -> None:
    probed = {0: 0.1, 3: 0.17, 6: 0.02}
    keep(loop(tmp_path / "stages/01-closed_loop", probed), probed)
    run = read_run(tmp_path)
    assert [(step, round(score, 6)) for step, score in run.stages[0].controls("real")] == list(probed.items())
    svg = str(reconstruction(run).svg)
    assert 'real <tspan class="value">0.02</tspan>' in svg and ">6</text>" in svg


def test_one_measurement_before_and_one_after_are_two_dots(tmp_path: Path) -> None:
    probed = {0: 0.17, 6: 0.07}
    keep(loop(tmp_path / "stages/01-closed_loop", probed), probed)
    svg = str(reconstruction(read_run(tmp_path)).svg)
    places = {float(x) for x in re.findall(r'<circle class="dot accent" cx="([\d.]+)"', svg)}
    assert len(places) == 2 and 'real <tspan class="value">0.07</tspan>' in svg


def test_a_loop_of_before_the_measurements_were_kept_shows_what_its_metrics_say(tmp_path: Path) -> None:
    loop(tmp_path / "stages/01-closed_loop", {0: 0.1, 3: 0.17, 6: 0.02})
    assert read_run(tmp_path).stages[0].controls("real") == [(0, 0.1), (3, 0.17)]
