"""What a harvest kept, with its records, for whoever trains on it: a dataset of ours, or a foreign format.

For LLaMA-Factory (``sharegpt``) a row is what our own SFT trains on: the prompt of the think role, boxes as the model's
family writes them, the rationale and the answer in their tags; ``provenance`` says where each rationale comes from, and
``dataset_info.json`` describes the file. Left out: choosing what is kept.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rise_vlm.data import Dataset, DatasetWriter
from rise_vlm.data.exporting import export_dataset, target_of
from rise_vlm.data.formats import FEATURES, FORMATS, find_format
from rise_vlm.data.formats.sharegpt import row_of
from rise_vlm.data.formats.writing import write_json_list
from rise_vlm.data.images import safe_join
from rise_vlm.errors import UserError
from rise_vlm.policy.frames import FRAMES
from rise_vlm.stages.files import Row
from rise_vlm.stages.harvesting import Harvested
from rise_vlm.tasks.base import bare_answer

PROVENANCE = ("source", "run", "model", "seed", "step", "sample", "score", "gain", "grounding", "worth", "threshold")
"""Of a kept rationale, as ``rationales.jsonl`` has it."""


def export_kept(found: Harvested, name: str, out: Path, frame: Any = None) -> dict[str, Any]:
    """Write the kept rationales as a dataset (``dataset``), or in a foreign format that keeps rationales.

    A record with several rationales becomes several records. ``frame`` is the model's, for ``sharegpt``.
    """
    if name == "dataset":
        return {"records": len(write_kept(found, out))}
    form = find_format(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        kept, draft = Path(folder) / "kept", Path(folder) / "draft"
        names = write_kept(found, kept)
        exported = export_dataset(name, form, Dataset.open(kept), draft)
        if name == "sharegpt":
            _as_trained(found, names, draft / "train.json", frame or FRAMES["thousand"]())
            exported.lost.pop(FEATURES["meta"], None)
        draft.replace(out)
    return {"records": len(names)} | exported.to_dict()


def check_target(name: str, data: Path, out: Path) -> None:
    """Raise UserError where the kept rationales of ``data`` cannot go to ``out`` as ``name``: told before any work."""
    if out.exists():
        raise UserError(f"--to: {out} exists already; give another folder.")
    if name == "dataset":
        return
    form = find_format(name)
    if "rationale" not in form.keeps:
        able = ", ".join(["dataset", *(key for key, one in FORMATS.items() if "rationale" in one.keeps)])
        raise UserError(f"--to: '{name}' does not keep rationales; these do: {able}.")
    target_of(name, form, Dataset.open(data))


def write_kept(found: Harvested, out: Path) -> list[str]:
    """A dataset with one training record per kept rationale, its provenance in ``meta.harvest``; returns their ids."""
    source = found.material.dataset
    records = {record.id: record for record in found.material.train}
    taken = set(records)
    names: list[str] = []
    with DatasetWriter(out, source.card.model_copy(update={"splits": {}})) as writer:
        for row in found.kept:
            record = records[row["id"]]
            name, number = record.id, 1
            while name in taken and record.id in names:
                number += 1
                name = f"{record.id}-{number}"
            names.append(name)
            taken.add(name)
            writer.add(
                "train",
                id=name,
                image=safe_join(source.root, record.images[0]),
                more=[source.image(record, index) for index in range(1, len(record.images))],
                annotation=record.annotation,
                question=record.question,
                rationale=row["rationale"],
                meta=record.meta | {"harvest": provenance(row)},
            )
    return names


def provenance(row: Row) -> dict[str, Any]:
    """Where a kept rationale comes from and why it was kept. ``leak_free``: no leak rule found anything in it."""
    known = {name: row.get(name) for name in PROVENANCE}
    return {"record": row["id"], **known, "min_gain": row.get("min_gain"), "leak_free": not row["leaks"]}


def _as_trained(found: Harvested, names: list[str], path: Path, frame: Any) -> None:
    """Give the exported rows in ``path`` the words that our SFT would train on, and their provenance."""
    task = found.material.task
    records = {record.id: record for record in found.material.train}
    exported: Mapping[str, Any] = {one["id"]: one for one in json.loads(path.read_text(encoding="utf-8"))}
    rows: list[dict[str, Any]] = []
    for name, row in zip(names, found.kept, strict=True):
        record = records[row["id"]]
        told = f"{row['rationale']} {task.lead_in}" if task.lead_in else row["rationale"]
        reply = f"<think>{told}</think>{bare_answer(task.render(record.annotation, record, frame))}"
        written = row_of(name, task.prompt("think", record, frame), reply, exported[name]["images"])
        rows.append(written | {"provenance": provenance(row)})
    write_json_list(path, rows)
