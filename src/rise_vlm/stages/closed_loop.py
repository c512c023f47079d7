"""RISE-CoT, the closed loop annotation -> rationale -> annotation, trained by GRPO.

For each record the policy, which sees picture and annotation, samples G rationales; leak rules read them raw; the
annotation is rebuilt from each; the reward (``loop_reward``) says how well; the gradient goes to the rationale's tokens
(``credit``: to those of the rebuilt answer, as in the official code, or to both).
Left out: keeping the rationales, which is the harvest's business.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

from rise_vlm.console import say
from rise_vlm.data import Record
from rise_vlm.engine.objective import Loss, advantages, has_spread
from rise_vlm.engine.sample import sample
from rise_vlm.engine.trainer import train
from rise_vlm.engine.work import Prepared
from rise_vlm.policy import Policy
from rise_vlm.ranks import main_only, once
from rise_vlm.recipes.schema import ClosedLoop
from rise_vlm.stages.context import Context, Summary
from rise_vlm.stages.facts import Facts
from rise_vlm.stages.files import RolloutLog, read_rows
from rise_vlm.stages.grounding import Grounder
from rise_vlm.stages.loop_reward import LoopReward, Shadow, Verdict, count, pays
from rise_vlm.stages.material import visits
from rise_vlm.stages.policy_gradient import Micro, Scored, entropy, micro_batches, micro_loss
from rise_vlm.stages.probes import Probes, change, log_probes, unchanged, unread
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.spread import Watch, why_loop

RECONSTRUCTOR = "reconstructor"
"""Folder of the moving average that reconstructs, beside ``model``; only with ``reconstruct.reconstructor=ema``."""

FOLLOWED = "followed"
"""Beside the weights of the average in the checkpoint: the last step in which it was moved."""


def run(context: Context) -> Summary:
    """Leaves ``model/``, ``metrics.jsonl``, ``rollouts.parquet``; the summary holds the controls at the end."""
    settings = context.recipe.closed_loop
    with ExitStack() as stack:
        reference = settings.objective.beta > 0
        policy = stack.enter_context(context.policy(context.models.loop, trains=True, reference=reference))
        loop = make_reward(context, policy, stack)
        match settings.reconstruct.reconstructor:
            case "policy":
                pass
            case "warm_up":
                loop.rebuilder = stack.enter_context(context.policy(context.models.warm))
            case "frozen":
                loop.shadow = Shadow(policy)
            case "ema":
                loop.shadow = Shadow(policy, follows=True)
        work = ClosedLoopWork(context, policy, loop)
        steps = train(policy, work, context.train, context.folder, "closed loop")
        policy.model.eval()
        controls = work.final_controls(steps)
        if loop.shadow is not None and settings.reconstruct.reconstructor == "ema":
            with loop.shadow.worn(), policy.whole():
                main_only(policy.save)(context.folder / RECONSTRUCTOR)  # the harvest judges with it, as the loop did
        context.meter.save()
        work.log.finish()
    notes = [*unread(controls["probes"]), *unchanged(controls["gain"])]
    for note in notes:
        say(f"note: {note}.")
    notes += work.watch.notes(steps, context.train.steps)
    return {"model": "model", "steps": steps, **controls, "training": once(_means, context), "notes": notes}


def make_reward(context: Context, policy: Policy, stack: ExitStack) -> LoopReward:
    """The loop's reward for ``policy``; the frozen base that grounds it stays loaded as long as ``stack``."""
    settings = context.recipe.closed_loop
    grounder = None
    if settings.grounding.weight > 0:
        base = stack.enter_context(context.policy(context.models.base))
        grounder = Grounder(base, Prompter(base, context.material), context.material.train, settings.grounding)
    return LoopReward(policy, Prompter(policy, context.material), settings, context.meter, grounder=grounder)


class ClosedLoopWork:
    """The loop as the trainer sees it."""

    def __init__(self, context: Context, policy: Policy, loop: LoopReward) -> None:
        self.context, self.policy, self.loop = context, policy, loop
        self.settings: ClosedLoop = context.recipe.closed_loop
        self.records = context.material.train
        self.probes = Probes(loop, context.material, context.recipe.seed)
        self.log = RolloutLog(context.folder)
        self.watch = Watch("closed loop", context.folder, self.settings.stop_without_spread, why_loop)
        self._followed = 0

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        """Rationales, reconstructions, rewards and advantages of one step."""
        settings, rollouts = self.settings, self.settings.rollouts
        self._follow(step)
        probed = self._probe(step)
        chosen = visits(len(self.records), settings.records_per_step, step, self.context.recipe.seed)
        records = [self.records[i] for i in chosen]
        prompts = [self.loop.prompter.prompt("reason", record) for record in records]
        sampled = sample(
            self.policy,
            prompts,
            rollouts.group,
            max_new_tokens=rollouts.max_new_tokens,
            temperature=rollouts.temperature,
            generator=generator,
        )
        count(self.loop.meter, sampled)
        verdicts = self.loop.judge(records, prompts, sampled, generator)
        rewards = torch.tensor([[verdict.reward for verdict in group] for group in verdicts])
        micro: list[Micro] = []
        if settings.credit in ("rationale", "both"):
            found = advantages(rewards, settings.objective.advantage)
            scored = [Scored(p, s, a) for p, s, a in zip(prompts, sampled, found, strict=True)]
            micro += self._micro(scored, rollouts.temperature, rollouts.max_new_tokens, reports=True)
        if settings.credit in ("answer", "both"):
            scored = self._answers(verdicts)
            how = settings.reconstruct
            micro += self._micro(scored, how.temperature, self.loop.rebuild_limit, reports=settings.credit == "answer")
        self.log.write(step, _rows(records, verdicts))
        self.loop.meter.save()
        metrics = self._metrics(records, verdicts, rewards)
        metrics["entropy"] = entropy(sampled)
        metrics["tokens"] = float(sum(len(rollout.ids) for group in sampled for rollout in group))
        return Prepared(micro, metrics | probed)

    def loss(self, micro: Micro) -> Loss:
        """The policy-gradient loss of a micro-batch."""
        return micro_loss(self.policy, micro, self.settings.objective)

    def ends(self, step: int) -> bool:
        """Whether the recipe wants no further step, the scores having had no spread for long."""
        return self.watch.ends(step)

    def state_dict(self) -> dict[str, Any]:
        """The moving average of the reconstructor, where there is one, and the step it has followed to."""
        if self.loop.shadow is None or self.settings.reconstruct.reconstructor != "ema":
            return {}
        return {**self.loop.shadow.whole(), FOLLOWED: self._followed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the moving average back."""
        self._followed = state.get(FOLLOWED, 0)
        if self.loop.shadow is not None:
            self.loop.shadow.put_back(state)

    def _follow(self, step: int) -> None:
        """Move the average once in each step, also where the step is prepared again."""
        how = self.settings.reconstruct
        if self.loop.shadow is not None and how.reconstructor == "ema" and step > self._followed:
            self.loop.shadow.follow(how.ema_decay)
            self._followed = step

    def _probe(self, step: int) -> dict[str, float]:
        """The controls, before the first step and after every ``every`` steps; wrong annotations before the first."""
        after = step - 1
        if after % self.settings.probes.every:
            return {}
        found = self.probes.reconstruction(self.context.generator("probes", step))
        wrong = None
        if after == 0:
            wrong = self.probes.wrong_annotation(self.context.generator("wrong annotations", step), found.rebuilt)
        log_probes(self.context.folder, after, found, wrong)
        return {f"probe_{name}": value for name, value in found.figures.items()}

    def final_controls(self, steps: int) -> Summary:
        """All controls after the last of ``steps``, and what the loop has changed since before the first."""
        context = self.context
        found = self.probes.reconstruction(context.generator("probes at the end"))
        wrong = self.probes.wrong_annotation(context.generator("wrong annotations"), found.rebuilt)
        log_probes(context.folder, steps, found, wrong)
        gain, wrong_before = once(change, context.folder, context.recipe.seed)
        return {
            "probes": found.figures,
            "wrong_annotation": wrong,
            "wrong_annotation_before": wrong_before,
            "gain": gain,
        }

    def _micro(self, scored: list[Scored], temperature: float, limit: int, *, reports: bool) -> list[Micro]:
        return micro_batches(
            self.policy,
            scored,
            objective=self.settings.objective,
            temperature=temperature,
            completion_limit=limit,
            token_budget=self.context.train.token_budget,
            reports=reports,
        )

    def _answers(self, verdicts: list[list[Verdict]]) -> list[Scored]:
        """The reconstructions as actions: their baseline spans the record's rationales, as in the official code."""
        scored: list[Scored] = []
        for group in verdicts:
            rewards = torch.tensor([reward for verdict in group for reward in self._answer_rewards(verdict)])
            found = advantages(rewards.unsqueeze(0), self.settings.objective.advantage)[0]
            for verdict, part in zip(group, found.split(self.settings.reconstruct.samples), strict=True):
                scored.append(Scored(verdict.rebuilt.prompt, verdict.rebuilt.rollouts, part))
        return scored

    def _answer_rewards(self, verdict: Verdict) -> list[float]:
        factor, weight = pays(self.settings, verdict.text, verdict.leaks)
        rebuilt = verdict.rebuilt
        return [s * factor + weight * (v is not None) for s, v in zip(rebuilt.scores, rebuilt.values, strict=True)]

    def _metrics(self, records: list[Record], verdicts: list[list[Verdict]], rewards: torch.Tensor) -> dict[str, float]:
        flat = [verdict for group in verdicts for verdict in group]
        scores = torch.tensor([[verdict.score for verdict in group] for group in verdicts])
        facts = Facts()
        for record, group in zip(records, verdicts, strict=True):
            for verdict in group:
                facts.add(self.context.material, record, verdict.text)
        metrics = {
            "reward": float(rewards.mean()),
            "reconstruction": _mean([verdict.score for verdict in flat]),
            "parsed": _mean([verdict.rebuilt.parsed for verdict in flat]),
            "leak_rate": _mean([bool(verdict.leaks) for verdict in flat]),
            "length": _mean([verdict.words for verdict in flat]),
            # The grounding term alone almost always spreads the reward, so the reconstruction is looked at by itself.
            "zero_spread": 1.0 - float(has_spread(scores).float().mean()),
            "reward_zero_spread": 1.0 - float(has_spread(rewards).float().mean()),
        }
        if self.loop.grounder is not None:
            metrics["grounding"] = _mean([verdict.grounding for verdict in flat])
        return metrics | {f"facts_{name}": value for name, value in (facts.figures() or {}).items()}


def _rows(records: list[Record], verdicts: list[list[Verdict]]) -> list[dict[str, Any]]:
    return [
        {"id": record.id, **verdict.row()} for record, group in zip(records, verdicts, strict=True) for verdict in group
    ]


def _means(context: Context) -> dict[str, float]:
    """Means over the whole training of what its metrics say about the rationales."""
    rows = list(read_rows(context.folder / "metrics.jsonl"))
    names = ("reward", "reconstruction", "leak_rate", "length", "zero_spread", "reward_zero_spread", "grounding")
    return {name: _mean([row[name] for row in rows if row.get(name) is not None]) for name in names}


def _mean(values: list[float] | list[bool] | list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
