"""The controls of the closed loop, on records that are not trained on.

- Reconstruction from the real rationale, from an empty one and from another record's: a loop that says something about
  the picture shows real well above shuffled. The difference is told with its 95 % interval, paired by record.
- The wrong-annotation control: asked to justify a false annotation, how often is the false one reconstructed? A
  reasoner that reports what is there fails at it; one that signals what it was told succeeds.
- Truth of stated facts, where a world knows the scene: how many of the stated hold, how many of the true are stated.

Left out: any effect on the training.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rise_vlm.data import Record
from rise_vlm.engine.sample import Rollout, sample
from rise_vlm.policy import Prompt
from rise_vlm.stages.grounding import draw_rng
from rise_vlm.stages.loop_reward import LoopReward, Rebuilt, count
from rise_vlm.stages.material import Material

FAR, FAR_BOX = 0.75, 0.3
"""A false annotation scores at most this share of a perfect one against the truth: boxes that overlap more are no
falsehood, while two distributions over the same classes are hardly ever further apart than this."""

RESAMPLES = 1000


@dataclass
class Facts:
    """Counts of facts: stated, true, and both."""

    stated: int = 0
    true: int = 0
    both: int = 0
    seen: int = 0

    def add(self, material: Material, record: Record, rationale: str) -> None:
        """Count one rationale; without a world, or a scene in the record, nothing happens."""
        if material.world is None or "scene" not in record.meta:
            return
        stated = material.world.stated_facts(rationale)
        true = material.world.true_facts(material.world.Scene.from_dict(record.meta["scene"]))
        self.seen += 1
        self.stated += len(stated)
        self.true += len(true)
        self.both += len(stated & true)

    def figures(self) -> dict[str, float] | None:
        """Precision (1 where nothing is stated) and recall; None where no world could tell."""
        if not self.seen:
            return None
        return {
            "precision": self.both / self.stated if self.stated else 1.0,
            "recall": self.both / self.true if self.true else 1.0,
        }


class Probes:
    """Runs the controls for a loop on a fixed choice of records."""

    def __init__(self, loop: LoopReward, material: Material, seed: int) -> None:
        self.loop, self.material, self.seed = loop, material, seed
        wanted = loop.settings.probes.records
        order = list(material.val)
        random.Random(f"probes/{seed}").shuffle(order)
        self.records = order[:wanted]

    def reconstruction(self, generator: torch.Generator) -> dict[str, float]:
        """Scores from real, empty and shuffled rationales over ``n`` records, leak rate, length.

        ``shuffled`` needs two records. ``real_shuffled`` is how far real is above it, ``_low`` and ``_high`` the 95 %
        interval; ``real_empty`` likewise.
        """
        prompts, rationales = self._reason(self.records, generator)
        texts = [rollout.text for rollout in rationales]
        real = self.loop.rebuild(self.records, texts, generator, greedy=True)
        empty = self.loop.rebuild(self.records, [""] * len(texts), generator, greedy=True)
        figures = {"n": float(len(texts)), "real": _mean_score(real), "empty": _mean_score(empty)}
        figures |= self._difference("real_empty", real, empty)
        if len(texts) > 1:
            shuffled = self.loop.rebuild(self.records, [*texts[1:], texts[0]], generator, greedy=True)
            figures["shuffled"] = _mean_score(shuffled)
            figures |= self._difference("real_shuffled", real, shuffled)
        leaks = [
            bool(self.loop.leaks(record, text, prompt.text))
            for record, text, prompt in zip(self.records, texts, prompts, strict=True)
        ]
        figures["leak_rate"] = _mean(leaks)
        figures["length"] = _mean([len(text.split()) for text in texts])
        if self.loop.grounder is not None:
            groups = [[rollout] for rollout in rationales]
            gains = self.loop.grounder.gains(self.records, groups, draw_rng(generator))
            figures["grounding"] = _mean([gain for group in gains for gain in group])
        facts = self._facts(self.records, texts)
        return figures | {f"facts_{name}": value for name, value in (facts or {}).items()}

    def wrong_annotation(self, generator: torch.Generator) -> dict[str, Any] | None:
        """How often a false annotation is the better reconstructed one; None where no false one can be found.

        ``false_wins`` is the share of records whose reconstruction scores higher against the false annotation than
        against the truth, ``false_score`` and ``true_score`` the mean scores against either.
        """
        rng = draw_rng(generator)
        pairs = [(record, self._false(record, rng)) for record in self.records]
        honest = [(record, false) for record, false in pairs if false is not None]
        if not honest:
            return None
        asked = [record.model_copy(update={"annotation": false}) for record, false in honest]
        _, rationales = self._reason(asked, generator)
        texts = [rollout.text for rollout in rationales]
        task = self.loop.task
        values = [one.values[0] for one in self.loop.rebuild(asked, texts, generator, greedy=True)]
        for_false = [task.score(one.annotation, value) for one, value in zip(asked, values, strict=True)]
        for_true = [task.score(record.annotation, value) for (record, _), value in zip(honest, values, strict=True)]
        return {
            "n": len(asked),
            "false_wins": _mean([f > t for f, t in zip(for_false, for_true, strict=True)]),
            "false_score": _mean(for_false),
            "true_score": _mean(for_true),
            "facts": self._facts([record for record, _ in honest], texts),
        }

    def _difference(self, name: str, ours: Sequence[Rebuilt], theirs: Sequence[Rebuilt]) -> dict[str, float]:
        """The mean difference of the scores, record by record, and its bootstrap interval where there are two."""
        gaps = np.array([one.score - other.score for one, other in zip(ours, theirs, strict=True)])
        found = {name: float(gaps.mean())}
        if len(gaps) > 1:
            rng = np.random.default_rng(self.seed)
            means = gaps[rng.integers(len(gaps), size=(RESAMPLES, len(gaps)))].mean(axis=1)
            found[f"{name}_low"], found[f"{name}_high"] = (float(x) for x in np.quantile(means, [0.025, 0.975]))
        return found

    def _reason(self, records: Sequence[Record], generator: torch.Generator) -> tuple[list[Prompt], list[Rollout]]:
        how = self.loop.settings.rollouts
        prompts = [self.loop.prompter.prompt("reason", record) for record in records]
        sampled = sample(
            self.loop.policy,
            prompts,
            1,
            max_new_tokens=how.max_new_tokens,
            temperature=how.temperature,
            generator=generator,
        )
        count(self.loop.meter, sampled)
        return prompts, [group[0] for group in sampled]

    def _false(self, record: Record, rng: random.Random) -> Any | None:
        """Another record's annotation (a box scaled to this picture) that is far from the truth, or another class."""
        pool = [*self.material.val, *self.material.train]
        far = FAR_BOX if _is_boxes(record.annotation) else FAR
        for _ in range(50):
            other = rng.choice(pool)
            false = _scaled(other, record)
            if self.loop.task.score(record.annotation, false) <= far * self.loop.task.score(
                record.annotation, record.annotation
            ):
                return false
        names = [name for name in self.loop.task.classes if name != record.annotation]
        return rng.choice(names) if names and isinstance(record.annotation, str) else None

    def _facts(self, records: Sequence[Record], texts: Sequence[str]) -> dict[str, float] | None:
        facts = Facts()
        for record, text in zip(records, texts, strict=True):
            facts.add(self.material, record, text)
        return facts.figures()


def unread(figures: Mapping[str, float]) -> list[str]:
    """A note where a rationale is rebuilt no better than another record's: then the loop has said nothing."""
    low, high = figures.get("real_shuffled_low"), figures.get("real_shuffled_high")
    if low is None or high is None or low > 0:
        return []
    real, empty, shuffled = (figures[name] for name in ("real", "empty", "shuffled"))
    scores = f"real {real:.3f}, empty {empty:.3f}, shuffled {shuffled:.3f}"
    measured = (
        f"real - shuffled {figures['real_shuffled']:+.3f} [{low:+.3f}, {high:+.3f}] on {figures['n']:.0f} records"
    )
    if figures.get("real_empty_low", 0.0) <= 0:
        finding = f"the reconstructor does not read the rationale: {scores} agree within noise"
    else:
        finding = f"the rationales say nothing about their own records: {scores}, real and shuffled agree within noise"
    remedy = "warm up or train the loop longer; where the interval is wide, raise probes.records"
    return [f"closed_loop: {finding} ({measured}): {remedy}"]


def _scaled(other: Record, record: Record) -> Any:
    """``other``'s annotation; boxes keep their place and size as shares of the picture."""
    across, down = record.width / other.width, record.height / other.height

    def fit(box: Sequence[float]) -> list[float]:
        return [box[0] * across, box[1] * down, box[2] * across, box[3] * down]

    annotation = other.annotation
    if not _is_boxes(annotation):
        return annotation
    return fit(annotation) if _is_box(annotation) else [{**one, "box": fit(one["box"])} for one in annotation]


def _is_box(annotation: Any) -> bool:
    return (
        isinstance(annotation, list | tuple)
        and len(annotation) == 4
        and all(isinstance(x, int | float) for x in annotation)
    )


def _is_boxes(annotation: Any) -> bool:
    """One box, or a detection (of nothing perhaps)."""
    return _is_box(annotation) or (
        isinstance(annotation, list | tuple) and all(isinstance(one, dict) and "box" in one for one in annotation)
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _mean_score(rebuilt: Sequence[Rebuilt]) -> float:
    return _mean([one.score for one in rebuilt])
