"""What a model perceives on scenes it has not seen: ``python -m rise_vlm.policy.tiny.evaluate MODEL``.

Facts of its descriptions (share that is true, share of all facts that is named), variety of its samples, and accuracy,
box overlap and readability in the prompt forms on the made-up label families. Left out: the downstream tasks
(``rise evaluate``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from rise_vlm.data.record import Record
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy, Prompt
from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny.row_makers import FRAME, SIDE, Row
from rise_vlm.rewards.boxes import iou
from rise_vlm.tasks.base import DESCRIBE, Task
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.tasks.grounding import Grounding

HELD_OUT_SEED = 1_000_003
"""Scenes of pre-training come from seed 0; these come from elsewhere in the stream of scenes."""
ANSWER = re.compile(r"<answer>(.*)</answer>$", re.DOTALL)


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
    """Per maker of rows and kind of answer: share of exact answers, mean box IoU, share that can be read, greedy."""
    prompts: list[Prompt] = []
    wanted: list[tuple[str, Row, str]] = []
    for name, scene, rng in itertools.islice(corpus.scenes(HELD_OUT_SEED, start=50_000), scenes):
        for row in corpus.rows(name, scene, 4, rng):
            if found := ANSWER.search(row.completion):
                kind = "box" if found[1].startswith("[") else "votes" if ": " in found[1] else "class"
                role = "think" if row.completion.startswith("<think>") else "answer"
                lot = " by lot" if "by lot" in row.prompt else ""
                role = "reconstruct" if row.prompt.startswith("Someone") else role
                prompts.append(policy.encode(row.prompt, corpus.pictures(name, scene)[: row.pictures]))
                wanted.append((f"{name} {kind} {role}{lot}", row, found[1]))
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, 1, max_new_tokens=160, temperature=0.0, generator=generator)
    rows: dict[str, list[tuple[bool, float, bool]]] = defaultdict(list)
    for (key, row, truth), group in zip(wanted, groups, strict=True):
        found = ANSWER.search(group[0].text)
        answer = found[1] if found else ""
        rows[key].append((answer == truth, _overlap(answer, truth), readable(row, answer)))
    return {
        key: {
            "exact": mean(r[0] for r in v),
            "iou": mean(r[1] for r in v),
            "parsed": mean(r[2] for r in v),
            "n": len(v),
        }
        for key, v in sorted(rows.items())
    }


def readable(row: Row, answer: str) -> bool:
    """Whether the parser of the row's task takes ``answer``."""
    listed = re.search(r"Classes: (.*)\.\n", row.prompt)
    task: Task = Grounding()
    if listed:
        kind = Distribution if "probability" in row.prompt else Classification
        task = kind(listed[1].split(", "))
    record = Record(id="x", images=("x.png",), annotation=None, width=SIDE, height=SIDE)
    return task.parse(answer, record, FRAME).value is not None


def _overlap(answer: str, truth: str) -> float:
    boxes = [[float(n) for n in re.findall(r"\d+", text)] for text in (answer, truth)]
    if len(boxes[0]) != 4 or len(boxes[1]) != 4 or not truth.startswith("["):
        return 0.0
    return iou(boxes[0], boxes[1])


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
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
