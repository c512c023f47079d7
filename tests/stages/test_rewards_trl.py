"""A user's reward in TRL's form: how it is given its columns, and one written for texts that gets messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from rise_vlm.data import Card, Record
from rise_vlm.errors import UserError
from rise_vlm.stages.rewards import Sampled, load_rewards, try_own
from rise_vlm.tasks import make_task

TASK = make_task(Card(name="colours", task="classification", classes=["blue", "red"]))
RECORD = Record(id="r1", images=("a.png",), annotation="red", width=8, height=8)
GROUP = Sampled(RECORD, "Which class?", "red", ["<answer>red</answer>", "no"], [[1], [2]], [1.0, 0.0])


def tried(folder: Path, code: str) -> list[float]:
    """What the reward ``f`` of a file with this code gives to ``GROUP``, once it was tried."""
    path = folder / "mine.py"
    path.write_text(f"import re\n\n{code}\n", encoding="utf-8")
    try_own(load_rewards({f"{path}:f": 1.0}), TASK, RECORD)
    return load_rewards({f"{path}:f": 1.0})[0].function(GROUP)


@pytest.mark.parametrize(
    "value",
    [
        "float(len(c))",
        "float('</think>' in c)",
        "float(c == s)",
        "float(s in c)",
        "-float(c.count('the') + c.count('look'))",
        "1.0 if len(c) < 400 else None",
    ],
)
def test_one_for_texts_that_takes_all_messages_for_alike_is_refused(tmp_path: Path, value: str) -> None:
    code = "def f(completions{}, solution, **columns):\n    return [{} for c, s in zip(completions, solution)]"
    with pytest.raises(UserError, match=r"mine.py:f' gives .* annotate it 'completions: list\[str\]'") as caught:
        tried(tmp_path, code.format("", value))
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    other = tmp_path / "annotated"
    other.mkdir()
    tried(other, code.format(": list[str]", value))


@pytest.mark.parametrize(
    ("value", "gives"),
    [
        ("float(len(c[0]['content']))", [20.0, 2.0]),  # of messages
        ("float(len(c if isinstance(c, str) else c[0]['content']))", [20.0, 2.0]),  # of either
        ("float(len(c.strip()))", [20.0, 2.0]),  # of texts, and raises on messages
        ("float(len(c[0]['content']) > 1000)", [0.0, 0.0]),  # of messages, the same for all that are tried
        ("float(i[0])", [1.0, 2.0]),  # of something else
        ("0.5", [0.5, 0.5]),
    ],
)
def test_others_are_not_refused(tmp_path: Path, value: str, gives: list[float]) -> None:
    code = f"def f(completions, completion_ids):\n    return [{value} for c, i in zip(completions, completion_ids)]"
    assert tried(tmp_path, code) == gives


def test_only_the_true_answer_must_be_rewarded_before_the_work(tmp_path: Path) -> None:
    code = "def f(completions):\n    return [len(re.search('<answer>(.*)<', c[0]['content'])[1]) for c in completions]"
    with pytest.raises(UserError, match="failed on record 'r1': TypeError"):
        tried(tmp_path, code)  # only GROUP, in which one has no answer
    try_own(load_rewards({f"{tmp_path / 'mine.py'}:f": 1.0}), TASK, RECORD)


@pytest.mark.parametrize(
    "parameters", ["completions, /, **kw", "prompts, completions, /", "prompts, /, completions", "*completions"]
)
def test_completions_by_position_only_are_refused(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(UserError) as caught:
        tried(tmp_path, f"def f({parameters}):\n    return [1.0] * len(completions)")
    message = str(caught.value)
    assert f"takes ({parameters})" in message and "write (completions, **columns), without '/'" in message
    assert caught.value.exit_code == 2


def test_completions_may_be_by_name_only(tmp_path: Path) -> None:
    assert tried(tmp_path, "def f(*, completions, **kw):\n    return [1.0 for _ in completions]") == [1.0, 1.0]
