"""Strengthen: GRPO on think-and-answer with the task's score and the format. From the base model it is Visual-RFT.

Groups whose rewards are all equal teach nothing and cost no forward pass; with ``refill`` further records of the same
epoch take their place. Ours: the recipe's reward ``reconstruction`` is the score of the annotation that the warm-up's
model rebuilds from the rationale; else nothing is asked of what the rationale says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rise_vlm.data import Record
from rise_vlm.engine.objective import Loss, advantages, has_spread
from rise_vlm.engine.sample import Rollout, sample
from rise_vlm.engine.trainer import train
from rise_vlm.engine.work import Prepared
from rise_vlm.policy import Policy, Prompt
from rise_vlm.ranks import once
from rise_vlm.recipes.schema import RECONSTRUCTION
from rise_vlm.stages.context import Context, Summary
from rise_vlm.stages.files import RolloutLog
from rise_vlm.stages.loop_reward import LoopReward, count
from rise_vlm.stages.material import lasting, visits
from rise_vlm.stages.policy_gradient import Micro, Scored, entropy, micro_batches, micro_loss
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.rewards import Sampled, load_rewards
from rise_vlm.stages.spread import Watch, why_grpo


def run(context: Context) -> Summary:
    """Leaves ``model/``, ``metrics.jsonl`` and ``rollouts.parquet``."""
    settings, records = context.recipe.grpo, len(context.material.train)
    how = lasting(context.train, settings.epochs, records, settings.records_per_step)
    reference = settings.objective.beta > 0
    with ExitStack() as stack:
        policy = stack.enter_context(context.policy(context.models.final, trains=True, reference=reference))
        reader = stack.enter_context(context.policy(context.models.warm)) if settings.rebuilds else None
        work = GrpoWork(context, policy, reader)
        steps = train(policy, work, how, context.folder, "grpo")
        work.log.finish()
    return {"model": "model", "steps": steps, "notes": work.watch.notes(steps, how.steps)}


@dataclass(frozen=True)
class Answered:
    """The rollouts of one record, what they scored and whether they kept to the form, and their rewards (G,).

    ``named`` has the further rewards of the recipe, by name and before their weights.
    """

    record: Record
    prompt: Prompt
    rollouts: list[Rollout]
    scores: list[float]
    well_formed: list[bool]
    rationales: list[str]
    rewards: Tensor
    named: dict[str, list[float]] = field(default_factory=dict)


class GrpoWork:
    """GRPO as the trainer sees it. ``reader`` rebuilds from rationales where that is rewarded."""

    def __init__(self, context: Context, policy: Policy, reader: Policy | None = None) -> None:
        self.context, self.policy, self.settings = context, policy, context.recipe.grpo
        self.records = context.material.train
        self.task = context.material.task
        self.prompter = Prompter(policy, context.material)
        self.judge = None
        if reader is not None:
            self.judge = LoopReward(policy, self.prompter, context.recipe.closed_loop, context.meter)
            self.judge.rebuilder = reader
        self.log = RolloutLog(context.folder)
        self.watch = Watch("grpo", context.folder, self.settings.stop_without_spread, why_grpo)
        self.rewards = load_rewards(self.settings.rewards)

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        """Rollouts, rewards and advantages of one step."""
        settings = self.settings
        per_step = min(settings.records_per_step, len(self.records))
        tries = 1 + settings.refill
        # Each step owns ``tries`` draws, so that what a step sees does not depend on how many others needed.
        answered: list[Answered] = []
        for number in range(tries):
            missing = per_step - sum(_teaches(one) for one in answered)
            if not missing:
                break
            chosen = visits(len(self.records), per_step, (step - 1) * tries + number + 1, self.context.recipe.seed)
            answered += self._answer([self.records[i] for i in chosen[:missing]], generator)
        scored = [
            Scored(one.prompt, one.rollouts, advantages(one.rewards.unsqueeze(0), settings.objective.advantage)[0])
            for one in _first(answered, per_step)
        ]
        micro = micro_batches(
            self.policy,
            scored,
            objective=settings.objective,
            temperature=settings.rollouts.temperature,
            completion_limit=settings.rollouts.max_new_tokens,
            token_budget=self.context.train.token_budget,
        )
        self.log.write(step, _rows(answered))
        self.context.meter.save()
        return Prepared(micro, _metrics(answered))

    def loss(self, micro: Micro) -> Loss:
        """The policy-gradient loss of a micro-batch."""
        return micro_loss(self.policy, micro, self.settings.objective)

    def ends(self, step: int) -> bool:
        """Whether the recipe wants no further step, the rewards having had no spread for long."""
        return self.watch.ends(step)

    def _answer(self, records: Sequence[Record], generator: torch.Generator) -> list[Answered]:
        how = self.settings.rollouts
        prompts = [self.prompter.prompt("think", record) for record in records]
        sampled = sample(
            self.policy,
            prompts,
            how.group,
            max_new_tokens=how.max_new_tokens,
            temperature=how.temperature,
            generator=generator,
        )
        count(self.context.meter, sampled)
        judged = [self._judge(*one) for one in zip(records, prompts, sampled, strict=True)]
        if self.judge is not None:
            judged = self._rebuilt(self.judge, judged, generator)
        return self._rewarded(judged) if self.rewards else judged

    def _judge(self, record: Record, prompt: Prompt, rollouts: list[Rollout]) -> Answered:
        read = [self.task.parse_completion(one.text, record, self.policy.frame, "think") for one in rollouts]
        scores = [self.task.score(record.annotation, one.parsed.value) for one in read]
        formed = [one.well_formed for one in read]
        rationales = [one.rationale or "" for one in read]
        settings = self.settings
        rewards = torch.tensor(
            [settings.score_weight * s + settings.format_weight * f for s, f in zip(scores, formed, strict=True)]
        )
        return Answered(record, prompt, rollouts, scores, formed, rationales, rewards)

    def _rebuilt(self, judge: LoopReward, judged: Sequence[Answered], generator: torch.Generator) -> list[Answered]:
        """With what each rationale is worth by ``judge``."""
        asked = [(one.record, text, one.prompt.text) for one in judged for text in one.rationales]
        weight, each = self.settings.rewards[RECONSTRUCTION], iter(judge.worths(asked, generator))
        own = [[next(each) for _ in one.rationales] for one in judged]
        return [
            replace(one, named={RECONSTRUCTION: values}, rewards=one.rewards + weight * torch.tensor(values))
            for one, values in zip(judged, own, strict=True)
        ]

    def _rewarded(self, judged: Sequence[Answered]) -> list[Answered]:
        """With the recipe's further rewards. Raises UserError naming the reward and the record that it fails on.

        Of several processes the main one alone asks for them: they may cost money, or say something else each time.
        """
        named = once(lambda: [self._named(one) for one in judged])
        return [
            replace(one, named=one.named | own, rewards=self._sum(one, own))
            for one, own in zip(judged, named, strict=True)
        ]

    def _named(self, one: Answered) -> dict[str, list[float]]:
        answer = self.task.render(one.record.annotation, one.record, self.policy.frame)
        texts, ids = [rollout.text for rollout in one.rollouts], [rollout.ids.tolist() for rollout in one.rollouts]
        group = Sampled(one.record, one.prompt.text, answer, texts, ids, one.scores, self.policy.frame)
        return {reward.name: reward.function(group) for reward in self.rewards}

    def _sum(self, one: Answered, named: Mapping[str, list[float]]) -> Tensor:
        return sum((reward.weight * torch.tensor(named[reward.name]) for reward in self.rewards), one.rewards)


def _teaches(one: Answered) -> bool:
    return bool(has_spread(one.rewards.unsqueeze(0)))


def _first(answered: Sequence[Answered], limit: int) -> list[Answered]:
    """``limit`` of the groups, those with spread before the others, each in the order drawn."""
    return sorted(answered, key=lambda one: not _teaches(one))[:limit]


def _rows(answered: Sequence[Answered]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.record.id,
            "completion": rollout.text,
            "score": score,
            "well_formed": formed,
            "reward": float(reward),
        }
        | {name: values[number] for name, values in one.named.items()}
        for one in answered
        for number, (rollout, score, formed, reward) in enumerate(
            zip(one.rollouts, one.scores, one.well_formed, one.rewards, strict=True)
        )
    ]


def _metrics(answered: Sequence[Answered]) -> dict[str, float]:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    names = answered[0].named if answered else {}
    named = {f"reward_{name}": mean([value for one in answered for value in one.named[name]]) for name in names}
    return named | {
        "reward": mean([float(reward) for one in answered for reward in one.rewards]),
        "score": mean([score for one in answered for score in one.scores]),
        "well_formed": mean([float(formed) for one in answered for formed in one.well_formed]),
        "length": mean([float(len(text.split())) for one in answered for text in one.rationales]),
        "zero_spread": 1.0 - mean([float(_teaches(one)) for one in answered]),
        "groups": float(len(answered)),
        "entropy": entropy([one.rollouts for one in answered]),
        "tokens": float(sum(len(rollout.ids) for one in answered for rollout in one.rollouts)),
    }
