"""Rewards that a recipe names in ``grpo.rewards``: shipped ones by name, a user's own as ``module:function``.

A user's own is ``reward(record, completion) -> float``, or a function as TRL takes them, told by its parameter
``completions``: ``reward(prompts, completions, **columns) -> list[float]``. Functions are looked up where the command
runs, too, and their code is part of a stage's fingerprint. Left out: asynchronous rewards, and rewards of the closed
loop, whose reward is what the rationale is for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from rise_vlm.data import Record
from rise_vlm.errors import UserError, nearest
from rise_vlm.policy.frames import Thousand
from rise_vlm.recipes.schema import RECONSTRUCTION
from rise_vlm.rewards.detection import Labelled
from rise_vlm.rewards.published_boxes import (
    Found,
    visual_rft_confidence,
    visual_rft_iou,
    vlm_r1_iou,
    vlm_r1_odlength,
    vlm_r1_weighted_sum,
)
from rise_vlm.rewards.text_form import (
    caption_format,
    cosine_length,
    reasoning_steps,
    repetition,
    shorter_is_better,
    think_format,
)
from rise_vlm.tasks.base import Frame, Task, normal_name, think_answer
from rise_vlm.tasks.box_answers import found_boxes


@dataclass(frozen=True)
class Sampled:
    """What the rewards of one group are told: the record, the prompt's text, and of each completion its text, token ids
    and score. ``answer`` is the annotation as the model would write it, boxes in its ``frame``."""

    record: Record
    prompt: str
    answer: str
    completions: list[str]
    ids: list[list[int]]
    scores: list[float]
    frame: Frame = field(default_factory=Thousand)

    @property
    def right(self) -> list[bool]:
        """Which completions score more than a half."""
        return [score > 0.5 for score in self.scores]


class RewardError(UserError):
    """A reward that failed in the midst of a training: its code or what it returned. ``reward`` is its name."""

    def __init__(self, reward: str, message: str) -> None:
        super().__init__(message, exit_code=1)
        self.reward = reward


GroupReward = Callable[[Sampled], list[float]]

BoxReward = Callable[[Sequence[Labelled], Sequence[Found]], float]


def _each(reward: Callable[[str], float]) -> GroupReward:
    return lambda group: [reward(text) for text in group.completions]


def _of_things(reward: BoxReward) -> GroupReward:
    """Of a detection's boxes. A box without a label is of the one class that the picture shows, if it is one."""

    def rewarded(group: Sampled) -> list[float]:
        truth = [Labelled(normal_name(one["label"]), one["box"]) for one in group.record.annotation]
        known = {one.label for one in truth}
        only = known.pop() if len(known) == 1 else None
        return [
            0.0 if found is None else reward(truth, [one._replace(label=one.label or only) for one in found])
            for found in _found(group)
        ]

    return rewarded


def _of_one_box(group: Sampled) -> list[float]:
    return [vlm_r1_iou(group.record.annotation, found or []) for found in _found(group)]


def _found(group: Sampled) -> list[list[Found] | None]:
    return [found_boxes(text, group.record, group.frame) for text in group.completions]


SHIPPED: dict[str, GroupReward] = {
    "reasoning_steps": _each(reasoning_steps),
    "repetition": _each(repetition),
    "cosine_length": lambda group: [
        cosine_length(len(text), right) for text, right in zip(group.completions, group.right, strict=True)
    ],
    "shorter_is_better": lambda group: shorter_is_better([len(text) for text in group.completions], group.right),
    "visual_rft_format": _each(think_format),
    "visual_rft_iou": _of_things(visual_rft_iou),
    "visual_rft_confidence": _of_things(visual_rft_confidence),
    "vlm_r1_iou": _of_one_box,
    "vlm_r1_odlength": _of_things(vlm_r1_odlength),
    "vlm_r1_weighted_sum": _of_things(vlm_r1_weighted_sum),
    "reason_rft_format": _each(think_format),
    "reason_rft_caption_format": _each(caption_format),
}
"""Rewards by name; lengths are in characters. See ``rewards.text_form`` and ``rewards.published_boxes``."""

NEEDS = {
    "visual_rft_iou": "detection",
    "visual_rft_confidence": "detection",
    "vlm_r1_iou": "grounding",
    "vlm_r1_odlength": "detection",
    "vlm_r1_weighted_sum": "detection",
}
"""The task whose annotations a shipped reward reads."""


@dataclass(frozen=True)
class Reward:
    """A named reward with its weight. ``function`` rewards a group; ``source`` is the file of a user's own."""

    name: str
    weight: float
    function: GroupReward
    source: Path | None = None


def load_rewards(named: Mapping[str, float]) -> list[Reward]:
    """The rewards of a recipe that have a weight, but ``RECONSTRUCTION``, which the stage asks for itself. Raises
    UserError naming the one that does not exist or cannot be used.
    """
    found = [_load(name, weight) for name, weight in named.items() if name != RECONSTRUCTION]
    return [reward for reward in found if reward.weight]


def check_task(named: Iterable[str], task: str) -> None:
    """Raise UserError for a shipped reward that reads annotations of another task than the dataset's."""
    for name in named:
        if NEEDS.get(name, task) != task:
            able = ", ".join(one for one in SHIPPED if NEEDS.get(one, task) == task)
            raise UserError(
                f"grpo.rewards: '{name}' rewards the boxes of {NEEDS[name]}, and the dataset's task is {task}; these "
                f"fit: {able}."
            )


def try_own(rewards: Iterable[Reward], task: Task, record: Record) -> None:
    """Ask each reward of the user's own once, for the true answer to a record, so that one that cannot be called or
    returns no number is told before the work. Raises RewardError as in training.
    """
    frame = Thousand()
    answer = task.render(record.annotation, record, frame)
    text = think_answer("", answer)
    tried = Sampled(record, task.prompt("think", record, frame), answer, [text, text], [[0], [0]], [1.0, 1.0], frame)
    for reward in rewards:
        if reward.name not in SHIPPED:
            reward.function(tried)


def rewards_digest(named: Mapping[str, float]) -> dict[str, str]:
    """By name, a hash of the file that holds a user's own reward: other code is another reward."""
    return {
        reward.name: hashlib.sha256(reward.source.read_bytes()).hexdigest()
        for reward in load_rewards(named)
        if reward.source is not None and reward.source.is_file()
    }


def _load(name: str, weight: float) -> Reward:
    if name in SHIPPED:
        return Reward(name, weight, SHIPPED[name])
    home, colon, attribute = name.rpartition(":")
    if not colon:
        listed = ", ".join([RECONSTRUCTION, *SHIPPED])
        raise UserError(
            f"grpo.rewards: there is no reward '{name}' (shipped: {listed}; your own: module:function)."
            f"{nearest(name, [RECONSTRUCTION, *SHIPPED])}"
        )
    module = _module(name, home)
    function = getattr(module, attribute, None)
    if function is None:
        there = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"grpo.rewards: '{home}' has no function '{attribute}'.{nearest(attribute, there)}")
    source = getattr(module, "__file__", None)
    return Reward(name, weight, _own(name, function), Path(source) if source else None)


def _module(name: str, home: str) -> ModuleType:
    """The module of a reward: by its import name, also from the working directory, or the path of a ``.py`` file."""
    try:
        if home.endswith(".py"):
            return _from_file(Path(home))
        here = str(Path.cwd())
        if here not in sys.path:  # a console script does not look where it runs
            sys.path.append(here)
        return importlib.import_module(home)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        missing = "is not found" if error.name in (home, home.split(".")[0]) else f"needs '{error.name}', not found"
        raise UserError(
            f"grpo.rewards: '{name}': the module '{home}' {missing} (looked in {Path.cwd()} too)."
        ) from None
    except Exception as error:
        raise UserError(f"grpo.rewards: '{name}': importing '{home}' failed: {_told(error)}.", exit_code=1) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"grpo.rewards: there is no file {path}.")
    name = f"rise_vlm_reward_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"grpo.rewards: {path} is no Python file.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def _own(name: str, function: Any) -> GroupReward:
    if not callable(function):
        raise UserError(f"grpo.rewards: '{name}' is not a function.")
    if inspect.iscoroutinefunction(function):
        raise UserError(f"grpo.rewards: '{name}' is asynchronous, which is not supported.")
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise UserError(f"grpo.rewards: the parameters of '{name}' cannot be read.") from None
    if "completions" in parameters:
        return _TrlReward(name, function, parameters)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters.values() if p.kind in kinds and p.default is p.empty]
    taken = [p for p in parameters.values() if p.kind in kinds]
    anything = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    keyword = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters.values())
    if keyword or len(needed) > 2 or (len(taken) < 2 and not anything):
        raise UserError(
            f"grpo.rewards: '{name}' takes ({', '.join(parameters)}); it must take (record, completion), or, as in "
            "TRL, completions and columns."
        )
    return lambda group: [_one(name, function, group.record, text) for text in group.completions]


def _one(name: str, function: Any, record: Record, completion: str) -> float:
    try:
        value = function(record, completion)
    except Exception as error:
        raise _failed(name, record, error) from error
    return _number(name, record, value)


@dataclass
class _TrlReward:
    """A function as TRL calls them: lists over the completions, the columns of the record repeated for each.

    ``completions`` are messages, as TRL gives them where there are pictures; plain texts where the parameter is
    annotated as a list of str, or where the function cannot take messages, which its first call shows. None counts 0.
    """

    name: str
    function: Any
    parameters: Mapping[str, inspect.Parameter]
    plain: bool = False
    called: bool = False

    def __post_init__(self) -> None:
        self.plain = "[str]" in str(self.parameters["completions"].annotation)
        known = set(columns(Sampled(_EXAMPLE, "", "", [], [], []), plain=True))
        takes_all = any(p.kind is p.VAR_KEYWORD for p in self.parameters.values())
        self.takes = None if takes_all else set(self.parameters)
        needed = [
            p.name
            for p in self.parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        # A record's own meta may hold further columns, so they are looked for when it is called.
        self.needed = [name for name in needed if name not in known]

    def __call__(self, group: Sampled) -> list[float]:
        try:
            values = self._call(group)
        except UserError:
            raise
        except Exception as error:
            raise _failed(self.name, group.record, error) from error
        if hasattr(values, "tolist"):  # an array or a tensor
            values = values.tolist()
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != len(group.completions):
            raise RewardError(
                self.name,
                f"reward '{self.name}' must return a list of {len(group.completions)} numbers, one for each "
                f"completion, for record '{group.record.id}'; it returned {repr(values)[:60]}.",
            )
        return [0.0 if value is None else _number(self.name, group.record, value) for value in values]

    def _call(self, group: Sampled) -> Any:
        given = columns(group, plain=self.plain)
        for name in self.needed:
            if name not in given:
                raise RewardError(
                    self.name,
                    f"reward '{self.name}' asks for '{name}', which record '{group.record.id}' does not have; there "
                    f"are {', '.join(given)}.{nearest(name, given)}",
                )
        first, self.called = not self.called, True
        try:
            return self.function(**self._taken(given))
        except (TypeError, AttributeError, KeyError, IndexError):
            if self.plain or not first:
                raise
        self.plain = True
        return self.function(**self._taken(columns(group, plain=True)))

    def _taken(self, given: dict[str, Any]) -> dict[str, Any]:
        return given if self.takes is None else {key: value for key, value in given.items() if key in self.takes}


_OF_TRL: dict[str, Any] = {
    "trainer_state": None, "log_extra": lambda *_: None, "log_metric": lambda *_: None
}  # fmt: skip
"""What TRL's trainer passes for logging; there is nothing behind it here."""
_EXAMPLE = Record(id="example", images=("example.png",), annotation=None, width=1, height=1)


def columns(group: Sampled, *, plain: bool) -> dict[str, Any]:
    """The keyword arguments of a TRL reward: what every record has, then its ``meta``."""
    record, count = group.record, len(group.completions)
    each = {
        "prompts": group.prompt if plain else [{"role": "user", "content": group.prompt}],
        "solution": group.answer,
        "answer": group.answer,
        "annotation": record.annotation,
        "problem": record.question,
        "question": record.question,
        "id": record.id,
        "images": list(record.images),
        "image": record.images[0] if record.images else None,
        "cot": record.rationale,
        "meta": record.meta,
    }
    each = {**record.meta, **each}
    said = [text if plain else [{"role": "assistant", "content": text}] for text in group.completions]
    return {name: [value] * count for name, value in each.items()} | {
        "completions": said,
        "completion_ids": group.ids,
        **_OF_TRL,
    }


def _number(name: str, record: Record, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(
            name,
            f"reward '{name}' must return a finite number for record '{record.id}'; it returned {repr(value)[:60]}.",
        )
    return number


def _failed(name: str, record: Record, error: Exception) -> RewardError:
    trace, line = error.__traceback__, ""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        line = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
    return RewardError(name, f"reward '{name}' failed on record '{record.id}': {_told(error)}{line}.")


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
