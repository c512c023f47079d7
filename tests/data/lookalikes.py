"""Small folders that look like the real data sets of the paper: the same names, layouts and keys, drawn pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SIZE = (64, 48)
WNIDS = {
    "n01440764": "tench, Tinca tinca",
    "n01443537": "goldfish, Carassius auratus",
    "n02012849": "crane",
    "n03126707": "crane",
    "n02113186": "Cardigan, Cardigan Welsh corgi",
    "n02963159": "cardigan",
}


def picture(path: Path, seed: int) -> None:
    """A picture of its own, PNG or JPEG by the name."""
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", SIZE, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.randrange(SIZE[0]), rng.randrange(SIZE[1])
        draw.rectangle((x, y, x + rng.randrange(4, 30), y + rng.randrange(4, 30)), fill=rng.randrange(1 << 24))
    image.save(path, format="PNG" if path.suffix == ".png" else "JPEG")


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def ilsvrc(root: Path, names: dict[str, str] = WNIDS, train: int = 3, val: int = 1) -> Path:
    """ImageNet as it is unpacked: folders of train, a flat val with its solution, a test without labels, box files."""
    data = root / "ILSVRC" / "Data" / "CLS-LOC"
    solution = ["ImageId,PredictionString"]
    number = 0
    for at, id_ in enumerate(names):
        for image in range(train):
            picture(data / "train" / id_ / f"{id_}_{image}.JPEG", 1000 * at + image)
        for image in range(val):
            number += 1
            picture(data / "val" / f"ILSVRC2012_val_{number:08}.JPEG", 1000 * at + 500 + image)
            solution.append(f"ILSVRC2012_val_{number:08},{id_} 1 2 30 40 {id_} 5 6 20 30 ")
        box = f"<annotation><folder>{id_}</folder><object><name>{id_}</name></object></annotation>"
        write(root / "ILSVRC" / "Annotations" / "CLS-LOC" / "train" / id_ / f"{id_}_0.xml", box)
    picture(data / "test" / "ILSVRC2012_test_00000001.JPEG", 7)
    write(root / "ILSVRC" / "ImageSets" / "CLS-LOC" / "train_cls.txt", "n01440764/n01440764_0 1\n")
    write(root / "LOC_synset_mapping.txt", "".join(f"{id_} {told}\n" for id_, told in names.items()))
    write(root / "LOC_val_solution.csv", "\n".join(solution) + "\n")
    write(root / "LOC_train_solution.csv", "ImageId,PredictionString\nn01440764_0,n01440764 1 2 30 40 \n")
    write(root / "LOC_sample_submission.csv", "ImageId,PredictionString\n")
    return root


def class_folders(root: Path, names: Sequence[str] = tuple(WNIDS), each: int = 4) -> Path:
    """ImageNet as a folder for each WordNet id."""
    for at, id_ in enumerate(names):
        for image in range(each):
            picture(root / id_ / f"{id_}_{image}.JPEG", 100 * at + image)
    return root


def coco2017(root: Path, labels: Sequence[str], train: int = 24, val: int = 6) -> Path:
    """COCO 2017: instances, captions and key points, images in train2017 and val2017; boxes of the labels in turn."""
    categories = [{"id": 3 * at + 1, "name": name, "supercategory": "x"} for at, name in enumerate(labels)]
    for split, number in (("train", train), ("val", val)):
        images: list[Any] = []
        boxes: list[Any] = []
        for image in range(number):
            name = f"{image + 1000 * len(split):012}.jpg"
            picture(root / f"{split}2017" / name, image + 1000 * len(split))
            images.append({"id": image, "file_name": name, "width": SIZE[0], "height": SIZE[1], "license": 1})
            for k in range(image % 3):
                category = categories[(image + k) % len(categories)]["id"]
                box = {"id": len(boxes), "image_id": image, "category_id": category, "bbox": [4 * k + 1, 3, 20, 15]}
                boxes.append(box | {"iscrowd": 0, "area": 300, "segmentation": [[1, 1, 5, 5, 1, 5]]})
        head = {"info": {"year": 2017}, "licenses": [], "images": images}
        folder = root / "annotations"
        write(folder / f"instances_{split}2017.json", head | {"annotations": boxes, "categories": categories})
        words = [{"id": image, "image_id": image, "caption": "A thing."} for image in range(number)]
        write(folder / f"captions_{split}2017.json", head | {"annotations": words})
        points = {"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}
        write(folder / f"person_keypoints_{split}2017.json", head | {"annotations": [], "categories": [points]})
    return root


def emotion6(root: Path, each: int = 3) -> Path:
    """Emotion6: a table of tabs, images in six folders, a readme and one more text file that sorts before the table."""
    lines = ["[image_filename]\t[valence]\t[arousal]\t[prob. (anger)]\t[prob. (disgust)]"]
    for at, word in enumerate(("anger", "disgust", "fear", "joy", "sadness", "surprise")):
        for image in range(1, each + 1):
            picture(root / "images" / word / f"{image}.jpg", 100 * at + image)
            lines.append(f"{word}/{image}.jpg\t2.5\t3.8\t0.133333\t0.7\t0\t0.0666667\t0.1\t0\t0")
    write(root / "ground_truth.txt", "\n".join(lines) + "\n")
    write(root / "readme.txt", "Cornell Emotion6 Image Database\n")
    write(root / "flickr_ids.txt", "anger/1.jpg 123\n")
    return root


def reasonseg(root: Path, splits: Sequence[str] = ("train", "val"), each: int = 6) -> Path:
    """ReasonSeg: an image and a JSON file side by side, and the list of explanations."""
    for split in splits:
        for image in range(each):
            picture(root / split / f"{image}_x.jpg", image + 100 * len(split))
            shape = {"label": "target", "labels": ["target"], "shape_type": "polygon", "image_name": f"{image}_x.jpg"}
            shape |= {"points": [[5 + image, 5], [30, 6.5], [20, 30]], "group_id": None, "flags": {}}
            other = shape | {"label": "ignore"}
            texts = ["what keeps the rain off?"] * (1 + image % 2)
            write(root / split / f"{image}_x.json", {"text": texts, "is_sentence": True, "shapes": [shape, other]})
    told = [{"image": "0_x.jpg", "query": "what keeps the rain off?", "outputs": "The umbrella does."}]
    write(root / "explanatory" / "train.json", told)
    return root


def reason_rft(root: Path, train: int = 24, test: int = 4) -> Path:
    """Reason-RFT's release: ten files of three tasks and one of another set; images in folders of their own."""
    files = {
        "train_jsons/A1-Spatial-Transformation-train-60k-cot": "train_images/trance",
        "train_jsons/A2-Structure-Perception-train-4k5-cot": "train_images/geomath",
        "train_jsons/A3-Visual-Counting-train-35k-cot": "train_images/clevr-math",
        "train_jsons/IconQA-train-5270-cot": "train_images/iconqa",
        "test_jsons/Spatial-Transformation-id-test-1k": "test_images/Spatial-Transformation-id-test-1k",
        "test_jsons/Spatial-Transformation-ood-left-test-1k": "test_images/Spatial-Transformation-ood-left-test-1k",
        "test_jsons/Spatial-Transformation-ood-right-test-1k": "test_images/Spatial-Transformation-ood-right-test-1k",
        "test_jsons/Structure-Perception-id-test-820": "test_images/Structure-Perception-id-test-820",
        "test_jsons/Structure-Perception-ood-test-800": "test_images/Structure-Perception-ood-test-800",
        "test_jsons/Visual-Counting-id-test-1k": "test_images/Visual-Counting-id-test-1k",
        "test_jsons/Visual-Counting-ood-test-1k": "test_images/Visual-Counting-ood-test-1k",
    }
    for at, (file, folder) in enumerate(files.items()):
        rows: list[Any] = []
        for k in range(train if "train" in file else test):
            names = [f"{k}-init.png", f"{k}-fin.png"] if "Transformation" in file else [f"{k}.png"]  # alike in all sets
            for which, name in enumerate(names):
                picture(root / "images" / folder / name, 1000 * at + 2 * k + which)
            paths = [f"images/{folder}/{name}" for name in names]
            row: dict[str, Any] = {"id": f"{Path(file).stem}-{k}", "image": paths if len(paths) > 1 else paths[0]}
            if "Transformation" in file:
                row |= {"problem": "Which functions?", "answer": f"change_color({k % 10}, cyan)"}
            elif "Structure" in file:
                choice = {"problem": "Find x. A. 1 B. 2 C. 3 D. 4", "answer": "ABCD"[k % 4]}
                row |= choice if k % 2 else {"problem": "Find x.", "answer": str(k + 1)}
            else:
                row |= {"problem": "How many spheres are left?", "answer": str(k % 7)}
            rows.append(row | ({"cot": "First I look at the things."} if "train" in file else {}))
        write(root / f"{file}.json", rows)
    return root


VEHICLES = (("small", "red", "metal", "suv"), ("large", "blue", "rubber", "jet"), ("small", "red", "rubber", "tandem"))


def super_clevr(root: Path, scenes: int = 6) -> Path:
    """Super-CLEVR: scenes one by one, images, and a file of questions of which one counts."""
    asked: list[Any] = []
    for at in range(scenes):
        name = f"superCLEVR_new_{at:06}"
        picture(root / "images" / f"{name}.png", at)
        things = [{"size": z, "color": c, "material": m, "shape": s, "pixel_coords": [[9 + at, 9, 10.5], [640, 480]]}
                  for z, c, m, s in VEHICLES]  # fmt: skip
        scene = {"objects": things, "directions": {}, "relationships": {}, "split": "new", "image_index": at}
        write(root / "scenes" / f"{name}.json", scene | {"image_filename": f"{name}.png"})
        for question, answer in (("How many red things are there?", 2), ("Is there a bus?", False)):
            asked.append({"question": question, "answer": answer, "image_filename": f"{name}.png", "split": "new"})
    write(root / "superCLEVR_questions_5.json", {"info": {"split": "new"}, "questions": asked})
    return root


def geometry3k(root: Path, each: int = 3) -> Path:
    """Geometry3K: a folder per problem below train, val and test."""
    for at, split in enumerate(("train", "val", "test")):
        for k in range(each):
            folder = root / split / str(100 * at + k)
            for name in ("img_diagram.png", "img_diagram_point.png", "img_problem.png"):
                picture(folder / name, 100 * at + k)
            problem = {"problem_text": "Find x.", "choices": ["1", "2", "3", "4"], "answer": "ABCD"[k], "id": k}
            write(folder / "data.json", problem | {"precise_value": [1.0, 2.0, 3.0, 4.0], "data_type": split})
            write(folder / "logic_form.json", {"text_logic_form": ["Find(x)"], "point_positions": {"A": [1.0, 2.0]}})
    return root


def trance(root: Path, samples: int = 3) -> Path:
    """TRANCE: samples with states before and after, and a picture of each camera."""
    cameras = {"Camera_Center": "C", "Camera_Left": "L", "Camera_Right": "R"}
    for at in range(samples):
        thing = {"shape": "cube", "size": "small", "color": "red", "material": "metal", "position": [at, 0]}
        for k, name in enumerate(("init.C", "fin.C", "fin.L", "fin.R")):
            picture(root / f"img_{at:06}-{name}.png", 10 * at + k)
        last = {camera: f"/src/assets/img_{at:06}-fin.{letter}.png" for camera, letter in cameras.items()}
        images = [{"Camera_Center": f"/src/assets/img_{at:06}-init.C.png"}, last]
        things = [thing, thing | {"color": "cyan"}]
        states = [{"objects": [one], "images": names} for one, names in zip(things, images, strict=True)]
        step = {"obj_idx": 0, "attr": "color", "val": "cyan", "options": ["cyan"]}
        write(root / f"{at}.json", {"idx": at, "states": states, "transformations": [step]})
    return root


def nlvr(root: Path, origins: int = 3) -> Path:
    """NLVR: lines in files called .json, pictures in numbered folders."""
    for at, split in enumerate(("train", "dev", "test")):
        lines: list[str] = []
        for k in range(2 * origins):
            id_ = f"{k // 2}-{k % 2}"
            picture(root / split / "images" / "0" / f"{split}-{id_}-0.png", 100 * at + k)
            row = {
                "sentence": "There is a box.",
                "label": ("true", "false")[k % 2],
                "identifier": id_,
                "directory": "0",
            }
            lines.append(json.dumps(row | {"evals": {}, "structured_rep": [[], [], []]}))
        write(root / split / f"{split}.json", "\n".join(lines) + "\n")
    return root
