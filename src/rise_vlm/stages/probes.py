"""The controls of the closed loop, on records that are not trained on.

- Reconstruction from the real rationale, from an empty one and from another record's: a loop that says something about
  the picture shows real well above shuffled. The difference is told with its 95 % interval, paired by record. So is
  what the loop has changed: real at its end above real before its first step, on the same records.
- The wrong-annotation control: asked to justify a false annotation, how often is the false one reconstructed? A
  reasoner that reports what is there fails at it; one that signals what it was told succeeds. Beside it stands what the
  same false annotation gets from a rationale written for the truth: a false one may be near it by chance.
- Truth of stated facts, where a world knows the scene: how many of the stated hold, how many of the true are stated.

Left out: any effect on the training.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rise_vlm.data import Record
from rise_vlm.engine.sample import Rollout, sample
from rise_vlm.policy import Prompt
from rise_vlm.ranks import main_only
from rise_vlm.stages.facts import Facts
from rise_vlm.stages.files import Row, read_rows, replace_rows
from rise_vlm.stages.grounding import draw_rng
from rise_vlm.stages.loop_reward import LoopReward, Rebuilt, count
from rise_vlm.stages.material import Material
from rise_vlm.stages.paired import OneSeed, difference

FAR, FAR_BOX = 0.75, 0.3
"""A false annotation scores at most this share of a perfect one against the truth: boxes that overlap more are no
falsehood, while two distributions over the same classes are hardly ever further apart than this."""

PROBES = "probes.jsonl"
"""In the loop's folder: a row ``{after, records, wrong_annotation}`` per measurement; ``after``: steps done by then."""


@dataclass(frozen=True)
class Reconstructed:
    """What the first control found: ``figures`` over all records, the scores of each record as ``rows``, and what was
    ``rebuilt`` from the real rationales, in the records' order."""

    figures: dict[str, float]
    rows: list[Row]
    rebuilt: list[Rebuilt]


class Probes:
    """Runs the controls for a loop on a fixed choice of records."""

    def __init__(self, loop: LoopReward, material: Material, seed: int) -> None:
        self.loop, self.material, self.seed = loop, material, seed
        wanted = loop.settings.probes.records
        order = list(material.val)
        random.Random(f"probes/{seed}").shuffle(order)
        self.records = order[:wanted]

    def reconstruction(self, generator: torch.Generator) -> Reconstructed:
        """Scores (0..1) from real, empty and shuffled rationales over ``n`` records, leak rate, length in words.

        ``shuffled`` needs two records. ``real_shuffled`` is how far real is above it, ``_low`` and ``_high`` the 95 %
        interval; ``real_empty`` likewise.
        """
        prompts, rationales = self._reason(self.records, generator)
        texts = [rollout.text for rollout in rationales]
        told = {"real": texts, "empty": [""] * len(texts)}
        if len(texts) > 1:
            told["shuffled"] = [*texts[1:], texts[0]]
        rebuilt = {name: self.loop.rebuild(self.records, said, generator, greedy=True) for name, said in told.items()}
        scores = {name: [one.score for one in found] for name, found in rebuilt.items()}
        figures = {"n": float(len(texts))} | {name: _mean(values) for name, values in scores.items()}
        for name in ("empty", "shuffled"):
            if name in scores:
                figures |= _flat(f"real_{name}", paired(scores["real"], scores[name], self.seed))
        figures |= self._text_figures(prompts, rationales, generator)
        rows = [
            {"id": record.id} | {name: values[i] for name, values in scores.items()}
            for i, record in enumerate(self.records)
        ]
        return Reconstructed(figures, rows, rebuilt["real"])

    def _text_figures(
        self, prompts: Sequence[Prompt], rationales: Sequence[Rollout], generator: torch.Generator
    ) -> dict[str, float]:
        """What the rationales are like by themselves: leak rate, length, grounding, truth of facts."""
        texts = [rollout.text for rollout in rationales]
        leaks = [
            bool(self.loop.leaks(record, text, prompt.text))
            for record, text, prompt in zip(self.records, texts, prompts, strict=True)
        ]
        figures = {"leak_rate": _mean(leaks), "length": _mean([len(text.split()) for text in texts])}
        if self.loop.grounder is not None:
            groups = [[rollout] for rollout in rationales]
            gains = self.loop.grounder.gains(self.records, groups, draw_rng(generator))
            figures["grounding"] = _mean([gain for group in gains for gain in group])
        facts = self._facts(self.records, texts)
        return figures | {f"facts_{name}": value for name, value in (facts or {}).items()}

    def wrong_annotation(self, generator: torch.Generator, truly: Sequence[Rebuilt]) -> dict[str, Any] | None:
        """How well a false annotation is argued for; None where no false one can be found.

        ``false_score`` and ``true_score`` are the mean scores (0..1) of the false annotation and of the truth, rebuilt
        from rationales written for the false one; ``honest_false_score`` and ``honest_true_score`` the same from those
        written for the truth (``truly``, as ``reconstruction`` found them). ``argued`` is how far ``false_score`` is
        above ``honest_false_score``: mean and interval. ``false_wins``: the share of records of which what is rebuilt
        from the rationale for the false annotation scores higher against that than against the truth.
        """
        rng = draw_rng(generator)
        drawn = [(record, self._false(record, rng), one) for record, one in zip(self.records, truly, strict=True)]
        cases = [(record, false, one.values[0]) for record, false, one in drawn if false is not None]
        if not cases:
            return None
        asked = [record.model_copy(update={"annotation": false}) for record, false, _ in cases]
        _, rationales = self._reason(asked, generator)
        texts = [rollout.text for rollout in rationales]
        values = [one.values[0] for one in self.loop.rebuild(asked, texts, generator, greedy=True)]
        score = self.loop.task.score
        pairs = [(record.annotation, false, honest) for record, false, honest in cases]
        false = [score(wrong, value) for (_, wrong, _), value in zip(pairs, values, strict=True)]
        true = [score(truth, value) for (truth, _, _), value in zip(pairs, values, strict=True)]
        honest_false = [score(wrong, honest) for _, wrong, honest in pairs]
        return {
            "n": len(asked),
            "false_wins": _mean([f > t for f, t in zip(false, true, strict=True)]),
            "false_score": _mean(false),
            "true_score": _mean(true),
            "honest_false_score": _mean(honest_false),
            "honest_true_score": _mean([score(truth, honest) for truth, _, honest in pairs]),
            "argued": paired(false, honest_false, self.seed),
            "facts": self._facts([record for record, _, _ in cases], texts),
        }

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
            false = scaled(other, record)
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


def paired(ours: Sequence[float], theirs: Sequence[float], seed: int) -> dict[str, Any]:
    """``mean`` of ``ours`` - ``theirs``, record by record, and its 95 % ``interval`` over the records, None for one
    alone. ``seed`` is that of the resampling."""
    gaps = [own - other for own, other in zip(ours, theirs, strict=True)]
    found = difference([OneSeed(gaps, [str(place) for place in range(len(gaps))])], seed=seed)
    return {"mean": found.mean, "interval": None if found.low is None else [found.low, found.high]}


def _flat(name: str, difference: Mapping[str, Any]) -> dict[str, float]:
    """A difference as the columns ``name``, ``name_low`` and ``name_high`` of a row of metrics."""
    bounds = zip((f"{name}_low", f"{name}_high"), difference["interval"] or (), strict=False)
    return {name: difference["mean"], **dict(bounds)}


@main_only
def log_probes(folder: Path, after: int, found: Reconstructed, wrong: Mapping[str, Any] | None = None) -> None:
    """Keep what the controls found ``after`` so many steps; what an interrupted training found later is dropped."""
    rows = [row for row in read_rows(folder / PROBES) if row["after"] < after]
    replace_rows(folder / PROBES, [*rows, {"after": after, "records": found.rows, "wrong_annotation": wrong}])


def change(folder: Path, seed: int) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What the loop in ``folder`` has changed: how far the last ``real`` is above that before the first step, on the
    same records, as ``mean``, ``interval`` and ``n``; and the wrong-annotation control before the first step.

    None for both where the log does not go back so far: it is of a version that kept none.
    """
    rows = list(read_rows(folder / PROBES))
    if not rows or rows[0]["after"] != 0:
        return None, None
    first, last = ({one["id"]: one["real"] for one in row["records"]} for row in (rows[0], rows[-1]))
    common = [id for id in last if id in first]
    if len(rows) < 2 or not common:
        return None, rows[0]["wrong_annotation"]
    gain = paired([last[id] for id in common], [first[id] for id in common], seed)
    return gain | {"n": len(common)}, rows[0]["wrong_annotation"]


def unchanged(gain: Mapping[str, Any] | None) -> list[str]:
    """A note where the loop has not made its rationales tell more: its gain is not above 0 beyond the noise."""
    if gain is None or gain["interval"] is None or gain["interval"][0] > 0:
        return []
    low, high = gain["interval"]
    finding = "the annotation is rebuilt worse" if high < 0 else "the annotation is rebuilt neither better nor worse"
    return [
        f"closed_loop: {finding} from the rationales at the loop's end than before its first step: real after - before "
        f"{gain['mean']:+.3f} [{low:+.3f}, {high:+.3f}] on {gain['n']} records; train the loop longer, or, where the "
        "interval is wide, raise probes.records"
    ]


def unread(figures: Mapping[str, float]) -> list[str]:
    """A note where the annotation is rebuilt no better from its own rationale than from another record's: then the loop
    has said nothing."""
    low, high = figures.get("real_shuffled_low"), figures.get("real_shuffled_high")
    if low is None or high is None or low > 0:
        return []
    real, empty, shuffled = (figures[name] for name in ("real", "empty", "shuffled"))
    scores = f"real {real:.3f}, empty {empty:.3f}, shuffled {shuffled:.3f}"
    measured = (
        f"real - shuffled {figures['real_shuffled']:+.3f} [{low:+.3f}, {high:+.3f}] on {figures['n']:.0f} records"
    )
    if high < 0:
        finding = f"the annotation is rebuilt worse from its own rationale than from another record's: {scores}"
    elif figures.get("real_empty_low", 0.0) <= 0 <= figures.get("real_empty_high", 0.0):
        finding = f"the reconstructor does not read the rationale: {scores} agree within noise"
    else:
        finding = f"the rationales say nothing about their own records: {scores}, real and shuffled agree within noise"
    remedy = "warm up or train the loop longer; where the interval is wide, raise probes.records"
    return [f"closed_loop: {finding} ({measured}): {remedy}"]


def scaled(other: Record, record: Record) -> Any:
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
