"""Sources that would fill the memory, hang or may not be read: told in one line, in a process that can do little."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from bad_sources import BOMB, BOX, BOXES_CSV, DEEP, NESTED, coco, cvat, labelme, voc
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")
CAGE = Path(__file__).with_name("caged.py")
HUGE = 1 << 40
"""Bytes of a file with nothing in it, which takes no room on the disk."""

FILES = {
    "csv": "a.csv",
    "voc": "1.xml",
    "coco": "a.json",
    "yolo": "1.txt",
    "labelstudio": "a.json",
    "cvat": "a.xml",
    "labelme": "1.json",
    "openimages": "a.csv",
    "reasonrft": "a.json",
    "sharegpt": "a.json",
    "swift": "a.jsonl",
    "reasonseg": "train/1.json",
    "emotion6": "ground_truth.txt",
    "superclevr": "scenes/1.json",
    "geometry3k": "train/1/data.json",
    "trance": "1.json",
    "nlvr": "dev/dev.json",
    "fiftyone": "samples.json",
    "parquet": "a.parquet",
    "imagefolder": "metadata.jsonl",
    "hub": "state.json",
    "imagenet": "LOC_synset_mapping.txt",
    "folders": "cat/1.png",
}
"""What a file that annotates is called in each format."""


ONE_FILE = ("coco", "labelstudio", "cvat", "openimages", "csv", "sharegpt", "reasonrft", "swift", "parquet")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a picture, also as the formats name it."""
    for name in ("1.png", "n01440764/1.png", "n01443537/1.png", "dog/1.png"):
        (tmp_path / "good" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 10), 90).save(tmp_path / "good" / name)
    return tmp_path / "good"


def caged(root: Path, sources: dict[str, tuple[str, Path]]) -> dict[str, tuple[int, str]]:
    """Name -> exit code and what was told, of the import of each (format, source)."""
    first = ["data", "import", "folders", str(root / "good"), "--out", str(root / "warm")]
    commands = [first] + [
        ["data", "import", *([format] if format else []), str(path), "--out", str(root / "out" / name)]
        for name, (format, path) in sources.items()
    ]
    lines = "\n".join(map(json.dumps, commands))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
    }  # which reserve no room that is not used
    done = subprocess.run(
        [sys.executable, str(CAGE)], input=lines, capture_output=True, text=True, env=environment, timeout=500
    )
    assert done.returncode == 0, (list(sources)[len(done.stdout.splitlines()) - 1], done.stderr)
    told = [json.loads(line) for line in done.stdout.splitlines()][1:]
    return {name: (each["code"], each["told"]) for name, each in zip(sources, told, strict=True)}


def one_line(told: str) -> bool:
    return told.count("rise: ") == 1 and "Traceback" not in told and "is a bug" not in told


def lying(path: Path, suffix: str, width: int, height: int) -> None:
    """A picture whose head says another size than it has."""
    Image.effect_noise((20, 10), 90).save(path, format=suffix)
    content = bytearray(path.read_bytes())
    if suffix == "PNG":
        head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        content[12:33] = head + struct.pack(">I", zlib.crc32(head))
    elif suffix == "GIF":
        content[6:10] = struct.pack("<HH", width, height)
    elif suffix == "BMP":
        content[18:26] = struct.pack("<ii", width, height)
    else:
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = struct.pack(">HH", height, width)
    path.write_bytes(bytes(content))


def test_nothing_grows_beyond_measure_or_hangs(source: Path, tmp_path: Path) -> None:
    sources: dict[str, tuple[str, Path]] = {}

    def put(name: str, format: str, content: str | bytes, file: str = "") -> Path:
        path = tmp_path / name / (file or FILES[format])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (path.parent / "1.png").write_bytes((source / "1.png").read_bytes())
        sources[name] = format, path if format in ONE_FILE else tmp_path / name
        return path

    put("bomb of voc", "voc", voc(BOX.format("&i;", 1, 1, 5, 5), head=BOMB + "]>"))
    put("bomb of cvat", "cvat", cvat("&i;", head=BOMB + "]>"))
    put("outside entity", "voc", voc(BOX.format("&x;", 1, 1, 5, 5), head='<!DOCTYPE a [<!ENTITY x SYSTEM "1.png">]>'))
    put("deep list", "coco", DEEP * 100)
    put("deep object", "labelme", NESTED * 10)
    put("long number", "coco", coco(box={"bbox": [1, 1, 5, 7777]}).replace("7777", "7" * 5_000_000))
    put("alias bomb", "yolo", "0 .5 .5 .5 .5")
    layers = "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    (tmp_path / "alias bomb" / "data.yaml").write_text(f"a: &a [x]\n{layers}names: *j\n")
    put("a million numbers", "yolo", "0 " + "0.5 " * 1_000_000)
    put("a long field", "csv", BOXES_CSV + "1.png," + "a" * 20_000_000)
    for size in ((9999, 9999), (65535, 65535)):
        for suffix in ("PNG", "GIF", "BMP", "JPEG"):
            if suffix in ("GIF", "JPEG") and size[0] == 9999:
                continue  # a small frame on a large canvas is a sound GIF, and libjpeg fills what is missing with grey
            name = f"{suffix} of {size[0]}"
            path = put(name, "labelme", labelme(imageWidth=size[0], imageHeight=size[1]))
            lying(path.parent / "1.png", suffix, *size)
    blown = b"zTXta\0\0" + zlib.compress(bytes(200_000_000), 9)
    path = put("PNG of much text", "labelme", labelme())
    picture = (source / "1.png").read_bytes()
    chunk = struct.pack(">I", len(blown) - 4) + blown + struct.pack(">I", zlib.crc32(blown))
    (path.parent / "1.png").write_bytes(picture[:33] + chunk + picture[33:])
    one = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 64, "int32"), ["a" * 12_000_000])
    unfolds = {"parquet": ("image", ""), "imagefolder": ("file_name", "metadata.parquet")}
    for format, (image, file) in unfolds.items():
        path = put(f"{format} that unfolds", format, b"", file)
        table = pyarrow.table({image: ["1.png"] * 64, "label": one})
        pyarrow.parquet.write_table(table, path, dictionary_pagesize_limit=1 << 30)
    for format in sorted(FILES.keys() - {"folders", "imagenet"}):
        path = put(f"nothing but room: {format}", format, "")
        os.truncate(path, HUGE)
    for name, (code, told) in caged(tmp_path, sources).items():
        assert code in (1, 2) and one_line(told), (name, code, told[-600:])
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_what_may_not_be_read_is_told(source: Path, tmp_path: Path) -> None:
    """Files, folders and pictures without any right, and pipes in the place of files, in every format."""
    sources: dict[str, tuple[str, Path]] = {}
    shut: list[Path] = []
    for format, file in FILES.items():
        for kind in ("file", "folder", "pipe"):
            root = tmp_path / f"{kind} of {format}"
            path = root / file
            path.parent.mkdir(parents=True)
            (root / "1.png").write_bytes((source / "1.png").read_bytes())
            if format == "imagenet":
                shutil.copytree(source / "n01440764", root / "n01440764")
                shutil.copytree(source / "n01443537", root / "n01443537")
            if kind == "pipe":
                os.mkfifo(path)
            else:
                path.write_text("{}")
                shut.append(path if kind == "file" else path.parent)
            sources[root.name] = format, path if format in ONE_FILE else root
        sources[f"guess: pipe of {format}"] = "", tmp_path / f"pipe of {format}"
    del sources["file of folders"]  # a picture, which is tried below
    del sources["pipe of imagenet"], sources["guess: pipe of imagenet"]  # classes then go by their ids
    picture = tmp_path / "picture"
    picture.mkdir()
    (picture / "1.png").write_bytes((source / "1.png").read_bytes())
    (picture / "1.json").write_text(labelme())
    shut.append(picture / "1.png")
    sources["picture"] = "labelme", picture
    for path in shut:
        path.chmod(0)
    try:
        refused = caged(tmp_path, sources)
        wrong = {name: told for name, (code, told) in refused.items() if code not in (1, 2) or not one_line(told)}
        assert not wrong
        rights = {name: told for name, (_, told) in refused.items() if name.split()[0] in ("file", "folder", "picture")}
        assert not {name: told for name, told in rights.items() if "ermission" not in told}
    finally:
        for path in shut:
            path.chmod(0o700)
