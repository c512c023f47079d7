"""The table of tasks."""

from __future__ import annotations

import pytest

from rise_vlm.data.card import Card
from rise_vlm.errors import UserError
from rise_vlm.tasks import TASKS, higher_is_better, make_task

_THING = {"shape": "cube", "size": "small", "color": "red", "material": "metal", "position": [0, 0]}
MOVED = (
    {"functions": "change_color(0, blue)", "objects": [_THING], "final": [_THING | {"color": "blue"}]},
    "change_size(0, large)",
)


def card(task, classes=("joy", "fear"), **more):
    return Card(name="set", task=task, classes=list(classes), **more)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_made_from_a_card(name):
    task = make_task(card(name, question="Which?", synonyms={"joy": ["bliss"]}))
    annotation = {"detection": [{"label": "joy", "box": [0, 0, 9, 9]}]}.get(name, [0, 0, 9, 9])
    assert task.name == name
    assert task.classes == ("joy", "fear")
    assert task.question == "Which?"
    assert (
        "bliss"
        in task.leaks("bliss", type("Row", (), {"annotation": annotation, "width": 9, "height": 9}), _frame())[0]
    )


def _frame():
    from rise_vlm.policy.frames import Thousand

    return Thousand()


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown task 'distributions'.*Did you mean 'distribution'"):
        make_task(card("distributions"))


def test_options_reach_the_task():
    truth, guess = {"joy": 1.0}, {"fear": 0.5, "joy": 0.5}
    usual, official = make_task(card("distribution")), make_task(card("distribution"), score="official")
    assert usual.score(truth, guess) != official.score(truth, guess)


def test_the_direction_of_every_metric_is_the_one_in_which_right_answers_lie():
    for name, truth, wrong in (
        ("classification", "joy", "fear"),
        ("distribution", {"joy": 1.0}, {"fear": 1.0}),
        ("grounding", [0, 0, 10, 10], [20, 20, 30, 30]),
        ("counting", 2, 5),
        ("structure", "A", "B"),
        ("structure", 2, 5),
        ("transformation", *MOVED),
        ("detection", [{"label": "joy", "box": [0, 0, 10, 10]}], [{"label": "fear", "box": [0, 0, 10, 10]}]),
    ):
        task = make_task(card(name))
        right = task.render(truth, None, _frame()) if name == "transformation" else truth
        best, worst = task.metrics([(truth, right)]), task.metrics([(truth, wrong)])
        assert {"score", "parsed"} <= best.keys() == worst.keys()
        for metric in best.keys() - {"parsed"}:
            assert (best[metric] > worst[metric]) is higher_is_better(metric), metric


def test_only_boxes_are_reconstructed_with_the_image():
    assert {name: task.sees_image for name, task in TASKS.items()} == {
        "classification": False,
        "detection": True,
        "distribution": False,
        "grounding": True,
        "counting": False,
        "structure": False,
        "transformation": False,
    }
