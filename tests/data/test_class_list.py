"""Class lists: how they are written, what they keep of a source, and what is said where they do not fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from format_kit import SIZE, put, put_text
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.class_list import Classes, ClassList, Listed
from rise_vlm.errors import DataError

BOX = [10, 10, 30, 20]


def listed(tmp_path: Path, *lines: str) -> ClassList:
    return ClassList.read(str(put_text(tmp_path / "list.txt", "\n".join(lines))))


def test_a_file_has_a_class_a_line_with_synonyms_ids_and_notes(tmp_path: Path) -> None:
    read = listed(
        tmp_path,
        "\ufeff# ours",
        "traffic light: lights, signal, Signal",
        "",
        "n01440764 tench, Tinca tinca",
        "n02012849",
        "n03126707: hoist",
        "кошка",
        "goldfish, Carassius n01443537",
    )
    assert read.lines == (
        Listed("traffic light", "", ("lights", "signal"), 2),
        Listed("tench", "n01440764", ("Tinca tinca",), 4),
        Listed("", "n02012849", (), 5),
        Listed("", "n03126707", ("hoist",), 6),
        Listed("кошка", "", (), 7),
        Listed("goldfish", "n01443537", ("Carassius",), 8),
    )


def test_a_comma_list_has_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [line.name for line in ClassList.read("cat, traffic light").lines] == ["cat", "traffic light"]
    assert len(ClassList.read(", ".join(f"class {n}" for n in range(1000))).lines) == 1000  # longer than a file's name


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["cat", "dog", "Cat"], r"list\.txt: 'Cat' \(row 3\) is listed twice, first as 'cat' \(row 1\)"),
        (["n01440764", "n01440764 tench"], r"'tench' \(row 2\) is listed twice"),
        (["# none", ""], r"list\.txt names no class"),
        ([": a, b"], r"row 1 has synonyms and no name"),
        (["n01440764 n01443537"], r"row 1 must have one WordNet id, before or after its names, not 'n01440764 n0"),
        (["the n01440764 tench"], r"row 1 must have one WordNet id, before or after its names"),
        (
            ["dog", "cat: kitty, Dog"],
            r"'cat' \(row 2\) has the synonym 'Dog', which is .* itself, 'dog' \(row 1\); take",
        ),
    ],
)
def test_a_list_that_is_wrong_in_itself_is_refused(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        listed(tmp_path, *lines)


def test_a_file_that_is_absent_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*lst\.txt"):
        ClassList.read(str(tmp_path / "lst.txt"))
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text"):
        ClassList.read(str(tmp_path / "a.txt"))


def test_names_come_before_synonyms_and_a_synonym_of_two_classes_is_refused(tmp_path: Path) -> None:
    source = Classes(
        ("missile", "projectile", "crane (n1)", "crane (n2)"),
        {"crane (n1)": "n02012849", "crane (n2)": "n03126707"},
        {"projectile": ("missile",), "crane (n1)": ("crane",), "crane (n2)": ("crane",)},
    )
    assert list(listed(tmp_path, "Missile").among(source)) == ["missile"]
    with pytest.raises(DataError, match=r"'crane' \(row 1\) may mean .*; write n02012849 or n03126707 instead"):
        listed(tmp_path, "crane").among(source)
    chosen = listed(tmp_path, "n03126707 crane", "projectile: rocket")
    assert chosen.named(source) == {"crane": (), "projectile": ("rocket", "missile")}


IMAGENET = Classes(
    ("tench", "goldfish"),
    {"tench": "n01440764", "goldfish": "n01443537"},
    {"tench": ("Tinca tinca", "green tench"), "goldfish": ("Carassius",)},
)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["n01440764", "goldfish", "tench"],
            r"'n01440764' \(row 1\) and 'tench' \(row 3\) mean the same .*'tench' \(n01",
        ),
        (
            ["tench", "n01440764 doctor fish"],
            r"'tench' \(row 1\) and 'doctor fish' \(row 2\) mean the same class, 'tench'",
        ),
        (["tench", "tinca tinca"], r"'tench' \(row 1\) and 'tinca tinca' \(row 2\) mean the same class, 'tench'"),
        (["Tinca tinca", "green tench"], r"'Tinca tinca' \(row 1\) and 'green tench' \(row 2\) mean the same class"),
        (["n01440764", "goldfish: Tench"], r"'goldfish' \(row 2\) has the synonym 'Tench', .*'n01440764' \(row 1\)"),
        (
            ["n01440764 goldfish"],
            r"'goldfish' \(row 1\) goes with n01440764, which is 'tench' .*'goldfish' is n01443537",
        ),
        (["tenhc"], r"the one class of the list is not in src: 'tenhc' \(row 1; did you mean 'tench'\?\)\. It has 2"),
        (["tench", "wolf"], r"1 of 2 classes is not in src: 'wolf' \(row 2\)\. .*take this out\."),
    ],
)
def test_a_list_that_does_not_fit_its_source_is_refused_by_its_lines(
    tmp_path: Path, lines: list[str], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        listed(tmp_path, *lines).need_fit(IMAGENET, Path("src"))


def test_a_list_may_call_a_class_as_it_likes(tmp_path: Path) -> None:
    chosen = listed(tmp_path, "n01440764 green tench", "goldfish, Carassius n01443537")
    chosen.need_fit(IMAGENET, Path("src"))
    assert list(chosen.named(IMAGENET)) == ["green tench", "goldfish"]


def coco(source: Path, *images: tuple[str, ...]) -> Path:
    """A COCO file of images with a box for each of the labels; categories person, cat, dog, teddy bear."""
    names = ["person", "cat", "dog", "teddy bear"]
    content: dict[str, list[Any]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 7 * at, "name": name} for at, name in enumerate(names)]
    for number, labels in enumerate(images):
        put(source, f"{number}.jpg")
        content["images"].append({"id": number, "file_name": f"{number}.jpg", "width": SIZE[0], "height": SIZE[1]})
        for at, label in enumerate(labels):
            box = {"image_id": number, "category_id": 7 * names.index(label), "bbox": [10 * at, *BOX[1:]]}
            content["annotations"].append(box | {"id": len(content["annotations"])})
    return put_text(source / "instances.json", content)


def boxes_in(dataset: Path) -> dict[str, list[str]]:
    opened = Dataset.open(dataset)
    return {one.id: [b["label"] for b in one.annotation] for split in opened.splits for one in opened.records(split)}


IMAGES = (("person", "dog"), ("person",), ("cat", "dog", "cat"), (), ("teddy bear",))


def test_detection_keeps_the_boxes_of_the_list_in_its_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = coco(tmp_path / "source", *IMAGES), tmp_path / "out"
    command = ["data", "import", "coco", str(file), "--task", "detection", "--out", str(out)]
    assert run([*command, "--classes", "dog,CAT"]) == 0
    told = capsys.readouterr().out
    assert boxes_in(out) == {"0.jpg": ["dog"], "2.jpg": ["CAT", "dog", "CAT"]}
    assert Dataset.open(out).card.classes == ["dog", "CAT"]
    assert "Skipped: 3 x an image with none of the chosen classes" in told
    assert "Note: 3 images show none of the chosen classes and are left out; --keep-empty keeps such images" in told
    assert "Skipped: 3 x a box of a class that --classes leaves out" in told
    assert "Note: --classes keeps 2 of 4 classes" in told
    assert "Classes (2): dog 2, CAT 2" in told
    assert run([*command, "--classes", "dog,cat", "--keep-empty", "--force"]) == 0
    assert "Note: 3 images show none of the chosen classes and are kept with nothing to find" in capsys.readouterr().out
    assert boxes_in(out) == {"0.jpg": ["dog"], "1.jpg": [], "2.jpg": ["cat", "dog", "cat"], "3.jpg": [], "4.jpg": []}


def test_grounding_and_classification_keep_their_classes_too(tmp_path: Path) -> None:
    file, out = coco(tmp_path / "source", *IMAGES), tmp_path / "out"
    command = ["data", "import", "coco", str(file), "--out", str(out), "--classes"]
    assert run([*command, "dog,teddy bear", "--task", "grounding"]) == 0
    opened = Dataset.open(out)
    asked = {one.question for split in opened.splits for one in opened.records(split)}
    assert asked == {"Where is the dog?", "Where is the teddy bear?"} and opened.card.classes == []
    assert run([*command, "teddy bear,person", "--task", "classification", "--force"]) == 0
    assert Dataset.open(out).card.classes == ["teddy bear", "person"]


def test_a_list_that_the_data_does_not_match_is_refused_with_what_may_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = coco(tmp_path / "source", *IMAGES), tmp_path / "out"
    names = put_text(tmp_path / "list.txt", "dog\nteddybear\nzeppelin\n")
    command = ["data", "import", "coco", str(file), "--task", "detection", "--out", str(out), "--classes"]
    assert run([*command, str(names)]) == 2
    told = capsys.readouterr().err
    assert len(told.strip().splitlines()) == 1 and not out.exists()
    assert "2 of 3 classes are not in" in told and "'zeppelin' (row 3). It has" in told
    assert (
        "'teddybear' (row 2; did you mean 'teddy bear'?), 'zeppelin'" in told and "person, cat, dog, teddy bear" in told
    )


def test_a_class_that_gives_no_record_is_not_taken_for_a_missing_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    put(tmp_path / "source", "1.jpg")
    box = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>90</xmax><ymax>9</ymax></bndbox></object>"
    boxes = box.format("cat", 1) + box.format("cat", 5) + box.format("dog", 7)
    put_text(tmp_path / "source" / "1.xml", f"<annotation><filename>1.jpg</filename>{boxes}</annotation>")
    command = ["data", "import", "voc", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    command += ["--task", "grounding", "--classes"]
    assert run([*command, "cat,dog"]) == 0
    assert "chosen classes without a record: cat" in capsys.readouterr().out
    assert run([*command, "cow,dog", "--force"]) == 2
    assert "1 of 2 classes is not in" in capsys.readouterr().err


def test_a_chosen_class_without_a_record_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = coco(tmp_path / "source", ("dog",), ("dog",)), tmp_path / "out"
    command = ["data", "import", "coco", str(file), "--task", "detection", "--out", str(out)]
    assert run([*command, "--classes", "cat,dog"]) == 0
    told = capsys.readouterr().out
    assert "chosen classes without a record: cat" in told and "Classes (2): cat 0, dog 2" in told
    assert Dataset.open(out).card.classes == ["cat", "dog"]


def test_declared_classes_without_a_box_are_counted_and_a_source_without_any_box_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "import", "coco", str(coco(tmp_path / "source", ("dog",), ())), "--out", str(tmp_path / "out")]
    assert run(command) == 0
    told = capsys.readouterr().out
    assert "Classes (4): dog 1, person 0, cat 0, teddy bear 0" in told and "no picture has a box" not in told
    coco(tmp_path / "source", (), ())
    assert run([*command, "--force"]) == 0
    told = capsys.readouterr().out
    assert "Classes (4): person 0, cat 0" in told
    assert "Note: no picture has a box: there is nothing to find in any of them" in told


def test_a_short_name_is_hinted_at_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'dgo' \(did you mean 'dog'\?\), 'Cats' \(did you mean 'cat'\?\), 'ox'\. It"):
        ClassList.read("dgo,Cats,ox").need_fit(Classes(("person", "cat", "dog")), Path("src"))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--keep-empty"], "it goes with --task detection and --classes"),
        (
            ["--classes", "cat,dog", "--keep-empty", "--task", "grounding"],
            "it goes with --task detection and --classes",
        ),
        (["--classes", "cat", "--task", "classification"], "--classes has one class, 'cat'; classification chooses"),
        (["--classes", "cat,dog", "--task", "counting"], "it means nothing to the task 'counting'"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    form = "reasonrft" if "counting" in more else "coco"
    assert run(["data", "import", form, str(coco(tmp_path, *IMAGES)), "--out", str(tmp_path / "out"), *more]) == 2
    assert told in capsys.readouterr().err


def test_folders_keep_the_folders_of_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog", "hot dog", "emu"):
        put(tmp_path / "source", f"{name}/1.jpg", f"{name}/2.jpg")
    put_text(tmp_path / "source" / "notes" / "x.jpg", "never opened")
    names = put_text(tmp_path / "list.txt", "hot_dog: sausage\ncat: kitty, puss\n")
    command = ["data", "import", "folders", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    assert run([*command, "--classes", str(names)]) == 0
    told = capsys.readouterr().out
    card = Dataset.open(tmp_path / "out").card
    assert card.classes == ["hot_dog", "cat"] and card.synonyms == {"hot_dog": ["sausage"], "cat": ["kitty", "puss"]}
    assert "Skipped: 3 x a folder of a class that --classes leaves out: dog, emu, notes" in told
    assert "Quarantined: none" in told or "Quarantined: 0" in told


def test_closing_counts_come_in_the_order_of_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count in (("cat", 1), ("dog", 3), ("emu", 2)):
        put(tmp_path / "source", *(f"{name}/{number}.jpg" for number in range(count)))
    command = ["data", "import", "folders", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    assert run([*command, "--classes", "emu,cat,dog"]) == 0
    assert "Classes (3): emu 2, cat 1, dog 3" in capsys.readouterr().out


def test_folders_of_one_class_are_refused_by_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "source", "cat/1.jpg", "cat/2.jpg")
    assert run(["data", "import", "folders", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 2
    assert "source has one class, 'cat'; classification needs two or more" in capsys.readouterr().err


def test_an_exact_double_of_a_box_is_dropped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = coco(tmp_path / "source", ("dog",), ("dog",))
    text = file.read_text().replace('"annotations": [', '"annotations": [' + _box(0) + ", " + _box(0) + ", ")
    file.write_text(text)
    command = ["data", "import", "coco", str(file), "--out", str(tmp_path / "out"), "--val", "0", "--test", "0"]
    assert run([*command, "--task", "detection"]) == 0
    told = capsys.readouterr().out
    assert "Skipped: 1 x an exact double of a box: the same class and corners in one image" in told
    assert boxes_in(tmp_path / "out") == {"0.jpg": ["cat", "dog"], "1.jpg": ["dog"]}
    assert run([*command, "--task", "grounding", "--force"]) == 0  # one thing, boxed twice, is still one thing
    asked = [one.question for one in Dataset.open(tmp_path / "out").records("train")]
    assert sorted(filter(None, asked)) == ["Where is the cat?", "Where is the dog?", "Where is the dog?"]


def _box(image: int) -> str:
    return f'{{"id": 99, "image_id": {image}, "category_id": 7, "bbox": [1, 2, 30, 40]}}'


def test_a_thousand_classes_are_chosen_from(tmp_path: Path) -> None:
    for number in range(1000):
        folder = tmp_path / "source" / f"thing {number}"
        folder.mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(folder / "1.png")
    names = put_text(tmp_path / "list.txt", "\n".join(f"thing {number}" for number in reversed(range(1000))))
    out = tmp_path / "out"
    assert run(["data", "import", "folders", str(tmp_path / "source"), "--out", str(out), "--classes", str(names)]) == 0
    assert Dataset.open(out).card.classes[0] == "thing 999" and len(Dataset.open(out).card.classes) == 1000
