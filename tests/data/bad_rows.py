"""Bad sources of all other formats."""

from __future__ import annotations

import json

from bad_sources import (
    BOMB,
    BOXES_CSV,
    DEEP,
    EMOTION,
    IMAGES_CSV,
    NESTED,
    Case,
    cvat,
    each,
    labelme,
    one,
    rft,
    seg,
    studio,
    swift,
    talk,
)

IN_ROWS: dict[str, Case] = {
    **each(
        "csv",
        "a.csv",
        {
            "empty": ("", "is empty"),
            "no image column": ("a,b\n1,2", "no column 'image'"),
            "no box columns": ("image,label\n1.png,cat", "no columns for boxes"),
            "bbox in one column": ('image,label,bbox\n1.png,cat,"[1,1,5,5]"', "no columns for boxes"),
            "column twice": ("image,image,label\n1,2,3", "twice"),
            "field of 200,000 letters": (BOXES_CSV + "1.png," + "a" * 200_000 + ",1,1,5,5", "is no CSV"),
            "NUL": (BOXES_CSV + "1\0.png,cat,1,1,5,5", ""),
        },
        whole=True,
    ),
    **each(
        "csv",
        "a.csv",
        {
            "not a share": ("image,joy,fear\n1.png,much,0.5", "is no number"),
            "sum": ("image,joy,fear\n1.png,0.7,0.7", "sum"),
            "negative share": ("image,joy,fear\n1.png,-0.5,1.5", ""),
        },
        task="distribution",
    ),
    **each(
        "labelstudio",
        "a.json",
        {
            "task is text": ('["x"]', "must be an object with data"),
            "no image": (studio(image=None), "names no image"),
            "image is number": (studio(image=3), "names no image"),
            "address": (studio(image="s3://bucket/1.jpg"), "is no file; fetch it"),
            "bad address": (studio(image="http://[::1/1.jpg"), "no address"),
            "traversal": (studio(image="../secret.png"), "leaves the folder"),
            "local traversal": (studio(image="/data/local-files/?d=../secret.png"), "leaves the folder"),
            "no numbers": (studio({"x": 1, "rectanglelabels": ["cat"]}), "not of four numbers"),
            "texts": (
                studio({"x": "1", "y": "1", "width": "5", "height": "5", "rectanglelabels": ["cat"]}),
                "not of four numbers",
            ),
            "no label": (studio({"x": 1, "y": 1, "width": 5, "height": 5}), "has no label"),
            "label is number": (
                studio({"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": [3]}),
                "has no label",
            ),
            "beyond 100 %": (
                studio({"x": 90, "y": 1, "width": 50, "height": 5, "rectanglelabels": ["cat"]}),
                "leaves the image",
            ),
            "rotation is text": (
                studio({"x": 1, "y": 1, "width": 5, "height": 5, "rotation": "a", "rectanglelabels": ["cat"]}),
                "no size or angle",
            ),
        },
    ),
    **each(
        "labelstudio",
        "a.json",
        {
            "object": ("{}", "must hold a list"),
            "deep": (DEEP, "nested too deeply"),
            "half": (studio()[:50], "is no JSON"),
        },
        whole=True,
    ),
    **each(
        "cvat",
        "a.xml",
        {
            "bomb": (cvat("", head=BOMB + "]>"), "declares entities"),
            "external entity": (
                cvat("&x;", head='<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
                "declares entities",
            ),
            "half": (cvat("")[:40], "no XML"),
            "other root": ("<annotation/>", "begins with <annotation>"),
            "deep": ("<annotations>" * 10_000 + "</annotations>" * 10_000, "nested more than"),
        },
        whole=True,
    ),
    **each(
        "cvat",
        "a.xml",
        {
            "no label": (cvat('<box xtl="1" ytl="1" xbr="5" ybr="5"/>'), "has no label"),
            "no corner": (cvat('<box label="cat" xtl="1" ytl="1" xbr="5"/>'), "is no number"),
            "text": (cvat('<box label="cat" xtl="a" ytl="1" xbr="5" ybr="5"/>'), "is no number"),
            "polygon of words": (cvat('<polygon label="cat" points="a,b;c,d"/>'), "is no number"),
            "polygon of threes": (cvat('<polygon label="cat" points="1,2,3;1,2,3"/>'), "no pair"),
            "no points": (cvat('<polygon label="cat" points=""/>'), "no pair"),
            "rotation is text": (
                cvat('<box label="cat" xtl="1" ytl="1" xbr="5" ybr="5" rotation="a"/>'),
                "is no number",
            ),
            "no name": (cvat("", name=" "), "has no name"),
            "traversal": (cvat("", name="../secret.png"), "leaves the folder"),
            "frame is text": (
                '<annotations><track label="a"><box frame="x" xtl="1" ytl="1" xbr="5" ybr="5"/></track></annotations>',
                "is no number",
            ),
            "frame without image": (
                '<annotations><track label="a"><box frame="7" xtl="1" ytl="1" xbr="5" ybr="5"/></track></annotations>',
                "frame_000007",
            ),
        },
    ),
    **each(
        "labelme",
        "1.json",
        {
            "empty": ("", "is no JSON"),
            "deep": (DEEP, "nested too deeply"),
            "list": ("[]", "no list 'shapes'"),
            "shapes is text": (labelme(shapes="x"), "no list 'shapes'"),
            "shape is text": (labelme(shapes=["x"]), "has no label"),
            "no points": (labelme(shape={"points": None}), "no pairs of numbers"),
            "one point": (labelme(shape={"points": [[1, 1]]}), "no pairs of numbers"),
            "points of text": (labelme(shape={"points": [["1", "1"], ["5", "5"]]}), "no pairs of numbers"),
            "points of ones": (labelme(shape={"points": [[1], [5]]}), "no pairs of numbers"),
            "label is number": (labelme(shape={"label": 3}), "has no label"),
            "outside": (labelme(shape={"points": [[1, 1], [99, 5]]}), "leaves the image"),
            "other size": (labelme(imageWidth=99), "99 x 10"),
        },
    ),
    **each(
        "openimages",
        "a.csv",
        {
            "text": (IMAGES_CSV + "1,,cat,1,a,0.5,0.1,0.5", "is no number"),
            "too few": (IMAGES_CSV + "1,,cat,1,0.1,0.5", "too few fields"),
            "no id": (IMAGES_CSV + ",,cat,1,0.1,0.5,0.1,0.5", "no ImageID"),
            "reversed": (IMAGES_CSV + "1,,cat,1,0.5,0.1,0.1,0.5", "corners swapped"),
            "beyond 1": (IMAGES_CSV + "1,,cat,1,0.5,2,0.1,0.5", "leaves the image"),
            "no image": (IMAGES_CSV + "none,,cat,1,0.1,0.5,0.1,0.5", "'none' is not in"),
        },
    ),
    **each(
        "openimages",
        "a.csv",
        {
            "no columns": ("a,b\n1,2", "it lacks ImageID"),
            "bytes": ((IMAGES_CSV + "1,,c\xe4t,1,0.1,0.5,0.1,0.5").encode("latin-1"), "not UTF-8"),
        },
        whole=True,
    ),
    **each(
        "swift",
        "a.jsonl",
        {
            "no objects": (swift(objects={"bbox": None}), "the lists ref and bbox"),
            "objects is list": (
                swift().replace('{"ref": ["cat"], "bbox": [[1, 1, 5, 5]]}', "[]"),
                "the lists ref and bbox",
            ),
            "too few refs": (
                swift(objects={"ref": ["a", "b"], "bbox": [[1, 1, 5, 5]] * 3}),
                "2 refs do not name 3 boxes",
            ),
            "bbox of text": (swift(objects={"bbox": [["1", "1", "5", "5"]]}), "not of four numbers"),
            "unknown type": (swift(objects={"bbox_type": "norm7"}), "neither real nor norm1"),
            "type is list": (swift(objects={"bbox_type": ["real"]}), "neither real nor norm1"),
            "two images": (swift(images=["1.png", "1.png"]), "2 images"),
            "no messages": (swift(messages=[]), "no messages"),
            "cut off": (swift()[:40], "no JSON"),
            "no UTF-8": (swift().replace("cat", "k\xe4fer").encode("latin-1").replace(b"\\u00e4", b"\xe4"), "no JSON"),
            "deep": (DEEP, "nested too deeply"),
            "a number": ("3", "must be an object"),
        },
    ),
    **each(
        "sharegpt",
        "a.json",
        {
            "no box": (talk("somewhere"), "no JSON"),
            "three numbers": (talk("[1, 2, 3]"), "no box of four numbers"),
            "NaN": (talk("[NaN, 1, 5, 5]"), "no box of four numbers"),
            "deep": (talk(DEEP), "nested too deeply"),
            "empty": (talk("<answer></answer>"), "is empty"),
            "content is number": (talk(3), "no text"),
            "no images": (talk(images=[]), "0 images"),
            "image is number": (talk(images=[3]), "names no image"),
            "absolute": (talk(images=["/etc/passwd"]), "not a relative path"),
            "one message": (talk(messages=[{"role": "user", "content": "?"}]), "do not begin with"),
            "role is missing": (talk(messages=[{"content": "?"}]), "no role"),
            "rows are texts": ('["x"]', "must be an object"),
        },
        task="grounding",
    ),
    **each(
        "reasonrft",
        "a.json",
        {
            "no problem": (rft(problem=None), "no problem"),
            "no solution": (rft(solution=None), "no solution"),
            "solution is object": (rft(solution={"a": 1}), "no JSON"),
            "image is null": (rft(image=None), "names no image"),
            "id used twice": (json.dumps(json.loads(rft(id="a")) * 2), "used before"),
        },
        task="grounding",
    ),
    **each(
        "reasonseg",
        "1.json",
        {
            "no text": (seg(text=3), "no lists text and shapes"),
            "no shapes": (seg(shapes=None), "no lists text and shapes"),
            "points of text": (seg(shape={"points": "abc"}), "no pairs of numbers"),
            "NaN": (seg(shape={"points": [[float("nan"), 1], [5, 5]]}), "no pairs of numbers"),
            "deep": (NESTED, "nested too deeply"),
            "flat": (seg(shape={"points": [[1, 1], [5, 1]]}), "no area"),
        },
        task="grounding",
    ),
    **each(
        "emotion6",
        "ground_truth.txt",
        {
            "text": (EMOTION.format("much"), "is no number"),
            "NaN": (EMOTION.format("nan"), "is no number"),
            "sum": (EMOTION.format("0.9"), "sum"),
            "columns": ("1.png\t1\t2", "has 3 columns"),
            "traversal": (EMOTION.format("0.5").replace("1.png", "../1.png"), "leaves the folder"),
        },
        task="distribution",
    ),
    **each(
        "nlvr",
        "dev.json",
        {
            "no sentence": (json.dumps({"identifier": "1-0", "label": "true", "directory": "1"}), "no sentence"),
            "another label": (
                json.dumps({"identifier": "1-0", "label": "maybe", "sentence": "A.", "directory": "1"}),
                "neither true nor false",
            ),
        },
        task="classification",
    ),
    **each(
        "imagenet",
        "LOC_synset_mapping.txt",
        {
            "nothing": ("", "no folder called by a WordNet id"),
            "no folder of a class": ("n01440764 tench, Tinca tinca", "no folder called by a WordNet id"),
        },
        task="classification",
        whole=True,
    ),
    **each(
        "fiftyone",
        "samples.json",
        {
            "sample is text": ('{"samples": ["x"]}', "with a filepath"),
            "box of text": (one(["a"] * 4), "not of four numbers"),
            "box of three": (one([0.1, 0.1, 0.5]), "not of four numbers"),
            "beyond 1": (one([0.5, 0.1, 0.9, 0.5]), "leaves the image"),
            "absolute": (one(filepath="/etc/passwd"), "not a relative path"),
            "no label": (one().replace('"cat"', "null"), "is no class"),
        },
    ),
    **each(
        "fiftyone",
        "samples.json",
        {
            "neither": ("{}", "neither samples nor labels"),
            "deep": (DEEP, "nested too deeply"),
        },
        whole=True,
    ),
    **each(
        "parquet",
        "a.parquet",
        {
            "empty": (b"", "no readable Parquet"),
            "text": (b"PAR1 and no more", "no readable Parquet"),
        },
        whole=True,
    ),
}
