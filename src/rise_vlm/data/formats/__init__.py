"""Foreign formats: one file each, and one line in ``FORMATS``.

A format module may read, with ``read(source, options)``, a generator of what it finds (see ``base``): items, problems
and things left out on purpose. It opens annotation files only; images are opened by ``data.importing``. It may write,
with ``write_file(entries, path, target)`` or ``write(entries, out, target)``; images are copied by ``data.exporting``.
``sees(glimpse)`` says what makes it think that a source is of its format (see ``guessing``); ``task_for(source)``,
where there is one, which task the content of a source speaks for.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from rise_vlm.data.formats.base import FileWriter, FolderWriter, Reader
from rise_vlm.errors import UserError, nearest

FEATURES = {
    "id": "record ids",
    "split": "splits",
    "classes": "classes without a box",
    "empty": "images without a box",
    "question": "questions",
    "rationale": "rationales",
    "score": "scores",
    "meta": "meta",
    "more": "images after the first",
}
"""What a written file may keep beside the annotation; what a format does not keep is counted and said."""


@dataclass(frozen=True)
class Format:
    """A format's module, the tasks it reads and writes (the first is the default), the import options that mean
    something to it, what it looks like, and which of FEATURES it keeps when it is written and read again.
    """

    module: str
    tasks: tuple[str, ...]
    options: frozenset[str] = frozenset()
    reads: str = ""
    writes: tuple[str, ...] = ()
    keeps: frozenset[str] = frozenset()
    beware: str = ""

    def load(self) -> ModuleType:
        """The format's module."""
        return importlib.import_module(f"rise_vlm.data.formats.{self.module}")

    @property
    def takes_prefix(self) -> bool:
        """Whether its files may name images by addresses that begin alike."""
        return getattr(self.load(), "TAKES_PREFIX", False)

    def task_for(self, source: Path) -> str:
        """The task to read ``source`` for where the user names none: what its content speaks for, else the first."""
        propose = getattr(self.load(), "task_for", None)
        return (propose(source) if propose else None) or self.tasks[0]

    def load_reader(self) -> Reader:
        """The format's module, which reads."""
        return cast(Reader, self.load())

    def load_writer(self) -> FileWriter | FolderWriter:
        """The format's module, which writes."""
        return cast("FileWriter | FolderWriter", self.load())


TEXTS = ("grounding", "classification", "detection", "distribution", "counting", "structure", "transformation")
BOXES = ("detection", "grounding", "classification")
PHOTOS = frozenset({"images"})
CHOICE = frozenset({"classes"})
QUESTION = frozenset({"images", "question", "boxes"}) | CHOICE

FORMATS = {
    "folders": Format(
        "folders",
        ("classification",),
        CHOICE,
        reads="a folder per class, with or without train, val and test above",
        writes=("classification",),
        keeps=frozenset({"split"}),
    ),
    "imagenet": Format(
        "imagenet",
        ("classification",),
        CHOICE,
        reads="ImageNet: a folder per WordNet id, or the ILSVRC layout; names from a mapping file beside them",
        beware="images of the test set have no labels and are left out",
    ),
    "csv": Format(
        "csv",
        ("classification", "detection", "grounding", "distribution"),
        QUESTION | {"columns"},
        reads="a table with the columns image and label; boxes in more columns, or one column per class",
        writes=("classification", "detection", "grounding", "distribution"),
        keeps=frozenset({"id", "split", "empty", "question", "rationale", "score"}),
    ),
    "voc": Format(
        "voc",
        BOXES,
        QUESTION,
        reads="a folder of Pascal VOC (or ImageNet) XML files",
        writes=("detection",),
        keeps=frozenset({"split", "empty"}),
        beware="coordinates count from 0 and are not rounded",
    ),
    "coco": Format(
        "coco",
        BOXES,
        QUESTION,
        reads="a COCO JSON file of instances, or a folder of them",
        writes=("detection",),
        keeps=frozenset({"split", "classes", "empty", "score"}),
        beware="masks, keypoints and captions are left out; crowds are skipped",
    ),
    "yolo": Format(
        "yolo",
        BOXES,
        QUESTION,
        reads="label files beside or parallel to the images, names from data.yaml, obj.names or classes.txt",
        writes=("detection",),
        keeps=frozenset({"split", "classes", "empty"}),
        beware="segments become the box around them; rotated boxes are refused",
    ),
    "labelstudio": Format(
        "labelstudio",
        ("detection", "grounding", "classification", "distribution"),
        QUESTION,
        reads="Label Studio JSON: tasks with annotations, or else predictions",
        writes=("detection", "grounding", "classification", "distribution"),
        keeps=frozenset({"id", "split", "empty", "question", "rationale", "score"}),
        beware="polygons, ellipses and rotated shapes become the box around them; what a person cancelled is skipped",
    ),
    "cvat": Format(
        "cvat",
        BOXES,
        QUESTION,
        reads="CVAT XML 1.1 for images or for videos",
        writes=("detection", "classification"),
        keeps=frozenset({"split", "classes", "empty"}),
        beware="polygons and rotated boxes become the box around them; other shapes are skipped",
    ),
    "labelme": Format(
        "labelme",
        BOXES,
        QUESTION,
        reads="a LabelMe JSON file per image",
        writes=("detection",),
        keeps=frozenset({"split", "empty"}),
        beware="polygons and circles become the box around them; an image inside of the JSON is not used",
    ),
    "openimages": Format(
        "openimages",
        BOXES,
        QUESTION,
        reads="Open Images box CSV, with class descriptions",
        writes=("detection",),
        keeps=frozenset({"split", "score"}),
        beware="groups (IsGroupOf) are skipped; decimal commas are read too",
    ),
    "reasonrft": Format(
        "reasonrft",
        TEXTS,
        PHOTOS | CHOICE,
        reads="Reason-RFT or Visual-RFT JSON: image, problem, solution or answer, cot",
        writes=TEXTS,
        keeps=frozenset({"id", "split", "empty", "question", "rationale", "more"}),
        beware="boxes are taken as pixels",
    ),
    "sharegpt": Format(
        "sharegpt",
        TEXTS,
        PHOTOS | CHOICE,
        reads="ShareGPT or LLaMA-Factory messages with images; the reply holds the answer, after <think> if it reasons",
        writes=TEXTS,
        keeps=frozenset({"id", "split", "empty", "question", "rationale", "more"}),
        beware="boxes are taken as pixels; of several turns the first counts",
    ),
    "swift": Format(
        "swift",
        ("detection", "grounding"),
        QUESTION,
        reads="ms-swift JSON lines with objects (ref, bbox, bbox_type)",
        writes=("detection", "grounding"),
        keeps=frozenset({"id", "split", "empty", "question", "rationale"}),
    ),
    "reasonseg": Format(
        "reasonseg",
        ("grounding",),
        frozenset({"images", "boxes"}),
        reads="ReasonSeg (LISA) JSON per image: the box around all target polygons, once per text",
        writes=("grounding",),
        keeps=frozenset({"split", "question"}),
        beware="shapes called ignore or flag are left out",
    ),
    "emotion6": Format(
        "emotion6",
        ("distribution",),
        PHOTOS,
        reads="Emotion6's ground_truth.txt: seven probabilities per image",
        beware="valence and arousal go to meta",
    ),
    "superclevr": Format(
        "superclevr",
        ("counting",),
        PHOTOS,
        reads="Super-CLEVR: scenes and questions; a question of ours of each CLEVR-Math family for every scene",
        beware="of the released questions those with a number for an answer are read",
    ),
    "geometry3k": Format(
        "geometry3k",
        ("structure",),
        frozenset({"redraw"}),
        reads="Geometry3K: a folder per problem with data.json and img_diagram.png; or the archive logic_forms.zip",
        beware="img_problem.png, which shows the text, is not used; of the archive it is asked what is written where",
    ),
    "trance": Format(
        "trance",
        ("transformation",),
        PHOTOS,
        reads="TRANCE: JSON with states and transformations; a record for each camera of the last picture",
        beware="centre, left and right become test, ood_left and ood_right",
    ),
    "nlvr": Format(
        "nlvr",
        ("classification",),
        PHOTOS | CHOICE,
        reads="NLVR: JSON lines with a sentence that is true or false of a picture",
        beware="of the six orders of the boxes the first is read",
    ),
    "fiftyone": Format(
        "fiftyone",
        ("detection", "grounding", "classification"),
        QUESTION | {"field"},
        reads="FiftyOne JSON: samples.json, or labels.json of an image dataset",
        writes=("detection", "classification"),
        keeps=frozenset({"split", "classes", "empty", "score"}),
    ),
    "parquet": Format(
        "parquet",
        ("classification", "detection", "grounding", "distribution"),
        QUESTION | {"columns"},
        reads="Parquet with an image column, as hub datasets have it: label, objects, or our annotation",
        writes=("classification", "detection", "grounding", "distribution"),
        keeps=frozenset({"id", "split", "classes", "empty", "question", "rationale", "score", "meta"}),
    ),
    "imagefolder": Format(
        "imagefolder",
        ("classification", "detection", "grounding", "distribution"),
        QUESTION | {"columns"},
        reads="the hub's image folders: metadata.jsonl, .csv or .parquet with file_name and label or objects",
        beware="images that no row names are left out",
    ),
    "hub": Format(
        "hub",
        ("classification", "detection", "grounding", "distribution"),
        QUESTION | {"columns"},
        reads="NAME or NAME:CONFIG of the Hugging Face hub, or a folder of save_to_disk; needs the extra `hub`",
        beware="it is downloaded into the cache of `datasets`, told before",
    ),
}


def find_format(name: str) -> Format:
    """The format called ``name``. Raises UserError naming the known ones."""
    if name not in FORMATS:
        raise UserError(f"There is no format '{name}' (known: {', '.join(FORMATS)}).{nearest(name, FORMATS)}")
    return FORMATS[name]
