"""Harvest: sample rationales from the trained loop, judge them by the loop's reward, keep the best.

Leaves ``samples.jsonl`` (all, with the parts of their reward), ``rationales.jsonl`` (kept, with provenance) and
``histogram.json``. Sampling goes batch by batch; a stage that was killed goes on with the batch it was in.

A reconstructor that answers the same whatever it reads rebuilds every record that happens to agree with it. So a blind
reconstruction must also *gain*: beat, on its own record, what the rationales of other records lead to (``baselines``).
Left out: training on them (``sft``).
"""

from __future__ import annotations

import math
import random
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
from rise_vlm.stages.closed_loop import RECONSTRUCTOR, make_reward
from rise_vlm.stages.context import Context, Summary, batches
from rise_vlm.stages.files import Row, append_rows, mend_rows, replace_rows, write_json
from rise_vlm.stages.loop_reward import LoopReward, Verdict, count
from rise_vlm.stages.probes import Facts
from rise_vlm.tasks.base import Task

BINS = 20
FEW_GAIN = 0.1
"""A smaller share of usable rationales with a gain is worth a note."""


def run(context: Context) -> Summary:
    """Samples and selects; the summary counts what was sampled, kept, and dropped for which reason."""
    path = context.folder / "samples.jsonl"
    with ExitStack() as stack:
        policy = stack.enter_context(context.policy(context.models.loop))
        loop = make_reward(context, policy, stack)
        if context.recipe.closed_loop.reconstruct.reconstructor == "frozen":
            loop.rebuilder = stack.enter_context(context.policy(context.models.start))
        if (average := _moving_average(context)) is not None:
            loop.rebuilder = stack.enter_context(context.policy(str(average)))
        _sample(context, loop, path)
    rows = mend_rows(path)
    settings = context.recipe.harvest
    kept, dropped = select(rows, settings, _classes(context.material.train))
    notes = _notes(rows, settings, blind=not loop.sees_image)
    fallback = not kept
    if fallback:
        kept = _best_of_all(rows)
        instead = f"the best of each record are kept instead ({len(kept)})" if kept else "none can be used at all"
        notes.append(f"harvest: no rationale passed ({_conditions(settings, not loop.sees_image)}); {instead}")
        chosen = {id(row) for row in kept}
        dropped = Counter(_reason_alone(row, settings) for row in rows if id(row) not in chosen)
    for note in notes:
        say(f"note: {note}.")
    provenance = {"model": context.models.loop, "seed": context.recipe.seed, "recipe": context.recipe.name}
    replace_rows(context.folder / "rationales.jsonl", ({**row, **provenance} for row in kept))
    figures = histogram(rows, kept, settings.threshold) | {"dropped": dict(dropped), "fallback": fallback}
    write_json(context.folder / "histogram.json", figures)
    return {
        "sampled": len(rows),
        "kept": len(kept),
        "records": len({row["id"] for row in kept}),
        "of_records": len(context.material.train),
        "threshold": settings.threshold,
        "gain": None if loop.sees_image else settings.gain,
        "fallback": fallback,
        "dropped": dict(dropped),
        "facts": _facts(context, kept),
        "notes": notes,
    }


def _moving_average(context: Context) -> Path | None:
    """The model that reconstructed in the loop where that was a moving average, and a loop has run."""
    if context.recipe.closed_loop.reconstruct.reconstructor != "ema" or "closed_loop" not in context.recipe.stages:
        return None
    folder = context.folders["closed_loop"] / RECONSTRUCTOR
    return folder if folder.is_dir() else None


def _conditions(settings: Harvest, blind: bool) -> str:
    return f"threshold {settings.threshold:g}" + (f", gain {settings.gain:g}" if blind else "")


def _notes(rows: Sequence[Row], settings: Harvest, *, blind: bool) -> list[str]:
    """What a reader should know of the gain: it could not be measured for some, or hardly any had one."""
    if not blind:
        return []
    usable = [row for row in rows if unusable(row) is None]
    alone = sum(row["gain"] is None for row in usable)
    gained = sum(row["gain"] is not None and row["gain"] >= settings.gain for row in usable)
    notes: list[str] = []
    if alone:
        notes.append(
            f"harvest: {alone} of {len(usable)} usable rationales shared a batch with no record of another annotation, "
            "so their gain is unknown and the threshold alone decided"
        )
    measured = len(usable) - alone
    if measured and gained < FEW_GAIN * measured:
        notes.append(
            f"harvest: only {gained} of {measured} usable rationales rebuild their own record's annotation better, by "
            f"{settings.gain:g}, than those of other records do; the reconstructor hardly reads them: warm up or train "
            "the loop longer"
        )
    return notes


def _sample(context: Context, loop: LoopReward, path: Path) -> None:
    """Sample and judge every training record, batch by batch; a batch that is whole in the file is not repeated.

    The order is drawn, since a dataset is often sorted by class and a batch of one class has no gain to measure.
    """
    settings, records = context.recipe.harvest, list(context.material.train)
    random.Random(f"harvest/{context.recipe.seed}").shuffle(records)
    parts = _parts(len(records), settings.records_per_batch)
    whole = _whole_batches(path, [[records[i].id for i in part] for part in parts], settings.samples)
    with progress("harvest", total=len(records)) as bar:
        for part, done in zip(parts, whole, strict=True):
            chosen = [records[i] for i in part]
            if done:
                bar.skip(len(chosen))
                continue
            rows = _judged(context, loop, chosen, part.start)
            append_rows(path, rows)
            context.meter.save()
            bar.update(len(chosen), worth=sum(row["worth"] for row in rows) / len(rows))


def _parts(count: int, size: int) -> list[range]:
    """0..count cut into ranges of ``size``; a single one left over joins those before it, to be compared with them."""
    parts = batches(count, size)
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [range(parts[-2].start, count)]
    return parts


def _whole_batches(path: Path, ids: Sequence[Sequence[str]], samples: int) -> list[bool]:
    """Which batches are whole in the file. Rows of others, left by a kill amid writing, are taken out of it."""
    rows = mend_rows(path)
    done = Counter(row["id"] for row in rows)
    whole = [all(done[id] == samples for id in batch) for batch in ids]
    good = {id for batch, is_whole in zip(ids, whole, strict=True) if is_whole for id in batch}
    if any(row["id"] not in good for row in rows):
        replace_rows(path, (row for row in rows if row["id"] in good))
    return whole


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
    others: Sequence[float | None] = [None] * len(records)
    if not loop.sees_image:
        others = baselines(loop.task, records, verdicts)
    return [
        {
            "id": record.id,
            "sample": number,
            "finished": rollout.finished,
            **verdict.row(),
            "others": other,
            "gain": None if other is None else verdict.score - other,
        }
        for record, group, rollouts, other in zip(records, verdicts, sampled, others, strict=True)
        for number, (verdict, rollout) in enumerate(zip(group, rollouts, strict=True))
    ]


def baselines(task: Task, records: Sequence[Record], verdicts: Sequence[Sequence[Verdict]]) -> list[float | None]:
    """For each record: what the reconstructions from the other records' rationales score against its annotation.

    The mean over all that could be read, of records with another annotation; an equal one is no other. None where
    there are none. It costs no model call: a blind reconstruction depends on the rationale, not on the record.
    """
    values = [
        [value for verdict in group for value in verdict.rebuilt.values if value is not None] for group in verdicts
    ]
    found: list[float | None] = []
    for record in records:
        scores = [
            task.score(record.annotation, value)
            for other, read in zip(records, values, strict=True)
            if other.annotation != record.annotation
            for value in read
        ]
        found.append(sum(scores) / len(scores) if scores else None)
    return found


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
            if reason is None and chosen >= settings.at_least:
                reason = wanting(row, settings)
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


def wanting(row: Row, settings: Harvest) -> str | None:
    """Why a rationale that could be trained on is not good enough, or None. An unknown gain (None) is no reason."""
    if row["worth"] < settings.threshold:
        return "below the threshold"
    gain = row.get("gain")
    return "no gain over other records" if gain is not None and gain < settings.gain else None


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
    """The worthiest rationale of each record that can be trained on at all."""
    best: dict[str, Row] = {}
    for row in rows:
        if unusable(row) is None and (row["id"] not in best or row["worth"] > best[row["id"]]["worth"]):
            best[row["id"]] = row
    return list(best.values())


def _reason_alone(row: Row, settings: Harvest) -> str:
    """Why a row is not among the best that are kept where none passes."""
    return unusable(row) or wanting(row, settings) or "beyond the best of its record"


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
