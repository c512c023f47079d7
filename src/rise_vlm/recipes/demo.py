"""How large the demo is: sizes of the data and the settings of each arm that differ from the shipped recipes.

Chosen so that the whole fits twelve minutes on two cores (``quick``: two), with the built-in model: all arms train on
the same records, ANS-SFT, which is cheap, for all of its recipe's steps, the others for 0.4 of theirs or more.
"""

from __future__ import annotations

from dataclasses import dataclass

ARMS = ("zero_shot", "ans_sft", "visual_rft", "rise")


@dataclass(frozen=True)
class Size:
    """Records of each split, overrides by arm, about how many minutes it takes on two cores, and what a reader of the
    results has to know."""

    train: int
    val: int
    test: int
    minutes: float
    overrides: dict[str, tuple[str, ...]]
    note: str = ""


LONG_SFT = ("sft.steps=230", "sft.learning_rate=1e-3", "sft.train.optimizer=muon")
"""What `errand` needs to be learned at all: nothing shows for the first hundred steps."""

AFFECT = Size(
    train=100,  # few records are what rationales are for: with 300 the answers alone teach as much
    val=64,
    test=200,
    minutes=10,
    overrides={
        "zero_shot": (),
        "ans_sft": (),  # cheap, and with fewer steps it falls far below what it can do
        "visual_rft": ("grpo.steps=36",),
        "rise": (
            "closed_loop.steps=45",
            "sft.steps=100",
            "grpo.steps=30",
        ),
    },
)

ERRAND = Size(
    train=1500,
    val=64,
    test=150,
    minutes=10,
    overrides={
        "zero_shot": (),
        "ans_sft": LONG_SFT,
        "visual_rft": ("grpo.steps=24",),
        "rise": (
            "warm_up.samples=1",
            "warm_up.steps=80",
            "closed_loop.steps=30",
            "closed_loop.length.words=4",
            "harvest.samples=2",
            "harvest.top_k=1",
            *LONG_SFT,
            "grpo.steps=12",
        ),
    },
)


def full(world: str) -> Size:
    """The size of the whole demo on ``world``."""
    return ERRAND if world == "errand" else AFFECT


FEW = "evaluate.quality.records=8"
"""The rationales of seven models on 32 records each would take a quick demo twenty seconds."""


QUICK = Size(
    train=48,
    val=16,
    test=32,
    minutes=2,
    overrides={
        "zero_shot": (FEW,),
        "ans_sft": ("sft.steps=20",),
        "visual_rft": ("grpo.steps=6", "grpo.records_per_step=4", FEW),
        "rise": (
            "warm_up.samples=2",
            "warm_up.steps=10",
            "closed_loop.steps=6",
            "closed_loop.records_per_step=4",
            "probes.every=3",
            "probes.records=8",
            "harvest.samples=4",
            "sft.steps=20",
            "grpo.steps=4",
            "grpo.records_per_step=4",
            FEW,
        ),
    },
    note="a --quick demo shows that all parts run; a few steps train nothing, so its scores say nothing",
)
