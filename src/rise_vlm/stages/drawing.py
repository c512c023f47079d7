"""The data sets that a sweep draws itself: each once, with a file beside it that says what it is.

Left out: data sets of the user's, which a sweep takes as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.errors import UserError
from rise_vlm.recipes.sweep import Drawn, Sweep, data_folder, stamp_of
from rise_vlm.stages.files import read_json, write_json
from rise_vlm.worlds import load_world


def draw_data(sweep: Sweep, out: Path) -> None:
    """Draw the worlds that the sweep asks for and that are not there. Raises UserError where other data is there."""
    for name, source in sweep.data.items():
        if isinstance(source, str):
            continue
        world = load_world(source.world)
        for seed in sweep.seeds if source.seed == "run" else (source.seed,):
            folder = data_folder(sweep, name, seed, out)
            stamp, asked = stamp_of(folder), wanted(source, seed)
            found = read_json(stamp)
            if isinstance(found, dict) and found.get("asked") == asked and (folder / "dataset.yaml").is_file():
                continue
            if folder.exists():
                raise UserError(f"{folder} holds other data than the sweep asks for; give another --out.")
            say(f"sweep {sweep.name}: drawing '{source.world}' into {folder}.")
            sizes = {key: asked[key] for key in ("train", "val", "test")}
            summary = world.make(folder, **sizes, seed=seed)
            write_json(stamp, {"asked": asked, "summary": summary})


def wanted(source: Drawn, seed: int) -> dict[str, Any]:
    """What decides a drawn data set."""
    return source.model_dump(mode="json", exclude={"set"}) | {"seed": seed}
