"""COCO's twelve figures are those of pycocotools, on real detections to six digits."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from rise_vlm.tasks import TASKS
from rise_vlm.tasks.detection import Detection
from rise_vlm.tasks.detection_coco import FIGURES, coco_figures

OFFICIAL = [0.503647, 0.696973, 0.571667, 0.593252, 0.557991, 0.489363,
            0.386813, 0.593680, 0.595353, 0.654764, 0.603130, 0.553744]  # fmt: skip
PHOTOS = [0.346958, 0.610030, 0.353714, 0.075181, 0.339482, 0.497881, 0.373505, 0.520647, 0.522570]

REAL = Path(__file__).parents[3] / "shared" / "data" / "det-voc100-multiformat"


@pytest.fixture
def real():
    if not REAL.is_dir():
        pytest.skip("there is no ../shared/data/det-voc100-multiformat")
    return REAL


def by_name(truth_file, found_file):
    """(pairs, classes) of two COCO files, joined by file name and class name: their ids do not agree."""
    truth, found = (json.loads(path.read_text(encoding="utf-8")) for path in (truth_file, found_file))
    in_order = sorted(truth["images"], key=lambda image: image["id"])  # in which boxes of equal score are ranked
    images = {image["file_name"]: ([], []) for image in in_order}
    for side, part in enumerate((truth, found)):
        files = {image["id"]: image["file_name"] for image in part["images"]}
        names = {category["id"]: category["name"] for category in part["categories"]}
        for one in part["annotations"]:
            x, y, width, height = one["bbox"]
            thing = {"label": names[one["category_id"]], "box": [x, y, x + width, y + height]}
            images[files[one["image_id"]]][side].append(thing | ({"score": one["score"]} if side else {}))
    return list(images.values()), [category["name"] for category in truth["categories"]]


def test_the_figures_of_the_official_evaluation(real):
    folder = real / "tests" / "test_coco_eval"
    truth, found = folder / "gts" / "sampled_gts_bbox_area.json", folder / "dets" / "sampled_bbox_results.json"
    pairs, classes = by_name(truth, found)
    figures = coco_figures(pairs, classes)
    assert list(figures) == list(FIGURES)
    assert list(figures.values()) == pytest.approx(OFFICIAL, abs=6e-7)


def test_the_figures_of_a_hundred_photos(real):
    folder = real / "database"
    truth = folder / "gts" / "coco_format_v1" / "instances_default.json"
    pairs, classes = by_name(truth, folder / "dets" / "coco_format" / "coco_dets.json")
    assert list(coco_figures(pairs, classes).values())[:9] == pytest.approx(PHOTOS, abs=6e-7)
    task = Detection(classes)
    assert task.split_metrics(pairs)["ap"] == pytest.approx(PHOTOS[0], abs=6e-7)


def drawn(rng, classes, scored):
    def rank():
        return {"score": rng.random()} if scored else {}

    def thing():
        x, y = rng.uniform(0, 400), rng.uniform(0, 400)
        box = [x, y, x + rng.uniform(4, 150), y + rng.uniform(4, 150)]
        return {"label": rng.choice(classes), "box": box} | rank()

    pairs = []
    for _ in range(12):
        truth = [thing() for _ in range(rng.randrange(4))]
        near = [one | {"box": [n + rng.uniform(-6, 6) for n in one["box"]]} | rank() for one in truth]
        pairs.append((truth, near[: rng.randrange(4)] + [thing() for _ in range(rng.randrange(3))]))
    return pairs


@pytest.mark.parametrize("scored", [True, False])
def test_random_boxes_have_pycocotools_figures(scored):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    classes = ["car", "dog", "bus"]
    pairs = drawn(random.Random(int(scored)), classes, scored)
    known = coco.COCO()
    rows = [(i, one) for i, (truth, _) in enumerate(pairs) for one in truth]
    known.dataset = {
        "images": [{"id": i} for i in range(len(pairs))],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
        "annotations": [{**row(i, one, classes), "id": n, "iscrowd": 0} for n, (i, one) in enumerate(rows, 1)],
    }
    known.createIndex()
    boxes = [(i, one) for i, (_, found) in enumerate(pairs) for one in found]
    found = [{**row(i, one, classes), "score": one.get("score", 1.0)} for i, one in boxes]
    run = COCOeval(known, known.loadRes(found), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert list(coco_figures(pairs, classes).values()) == pytest.approx(list(run.stats), abs=1e-9)


def row(image, one, classes):
    x1, y1, x2, y2 = one["box"]
    box = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": image, "category_id": classes.index(one["label"]), "bbox": box, "area": box[2] * box[3]}


def test_nothing_found_and_nothing_true_are_as_the_evaluator_has_them():
    small, far = {"label": "car", "box": [0, 0, 20, 20]}, {"label": "dog", "box": [200, 200, 230, 230]}
    missed = coco_figures([([small], None), ([small], [])], ["car", "dog"])
    assert missed == coco_figures([([small], [far]), ([small], [])], ["car", "dog"])
    assert (missed["ap"], missed["ap_small"], missed["ap_large"]) == (0, 0, -1)
    assert set(coco_figures([([], [small]), ([], None)], ["car"]).values()) == {-1.0}
    task = Detection(["car", "dog"])
    assert task.split_metrics([([], [small])]) == {}
    assert "ap_large" not in task.split_metrics([([small], [small])])


def test_perfect_answers_have_perfect_figures_and_the_evaluator_is_silent(capfd):
    boxes = [{"label": name, "box": [0, 0, side, side]} for name in ("car", "dog") for side in (20, 60, 200)]
    figures = coco_figures([(boxes, boxes)] * 3, ["car", "dog"])
    assert {name for name, value in figures.items() if value < 0.999} == {"ar1"}
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_other_tasks_have_no_figures_of_a_whole_split(things):
    assert things.split_metrics([("dog", "dog")]) == {}
    assert "detection" in TASKS
