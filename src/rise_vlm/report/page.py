"""The page itself: everything read and chosen, handed to one template. All text is escaped, and a content policy in the
page forbids any request and any script but its own, so that no text from a model or a dataset can do more than be read.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rise_vlm.console import duration
from rise_vlm.policy.names import called
from rise_vlm.report.charts import histogram, number
from rise_vlm.report.curves import Chart, loop_charts, training_charts
from rise_vlm.report.gallery import gallery, total
from rise_vlm.report.rationales import examples, quality_table
from rise_vlm.report.read import Histogram, Run, read_run
from rise_vlm.report.table import Table, arm_name, build_table, headline, split_name
from rise_vlm.report.template import TEMPLATES, fill, write_whole
from rise_vlm.tasks import higher_is_better

ITEMS = 60
"""Pictures shown by default."""

CAUTION = "demo: "
"""Begins the notes that stand in the place of the headline: they are of all scores of a page."""

KNOWN_ARMS = ("zero_shot", "ans_sft", "visual_rft", "rise")
WAYS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
COLOURS = 8
"""Arm colours in style.css: a0 to a7, the first four belong to KNOWN_ARMS."""


def write_report(run: Path, items: int = ITEMS) -> Path:
    """Write ``report.html`` into the run folder ``run`` and return its path.

    Raises UserError where ``run`` is no run folder, or naming the file in it that cannot be read.
    """
    target = run / "report.html"
    write_whole(target, render(read_run(run), items))
    return target


def render(run: Run, items: int = ITEMS) -> str:
    """The page of a run as HTML."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return fill(
        "page.html.j2",
        {"number": number, "arm": arm_name, "duration": _duration, "plain": _plain},
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **_view(run, items),
    )


def _view(run: Run, limit: int) -> dict[str, Any]:
    """The template's names. Nothing here is HTML but the charts."""
    results = run.results
    table = build_table(results)
    arms = _arms(run)
    colours = _colours(arms)
    judged = "rise" if "rise" in arms else (arms[-1] if arms else "")
    harvest = results.harvest or {}
    items = gallery(run.predictions, arms, judged, limit=limit, roots=run.data_roots, classes=_classes(run))
    splits: list[str] = list(dict.fromkeys([*(table.splits if table else []), *_splits(run)]))
    questions = {item.question for item in items}
    cautions = [note.removeprefix(CAUTION) for note in results.notes if note.startswith(CAUTION)]
    return {
        "title": _title(run),
        "cautions": cautions,
        "lead": headline(table) if table and not cautions else [],
        "facts": _facts(run, table),
        "command": results.environment.get("command"),
        "table": table,
        "split_name": lambda split: split_name(split, splits),
        "higher_is_better": higher_is_better,
        "place": _placer(table),
        "arms": arms,
        "judged": judged,
        "colour": lambda arm: colours.get(arm, "a7"),
        "tiles": _tiles(results.loop or {}, harvest),
        "loop": loop_charts(run),
        "loop_notes": [note for note in results.notes if note.startswith(("closed_loop:", "harvest:"))],
        "harvest": _harvest(run.histogram),
        "quality": quality_table(results),
        "examples": examples(run),
        "training": training_charts(run, lambda arm: colours.get(arm, "a3")),
        "items": items,
        "question": questions.pop() if len(questions) == 1 else "",
        "total": total(run.predictions),
        "splits": _splits(run),
        "recipes": run.recipes,
        "environment": results.environment,
        "notes": results.notes,
    }


def _arms(run: Run) -> list[str]:
    """All arms of results and predictions, known ones in their own order first."""
    found = dict.fromkeys([*(entry.arm for entry in run.results.arms), *(arm for arm, _ in run.predictions)])
    return sorted(found, key=lambda arm: KNOWN_ARMS.index(arm) if arm in KNOWN_ARMS else len(KNOWN_ARMS))


def _colours(arms: Iterable[str]) -> dict[str, str]:
    others = [arm for arm in arms if arm not in KNOWN_ARMS]
    named = {arm: f"a{index}" for index, arm in enumerate(KNOWN_ARMS)}
    free = COLOURS - len(KNOWN_ARMS)
    return named | {arm: f"a{len(KNOWN_ARMS) + index % free}" for index, arm in enumerate(others)}


def _title(run: Run) -> str:
    data = run.results.data.name or (run.card.name if run.card else "")
    arms = len(_arms(run))
    if arms > 1:
        ways = f"{WAYS.get(arms, arms)} ways"
        return f"{data}, learned {ways}" if data else f"Learned {ways}"
    recipe = arm_name(run.results.recipe) if run.results.recipe else f"Run {run.root.resolve().name}"
    return f"{recipe} on {data}" if data else recipe


def _splits(run: Run) -> list[str]:
    """The splits that have predictions, in the order of the results, in domain first."""
    found = [*(entry.split for entry in run.results.arms), *sorted(split for _, split in run.predictions)]
    having = {split for _, split in run.predictions}
    return sorted((split for split in dict.fromkeys(found) if split in having), key=lambda split: split != "test")


def _facts(run: Run, table: Table | None) -> list[tuple[str, str]]:
    """The line under the title: (what, value) of whatever is known."""
    results = run.results
    data = results.data
    task = data.task or (run.card.task if run.card else "")
    judged = {arm.split for arm in results.arms} if set(results.stages) == {"evaluate"} else set(data.counts)
    counts = ", ".join(f"{count:,} {split}" for split, count in data.counts.items() if split in judged)
    seeds = ", ".join(str(seed) for seed in table.seeds) if table else ""
    model = called(results.model)
    named = [("Model", model), ("Task", task), ("Records", counts), ("Seed" if "," not in seeds else "Seeds", seeds)]
    started = str(results.environment.get("started") or "")[:16].replace("T", " ")
    return [(name, value) for name, value in [*named, ("Started", started)] if value]


def _classes(run: Run) -> list[str]:
    return list(run.results.data.classes) or (list(run.card.classes) if run.card else [])


def _harvest(bars: Histogram | None) -> Chart | None:
    """The histogram with what was kept of each bar, and why the others were not."""
    if bars is None:
        return None
    note = "Worth of all sampled rationales" + ("; the coloured ones were kept." if bars.kept else ".")
    reasons = sorted(bars.dropped.items(), key=lambda pair: -pair[1])
    listed = ", ".join(f"{reason} {number(count, 0)}" for reason, count in reasons if count)
    note += f" Dropped: {listed}." if listed else ""
    label = "Worth of all rationales"
    return Chart("Harvest", note, histogram(bars.edges, bars.counts, bars.threshold, label, bars.kept))


def _above(loop: Mapping[str, Any], name: str) -> str:
    """How far the real rationale's score is above that of ``name``, with its interval, where the results say so."""
    found = _difference((loop.get("differences") or {}).get(name))
    return f"; rebuilt is {found} from it" if found else ""


def _difference(found: Any) -> str:
    """A mean difference with its interval, '' where it has none."""
    mean, interval = (found.get("mean"), found.get("interval")) if isinstance(found, Mapping) else (None, None)
    if not isinstance(mean, int | float) or not isinstance(interval, list | tuple) or len(interval) != 2:
        return ""
    return f"{mean:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"


def _rebuilt(loop: Mapping[str, Any]) -> str:
    """On how many records the rebuilt annotation's score was measured, and what the loop has changed in it."""
    note = "score of the annotation rebuilt from the rationale"
    records, first = loop.get("n"), (loop.get("before") or {}).get("real")
    note += f", {number(records, 0)} records" if isinstance(records, int | float) else ""
    note += f"; {number(first, 2)} before the loop" if isinstance(first, int | float) else ""
    gain = _difference(loop.get("gain"))
    return note + (f", which changed it by {gain}" if gain else "")


def _argued(loop: Mapping[str, Any]) -> str:
    """What the score of a wrong annotation argued for is to be compared with."""
    detail, before = loop.get("wrong_annotation_detail") or {}, loop.get("wrong_annotation_before")
    note = "score of a wrong annotation, rebuilt from a rationale that argues for it"
    note += f"; {number(before, 2)} before the loop" if isinstance(before, int | float) else ""
    wrong, true = detail.get("honest_false_score"), detail.get("honest_true_score")
    if isinstance(wrong, int | float) and isinstance(true, int | float):
        note += f". From a rationale for the truth the wrong one scores {number(wrong, 2)}, the truth {number(true, 2)}"
    argued = _difference(detail.get("argued"))
    return note + (f". Arguing changes the wrong one's by {argued}" if argued else "")


def _selection(harvest: Mapping[str, Any]) -> str:
    """By which conditions rationales were kept."""
    if harvest.get("fallback"):
        return "; none passed, so the best of each record were taken"
    named = [(name, harvest.get(name)) for name in ("threshold", "gain", "repetition")]
    asked = [(name, value) for name, value in named if value is not None and (name, value) != ("repetition", 1)]
    listed = ", ".join(f"{name} {number(value, 2)}" for name, value in asked)
    return f", by {listed}" if listed else ""


def _tiles(loop: Mapping[str, Any], harvest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(value, name, explanation) of each figure of the loop that was measured."""
    rebuilt, facts = loop.get("reconstruction") or {}, loop.get("facts") or {}
    other = "the same, from another picture's rationale" + _above(loop, "shuffled")
    tiles = [
        (rebuilt.get("real"), "rebuilt", _rebuilt(loop)),
        (rebuilt.get("shuffled"), "from another's", other),
        (rebuilt.get("empty"), "from nothing", "the same, from an empty rationale" + _above(loop, "empty")),
        (loop.get("wrong_annotation"), "wrong annotation", _argued(loop)),
        (facts.get("precision"), "true", "share of the stated facts that are true"),
        (facts.get("recall"), "stated", "share of the true facts that are stated"),
        (loop.get("leak_rate"), "leaks", "share of rationales that give the annotation away"),
        (loop.get("zero_spread"), "without spread", "share of groups whose rationales were all rebuilt equally well"),
    ]
    shown = [(number(value, 2), name, note) for value, name, note in tiles if isinstance(value, int | float)]
    if harvest.get("kept") is not None:
        note = f"of {number(harvest.get('sampled'), 0)} rationales" + _selection(harvest)
        shown.append((number(harvest["kept"], 0), "kept", note))
    return shown


def _placer(table: Table | None) -> Any:
    """Value -> per cent along the chart's axis."""
    low, high, _ = table.scale() if table else (0.0, 1.0, [])
    return lambda value: round(100 * (value - low) / ((high - low) or 1), 2)


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _plain(value: Any) -> str:
    """A value of the environment as one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
