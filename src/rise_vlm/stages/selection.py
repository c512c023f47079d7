"""Which sampled rationales to keep: never a leak, the worthiest of each record, none twice; and why others are not.

A row is what ``harvest`` writes of a rationale: its text, leaks, worth, gain and the like. Left out: sampling.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rise_vlm.recipes.schema import Harvest
from rise_vlm.rewards.text_form import repetition
from rise_vlm.stages.files import Row

BINS = 20
RUN = 4
"""Words of a run that may not come twice, where ``repetition`` says so."""

REMEDIES = {
    "empty": "the model writes nothing: take another base, or warm up the role reason",
    "leak": "the model names what it is not to name: train the loop longer; for class names that are everyday words "
    "give 'named_by' in dataset.yaml",
    "cut off": "they do not end: more harvest.max_new_tokens of the recipe, or a longer loop",
    "not reconstructed": "no reconstruction could be read: warm up or train the loop longer",
}
"""Reason why a rationale cannot be used -> what may help where that is the most frequent one."""


def select(rows: Sequence[Row], settings: Harvest, classes: dict[str, str | None]) -> tuple[list[Row], Counter[str]]:
    """The rows to keep, in the order sampled, and for each reason how many were dropped.

    ``classes`` maps a record's id to the class by which ``per_class`` and ``balance`` count.
    """
    dropped: Counter[str] = Counter()
    kept: list[Row] = []
    by_record: dict[str, list[Row]] = {}
    for row in rows:
        by_record.setdefault(row["id"], []).append(row)
    for group in by_record.values():
        texts: list[str] = []
        for row in sorted(group, key=lambda row: -row["worth"]):
            reason = unusable(row)
            if reason is None and any(alike(row["rationale"], text, settings.similarity) for text in texts):
                reason = "duplicate"
            if reason is None and len(texts) >= settings.at_least:
                reason = wanting(row, settings)
            if reason is None and len(texts) >= settings.top_k:
                reason = "beyond top_k"
            if reason is not None:
                dropped[reason] += 1
                continue
            texts.append(row["rationale"])
            kept.append(row)
    if settings.per_class is not None:
        kept = _capped(kept, classes, settings.per_class, "beyond per_class", dropped)
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
    if gain is not None and gain < settings.gain:
        return "no gain over other records"
    return "repeats itself" if repeated(row) > settings.repetition else None


def repeated(row: Row) -> float:
    """The share of a rationale's runs of ``RUN`` words that have come before in it."""
    return -repetition(normal_text(row["rationale"]), RUN)


def normal_text(text: str) -> str:
    """For comparison: words only, without case and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def alike(one: str, other: str, similarity: float) -> bool:
    """Whether two rationales say the same: the same words in the same order, or, below a ``similarity`` of 1, so large
    a part of all their words in common (Jaccard)."""
    first, second = normal_text(one), normal_text(other)
    if first == second or similarity >= 1:
        return first == second
    words, others = set(first.split()), set(second.split())
    return len(words & others) >= similarity * len(words | others)


def _balanced(kept: list[Row], classes: dict[str, str | None], dropped: Counter[str]) -> list[Row]:
    """No class keeps more than the average class; the least worthy go first."""
    counts = Counter(classes.get(row["id"]) for row in kept)
    limit = math.ceil(len(kept) / len(counts)) if counts else 0
    return _capped(kept, classes, limit, "balance", dropped)


def _capped(
    kept: list[Row], classes: dict[str, str | None], limit: int, reason: str, dropped: Counter[str]
) -> list[Row]:
    """The worthiest ``limit`` of each class; what has no class stays."""
    taken: Counter[str | None] = Counter()
    result: list[Row] = []
    for row in sorted(kept, key=lambda row: -row["worth"]):
        name = classes.get(row["id"])
        if name is not None and taken[name] >= limit:
            dropped[reason] += 1
            continue
        taken[name] += 1
        result.append(row)
    return result


def best_of_all(rows: Sequence[Row]) -> list[Row]:
    """The worthiest rationale of each record that can be trained on at all."""
    best: dict[str, Row] = {}
    for row in rows:
        if unusable(row) is None and (row["id"] not in best or row["worth"] > best[row["id"]]["worth"]):
            best[row["id"]] = row
    return list(best.values())


def reason_alone(row: Row, settings: Harvest) -> str:
    """Why a row is not among the best that are kept where none passes."""
    return unusable(row) or wanting(row, settings) or "beyond the best of its record"


def histogram(rows: Sequence[Row], kept: Sequence[Row], threshold: float, measure: str = "worth") -> dict[str, Any]:
    """Counts of worth, or of ``gain``, of all rationales and of those kept, over ``BINS`` equal bins."""
    worths = [row[measure] for row in rows] or [0.0]
    low, high = min(*worths, threshold), max(*worths, threshold)
    width = (high - low) / BINS or 1.0
    edges = [round(low + i * width, 6) for i in range(BINS + 1)]

    def counts(chosen: Sequence[Row]) -> list[int]:
        found = [0] * BINS
        for row in chosen:
            found[min(BINS - 1, max(0, int((row[measure] - low) / width)))] += 1
        return found

    return {"edges": edges, "counts": counts(rows), "kept": counts(kept), "threshold": threshold}


def as_key(name: str, value: float) -> str:
    """A setting of the harvest as a recipe's override."""
    return f"harvest.{name}={value:g}"


def as_option(name: str, value: float) -> str:
    """The same as ``rise harvest`` takes it."""
    return f"--{name} {value:g}"


def advice(rows: Sequence[Row], settings: Harvest, write: Callable[[str, float], str] = as_key) -> str:
    """Where nothing was kept: which threshold, or which gain, would keep something, and of how many records; and
    where none would, what may help. ``write``: how a setting and its value are written.
    """
    usable = [row for row in rows if unusable(row) is None]
    if not usable:
        reasons = Counter(unusable(row) for row in rows)
        told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        remedy = "".join(f"; {REMEDIES[str(reason)]}" for reason, _ in reasons.most_common(1))
        return f"no threshold would keep one ({told or 'nothing was sampled'}){remedy}"
    why: list[str] = []
    needed: list[str] = []
    fresh = [row for row in usable if repeated(row) <= settings.repetition]
    if not fresh:
        least = math.ceil(100 * min(repeated(row) for row in usable)) / 100
        fresh = [row for row in usable if repeated(row) <= least]
        why, needed = ["all repeat themselves"], [write("repetition", least)]
    gaining = [row for row in fresh if row.get("gain") is None or row["gain"] >= settings.gain]
    if not gaining:
        least = _below(max(row["gain"] for row in fresh))
        gaining = [row for row in fresh if row["gain"] >= least]
        why.append(f"none gains {settings.gain:g} over other records")
        needed.append(write("gain", least))
    best = max(row["worth"] for row in gaining)
    if needed:
        needed += [write("threshold", _below(best))] if best < settings.threshold else []
        return f"no threshold would keep one, since {' and '.join(why)}; {' '.join(needed)} would"
    best_of: dict[str, float] = {}
    for row in gaining:
        best_of[row["id"]] = max(row["worth"], best_of.get(row["id"], row["worth"]))
    worths = sorted(best_of.values(), reverse=True)
    marks = dict.fromkeys((_below(worths[0]), _below(worths[len(worths) // 2])))
    of = len({row["id"] for row in rows})
    told = (f"{write('threshold', mark)} would keep some of {sum(w >= mark for w in worths)}" for mark in marks)
    return f"{', '.join(told)} of the {of} records"


def _below(value: float) -> float:
    """Rounded down to two decimals, so that the value itself reaches it."""
    return math.floor(value * 100) / 100
