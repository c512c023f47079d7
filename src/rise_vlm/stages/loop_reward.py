"""The closed loop's reward: rebuild the annotation from each rationale and judge what comes out.

reward = score x (leak factor if it leaks) [- score from an empty rationale] + format weight x parsed
         + grounding weight x grounding - length weight x excess

A rationale that leaks gets no format and no positive grounding, an empty one no score either (``pays``): or else, in a
group of honest misses, the leak would be the best of them and be trained. The training uses ``reward``; the harvest
uses ``worth``, which leaves the format out: there a rationale that cannot be read back is dropped anyway.
Left out: sampling the rationales, and the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rise_vlm.data import Record
from rise_vlm.engine.sample import Rollout, sample
from rise_vlm.policy import Policy, Prompt
from rise_vlm.policy.parts import collect, own, take, wearing
from rise_vlm.recipes.schema import ClosedLoop
from rise_vlm.stages.consistency import agree
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.grounding import Grounder, draw_rng
from rise_vlm.stages.limits import rebuild_limit
from rise_vlm.stages.prompter import Prompter


@dataclass(frozen=True)
class Rebuilt:
    """A reconstruction: the prompt, its rollouts, and for each its parsed value and score.

    ``answers``: what was scored: the values, or where the samples are combined the one that they make together.
    """

    prompt: Prompt
    rollouts: list[Rollout]
    values: list[Any]
    scores: list[float]
    answers: list[Any]

    @property
    def score(self) -> float:
        """Mean over the samples."""
        return sum(self.scores) / len(self.scores)

    @property
    def parsed(self) -> float:
        """Share of the samples that could be read."""
        return sum(value is not None for value in self.values) / len(self.values)


@dataclass(frozen=True)
class Verdict:
    """What became of one rationale. ``excess`` is how far it runs past the limit, in 0..1; one that is not ``finished``
    was cut off."""

    text: str
    finished: bool
    words: int
    leaks: list[str]
    rebuilt: Rebuilt = field(repr=False)
    grounding: float
    excess: float
    empty: float
    reward: float
    worth: float

    @property
    def score(self) -> float:
        """The reconstruction's score."""
        return self.rebuilt.score

    def row(self) -> dict[str, Any]:
        """For logs."""
        return {
            "rationale": self.text,
            "finished": self.finished,
            "words": self.words,
            "reconstruction": self.rebuilt.rollouts[0].text,
            "score": self.score,
            "parsed": self.rebuilt.parsed,
            "leaks": self.leaks,
            "grounding": self.grounding,
            "excess": self.excess,
            "reward": self.reward,
            "worth": self.worth,
        }


class Shadow:
    """A second set of the trainable weights, worn by the policy while it reconstructs: frozen, or following slowly.

    One that ``follows`` is kept in float32: in bfloat16 most of its small moves would be rounded away.
    """

    def __init__(self, policy: Policy, *, follows: bool = False) -> None:
        self.policy = policy
        trained = {name: own(p) for name, p in policy.model.named_parameters() if p.requires_grad}
        self.weights = {name: p.to(torch.float32 if follows else p.dtype, copy=True) for name, p in trained.items()}

    def follow(self, decay: float) -> None:
        """Move towards the policy: weights = decay x weights + (1 - decay) x policy."""
        for name, parameter in self.policy.model.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(own(parameter).to(self.weights[name].dtype), 1 - decay)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Inside, the policy computes with these weights."""
        with wearing(dict(self.policy.model.named_parameters()), self.weights):
            yield

    def whole(self) -> dict[str, Tensor]:
        """The weights, in the main process if they are in parts; all processes must ask."""
        named = self.policy.model.named_parameters()
        found = {name: collect(self.weights[name], parameter) for name, parameter in named if name in self.weights}
        return {name: weight for name, weight in found.items() if weight is not None}

    def put_back(self, weights: Mapping[str, Any]) -> None:
        """Those of ``whole``, as far as they are there."""
        for name, parameter in self.policy.model.named_parameters():
            if name in self.weights and name in weights:
                self.weights[name].copy_(take(weights[name], parameter))


class LoopReward:
    """Judges rationales. ``grounder`` None leaves its term out.

    ``rebuilder`` reconstructs: the policy itself unless set otherwise, wearing ``shadow`` where there is one.
    """

    def __init__(
        self,
        policy: Policy,
        prompter: Prompter,
        settings: ClosedLoop,
        meter: Meter,
        *,
        grounder: Grounder | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.policy, self.prompter, self.settings, self.meter = policy, prompter, settings, meter
        self.grounder, self.shadow, self.rebuilder = grounder, shadow, policy
        self.task = prompter.material.task
        wanted = settings.reconstruct.sees_image
        self.sees_image = self.task.sees_image if wanted == "auto" else bool(wanted)

    @cached_property
    def rebuild_limit(self) -> int:
        """The most tokens of a reconstruction."""
        policy = self.policy
        material, how = self.prompter.material, self.settings.reconstruct
        return rebuild_limit(how, policy.tokenizer, policy.frame, material, policy.context)

    def judge(
        self,
        records: Sequence[Record],
        prompts: Sequence[Prompt],
        rationales: Sequence[Sequence[Rollout]],
        generator: torch.Generator,
    ) -> list[list[Verdict]]:
        """The verdict on each rationale of each record; ``prompts`` are the reason prompts they answer."""
        flat = [(record, rollout.text) for record, group in zip(records, rationales, strict=True) for rollout in group]
        rebuilt = iter(self.rebuild([r for r, _ in flat], [text for _, text in flat], generator))
        empty = [0.0] * len(records)
        if self.settings.reconstruct.baseline == "empty":
            empty = [one.score for one in self.rebuild(records, [""] * len(records), generator)]
        rng = draw_rng(generator)
        gains = [[0.0] * len(group) for group in rationales]
        if self.grounder is not None:
            gains = self.grounder.gains(records, rationales, rng)
        return [
            [
                self._verdict(record, prompt, rollout, next(rebuilt), gain, nothing)
                for rollout, gain in zip(group, gain_group, strict=True)
            ]
            for record, prompt, group, gain_group, nothing in zip(
                records, prompts, rationales, gains, empty, strict=True
            )
        ]

    def rebuild(
        self, records: Sequence[Record], rationales: Sequence[str], generator: torch.Generator, *, greedy: bool = False
    ) -> list[Rebuilt]:
        """Reconstructs each record's annotation from the rationale beside it, without gradient."""
        how = self.settings.reconstruct
        prompts = [
            self.prompter.prompt("reconstruct", record, text, sees_image=self.sees_image)
            for record, text in zip(records, rationales, strict=True)
        ]
        with self.shadow.worn() if self.shadow else nullcontext():
            sampled = sample(
                self.rebuilder,
                prompts,
                1 if greedy else how.samples,
                max_new_tokens=self.rebuild_limit,
                temperature=0.0 if greedy else how.temperature,
                generator=generator,
            )
        count(self.meter, sampled)
        return [self._read(r, p, s) for r, p, s in zip(records, prompts, sampled, strict=True)]

    def worths(self, answered: Sequence[tuple[Record, str, str]], generator: torch.Generator) -> list[float]:
        """What each rationale is worth to a model that answers by itself: the score of what is rebuilt from it. One
        that leaks is worth nothing, no more than an honest miss, and so is one of no words.

        ``answered``: record, rationale and the text of the prompt that it answers.
        """
        tells = [text.strip() != "" and not self.leaks(record, text, prompt) for record, text, prompt in answered]
        kept = [(record, text) for (record, text, _), told in zip(answered, tells, strict=True) if told]
        rebuilt = self.rebuild([record for record, _ in kept], [text for _, text in kept], generator) if kept else []
        scores = iter(one.score for one in rebuilt)
        return [next(scores) if told else 0.0 for told in tells]

    def leaks(self, record: Record, rationale: str, prompt: str) -> list[str]:
        """The task's leak rules on the raw text."""
        return self.task.leaks(rationale, record, self.policy.frame, prompt)

    def _read(self, record: Record, prompt: Prompt, rollouts: list[Rollout]) -> Rebuilt:
        frame = self.policy.frame
        read = [self.task.parse_completion(rollout.text, record, frame, "reconstruct") for rollout in rollouts]
        values = [one.parsed.value for one in read]
        answers = [agree(self.task, values).value] if self.settings.reconstruct.combine else values
        return Rebuilt(prompt, rollouts, values, [self.task.score(record.annotation, one) for one in answers], answers)

    def _verdict(
        self, record: Record, prompt: Prompt, rollout: Rollout, rebuilt: Rebuilt, gain: float, empty: float
    ) -> Verdict:
        settings = self.settings
        words = len(rollout.text.split())
        limit = settings.length.words
        excess = min(1.0, max(0, words - limit) / limit) if rollout.finished else 1.0
        leaks = self.leaks(record, rollout.text, prompt.text)
        factor, form = pays(settings, rollout.text, leaks)
        grounded = min(gain, 0.0) if leaks and settings.preset != "official" else gain
        worth = rebuilt.score * factor - empty + settings.grounding.weight * grounded - settings.length.weight * excess
        reward = worth + form * rebuilt.parsed
        return Verdict(rollout.text, rollout.finished, words, leaks, rebuilt, gain, excess, empty, reward, worth)


def pays(settings: ClosedLoop, rationale: str, leaks: Sequence[str]) -> tuple[float, float]:
    """What a reconstruction's score is multiplied by, and the weight of its format.

    Ours: no format for a leak, nothing at all for an empty rationale, from which only the prior is rebuilt. The
    official code's preset pays the format in any case.
    """
    factor = settings.leak_factor if leaks else 1.0
    if settings.preset == "official":
        return factor, settings.format_weight
    if not rationale.strip():
        return 0.0, 0.0
    return factor, 0.0 if leaks else settings.format_weight


def count(meter: Meter, sampled: Sequence[Sequence[Rollout]]) -> None:
    """Add rollouts and their tokens to the cost."""
    meter.add(
        rollouts=sum(len(group) for group in sampled),
        tokens=sum(len(rollout.ids) for group in sampled for rollout in group),
    )
