"""What the scripts that ask a model share: their arguments, and greedy answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from rise_vlm.data import Dataset
from rise_vlm.data.record import Record
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy, Prompt

BATCH = 64


def arguments(doc: str | None, *, records: int) -> argparse.ArgumentParser:
    """DATA, MODEL ..., ``--split``, ``--records`` and ``--seed``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--records", type=int, default=records)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def chosen(dataset: Dataset, args: argparse.Namespace) -> Iterator[Record]:
    """The records that are asked about."""
    return islice(dataset.records(args.split), args.records)


def greedy(policy: Policy, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
    """The most likely completion of each prompt."""
    texts: list[str] = []
    for first in range(0, len(prompts), BATCH):
        part, how = prompts[first : first + BATCH], {"temperature": 0.0, "generator": torch.Generator()}
        texts += [one.text for (one,) in sample(policy, part, 1, max_new_tokens=max_new_tokens, **how)]
    return texts
