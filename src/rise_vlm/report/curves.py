"""Which charts a run gets: the closed loop's, those of reinforcement, those of fine-tuning.

A stage is told by its columns, not by its name, so that a new recipe's stages show without a change here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rise_vlm.report.charts import Line, line_chart
from rise_vlm.report.read import Run, Stage
from rise_vlm.report.table import arm_name

Colour = Callable[[str], str]


@dataclass(frozen=True)
class Chart:
    """A titled chart with one sentence on how to read it."""

    title: str
    note: str
    svg: Markup


@dataclass(frozen=True)
class Group:
    """Charts that belong together under one heading ('' for none)."""

    title: str
    charts: list[Chart]


@dataclass(frozen=True)
class Measure:
    """A chart to be: its title and note, its columns with their names and colours, whether they are shares, and whether
    they are of the loop's controls, not of its training."""

    title: str
    note: str
    columns: tuple[tuple[str, str, str], ...]
    share: bool = False
    controls: bool = False


LOOP = (
    Measure("Reward", "What the writer of rationales is trained for.", (("reward", "reward", "accent"),)),
    Measure(
        "Reconstruction",
        "Score of the annotation rebuilt from the rationale, from none, and from another picture's.",
        (("real", "real", "accent"), ("shuffled", "shuffled", "second"), ("empty", "empty", "muted")),
        share=True,
        controls=True,
    ),
    Measure(
        "Reconstruction in training",
        "Score of the rebuilt annotation, step by step.",
        (("reconstruction", "rebuilt", "accent"),),
        share=True,
    ),
    Measure(
        "Facts",
        "Share of stated facts that are true, and of true facts that are stated.",
        (("facts_precision", "true", "accent"), ("facts_recall", "stated", "second")),
        share=True,
    ),
    Measure("Grounding", "How well the picture bears the rationale out.", (("grounding", "grounding", "accent"),)),
    Measure("Leak rate", "Rationales that give the annotation away.", (("leak_rate", "leaks", "accent"),), share=True),
    Measure(
        "Groups without spread",
        "All rationales of a record were rebuilt equally well, or got the same reward.",
        (("zero_spread", "rebuilt", "accent"), ("reward_zero_spread", "reward", "muted")),
        share=True,
    ),
    Measure("Length", "Words per rationale.", (("length", "words", "accent"),)),
)

REINFORCEMENT = (
    Measure("Reward", "Mean reward of the sampled answers.", (("reward", "", ""),)),
    Measure("Score", "The reward's part that judges the answer.", (("score", "", ""),), share=True),
    Measure("Well formed", "Completions that keep to the form asked for.", (("well_formed", "", ""),), share=True),
    Measure(
        "Groups without spread", "All rollouts got the same reward: nothing to learn.", (("zero_spread", "", ""),), True
    ),
    Measure("Length", "Words per rationale.", (("length", "", ""),)),
)


def loop_charts(run: Run) -> list[Group]:
    """One group of charts per closed loop of the run."""
    loops = [stage for stage in run.stages if _is_loop(stage)]
    groups = []
    for stage in loops:
        charts = []
        for measure in LOOP:
            points = stage.controls if measure.controls else stage.series
            lines = [Line(name, points(key), colour) for key, name, colour in measure.columns]
            _add(charts, measure, lines)
        groups.append(Group(_owner(stage, run) if len(loops) > 1 else "", charts))
    return [group for group in groups if group.charts]


def training_charts(run: Run, colour: Colour) -> list[Group]:
    """Reinforcement (all arms in one chart per measure) and fine-tuning (one chart of losses per stage name)."""
    rest = [stage for stage in run.stages if not _is_loop(stage)]
    reinforced = [stage for stage in rest if stage.series("reward")]
    tuned = [stage for stage in rest if not stage.series("reward")]
    first: list[Chart] = []
    for measure in REINFORCEMENT:
        _add(first, measure, _by_arm(reinforced, run, measure.columns[0][0], colour))
    second: list[Chart] = []
    for name in dict.fromkeys(stage.name for stage in tuned):
        lines = _by_arm([stage for stage in tuned if stage.name == name], run, "loss", colour)
        _add(second, Measure(f"Loss: {name.replace('_', ' ').replace('-', ' ')}", "", ()), lines)
    groups = [Group("Reinforcement", first), Group("Fine-tuning", second)]
    return [group for group in groups if group.charts]


def _is_loop(stage: Stage) -> bool:
    return bool(stage.series("reconstruction") or stage.controls("real"))


def _owner(stage: Stage, run: Run) -> str:
    return arm_name(stage.arm or run.results.recipe or stage.name)


def _by_arm(stages: Sequence[Stage], run: Run, key: str, colour: Colour) -> list[Line]:
    return [Line(_owner(stage, run), stage.series(key), colour(stage.arm or run.results.recipe)) for stage in stages]


def _add(charts: list[Chart], measure: Measure, lines: Sequence[Line]) -> None:
    svg = line_chart(lines, share=measure.share, label=f"{measure.title} over training steps")
    if svg is not None:
        charts.append(Chart(measure.title, measure.note, svg))
