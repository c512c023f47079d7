"""What a model perceives on scenes it has not seen: ``python -m rise_vlm.policy.tiny.evaluate MODEL``.

Facts of its descriptions (share that is true, share of all facts that is named), variety of its samples, scores in the
prompt forms on the made-up label families, and lists of all there is. Left out: the downstream tasks (``rise
evaluate``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy
from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny.pages import sample_page
from rise_vlm.policy.tiny.rows import FRAME, SIDE, Row
from rise_vlm.tasks.base import DESCRIBE

HELD_OUT_SEED = 1_000_003
"""Scenes of pre-training come from seed 0; these come from elsewhere in the stream of scenes."""
SETTLED = ("List", "How many are there of each", "What is written", "Read the numbers")
"""How the prompts of rows begin that leave no choice of what to say."""


Shares = Mapping[str, float] | None
"""Of the worlds among the scenes, as in `corpus.scenes`."""


def descriptions(
    policy: Policy, shares: Shares, scenes: int, samples: int, temperature: float
) -> dict[str, dict[str, float]]:
    """Per world and style: precision and recall of stated facts, share of distinct texts, mean words."""
    drawn = [(w, s) for w, s, _ in itertools.islice(corpus.scenes(HELD_OUT_SEED, shares=shares), scenes)]
    prompts = [policy.encode(DESCRIBE, corpus.pictures(w, s)) for w, s in drawn]
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, samples, max_new_tokens=128, temperature=temperature, generator=generator)
    tables: dict[str, list[tuple[int, int, int, float, float]]] = defaultdict(list)
    for (name, scene), group in zip(drawn, groups, strict=True):
        world = corpus.WORLDS[name]
        truth = world.true_facts(scene)
        distinct = len({rollout.text for rollout in group}) / len(group)
        for rollout in group:
            stated = world.stated_facts(rollout.text)
            row = (len(stated & truth), len(stated), len(truth), distinct, len(rollout.text.split()))
            tables[f"{name}/{scene.style}"].append(row)
    return {
        key: {
            "precision": sum(r[0] for r in rows) / max(1, sum(r[1] for r in rows)),
            "recall": sum(r[0] for r in rows) / sum(r[2] for r in rows),
            "distinct": mean(r[3] for r in rows),
            "words": mean(r[4] for r in rows),
            "n": len(rows),
        }
        for key, rows in sorted(tables.items())
    }


def forms(policy: Policy, shares: Shares, scenes: int) -> dict[str, dict[str, float]]:
    """Per world, task and role: mean score of greedy answers, share that can be read, how many."""

    def asked(row: Row) -> bool:
        return row.asked is not None and row.asked.role != "reason"

    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for name, row, text in answered(policy, shares, scenes, 50_000, asked):
        assert row.asked is not None
        task, record, role = row.asked.task, row.asked.record, row.asked.role
        value = task.parse_completion(text, record, FRAME, role).parsed.value
        lot = " by lot" if "by lot" in row.prompt else ""
        found[f"{name} {task.name} {role}{lot}"].append((task.score(record.annotation, value), value is not None))
    return _means(found, "score", "parsed")


def lists(policy: Policy, shares: Shares, scenes: int) -> dict[str, dict[str, float]]:
    """Per world, of greedy rows that leave no choice: the share that is right to the letter, and of words in place."""

    def settled(row: Row) -> bool:
        return row.asked is None and row.prompt.startswith(SETTLED)

    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for name, row, text in answered(policy, shares, scenes, 90_000, settled):
        told, true = text.split(), row.completion.split()
        right = sum(a == b for a, b in zip(told, true, strict=False)) / max(len(told), len(true))
        found[f"{name}: {row.prompt.split('.')[0][:60]}"].append((right, told == true))
    return _means(found, "words", "exact")


def reading(policy: Policy, pages: int) -> dict[str, dict[str, float]]:
    """Of pages of numbers and letters, by their size in image tokens: the same as of lists."""
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for down, across in sorted({*corpus.SCRAPS, *corpus.SHEETS}):
        drawn = [sample_page(random.Random(f"held out {number}"), down, across) for number in range(pages)]
        prompts = [policy.encode(page.row().prompt, [page.draw()]) for page in drawn]
        generator = torch.Generator().manual_seed(0)
        groups = sample(policy, prompts, 1, max_new_tokens=128, temperature=0.0, generator=generator)
        for page, group in zip(drawn, groups, strict=True):
            found[f"{down} x {across}"].append(_alike(group[0].text, page.row().completion))
    return _means(found, "words", "exact")


def _alike(text: str, wanted: str) -> tuple[float, bool]:
    """The share of words in place, of the longer of both, and whether all are."""
    told, true = text.split(), wanted.split()
    right = sum(a == b for a, b in zip(told, true, strict=False)) / max(len(told), len(true))
    return right, told == true


def answered(
    policy: Policy, shares: Shares, scenes: int, start: int, wanted: Callable[[Row], bool]
) -> Iterator[tuple[str, Row, str]]:
    """World, row and greedy answer of the ``wanted`` rows about held-out scenes, four of each drawn."""
    rows = [
        (world, row, policy.encode(row.prompt, corpus.pictures(world, scene)[: row.pictures]))
        for world, scene, rng in itertools.islice(corpus.scenes(HELD_OUT_SEED, start, shares), scenes)
        for row in corpus.rows(world, scene, 4, rng)
        if wanted(row)
    ]
    prompts = [prompt for _, _, prompt in rows]
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, 1, max_new_tokens=256, temperature=0.0, generator=generator)
    for (world, row, _), group in zip(rows, groups, strict=True):
        yield world, row, group[0].text


def _means(found: Mapping[str, list[tuple[float, bool]]], first: str, second: str) -> dict[str, dict[str, float]]:
    return {
        key: {first: mean(a for a, _ in rows), second: mean(b for _, b in rows), "n": len(rows)}
        for key, rows in sorted(found.items())
    }


def main() -> None:
    """The command line: prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--fine", action="store_true", help="the worlds that are shown at full size, at that size")
    options = parser.parse_args()
    policy = Policy.load(str(options.model), max_pixels=SIDE**2 if options.fine else None)
    shares = corpus.FINE if options.fine else None
    figures: dict[str, Any] = {
        "greedy": descriptions(policy, shares, options.scenes, 1, 0.0),
        "temperature 1": descriptions(policy, shares, options.scenes // 4, 8, 1.0),
        "forms": forms(policy, shares, options.scenes),
        "lists": lists(policy, shares, options.scenes),
    }
    if options.fine:
        figures["pages"] = reading(policy, options.scenes // 4)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
