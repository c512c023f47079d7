"""Comparing runs: their predictions paired by record id, and judged against one arm of them.

Only what is comparable is compared: the same task, the same records with the same annotations under the same seed. All
else is refused with the reason. Seeds may each have records of their own. AP, which is no mean over records, is paired
by resampled pictures (``whole_split``). Left out: other such metrics (macro-F1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import mean
from typing import Any

from rise_vlm.errors import UserError, nearest
from rise_vlm.report.run_answers import Answers, Row
from rise_vlm.report.whole_split import Drawn, difference_of
from rise_vlm.stages.intervals import RANKED_RESAMPLES, drawn_together
from rise_vlm.stages.paired import Difference, OneSeed, difference
from rise_vlm.stages.quality_figures import MEANS, METRIC

COSTS = ("seconds", "rollouts", "tokens", "peak_mb")
PLAIN = ("score", "parsed")
"""The metrics that stand in the predictions themselves."""

RANKED = ("ap", "ap50")
"""Metrics of a whole split that can be drawn again; of detection."""


@dataclass
class ArmFigures:
    """An arm on one split: its mean over the seeds' means, the least and greatest of them, and the records of each."""

    arm: str
    split: str
    metric: str
    mean: float
    least: float
    most: float
    n: int


@dataclass
class Paired:
    """How far ``arm`` is above ``against`` on one split."""

    arm: str
    against: str
    split: str
    metric: str
    difference: Difference


@dataclass
class Comparison:
    """All that is said about some arms that answered the same records."""

    task: str
    data: str
    arms: list[str]
    splits: list[str]
    seeds: list[int]
    against: str
    metrics: list[str]
    figures: list[ArmFigures]
    differences: list[Paired]
    costs: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)

    def figure(self, arm: str, split: str, metric: str) -> ArmFigures:
        """One cell."""
        return next(f for f in self.figures if (f.arm, f.split, f.metric) == (arm, split, metric))

    def paired(self, arm: str, split: str, metric: str) -> Paired | None:
        """One difference; None for the arm that is compared against."""
        return next((d for d in self.differences if (d.arm, d.split, d.metric) == (arm, split, metric)), None)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def compare(
    answers: Sequence[Answers],
    *,
    against: str | None = None,
    metrics: Sequence[str] = ("score",),
    common: bool = False,
    resamples: int | None = None,
) -> Comparison:
    """Every arm against one of them (the first, if ``against`` does not say), on each split that all have.

    With ``common`` only the records that all arms answered are compared. Raises UserError for what is not comparable.
    """
    arms = list(dict.fromkeys(one.arm for one in answers))
    if len(arms) < 2:
        raise UserError(f"There is one arm only, '{arms[0]}': name a second run folder, or label them: A=RUN B=RUN.")
    if against is not None and against not in arms:
        raise UserError(f"there is no arm '{against}' (there are: {', '.join(arms)}).{nearest(against, arms)}")
    against = against or arms[0]
    notes: list[str] = []
    if any(metric.startswith(METRIC) for metric in metrics):
        answers, arms = _measured(answers, metrics, against, notes)
        common = True
    task = _one_task(answers)
    splits = _shared_splits(answers, arms, notes)
    seeds = _shared_seeds(answers, arms, notes)
    table = {(one.arm, one.seed, one.split): one for one in answers if one.seed in seeds and one.split in splits}
    records = {(s, split): _paired_ids(table, arms, s, split, common, notes) for s in seeds for split in splits}
    _same_over_seeds(table, records, against, seeds, splits, notes)
    figures: list[ArmFigures] = []
    differences: list[Paired] = []
    for metric in metrics:
        drawn = _drawn(table, records, against, metric, resamples)
        values = {} if drawn else {key: _values(one, metric) for key, one in table.items()}
        for split in splits:
            for arm in arms:
                if drawn:
                    means = [drawn[arm, s, split].value for s in seeds]
                else:
                    means = [mean(values[arm, s, split][id] for id in records[s, split]) for s in seeds]
                size = min(len(records[s, split]) for s in seeds)
                figures.append(ArmFigures(arm, split, metric, mean(means), min(means), max(means), size))
                if arm != against and drawn:
                    pairs = [(drawn[arm, s, split], drawn[against, s, split]) for s in seeds]
                    differences.append(Paired(arm, against, split, metric, difference_of(pairs)))
                elif arm != against:
                    parts = [_one_seed(table, values, records, arm, against, s, split) for s in seeds]
                    more = {} if resamples is None else {"resamples": resamples}
                    differences.append(Paired(arm, against, split, metric, difference(parts, **more)))
    if len(seeds) == 1:
        notes.append("one seed: the intervals say nothing about the spread over seeds")
    costs = {arm: _cost([one for one in table.values() if one.arm == arm]) for arm in arms}
    data = ", ".join(dict.fromkeys(one.dataset for one in answers))
    return Comparison(
        task, data, arms, splits, seeds, against, list(metrics), figures, differences, costs, list(dict.fromkeys(notes))
    )


def _measured(
    answers: Sequence[Answers], metrics: Sequence[str], against: str, notes: list[str]
) -> tuple[list[Answers], list[str]]:
    """The rationales of the arms' last models in the place of their predictions, and the arms that have some.

    Of the records only those of which all ``metrics`` are known. Raises UserError for a figure that there is not, and
    where fewer than two arms have rationales, or the one that is compared against has none.
    """
    names = [metric.removeprefix(METRIC) for metric in metrics]
    for metric, name in zip(metrics, names, strict=True):
        if not metric.startswith(METRIC):
            raise UserError(f"--metric {metric}: figures of rationales ({METRIC}...) are compared by themselves.")
        if name not in MEANS:
            raise UserError(
                f"there is no figure '{metric}' that is a mean over records (there are: "
                f"{', '.join(METRIC + known for known in MEANS)}).{nearest(name, MEANS)}"
            )
    found = [replace(one, file=one.rationales, known=tuple(names)) for one in answers if one.rationales is not None]
    having = list(dict.fromkeys(one.arm for one in found if one.rows))
    if against not in having or len(having) < 2:
        odd = against if against not in having else "all but one arm"
        raise UserError(f"{', '.join(metrics)}: nothing of the kind was measured of {odd}.")
    if left := sorted({one.arm for one in answers} - set(having)):
        notes.append(f"nothing of the kind was measured of {', '.join(left)}")
    return [one for one in found if one.arm in having], having


def _one_task(answers: Sequence[Answers]) -> str:
    first = answers[0]
    for one in answers:
        if one.task != first.task:
            raise UserError(
                f"{first.folder} is {first.task} and {one.folder} is {one.task}: different tasks cannot be compared."
            )
    return first.task


def _shared_splits(answers: Sequence[Answers], arms: Sequence[str], notes: list[str]) -> list[str]:
    by_arm = {arm: list(dict.fromkeys(one.split for one in answers if one.arm == arm)) for arm in arms}
    shared = [split for split in by_arm[arms[0]] if all(split in found for found in by_arm.values())]
    if not shared:
        told = "; ".join(f"{arm}: {', '.join(found)}" for arm, found in by_arm.items())
        raise UserError(f"the runs have no split in common ({told}).")
    left = list(dict.fromkeys(split for found in by_arm.values() for split in found if split not in shared))
    if left:
        notes.append(f"not every arm was evaluated on {', '.join(left)}, so that is left out")
    return shared


def _shared_seeds(answers: Sequence[Answers], arms: Sequence[str], notes: list[str]) -> list[int]:
    by_arm = {arm: sorted({one.seed for one in answers if one.arm == arm}) for arm in arms}
    shared = sorted(set.intersection(*(set(found) for found in by_arm.values())))
    if not shared:
        told = "; ".join(f"{arm}: {', '.join(map(str, found))}" for arm, found in by_arm.items())
        raise UserError(f"the arms have no seed in common ({told}): run one of them with a seed of the other.")
    left = sorted({seed for found in by_arm.values() for seed in found} - set(shared))
    if left:
        notes.append(f"not every arm was run with seed {', '.join(map(str, left))}, so that is left out")
    return shared


Key = tuple[str, int, str]


def _paired_ids(
    table: Mapping[Key, Answers], arms: Sequence[str], seed: int, split: str, common: bool, notes: list[str]
) -> list[str]:
    """The ids that all arms answered. Raises UserError where they differ (unless ``common``) or ask something else."""
    here = []
    for arm in arms:
        if (arm, seed, split) not in table:
            raise UserError(f"{arm} with seed {seed} was not evaluated on '{split}', where the others were.")
        here.append(table[arm, seed, split])
    first = here[0]
    ids = [id for id in first.rows if all(id in one.rows for one in here)]
    for one in here[1:]:
        if not common and (len(ids) < len(first.rows) or len(ids) < len(one.rows)):
            odd = next(iter(set(first.rows) ^ set(one.rows)), "")
            raise UserError(
                f"the records of '{split}' differ: {first.folder} answered {len(first.rows)}, {one.folder} "
                f"{len(one.rows)}, all arms {len(ids)} (only one of the two has '{odd}'). --common compares those."
            )
        for id in ids:
            for key in ("annotation", "question"):
                if first.rows[id].get(key) != one.rows[id].get(key):
                    raise UserError(
                        f"record '{id}' of '{split}' has another {key} in {first.folder} than in {one.folder}: they "
                        "were evaluated on different datasets."
                    )
    if not ids:
        raise UserError(f"the runs have no record of '{split}' in common.")
    if len(ids) < max(len(one.rows) for one in here):
        notes.append(f"only the {len(ids)} records of '{split}' that all arms answered are compared")
    return ids


def _same_over_seeds(
    table: Mapping[Key, Answers],
    records: Mapping[tuple[int, str], list[str]],
    arm: str,
    seeds: Sequence[int],
    splits: Sequence[str],
    notes: list[str],
) -> None:
    """Note where the seeds have records of their own."""
    for split in splits:
        truths = [{id: str(table[arm, s, split].rows[id]["annotation"]) for id in records[s, split]} for s in seeds]
        if any(truth != truths[0] for truth in truths):
            notes.append(f"each seed has records of its own on '{split}'")


def _one_seed(
    table: Mapping[Key, Answers],
    values: Mapping[Key, Mapping[str, float]],
    records: Mapping[tuple[int, str], list[str]],
    arm: str,
    against: str,
    seed: int,
    split: str,
) -> OneSeed:
    ids = records[seed, split]
    deltas = [values[arm, seed, split][id] - values[against, seed, split][id] for id in ids]
    return OneSeed(deltas, _pictures(table[against, seed, split].rows, ids))


def _pictures(rows: Mapping[str, Row], ids: Sequence[str]) -> list[str]:
    """The family of each record's pictures; what is true tells it from one of the same name in another seed's data
    set.
    """
    homes = drawn_together([rows[id] for id in ids])
    truths = {home: str(rows[id]["annotation"]) for id, home in zip(ids, homes, strict=True)}
    return [f"{home} {truths[home]}" for home in homes]


def _drawn(
    table: Mapping[Key, Answers],
    records: Mapping[tuple[int, str], list[str]],
    against: str,
    metric: str,
    resamples: int | None,
) -> dict[Key, Drawn]:
    """A metric of whole splits, drawn for each arm, seed and split; empty where it is none."""
    found: dict[Key, Drawn] = {}
    for (arm, seed, split), one in table.items() if metric in RANKED else ():
        ids = records[seed, split]
        ranked = _task_of(one).ranked([(one.rows[id]["annotation"], one.rows[id]["value"]) for id in ids])
        if ranked is None:
            return {}
        pictures = _pictures(table[against, seed, split].rows, ids)
        drawn = Drawn(ranked, metric, pictures, min(resamples or RANKED_RESAMPLES, RANKED_RESAMPLES))
        if drawn.value != drawn.value:  # NaN
            raise UserError(f"'{metric}' is undefined on '{split}': none of its {len(ids)} records has a true box.")
        found[arm, seed, split] = drawn
    return found


def _values(one: Answers, metric: str) -> dict[str, float]:
    """By record id, what one record adds to a metric. Raises UserError for one that is no mean over records."""
    if metric == "score":
        return {id: float(row["score"]) for id, row in one.rows.items()}
    if metric.startswith(METRIC):
        return {id: float(MEANS[metric.removeprefix(METRIC)](row) or 0.0) for id, row in one.rows.items()}
    if metric == "parsed":
        return {id: float(row.get("reason") is None) for id, row in one.rows.items()}
    task = _task_of(one)
    pairs = {id: (row["annotation"], row["value"]) for id, row in one.rows.items()}
    whole = task.metrics(list(pairs.values()))
    if metric not in whole:
        more = RANKED if task.ranked([]) is not None else ()
        known = [*PLAIN, *(name for name in whole if name not in PLAIN), *more]
        raise UserError(f"{one.task} has no metric '{metric}' (it has: {', '.join(known)}).{nearest(metric, known)}")
    values = {id: task.metrics([pair]).get(metric, float("nan")) for id, pair in pairs.items()}
    if not abs(mean(values.values()) - whole[metric]) < 1e-6:
        raise UserError(f"the metric '{metric}' is no mean over records, so it cannot be paired by record.")
    return values


def _task_of(one: Answers) -> Any:
    from rise_vlm.data import Dataset

    return Dataset.open(one.data).task


def _cost(runs: Sequence[Answers]) -> dict[str, float]:
    """The mean over the seeds of what it took to get the arm's model."""
    by_seed = {one.seed: one.cost for one in runs}
    return {
        name: mean(float(cost[name]) for cost in by_seed.values())
        for name in COSTS
        if all(isinstance(cost.get(name), int | float) for cost in by_seed.values())
    }


def verdict(found: Difference) -> str:
    """``above``, ``below`` or ``not told apart``."""
    if not found.told_apart:
        return "not told apart"
    return "above" if found.mean > 0 else "below"
