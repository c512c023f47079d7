"""Readers of conversations and research sets on hand-written files: what stands in them, and what comes of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from format_kit import SIZE, found, put, put_text, skips, things
from PIL import Image

from rise_vlm.data.checking import Problem
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Item, Options
from rise_vlm.data.formats.guessing import guess


def test_conversations(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    told = "<think>It purrs.</think>\n<answer>cat</answer>"
    long = [
        {"from": "system", "value": "x"},
        {"from": "human", "value": "<image>What?"},
        {"from": "gpt", "value": told},
    ]
    parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    said = [("user", parts), ("assistant", "dog"), ("user", "?"), ("assistant", "!")]
    turns = [{"role": role, "content": content} for role, content in said]
    rows = [{"conversations": long, "image": "1.jpg"}, {"id": 7, "messages": turns, "images": [{"path": "1.jpg"}]}]
    file = put_text(tmp_path / "train.json", rows)
    assert guess(file)[0] == "sharegpt"
    read = found("sharegpt", file, "classification")
    items = [item for item in read if isinstance(item, Item)]
    assert [(i.id, i.question, i.rationale, i.annotation) for i in items] == [
        ("1.jpg#1", "What?", "It purrs.", "cat"),
        ("7", "What?", None, "dog"),
    ]
    assert skips(read) == ["a later turn of a conversation"]


def test_marks_in_the_text_tell_which_images_the_first_question_has(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")

    def said(*questions: str) -> list[dict[str, str]]:
        return [
            {"role": role, "content": text} for ask in questions for role, text in (("user", ask), ("assistant", "3"))
        ]

    both = ["1.jpg", "2.jpg"]
    rows = [
        {"id": "each", "messages": said("<image>How many?", "<image>And here?"), "images": both},
        {"id": "both", "messages": said("<image><image>How many?"), "images": both},
        {"id": "no marks", "messages": said("How many?"), "images": both},
        {"id": "second missing", "messages": said("<image><image>How many?"), "images": both[:1]},
        {"id": "only later", "messages": said("How many?", "<image>And here?"), "images": both[:1]},
    ]
    read = found("sharegpt", put_text(tmp_path / "train.json", rows), "counting")
    shown = {item.id: 1 + len(item.more) for item in read if isinstance(item, Item)}
    assert shown == {"each": 1, "both": 2, "no marks": 2}
    assert [(each.id, each.reason) for each in read if isinstance(each, Problem)] == [
        ("second missing", "the text has 2 marks <image>, and the row 1 of images"),
        ("only later", "the first question has no mark <image>, though a later one has"),
    ]
    row = {"id": "a", "image": both[:1], "problem": "<image><image>How many?", "answer": "3"}
    (bad,) = found("reasonrft", put_text(tmp_path / "a.json", [row]), "counting")
    assert isinstance(bad, Problem) and "2 marks" in bad.reason


@pytest.mark.parametrize(
    ("task", "answer", "annotation"),
    [
        ("grounding", "```json\n[{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"x\"}]\n```", [1, 2, 3, 4]),
        ("grounding", "[[1, 2, 3.5, 4]]", [1, 2, 3.5, 4]),
        ("detection", '[{"label": "cat", "bbox_2d": [1, 2, 3, 4]}]', [{"label": "cat", "box": [1, 2, 3, 4]}]),
        ("detection", "[]", []),
        ("distribution", "joy: 0.6, fear: .4", {"joy": 0.6, "fear": 0.4}),
        ("distribution", '{"joy": 1}', {"joy": 1}),
        ("counting", " 12 ", 12),
        ("structure", "B", "B"),
        ("structure", "(b)", "B"),
        ("structure", "yes", "Yes"),
        ("structure", r"\boxed{B}", "B"),
        ("structure", "8.70", "8.70"),
    ],
)  # fmt: skip
def test_answers_in_reason_rft_rows(tmp_path: Path, task: str, answer: str, annotation: Any) -> None:
    put(tmp_path, "1.jpg")
    row = {"id": "a", "image": ["1.jpg"], "problem": "<image>How?", "cot": "so", "answer": f"<answer>{answer}</answer>"}
    file = put_text(tmp_path / "a.jsonl", json.dumps(row) + "\n\n")
    assert guess(file)[0] == "reasonrft"
    (item,) = found("reasonrft", file, task)
    assert isinstance(item, Item)
    assert (item.annotation, item.question, item.rationale) == (annotation, "How?", "so")


def test_swift_objects_in_shares_and_marks(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    talk = [{"role": "user", "content": "<image>Find <ref-object>"}, {"role": "assistant", "content": "<bbox>"}]
    rows = [
        {
            "messages": talk,
            "images": ["1.jpg"],
            "objects": {"ref": ["the cat"], "bbox": [[0.1, 0.2, 0.5, 0.9]], "bbox_type": "norm1"},
        },
        {"messages": talk, "images": ["1.jpg"], "objects": {"ref": ["sheep"], "bbox": [[1, 2, 3, 4], [5, 6, 7, 8]]}},
    ]
    file = put_text(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert guess(file)[0] == "swift"
    assert things(found("swift", file)) == [
        ("1.jpg", [("the cat", [20, 20, 100, 90])]),
        ("1.jpg", [("sheep", [1, 2, 3, 4]), ("sheep", [5, 6, 7, 8])]),
    ]
    first = found("swift", file, "grounding")[0]
    assert isinstance(first, Item) and first.question == "Find the cat" and first.meta == {"class": "the cat"}


def test_reasonseg_takes_the_box_around_all_targets_for_each_text(tmp_path: Path) -> None:
    put(tmp_path, "val/1.jpg")
    shapes = [
        {"label": "target", "points": [[10, 20], [30, 25], [20, 40]]},
        {"label": "target", "points": [[50, 5], [60, 5], [60, 9]]},
        {"label": "ignore", "points": [[0, 0], [199, 99]]},
        {"label": "flag", "points": [[0, 0], [9, 9]]},
    ]
    put_text(
        tmp_path / "val" / "1.json",
        {"text": ["what keeps me dry?", "rain gear"], "is_sentence": True, "shapes": shapes},
    )
    assert guess(tmp_path)[0] == "reasonseg"
    read = found("reasonseg", tmp_path, "grounding")
    items = [item for item in read if isinstance(item, Item)]
    assert [(i.id, i.question, i.annotation, i.split) for i in items] == [
        ("val/1.jpg#1", "what keeps me dry?", [10, 5, 60, 40], "val"),
        ("val/1.jpg#2", "rain gear", [10, 5, 60, 40], "val"),
    ]
    assert sorted(skips(read)) == ["a shape called flag", "a shape called ignore"]


def test_emotion6(tmp_path: Path) -> None:
    put(tmp_path, "images/disgust/1.jpg")
    head = "[image_filename]\t[valence]\t[arousal]\t[prob. (anger)]\n"
    put_text(tmp_path / "ground_truth.txt", head + "disgust/1.jpg\t2.5\t3.8\t0.133333\t0.7\t0\t0.0666667\t0.1\t0\t0\n")
    assert guess(tmp_path)[0] == "emotion6"
    read = found("emotion6", tmp_path, "distribution")
    (item,) = [item for item in read if isinstance(item, Item)]
    assert item.annotation == {"anger": 0.133333, "disgust": 0.7, "joy": 0.0666667, "sadness": 0.1}
    assert item.meta == {"valence": 2.5, "arousal": 3.8} and item.image == tmp_path / "images" / "disgust" / "1.jpg"


def test_fiftyone_samples_and_labels(tmp_path: Path) -> None:
    put(tmp_path, "data/1.jpg")
    box = {"_cls": "Detection", "label": "cat", "bounding_box": [0.1, 0.2, 0.3, 0.4], "confidence": None}
    other = {"_cls": "Detections", "detections": [box | {"label": "dog", "confidence": 0.5}]}
    sample = {"filepath": "data/1.jpg", "tags": ["x", "validation"], "metadata": {"width": 200, "height": 100}}
    sample |= {"a_model": other, "ground_truth": {"_cls": "Detections", "detections": [box]}}
    file = put_text(tmp_path / "samples.json", {"samples": [sample]})
    assert guess(file)[0] == "fiftyone"
    read = found("fiftyone", file)
    assert things(read) == [("1.jpg", [("cat", [20, 20, 80, 60])])]
    assert [item.split for item in read if isinstance(item, Item)] == ["val"]
    labels = {"classes": ["cat", "dog"], "labels": {"1": [{"label": 1, "bounding_box": [0.1, 0.2, 0.3, 0.4]}]}}
    assert things(found("fiftyone", put_text(tmp_path / "labels.json", labels))) == [
        ("1.jpg", [("dog", [20, 20, 80, 60])])
    ]
    named = put_text(tmp_path / "labels.json", {"classes": ["cat", "dog"], "labels": {"1": 1}})
    assert [i.annotation for i in found("fiftyone", named, "classification") if isinstance(i, Item)] == ["dog"]


def test_parquet_of_the_hub(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE).save(buffer, "PNG")
    names = {"feature": {"category": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}
    features = {
        "image": {"_type": "Image"},
        "objects": names,
        "label": {"names": ["indoor", "outdoor"], "_type": "ClassLabel"},
    }
    row = {
        "image": {"bytes": buffer.getvalue(), "path": "../1.png"},
        "label": 1,
        "objects": {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1]},
    }
    table = pyarrow.Table.from_pylist([row, row])
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    assert guess(tmp_path)[0] == "parquet"
    reader = FORMATS["parquet"].load_reader()
    seen = []
    for each in reader.read(tmp_path, Options(task="detection")):
        if isinstance(each, Item):
            assert each.image.read_bytes() == buffer.getvalue() and each.image.name == "1.png"
            seen.append((each.split, each.group, each.annotation))
    assert [boxes for _, _, boxes in seen] == [[{"label": "dog", "box": [1, 2, 4, 6]}]] * 2
    assert seen[0][0] == "train" and seen[0][1] == seen[1][1]  # equal pictures are one group
    classified = reader.read(tmp_path, Options(task="classification"))
    assert [each.annotation for each in classified if isinstance(each, Item)] == ["outdoor"] * 2
