"""Importing a COCO file of any size beside others: ``python benchmarks/importing.py --images 118287 --boxes 860001``.

Draws a source as large as asked (the defaults are COCO 2017 train's numbers; the JSON has 428 MB, COCO's 470) and
reads it in a process for each side, in turn for ``--rounds``: wall and processor seconds and the peak of the
resident set, as the kernel counts them for the process. ``--peers`` is the Python of a place where the others are
installed; those that are not there are left out. Files are in memory when they are read, since they were just written.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy
from PIL import Image

POINTS = 23
"""Of a polygon: with it the file has 498 bytes an annotation; COCO 2017 train has 546."""
CLASSES, CROWD, PICTURES = 80, 80, 32
"""Classes; every so many-th annotation is a crowd; pictures that differ in their pixels (all differ in their bytes)."""
READ = (
    "from sys import argv; source, out = argv[1:]; images = source + '/images/train2017'; "
    "labels = source + '/annotations/instances_train2017.json'; "
)


@dataclass(frozen=True)
class Side:
    """One way to read the source: what it does, and a command line (ours) or Python code (the others')."""

    does: str
    code: str = ""
    options: tuple[str, ...] = ()

    def command(self, python: str, source: Path, out: Path) -> list[str]:
        """The command line; ``python`` has the others."""
        if not self.code:
            return [sys.executable, "-m", "rise_vlm", "data", "import", "coco", str(source), "--out", str(out),
                    "--json", *self.options]  # fmt: skip
        return [python, "-c", READ + self.code, str(source), str(out)]


SIDES = {
    "rise": Side("parses, opens every image, checks every box, writes a dataset with copies"),
    "rise --link": Side("the same with hard links in place of copies", options=("--link",)),
    "pycocotools": Side(
        "parses and indexes the JSON; opens no image, writes nothing",
        "from pycocotools.coco import COCO; COCO(labels)",
    ),
    "supervision, reading": Side(
        "parses; opens no image, writes nothing",
        "import supervision; supervision.DetectionDataset.from_coco(images, labels)",
    ),
    "supervision": Side(
        "parses, writes a COCO file with copies; opens every image",
        "import supervision; found = supervision.DetectionDataset.from_coco(images, labels); "
        "found.as_coco(images_directory_path=out + '/images', annotations_path=out + '/labels.json')",
    ),
    "datumaro, reading": Side(
        "parses; opens no image, writes nothing",
        "import datumaro; len(datumaro.Dataset.import_from(source, 'coco_instances'))",
    ),
    "datumaro": Side(
        "parses, writes a COCO folder with copies",
        "import datumaro; found = datumaro.Dataset.import_from(source, 'coco_instances'); "
        "found.export(out, 'coco_instances', save_media=True)",
    ),
    "fiftyone": Side(
        "parses into its database (a process of its own, not counted); opens no image, copies nothing",
        "import fiftyone; fiftyone.Dataset.from_dir(dataset_type=fiftyone.types.COCODetectionDataset, "
        "data_path=images, labels_path=labels, label_types='detections', progress=False)",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--boxes", type=int, default=860_001)
    parser.add_argument("--size", default="64x48", help="of the images; 640x480 is COCO's, with files of its size")
    parser.add_argument("--sides", default="rise", help=f"comma-separated: {', '.join(SIDES)}; or all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peers", default=sys.executable, help="a Python that has the others")
    parser.add_argument("--folder", type=Path, help="keeps the source here, and takes it from here if it is there")
    parser.add_argument("--json", type=Path, help="where the figures go")
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "source"
        if not folder.exists():
            draw(folder, args.images, args.boxes, (width, height))
        names = list(SIDES) if args.sides == "all" else args.sides.split(",")
        found = {"source": described(folder), "sides": measured(names, folder, args)}
    from rise_vlm.bench.compare import environment  # not before: a child's peak counts from that of this process

    found["environment"] = environment()
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


def draw(folder: Path, images: int, boxes: int, size: tuple[int, int]) -> None:
    """A COCO source with its images: boxes are spread evenly, and no two images have the same bytes."""
    rng = numpy.random.default_rng(0)
    (folder / "images" / "train2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    pictures = [jpeg(rng, size) for _ in range(PICTURES)]
    for number in range(images):
        head, rest = pictures[number % PICTURES][:2], pictures[number % PICTURES][2:]
        comment = b"\xff\xfe\x00\x0a" + number.to_bytes(8)  # a segment of two bytes of length and eight of comment
        (folder / "images" / "train2017" / f"{number:012}.jpg").write_bytes(head + comment + rest)
    with (folder / "annotations" / "instances_train2017.json").open("w") as file:
        file.write('{"info": {"description": "drawn"}, "licenses": [], "images": ')
        write_list(file, (image(number, size) for number in range(images)))
        file.write(', "annotations": ')
        write_list(file, (annotation(rng, number, number * images // boxes, size) for number in range(boxes)))
        categories = [{"supercategory": "thing", "id": n + 1, "name": f"class {n + 1}"} for n in range(CLASSES)]
        file.write(f', "categories": {json.dumps(categories)}}}')


def jpeg(rng: numpy.random.Generator, size: tuple[int, int]) -> bytes:
    """A smooth picture with some noise: 640 x 480 takes about the 160 KB of COCO's."""
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=numpy.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = numpy.asarray(small) + rng.normal(0, 14, (size[1], size[0], 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(numpy.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_list(file: IO[str], rows: Any) -> None:
    """A JSON list, a row at a time."""
    file.write("[")
    for number, row in enumerate(rows):
        file.write((", " if number else "") + json.dumps(row))
    file.write("]")


def image(number: int, size: tuple[int, int]) -> dict[str, Any]:
    """The row of an image, with the keys of COCO's."""
    name = f"{number:012}.jpg"
    return {
        "license": 3, "file_name": name, "coco_url": f"http://images.cocodataset.org/train2017/{name}",
        "height": size[1], "width": size[0], "date_captured": "2013-11-14 11:18:45",
        "flickr_url": f"http://farm9.staticflickr.com/8186/{number}_e3a9b8b8a4_z.jpg", "id": number + 1,
    }  # fmt: skip


def annotation(rng: numpy.random.Generator, number: int, picture: int, size: tuple[int, int]) -> dict[str, Any]:
    """The row of a thing: a polygon and the box around it, or a crowd with runs of pixels."""
    (x, y), (w, h) = rng.random(2) * 0.5 * size, (rng.random(2) * 0.4 + 0.1) * size
    angles = numpy.sort(rng.random(POINTS)) * 2 * math.pi
    across, up = x + w * (0.5 + 0.5 * numpy.cos(angles)), y + h * (0.5 + 0.5 * numpy.sin(angles))
    polygon = numpy.stack([across, up], 1).round(2).reshape(-1).tolist()
    crowd = number % CROWD == CROWD - 1
    ends = numpy.linspace(0, size[0] * size[1], POINTS, dtype=int)
    runs = {"counts": numpy.diff(ends).tolist(), "size": [size[1], size[0]]}
    return {
        "segmentation": runs if crowd else [polygon], "area": float(w * h * 0.785), "iscrowd": int(crowd),
        "image_id": picture + 1, "bbox": [round(float(n), 2) for n in (x, y, w, h)],
        "category_id": int(rng.integers(CLASSES)) + 1, "id": number + 1,
    }  # fmt: skip


def described(folder: Path) -> dict[str, Any]:
    """The source in figures."""
    files = list((folder / "images" / "train2017").iterdir())
    labels = (folder / "annotations" / "instances_train2017.json").stat().st_size
    mean = sum(path.stat().st_size for path in files[:1000]) / min(1000, len(files))
    return {"images": len(files), "json_mb": round(labels / 1e6, 1), "image_kb": round(mean / 1e3, 1)}


def measured(names: list[str], source: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Each side's figures; a side whose process fails has its last words instead."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    for _ in range(args.rounds):
        for name in names:
            if name not in failed:
                one = run(SIDES[name], args.peers, source)
                if isinstance(one, str):
                    failed[name] = one
                else:
                    runs[name].append(one)
                    print(f"{name}: {one}", file=sys.stderr, flush=True)
    told: dict[str, Any] = {}
    for name, found in runs.items():
        figures = {key: median(one[key] for one in found) for key in found[0]} if found else {}
        told[name] = {"does": SIDES[name].does} | (figures if name not in failed else {"failed": failed[name]})
    return told


def run(side: Side, python: str, source: Path) -> dict[str, float] | str:
    """One run of a side in a process of its own: ``seconds``, ``cpu_seconds``, ``peak_mb``; or why it failed."""
    out = source.with_name(f"{source.name}-out")  # on the same disk, where links can be made
    shutil.rmtree(out, ignore_errors=True)
    start = time.monotonic()
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(side.command(python, source, out), stdout=words, stderr=words)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        last = words.read().decode(errors="replace").strip().splitlines()[-1:]
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        return f"exit code {process.returncode}: {' '.join(last)[:200]}"
    cpu = used.ru_utime + used.ru_stime
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(used.ru_maxrss / 1e3)}


def table(found: dict[str, Any]) -> str:
    """Markdown, a row for each side."""
    lines = ["| side | does | wall, s | processor, s | peak, MB |", "|---|---|---|---|---|"]
    for name, side in found["sides"].items():
        shown = [str(side[key]) for key in ("seconds", "cpu_seconds", "peak_mb")] if "seconds" in side else []
        lines.append(f"| {name} | {side['does']} | {' | '.join(shown or [side['failed'], '-', '-'])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
