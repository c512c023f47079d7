"""What a model perceives on scenes it has not seen: ``python -m rise_vlm.policy.tiny.evaluate MODEL``.

Facts of its descriptions (share that is true, share of all facts that is named), variety of its samples, scores in the
prompt forms on the made-up label families, and lists of all there is. Left out: the downstream tasks (``rise
evaluate``).
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy, Prompt
from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny.rows import FRAME, Asked
from rise_vlm.tasks.base import DESCRIBE

HELD_OUT_SEED = 1_000_003
"""Scenes of pre-training come from seed 0; these come from elsewhere in the stream of scenes."""
SETTLED = ("List", "How many are there of each", "What is written", "Read the numbers")
"""How the prompts of rows begin that leave no choice of what to say."""


def descriptions(policy: Policy, scenes: int, samples: int, temperature: float) -> dict[str, dict[str, float]]:
    """Per world and style: precision and recall of stated facts, share of distinct texts, mean words."""
    drawn = [(w, s) for w, s, _ in itertools.islice(corpus.scenes(HELD_OUT_SEED), scenes)]
    prompts = [policy.encode(DESCRIBE, [corpus.WORLDS[w].draw(s)]) for w, s in drawn]
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


def forms(policy: Policy, scenes: int) -> dict[str, dict[str, float]]:
    """Per world, task and role: mean score of greedy answers, share that can be read, how many."""
    prompts: list[Prompt] = []
    wanted: list[tuple[str, Asked]] = []
    for name, scene, rng in itertools.islice(corpus.scenes(HELD_OUT_SEED, start=50_000), scenes):
        for row in corpus.rows(name, scene, 4, rng):
            if row.asked and row.asked.role != "reason":
                lot = " by lot" if "by lot" in row.prompt else ""
                prompts.append(policy.encode(row.prompt, corpus.pictures(name, scene)[: row.pictures]))
                wanted.append((f"{name} {row.asked.task.name} {row.asked.role}{lot}", row.asked))
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, 1, max_new_tokens=256, temperature=0.0, generator=generator)
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for (key, asked), group in zip(wanted, groups, strict=True):
        value = asked.task.parse_completion(group[0].text, asked.record, FRAME, asked.role).parsed.value
        found[key].append((asked.task.score(asked.record.annotation, value), value is not None))
    return {
        key: {"score": mean(score for score, _ in rows), "parsed": mean(read for _, read in rows), "n": len(rows)}
        for key, rows in sorted(found.items())
    }


def lists(policy: Policy, scenes: int) -> dict[str, dict[str, float]]:
    """Per world, of greedy rows that leave no choice: the share that is right to the letter, and of words in place."""
    prompts: list[Prompt] = []
    wanted: list[tuple[str, str]] = []
    for name, scene, rng in itertools.islice(corpus.scenes(HELD_OUT_SEED, start=90_000), scenes):
        for row in corpus.rows(name, scene, 4, rng):
            if row.asked is None and row.prompt.startswith(SETTLED):
                prompts.append(policy.encode(row.prompt, corpus.pictures(name, scene)[: row.pictures]))
                wanted.append((f"{name}: {row.prompt.split('.')[0][:60]}", row.completion))
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, 1, max_new_tokens=256, temperature=0.0, generator=generator)
    found: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for (key, truth), group in zip(wanted, groups, strict=True):
        told, true = group[0].text.split(), truth.split()
        right = sum(a == b for a, b in zip(told, true, strict=False)) / max(len(told), len(true))
        found[key].append((told == true, right))
    return {
        key: {"exact": mean(exact for exact, _ in rows), "words": mean(share for _, share in rows), "n": len(rows)}
        for key, rows in sorted(found.items())
    }


def main() -> None:
    """The command line: prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scenes", type=int, default=200)
    options = parser.parse_args()
    policy = Policy.load(str(options.model))
    figures: dict[str, Any] = {
        "greedy": descriptions(policy, options.scenes, 1, 0.0),
        "temperature 1": descriptions(policy, options.scenes // 4, 8, 1.0),
        "forms": forms(policy, options.scenes),
        "lists": lists(policy, options.scenes),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
