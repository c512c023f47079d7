"""Harvest: sample rationales from the trained loop, judge them by the loop's reward, keep the best.

Leaves ``samples.jsonl`` (all, with the parts of their reward), ``rationales.jsonl`` (kept, with provenance) and
``histogram.json``. Sampling goes batch by batch; a stage that was killed goes on with the batch it was in.
Left out: training on them (``sft``).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rise_vlm.console import progress, say
from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.recipes.schema import Harvest
from rise_vlm.stages.closed_loop import make_reward
from rise_vlm.stages.context import Context, Summary, batches
from rise_vlm.stages.files import Row, append_rows, mend_rows, replace_rows, write_json
from rise_vlm.stages.loop_reward import LoopReward, count
from rise_vlm.stages.probes import Facts

BINS = 20


def run(context: Context) -> Summary:
    """Samples and selects; the summary counts what was sampled, kept, and dropped for which reason."""
    path = context.folder / "samples.jsonl"
    with ExitStack() as stack:
        policy = stack.enter_context(context.policy(context.models.loop))
        loop = make_reward(context, policy, stack)
        if context.recipe.closed_loop.reconstruct.reconstructor == "frozen":
            loop.rebuilder = stack.enter_context(context.policy(context.models.start))
        _sample(context, loop, path)
    rows = mend_rows(path)
    settings = context.recipe.harvest
    kept, dropped = select(rows, settings, _classes(context.material.train))
    fallback = not kept
    if fallback:
        kept = _best_of_all(rows)
        instead = f"the best of each record are kept instead ({len(kept)})" if kept else "none can be used at all"
        say(f"harvest: no rationale reached the threshold {settings.threshold}; {instead}.")
    provenance = {"model": context.models.loop, "seed": context.recipe.seed, "recipe": context.recipe.name}
    replace_rows(context.folder / "rationales.jsonl", ({**row, **provenance} for row in kept))
    write_json(context.folder / "histogram.json", histogram(rows, kept, settings.threshold))
    return {
        "sampled": len(rows),
        "kept": len(kept),
        "records": len({row["id"] for row in kept}),
        "of_records": len(context.material.train),
        "threshold": settings.threshold,
        "fallback": fallback,
        "dropped": dict(dropped),
        "facts": _facts(context, kept),
    }


def _sample(context: Context, loop: LoopReward, path: Path) -> None:
    """Sample and judge every training record, batch by batch; a batch that is whole in the file is not repeated."""
    settings, records = context.recipe.harvest, context.material.train
    done = Counter(row["id"] for row in mend_rows(path))
    with progress("harvest", total=len(records)) as bar:
        for batch in batches(len(records), settings.records_per_batch):
            chosen = [records[i] for i in batch]
            if all(done[record.id] == settings.samples for record in chosen):
                bar.update(len(chosen))
                continue
            rows = _judged(context, loop, chosen, batch.start)
            append_rows(path, rows)
            context.meter.save()
            bar.update(len(chosen), worth=sum(row["worth"] for row in rows) / len(rows))


def _judged(context: Context, loop: LoopReward, records: Sequence[Record], start: int) -> list[Row]:
    settings = context.recipe.harvest
    generator = context.generator("batch", start)
    prompts = [loop.prompter.prompt("reason", record) for record in records]
    sampled = sample(
        loop.policy,
        prompts,
        settings.samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        generator=generator,
    )
    count(context.meter, sampled)
    verdicts = loop.judge(records, prompts, sampled, generator)
    return [
        {"id": record.id, "sample": number, "finished": rollout.finished, **verdict.row()}
        for record, group, rollouts in zip(records, verdicts, sampled, strict=True)
        for number, (verdict, rollout) in enumerate(zip(group, rollouts, strict=True))
    ]


def select(rows: Sequence[Row], settings: Harvest, classes: dict[str, str | None]) -> tuple[list[Row], Counter[str]]:
    """The rows to keep, in the order sampled, and for each reason how many were dropped.

    ``classes`` maps a record's id to the class by which ``balance`` counts.
    """
    dropped: Counter[str] = Counter()
    kept: list[Row] = []
    by_record: dict[str, list[Row]] = {}
    for row in rows:
        by_record.setdefault(row["id"], []).append(row)
    for group in by_record.values():
        chosen, texts = 0, set[str]()
        for row in sorted(group, key=lambda row: -row["worth"]):
            reason = unusable(row)
            if reason is None and normal_text(row["rationale"]) in texts:
                reason = "duplicate"
            if reason is None and row["worth"] < settings.threshold and chosen >= settings.at_least:
                reason = "below the threshold"
            if reason is None and chosen >= settings.top_k:
                reason = "beyond top_k"
            if reason is not None:
                dropped[reason] += 1
                continue
            chosen += 1
            texts.add(normal_text(row["rationale"]))
            kept.append(row)
    if settings.balance:
        kept = _balanced(kept, classes, dropped)
    place = {id(row): i for i, row in enumerate(rows)}
    return sorted(kept, key=lambda row: place[id(row)]), dropped


def unusable(row: Row) -> str | None:
    """Why a rationale could not be trained on whatever its worth, or None."""
    if not row["rationale"].strip():
        return "empty"
    if row["leaks"]:
        return "leak"
    if not row["finished"]:
        return "cut off"
    return None if row["parsed"] > 0 else "not reconstructed"


def normal_text(text: str) -> str:
    """For comparison: words only, without case and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _balanced(kept: list[Row], classes: dict[str, str | None], dropped: Counter[str]) -> list[Row]:
    """No class keeps more than the average class; the least worthy go first."""
    counts = Counter(classes.get(row["id"]) for row in kept)
    limit = math.ceil(len(kept) / len(counts)) if counts else 0
    taken: Counter[str | None] = Counter()
    result: list[Row] = []
    for row in sorted(kept, key=lambda row: -row["worth"]):
        name = classes.get(row["id"])
        if name is not None and taken[name] >= limit:
            dropped["balance"] += 1
            continue
        taken[name] += 1
        result.append(row)
    return result


def _best_of_all(rows: Sequence[Row]) -> list[Row]:
    """The worthiest rationale of each record that can be trained on at all, parsed or not."""
    best: dict[str, Row] = {}
    for row in rows:
        if unusable(row) in (None, "not reconstructed") and (
            row["id"] not in best or row["worth"] > best[row["id"]]["worth"]
        ):
            best[row["id"]] = row
    return list(best.values())


def histogram(rows: Sequence[Row], kept: Sequence[Row], threshold: float) -> dict[str, Any]:
    """Counts of worth, of all rationales and of those kept, over ``BINS`` equal bins."""
    worths = [row["worth"] for row in rows] or [0.0]
    low, high = min(*worths, threshold), max(*worths, threshold)
    width = (high - low) / BINS or 1.0
    edges = [round(low + i * width, 6) for i in range(BINS + 1)]

    def counts(chosen: Sequence[Row]) -> list[int]:
        found = [0] * BINS
        for row in chosen:
            found[min(BINS - 1, max(0, int((row["worth"] - low) / width)))] += 1
        return found

    return {"edges": edges, "counts": counts(rows), "kept": counts(kept), "threshold": threshold}


def _classes(records: Sequence[Record]) -> dict[str, str | None]:
    """By record id: its class, or its most probable one; None for boxes, which have none."""
    found: dict[str, str | None] = {}
    for record in records:
        annotation = record.annotation
        if isinstance(annotation, dict):
            annotation = max(annotation, key=lambda name: annotation[name])
        found[record.id] = annotation if isinstance(annotation, str) else None
    return found


def _facts(context: Context, kept: Sequence[Row]) -> dict[str, float] | None:
    records = {record.id: record for record in context.material.train}
    facts = Facts()
    for row in kept:
        facts.add(context.material, records[row["id"]], row["rationale"])
    return facts.figures()
