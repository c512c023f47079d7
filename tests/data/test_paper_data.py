"""The real data sets of the paper, by look-alikes: recognised, imported by name, damaged and misnamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lookalikes
import pytest
from lookalikes import WNIDS, class_folders, coco2017, ilsvrc, picture, write

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.checking import read_quarantine
from rise_vlm.data.formats.guessing import guess

LABELS = ("person", "cat", "dog", "traffic light")
SOURCES: dict[str, Callable[[Path], Path]] = {
    "imagenet": ilsvrc,
    "coco": lambda root: coco2017(root, LABELS),
    "emotion6": lookalikes.emotion6,
    "reasonseg": lookalikes.reasonseg,
}


def do_import(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["data", "import", *map(str, words)])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


@pytest.mark.parametrize("name", SOURCES)
def test_each_is_recognised_and_read_as_when_it_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SOURCES[name](tmp_path / "source")
    assert guess(source)[0] == name
    assert do_import(capsys, source, "--out", tmp_path / "a")[0] == 0
    code, out, _ = do_import(capsys, name, source, "--out", tmp_path / "b")
    assert code == 0 and "Quarantined: 0" in out.replace("none", "0")
    a, b = (Dataset.open(tmp_path / each) for each in "ab")
    assert a.splits == b.splits and "train" in a.splits
    for split in a.splits:
        assert list(a.records(split)) == list(b.records(split))


def test_ilsvrc_has_names_synonyms_and_labels_for_its_flat_val(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ilsvrc(tmp_path / "source")
    code, out, _ = do_import(capsys, source, "--out", tmp_path / "out")
    opened = Dataset.open(tmp_path / "out")
    assert code == 0 and {split: len(list(opened.records(split))) for split in opened.splits} == {"train": 18, "val": 6}
    names = ["Cardigan (n02113186)", "cardigan (n02963159)", "crane (n02012849)", "crane (n03126707)"]
    assert opened.card.classes == [*names, "goldfish", "tench"]
    assert opened.card.synonyms["tench"] == ["Tinca tinca"] and opened.card.synonyms[names[2]] == ["crane"]
    assert [one.annotation for one in opened.records("val")][:2] == ["tench", "goldfish"]
    assert "Skipped: 1 x a folder whose images have no labels: test" in out


def test_every_depth_of_ilsvrc_may_be_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ilsvrc(tmp_path / "source")
    for number, part in enumerate(("ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC")):
        assert guess(source / part)[0] == "imagenet"
        code, out, _ = do_import(capsys, source / part, "--out", tmp_path / f"{number}")
        # beside ILSVRC lies the mapping file; further down nothing says what the ids mean, and that is told
        assert code == 0 and ("no file says what the WordNet ids mean" in out) == (number > 0)
        assert ("n01440764" in Dataset.open(tmp_path / f"{number}").card.classes) == (number > 0)


SYNSETS = "".join(f"{id_} {told}\n" for id_, told in WNIDS.items())
INDEX = {str(number): [id_, told.split(",")[0]] for number, (id_, told) in enumerate(WNIDS.items())}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("LOC_synset_mapping.txt", SYNSETS),
        ("synset_words.txt", SYNSETS),
        ("LOC_synset_mapping.txt", "".join(f"{id_} : {told}\n" for id_, told in WNIDS.items())),
        ("words.txt", "n00001740\tentity\n" + "".join(f"{id_}\t{told}\n" for id_, told in WNIDS.items())),
        ("map_clsloc.txt", "".join(f"{id_} {n} {told.split(',')[0]}\n" for n, (id_, told) in enumerate(WNIDS.items()))),
        ("imagenet_class_index.json", INDEX),
        ("imagenet_class_index.json", dict(WNIDS)),
    ],
)  # fmt: skip
def test_a_mapping_file_beside_the_folders_names_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: Any
) -> None:
    source = class_folders(tmp_path / "source")
    write(source / file, content)
    assert guess(source)[0] == "imagenet"
    code, out, _ = do_import(capsys, source, "--out", tmp_path / "out")
    assert code == 0 and "Note: no file" not in out
    assert Dataset.open(tmp_path / "out").card.classes[-2:] == ["goldfish", "tench"]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("LOC_synset_mapping.txt", "n01440764 tench\nn0144\n", "mapping.txt row 2: 'n0144' is no WordNet id"),
        ("LOC_synset_mapping.txt", "\n", "names no WordNet id"),
        ("imagenet_class_index.json", '{"0": ["n01440764", "ten', "imagenet_class_index.json is no JSON"),
        ("imagenet_class_index.json", '["tench"]', "is no object such as"),
        ("imagenet_class_index.json", '{"0": ["tench"]}', "key '0': ['tench'] is no WordNet id with a name"),
    ],
)  # fmt: skip
def test_a_damaged_mapping_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, told: str
) -> None:
    source = class_folders(tmp_path / "source")
    write(source / file, content)
    code, _, err = do_import(capsys, "imagenet", source, "--out", tmp_path / "out")
    assert code == 2 and told in err and len(err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_folders_on_wordnet_ids_say_who_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = do_import(capsys, "folders", class_folders(tmp_path / "source"), "--out", tmp_path / "out")
    assert "'rise data import imagenet' gives the classes their names" in out


def test_a_class_list_of_imagenet_takes_names_ids_and_synonyms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ilsvrc(tmp_path / "source")
    chosen = write(tmp_path / "list.txt", "n03126707 hoist\nCarassius auratus\nn01440764\n")
    code, out, _ = do_import(capsys, source, "--classes", chosen, "--out", tmp_path / "out")
    card = Dataset.open(tmp_path / "out").card
    assert code == 0 and card.classes == ["hoist", "Carassius auratus", "tench"]
    assert card.synonyms == {"hoist": ["crane"], "Carassius auratus": ["goldfish"], "tench": ["Tinca tinca"]}
    assert "Skipped: 3 x a folder of a class that --classes leaves out: n02012849, n02113186, n02963159" in out
    assert "Skipped: 3 x an image of a class that --classes leaves out" in out  # those of the flat val
    wrong = write(tmp_path / "wrong.txt", "crane\ntench\n")
    _, _, err = do_import(capsys, source, "--classes", wrong, "--out", tmp_path / "no")
    assert "write n02012849 or n03126707 instead" in err
    wrong = write(tmp_path / "wrong.txt", "tensh\nn99999999\ntench\n")
    code, _, err = do_import(capsys, source, "--classes", wrong, "--out", tmp_path / "no")
    assert code == 2 and "'tensh' (row 1; did you mean 'tench'?), 'n99999999' (row 2)" in err


def test_flaws_of_ilsvrc_are_put_aside_or_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ilsvrc(tmp_path / "source")
    val = source / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    picture(val / "ILSVRC2012_val_00009999.JPEG", 1)
    (val / "ILSVRC2012_val_00000001.JPEG").unlink()
    (val / "ILSVRC2012_val_00000002.JPEG").write_bytes(b"\xff\xd8\xff")
    with (source / "LOC_val_solution.csv").open("a") as file:
        file.write("ILSVRC2012_val_00000007,tench\n")
    code, out, _ = do_import(capsys, "imagenet", source, "--out", tmp_path / "out")
    assert code == 0 and "1 x a row of LOC_val_solution.csv whose image is not there: ILSVRC2012_val_00000001" in out
    told = " ".join(map(str, read_quarantine(tmp_path / "out")))
    assert "ILSVRC2012_val_00009999.JPEG: the image is not in LOC_val_solution.csv" in told
    assert "LOC_val_solution.csv row 8: 'ILSVRC2012_val_00000007,tench' is no image and a WordNet id" in told
    assert "ILSVRC2012_val_00000002.JPEG" in told
    (source / "LOC_val_solution.csv").write_text("image,label\n")
    code, _, err = do_import(capsys, "imagenet", source, "--out", tmp_path / "no")
    assert code == 2 and "does not begin with the columns ImageId,PredictionString" in err
    (source / "LOC_val_solution.csv").unlink()
    code, out, _ = do_import(capsys, "imagenet", source, "--out", tmp_path / "none")
    assert code == 0 and "a validation image without a label, since there is no LOC_val_solution.csv" in out


def test_what_is_no_part_of_the_layout_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"  # as the tiny form of ImageNet has it
    class_folders(source / "train")
    picture(source / "train" / "loose.JPEG", 1)
    picture(source / "val" / "images" / "val_0.JPEG", 2)
    write(source / "val" / "val_annotations.txt", "val_0.JPEG\tn01440764\t0\t32\t44\t62\n")
    write(source / "words.txt", SYNSETS)
    write(source / "wnids.txt", "n01440764\n")
    write(source / "LOC_val_solution.csv", "ImageId,PredictionString\n")
    code, out, _ = do_import(capsys, source, "--out", tmp_path / "out")
    assert code == 0 and "train: " in out
    assert "3 x a file outside of the class folders: wnids.txt, loose.JPEG, val_annotations.txt" in out
    assert "1 x a folder that no WordNet id names: images" in out


def test_coco_says_once_what_it_does_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = coco2017(tmp_path / "source", LABELS)
    code, out, err = do_import(capsys, source, "--task", "detection", "--out", tmp_path / "out")
    assert code == 0 and "Taken for 'coco'" in out and len(err.splitlines()) <= 2
    assert "Skipped: 4 x a JSON file that holds no instances by its name: annotations/captions_train2017.json" in out
    opened = Dataset.open(tmp_path / "out")
    assert {split: len(list(opened.records(split))) for split in opened.splits} == {"train": 24, "val": 6}
    assert opened.card.classes == list(LABELS)


def test_coco_cut_short_or_without_instances_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = coco2017(tmp_path / "source", LABELS)
    train = source / "annotations" / "instances_train2017.json"
    train.write_text(train.read_text()[:500])
    code, out, _ = do_import(capsys, "coco", source, "--task", "detection", "--out", tmp_path / "out")
    assert code == 0 and "instances_train2017.json is no JSON" in out
    for path in (source / "annotations").iterdir():
        if not path.name.startswith("captions"):
            path.unlink()
    code, _, err = do_import(capsys, "coco", source, "--out", tmp_path / "no")
    assert code == 2 and "finds no COCO file in it" in err


def test_loose_files_are_told_once_with_the_first_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = class_folders(tmp_path / "source", ("cat", "dog"))
    for number in range(40):
        write(source / f"note{number:02}.txt", "x")
        write(source / "dog" / f"z{number:02}.xml", "x")
    code, out, err = do_import(capsys, "folders", source, "--out", tmp_path / "out")
    assert code == 0 and len(err.splitlines()) <= 2, err
    told = "Skipped: 40 x a file outside of the class folders: note00.txt, note01.txt, note02.txt ..."
    assert out.count("outside of the class folders") == 1 and told in out


def test_emotion6_in_a_folder_below_and_misnamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lookalikes.emotion6(tmp_path / "source" / "Emotion6").parent
    assert guess(source)[0] == "emotion6"
    assert do_import(capsys, source, "--out", tmp_path / "out")[0] == 0
    (source / "Emotion6" / "ground_truth.txt").rename(source / "Emotion6" / "groundtruth.txt")
    code, _, err = do_import(capsys, "emotion6", source, "--out", tmp_path / "no")
    assert code == 2 and "'emotion6' reads ground_truth.txt" in err and "Did you mean 'groundtruth.txt'?" in err
    code, _, err = do_import(capsys, "emotion6", source, "--classes", "joy", "--out", tmp_path / "no")
    assert code == 2 and "--classes means nothing to the format 'emotion6'" in err


def test_an_image_of_another_split_is_not_taken_for_one_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lookalikes.reasonseg(tmp_path / "source")
    (source / "train" / "4_x.jpg").unlink()  # val has one of that name
    code, out, _ = do_import(capsys, "reasonseg", source, "--out", tmp_path / "out")
    assert code == 0 and "Quarantined: 1 bad (1 missing image)" in out and "val: 9 records" in out
    assert "'val/4_x.jpg' is of another split" in out


def test_reasonseg_leaves_its_explanations_out_and_names_a_cut_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lookalikes.reasonseg(tmp_path / "source")
    cut = source / "train" / "3_x.json"
    cut.write_text(cut.read_text()[:60])
    (source / "val" / "1_x.jpg").rename(source / "val" / "1.jpg")
    code, out, _ = do_import(capsys, source, "--out", tmp_path / "out")
    assert code == 0 and "1 x a list of explanations, which annotates no image: explanatory/train.json" in out
    places = {problem.file for problem in read_quarantine(tmp_path / "out")}
    assert places == {"train/3_x.json", "val/1_x.json"}
