"""How much of the annotation is in which facts? ``python benchmarks/decides.py DATA`` (``affect``).

Softmax regression from the scene's true facts (and from their pairs) to the raters' distribution, trained on the
training records, scored 1 - JSD on held-out ones: what a perfect reader of such rationales could reach with as many.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from rise_vlm.data import Dataset
from rise_vlm.rewards.distributions import jsd
from rise_vlm.worlds import affect

FACTS = [f"{kind}={value}" for kind, values in affect.FACTS.items() for value in values]
LOOKS = {"face", "thing", "weather", "posture", "light"}
GIVEN = [("nothing", set()), ("face", {"face"}), ("thing", {"thing"}), ("face and thing", {"face", "thing"})]
GIVEN += [("these and weather, posture, light", LOOKS), ("every fact", set(affect.FACTS))]


def table(dataset: Dataset, split: str, kinds: set[str], pairs: bool) -> tuple[Tensor, Tensor]:
    """Facts [records, features] of the given kinds as 0 and 1, and the distributions [records, classes]."""
    features, targets = [], []
    for record in dataset.records(split):
        true = affect.true_facts(affect.Scene.from_dict(record.meta["scene"]))
        row = torch.tensor([float(fact in true and fact.split("=")[0] in kinds) for fact in FACTS])
        if pairs:
            row = torch.cat([row, torch.outer(row, row)[tuple(torch.triu_indices(len(row), len(row), 1))]])
        features.append(row)
        targets.append(torch.tensor([record.annotation.get(name, 0.0) for name in affect.CLASSES]))
    return torch.stack(features), torch.stack(targets)


def score(dataset: Dataset, split: str, kinds: set[str], pairs: bool) -> float:
    """Mean 1 - JSD on `split` of a regression trained on `train`."""
    torch.manual_seed(0)
    facts, truth = table(dataset, "train", kinds, pairs)
    net = torch.nn.Linear(facts.shape[1], len(affect.CLASSES))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=0.3 if pairs else 0.1)
    for _ in range(400):
        loss = -(truth * net(facts).log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    facts, truth = table(dataset, split, kinds, pairs)
    with torch.no_grad():
        told = net(facts).softmax(-1)
    scores = [1 - jsd(a, b) for a, b in zip(truth.tolist(), told.tolist(), strict=True)]
    return sum(scores) / len(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", default="val")
    args = parser.parse_args()
    dataset = Dataset.open(args.data)
    print(f"{'given':36s} facts  facts and pairs")
    for name, kinds in GIVEN:
        plain, paired = (score(dataset, args.split, kinds, pairs) for pairs in (False, True))
        print(f"{name:36s} {plain:.3f}  {paired:.3f}")


if __name__ == "__main__":
    main()
