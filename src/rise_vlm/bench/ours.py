"""Our side: a GRPO step and a closed-loop step, driven by the training loop that every stage uses.

Everything from text and picture on is timed: preprocessing, rollouts, rewards, the update and its row of metrics.
Left out: parsing answers and the leak rules, which both sides would pay alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rise_vlm.bench import case as cases
from rise_vlm.bench.case import ANNOTATION, REASON, RECONSTRUCT, THINK, WHOLE_STEP, Case
from rise_vlm.bench.meter import Meter, Step
from rise_vlm.engine.objective import Loss, advantages
from rise_vlm.engine.sample import Rollout, sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.engine.trainer import _Training
from rise_vlm.engine.work import Prepared
from rise_vlm.policy import Prompt
from rise_vlm.recipes.schema import Objective
from rise_vlm.stages.policy_gradient import Micro, Scored, micro_batches, micro_loss, rows


class Ours:
    """GRPO steps of ours; ``steps`` grows by one with each."""

    name = "ours"

    def __init__(self, case: Case, folder: Path, rounds: int) -> None:
        self.case, self.rounds = case, rounds
        self.steps: list[Step] = []
        self.policy = cases.load(case)
        self.side = cases.fit_pictures(case, self.policy.family)
        self.meter = Meter(self.policy.device)
        self.meter.watch(self.policy.family, self.policy.base)
        if case.beta > 0:
            with self.policy.reference():
                self.meter.watch(self.policy.family, self.policy.base)
        self.objective = Objective(beta=case.beta)
        settings = TrainSettings(
            steps=rounds,
            learning_rate=cases.STILL,
            token_budget=WHOLE_STEP,
            precision=case.precision,
            seed=case.seed,
        )
        self._pictures: list[Image.Image] = []
        self._training = _Training(self.policy, self, settings, folder / self.name, "bench")
        self._training.resume()

    def run(self, after: Callable[[], None] = lambda: None) -> None:
        """All rounds; ``after`` is called behind each."""
        for _ in range(self.rounds):
            self.step()
            after()

    def step(self) -> None:
        """One round. Drawing its pictures is not timed."""
        self._pictures = cases.pictures(self.case, len(self.steps), self.side)
        self.meter.start()
        self._training.step()
        self.meter.lap("update")
        self.steps.append(self.meter.stop())

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        """Rollouts, rewards and micro-batches, as ``stages.grpo`` makes them."""
        prompts = [self.policy.encode(THINK, [picture]) for picture in self._pictures]
        sampled = self._sample(prompts, self.case.group, self.case.completion_tokens, generator)
        self.meter.lap("rollout")
        rewards = torch.tensor([[cases.reward(one.text) for one in group] for group in sampled])
        prepared = self._prepared(prompts, sampled, _gains(rewards), self.case.completion_tokens)
        self.meter.lap("score")
        return prepared

    def loss(self, micro: Micro) -> Loss:
        """The policy-gradient loss of a micro-batch."""
        return micro_loss(self.policy, micro, self.objective)

    def logprobs(self, asked: list[tuple[str, Image.Image | None]], completions: list[list[Tensor]]) -> Tensor:
        """Log-probs (N, C) of completions of prompts (text, picture), no token banned: others ban none in scoring."""
        banned, self.policy.banned_ids = self.policy.banned_ids, self.policy.banned_ids[:0]
        groups = [
            Group(self.policy.encode(text, [] if picture is None else [picture]), own)
            for (text, picture), own in zip(asked, completions, strict=True)
        ]
        try:
            return rows(completion_logprobs(self.policy, groups, grad=False))
        finally:
            self.policy.banned_ids = banned

    def _sample(self, prompts: list[Prompt], n: int, tokens: int, generator: torch.Generator) -> list[list[Rollout]]:
        return sample(self.policy, prompts, n, max_new_tokens=tokens, generator=generator)

    def _prepared(self, prompts: list[Prompt], sampled: list[list[Rollout]], gains: Tensor, limit: int) -> Prepared:
        """Micro-batches from groups and their advantages (prompts, rollouts)."""
        scored = [Scored(*one) for one in zip(prompts, sampled, gains, strict=True)]
        how: dict[str, Any] = {"objective": self.objective, "temperature": 1.0, "token_budget": WHOLE_STEP}
        return Prepared(micro_batches(self.policy, scored, completion_limit=limit, **how))


class OursLoop(Ours):
    """Closed-loop steps of ours: rationales, a reconstruction from each, an update (``Case.credit``)."""

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        """Both roles and micro-batches, as ``stages.closed_loop`` makes them."""
        case = self.case
        images = [self.policy.preprocess([picture]) for picture in self._pictures]
        prompts = [self.policy.encode(REASON.format(annotation=ANNOTATION), image) for image in images]
        rationales = self._sample(prompts, case.group, case.completion_tokens, generator)
        self.meter.lap("reason")
        again = [
            self.policy.encode(RECONSTRUCT.format(rationale=one.text), image if case.sees_image else ())
            for image, group in zip(images, rationales, strict=True)
            for one in group
        ]
        answers = self._sample(again, 1, case.answer_tokens, generator)
        self.meter.lap("reconstruct")
        rewards = torch.tensor([cases.reward(one.text) for (one,) in answers]).view(case.prompts, case.group)
        if case.credit == "answer":
            prepared = self._prepared(again, answers, _gains(rewards).view(-1, 1), case.answer_tokens)
        else:
            prepared = self._prepared(prompts, rationales, _gains(rewards), case.completion_tokens)
        self.meter.lap("score")
        return prepared


def _gains(rewards: Tensor) -> Tensor:
    """Advantages (B, G); a group of one has none, and takes its reward so that it is trained all the same."""
    return advantages(rewards) if rewards.shape[1] > 1 else rewards
