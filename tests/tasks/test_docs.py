"""The task that docs/tasks.md builds works, and its tables tell the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from rise_vlm.tasks import TASKS
from rise_vlm.tasks.base import think_answer

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


@pytest.fixture(scope="module")
def rating():
    scope: dict = {"__name__": "rating"}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1], scope)
    return scope["Rating"]()


def test_the_new_task_of_the_docs_asks_reads_scores_and_draws(rating, record, frame):
    row = record(4)
    assert "The right answer is: 4" in rating.prompt("reason", row, frame)
    assert "Someone described" in rating.prompt("reconstruct", row, frame, "Bright.")
    whole = rating.parse_completion(think_answer("Bright and sharp.", "3"), row, frame, "think")
    assert whole.well_formed
    assert rating.score(4, whole.parsed.value) == 0.75
    assert rating.metrics([(4, 3), (4, None)]) == {"score": 0.375, "parsed": 0.5}
    assert rating.floors([1, 4, 5]) == {"median": pytest.approx((0.25 + 1 + 0.75) / 3)}
    assert rating.check(4, row) is None
    assert "got 7" in rating.check(7, row)
    assert rating.leaks("worth 4 of them", row, frame) == ["holds a digit"]
    assert rating.draw(Image.new("RGB", (500, 300)), [("truth", 4, "red")]).height > 300


def test_every_task_and_metric_is_in_the_table(emotions, things, grounding, detection):
    page = PAGE.read_text(encoding="utf-8")
    annotations = {"distribution": {"joy": 1.0}, "classification": "dog", "grounding": [0, 0, 9, 9]}
    annotations["detection"] = [{"label": "dog", "box": [0, 0, 9, 9]}]
    annotations |= {"counting": 3, "structure": "B", "transformation": "change_shape(0, cube)"}
    new = [TASKS[name]() for name in ("counting", "structure", "transformation")]
    for task in (emotions, things, grounding, detection, *new):
        line = next(line for line in page.splitlines() if line.startswith(f"| `{task.name}`"))
        truth = annotations[task.name]
        for metric in task.metrics([(truth, truth)]).keys() - {"score", "parsed"}:
            assert f"`{metric}`" + (" ↓" if metric in task.lower_is_better else "") in line
        for floor in task.floors([truth]):
            assert f"`{floor}`" in page
    assert len(annotations) == len(TASKS)
