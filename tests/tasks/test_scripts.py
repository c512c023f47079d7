"""Class names in other scripts and languages, everyday words as names, names inside names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.data.card import Card
from rise_vlm.errors import UserError
from rise_vlm.tasks import make_task
from rise_vlm.tasks.everyday import everyday
from rise_vlm.tasks.leak import ClassNames
from rise_vlm.tasks.scripts import pattern, plain, plurals


def named(classes: str, text: str, language: str = "en") -> list[str]:
    found = ClassNames(classes.split(","), {}, None, language).find(text)  # type: ignore[arg-type]
    return sorted(reason.split("'")[1] for reason in found)


@pytest.mark.parametrize(
    ("classes", "text", "expected"),
    [
        ("cat,catfish,dog,hot dog", "a catfish swims", ["catfish"]),
        ("cat,catfish,dog,hot dog", "two cat-fish, and hot dogs", ["catfish", "hot dog"]),
        ("cat,catfish,dog,hot dog", "hot dogs beside dogs", ["dog", "hot dog"]),
        ("light,traffic light", "traffic lights glow", ["traffic light"]),
        ("猫,熊猫", "一只熊猫坐着", ["熊猫"]),
        ("猫,熊猫", "熊猫旁边有一只猫", ["熊猫", "猫"]),
        ("ネコ,イヌ", "白いネコがいる", ["ネコ"]),
        ("แมว", "มีแมวตัวหนึ่ง", ["แมว"]),
        ("고양이,개", "고양이들이 앉아 있다", ["고양이"]),
        ("고양이,개", "개를 보다", ["개"]),
        ("고양이,개", "무지개가 있다", []),
        ("قطة,كلب", "رأيت القطة", ["قطة"]),
        ("قطة,كلب", "والكلب نائم مع قطتها", ["قطة", "كلب"]),
        ("كلب", "الكِلَب", ["كلب"]),
        ("قطة,كلب", "كلمة وقطار", []),
        ("кошка,собака", "вижу собаку и двух кошек", ["кошка", "собака"]),
        ("кот", "хвост кота", ["кот"]),
        ("кот", "который", []),
        ("дом", "у домов", ["дом"]),
        ("дом", "домашний уют", []),
        ("сок", "стакан с соком", ["сок"]),
        ("перец", "много перца", ["перец"]),
        ("дорожный знак", "у дорожного знака", []),  # an adjective: list it as a synonym
        ("γάτα", "οι γάτες", ["γάτα"]),
        ("बिल्ली", "एक बिल्ली", ["बिल्ली"]),
    ],
)
def test_names_are_found_as_their_script_writes_them(classes: str, text: str, expected: list[str]) -> None:
    assert named(classes, text) == sorted(expected)


@pytest.mark.parametrize(
    ("language", "classes", "text"),
    [
        ("de", "Hund,Katze,Haus,Apfel", "zwei Hunde, Katzen, Häuser und Äpfel"),
        ("de", "Auto,Kind,Frau,Bus,Baum", "Autos, Kinder, Frauen, Busse, Bäumen"),
        ("fr", "chat,cheval,oiseau,feu", "des chats, chevaux, oiseaux et feux"),
        ("fr", "pomme de terre", "des pommes de terre"),
        ("es", "perro,camión,luz,flor", "perros, camiones, luces y flores"),
    ],
)
def test_plurals_of_the_language_that_the_card_states(language: str, classes: str, text: str) -> None:
    assert named(classes, text, language) == sorted(classes.split(","))


def test_english_words_are_not_taken_for_german_plurals() -> None:
    assert named("pin,can", "pine trees and canes") == [] and plurals("pin", "en") == []


@given(st.text(max_size=40), st.text(min_size=1, max_size=12))
def test_any_name_makes_a_pattern_that_finds_it_and_takes_any_text(text: str, name: str) -> None:
    found = pattern(name)
    if found is not None:
        found.search(plain(text))  # whatever it says
        assert found.search(plain(name)) is not None


FRUIT = {"name": "fruit", "task": "classification", "classes": ["orange", "can", "pear"]}


def test_named_by_takes_the_place_of_the_name_in_the_leak_rules(tmp_path: Path) -> None:
    card = Card(**FRUIT, named_by={"orange": ["orange fruit", "mandarin"], "can": []}, synonyms={"can": ["tin can"]})
    card.write(tmp_path)
    names = make_task(Card.read(tmp_path)).names
    assert names.find("an orange wall can be seen") == []
    assert names.find("two mandarins") == ["names class 'orange' ('mandarins')"]
    assert names.find("orange fruits") == ["names class 'orange' ('orange fruits')"]
    assert names.find("a tin can") == ["names class 'can' ('tin can')"]
    assert names.find("the pears") == ["names class 'pear' ('pears')"]
    assert len(make_task(Card(**FRUIT)).names.find("an orange wall can be seen")) == 2


def test_named_by_of_no_class_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"named_by: 'ornage' is not a class.*orange"):
        make_task(Card(**FRUIT, named_by={"ornage": []}))


def test_everyday_words_are_known_in_any_case_and_only_whole() -> None:
    assert everyday(["Orange", "can", "traffic light", "pelican", "park", "no"]) == ["Orange", "can", "park", "no"]
