"""A user's own reward (record, completion): how its file is loaded, in which order it is called, and how it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rise_vlm.data import Record
from rise_vlm.errors import UserError
from rise_vlm.stages.rewards import RewardError, Sampled, load_rewards

RECORD = Record(id="r1", images=("a.png",), annotation="red", width=8, height=8)
GROUP = Sampled(RECORD, "Which class?", "red", ["<answer>red</answer>", "no"], [[1], [2]], [1.0, 0.0])

DATACLASS = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Parts:
    length: int

def f(record, completion):
    return Parts(len(completion)).length
"""


def rewarded(folder: Path, code: str) -> list[float]:
    """What the reward ``f`` of a file with this code gives to ``GROUP``."""
    path = folder / "mine.py"
    path.write_text(code, encoding="utf-8")
    return load_rewards({f"{path}:f": 1.0})[0].function(GROUP)


def test_a_file_may_hold_a_dataclass(tmp_path: Path) -> None:
    assert rewarded(tmp_path, DATACLASS) == [20.0, 2.0]


def test_a_file_that_fails_is_imported_anew_once_mended(tmp_path: Path) -> None:
    before = set(sys.modules)
    for broken in ("raise ValueError('not yet')", "import sys\nsys.exit('not yet')"):
        with pytest.raises(UserError, match=r"importing '.*mine.py' failed: (ValueError|SystemExit): not yet"):
            rewarded(tmp_path, broken)
    assert not [name for name in set(sys.modules) - before if name.startswith("rise_vlm_reward_")]
    assert rewarded(tmp_path, "def f(record, completion):\n    return len(completion)\n") == [20.0, 2.0]


@pytest.mark.parametrize(
    "value",
    ["10**400", "-(10**400)", "10**5000", "'many'", "float('inf')", "[]", "type('Own', (), {'__float__': 3})()"],
)
def test_what_is_no_finite_number_is_told_in_one_line(tmp_path: Path, value: str) -> None:
    for code in (f"(record, completion):\n    return {value}", f"(completions):\n    return [{value}, 1]"):
        folder = tmp_path / str(len(code))
        folder.mkdir()
        with pytest.raises(RewardError, match=r"must return a finite number for record 'r1'; it returned \S") as caught:
            rewarded(folder, f"def f{code}\n")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parameters", ["record, completion", "completions"])
def test_one_that_exits_is_told_as_one_that_raises(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(RewardError, match=r"failed on record 'r1': SystemExit: no more \(mine.py, line 4\)"):
        rewarded(tmp_path, f"import sys\n\ndef f({parameters}):\n    sys.exit('no more')\n")


@pytest.mark.parametrize(
    "code",
    [
        "async def f(record, completion):\n    return 1.0\n",
        "class Own:\n    async def __call__(self, record, completion):\n        return 1.0\n\nf = Own()\n",
        "class Own:\n    async def __call__(self, completions, **columns):\n        return [1.0]\n\nf = Own()\n",
    ],
)
def test_asynchronous_ones_are_refused(tmp_path: Path, code: str) -> None:
    with pytest.raises(UserError, match="is asynchronous"):
        rewarded(tmp_path, code)


def test_an_object_may_be_called(tmp_path: Path) -> None:
    code = "class Own:\n    def __call__(self, record, completion):\n        return len(completion)\n\nf = Own()\n"
    assert rewarded(tmp_path, code) == [20.0, 2.0]


@pytest.mark.parametrize(
    "parameters",
    [
        "completion, answer",
        "predict, ground_truth",
        "content, sol",
        "predict_str, ground_truth, extra_info=None",
        "solution_str, truth",
        "completion, record",
        "texts, /, row",
        "response, r",
        "r, labels",
        "x, target",
        "answer, completion",
        "prompts, completion",
    ],
)
def test_parameters_named_for_something_else_are_refused(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(UserError) as caught:
        rewarded(tmp_path, f"def f({parameters}):\n    return 1.0\n")
    message = str(caught.value)
    assert "grpo.rewards" in message and "write (record, completion)" in message and "record.annotation" in message
    assert caught.value.exit_code == 2 and "\n" not in message


@pytest.mark.parametrize(
    "parameters",
    [
        "record, completion",
        "record, completion, /",
        "row, text",
        "r, c",
        "example, output",
        "sample, prediction",
        "item, response, scale=2",
        "_, completion_text",
        "labelled_record, predicted_answer",
        "record, *rest",
        "*both",
        "a, b",
    ],
)
def test_other_names_are_the_user_s_choice(tmp_path: Path, parameters: str) -> None:
    assert rewarded(tmp_path, f"def f({parameters}):\n    return 1.0\n") == [1.0, 1.0]
