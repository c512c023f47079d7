"""The built-in model: its tokenizer, what it was taught, and what it perceives."""

from __future__ import annotations

import itertools
import random
import re
import zlib
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rise_vlm.data.record import Record
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy
from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny import train as pretraining
from rise_vlm.policy.tiny.batches import Batches, Packed, collate, encode_row, pack, patches
from rise_vlm.policy.tiny.build import (
    CONTEXT,
    IMAGE_SIDE,
    MORE,
    VOCABULARY,
    grow_model,
    grow_tokenizer,
    image_processor,
)
from rise_vlm.policy.tiny.corpus import Phase
from rise_vlm.policy.tiny.looks import SIGN_SLOTS, SIGNS, WORDS, looks_of
from rise_vlm.policy.tiny.moves_rows import move_table_row, table_row
from rise_vlm.policy.tiny.pages import sample_page
from rise_vlm.policy.tiny.rows import Row
from rise_vlm.policy.tiny.train import Settings, fine_texts, first_pieces, share_of
from rise_vlm.tasks.base import DESCRIBE
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.worlds import affect, blocks, errand, figures, icons, moves, street
from rise_vlm.worlds.figures_draw import Page

MODEL = Path(corpus.__file__).parent / "model"
SEEN = 400
"""Scenes looked at where a property should hold for all of them."""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load("tiny", dtype="float32")


def some_rows(count: int = SEEN) -> list[tuple[str, object, Row]]:
    found = []
    for world, scene, rng in itertools.islice(corpus.scenes(7), count):
        found += [(world, scene, row) for row in corpus.rows(world, scene, 3, rng)]
    return found


def test_shipped_files_are_small_and_complete() -> None:
    """Compressed, as in a wheel, both models together have 25.4 MB."""
    folders = (MODEL, MODEL.with_name("model_fine"))
    assert sum(len(zlib.compress(file.read_bytes(), 1)) for one in folders for file in one.iterdir()) < 26e6
    for folder in folders:
        assert {"model.safetensors", "config.json", "tokenizer.json"} <= {file.name for file in folder.iterdir()}


def test_the_fine_model_s_tokenizer_has_a_piece_for_every_look() -> None:
    fine = Policy.load("tiny_fine", dtype="float32")
    assert all(len(fine.tokenizer.encode(f" {word}")) == 1 for word in WORDS if word not in SIGNS)
    assert fine.model.get_input_embeddings().weight.shape[0] == len(fine.tokenizer)


def test_is_a_qwen2_vl_of_about_8_million_parameters(policy: Policy) -> None:
    assert type(policy.model).__name__ == "Qwen2VLForConditionalGeneration"
    assert 6e6 < sum(parameter.numel() for parameter in policy.model.parameters()) < 9e6
    assert len(policy.tokenizer) <= VOCABULARY
    assert policy.model.config.text_config.max_position_embeddings == CONTEXT


@given(text=st.text(max_size=60))
def test_tokenizer_keeps_any_text(policy: Policy, text: str) -> None:
    ids = policy.tokenizer.encode(text)
    special = [token for token in policy.tokenizer.all_special_tokens if token in text]
    assert special or policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_tokenizer_splits_numbers_into_digits(policy: Policy) -> None:
    pieces = policy.tokenizer.tokenize("[123, 4567] joy: 0.60")
    digits = [piece for piece in pieces if any(sign.isdigit() for sign in piece)]
    assert digits == list("1234567060")


def test_training_rows_are_encoded_as_the_policy_encodes_prompts(policy: Policy) -> None:
    for world, scene, row in some_rows(20):
        images = corpus.pictures(world, scene)[: row.pictures]
        prompt = policy.encode(row.prompt, images)
        one = encode_row(policy.tokenizer, row, (6, 6))
        assert one.ids[: one.start] == prompt.input_ids.tolist()
        assert torch.equal(one.positions[:, : one.start], prompt.positions.expand(3, -1))
        assert int(one.positions[0, one.start]) == prompt.next_position


def test_rows_that_share_their_pictures_are_what_they_are_by_themselves(policy: Policy) -> None:
    scenes = itertools.islice(corpus.scenes(2, shares={"moves": 0.8, "affect": 0.2}), 4)
    made = [corpus.rows(world, scene, 4, rng) for world, scene, rng in scenes]
    assert {row.pictures for rows in made for row in rows} >= {1, 2}
    encoded = [[encode_row(policy.tokenizer, row, (6, 6)) for row in rows] for rows in made]
    encoded[0].append(encode_row(policy.tokenizer, Row("Say nothing.", 0, "Nothing."), (6, 6)))

    def outcome(packed: list[Packed]) -> Tensor:
        chunk = collate(policy.tokenizer, [(range(0), one) for one in packed])
        hidden = policy.model.model.language_model(
            inputs_embeds=policy.model.get_input_embeddings()(chunk.ids),
            position_ids=chunk.positions,
            attention_mask=chunk.mask(torch.float32),
        ).last_hidden_state
        return hidden[chunk.weights > 0]

    with torch.no_grad():
        together = outcome([pack(rows) for rows in encoded])
        apart = torch.cat([outcome([pack([row])]) for rows in encoded for row in rows])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)
    alone = pack(encoded[0][:1])
    assert alone.ids.tolist() == encoded[0][0].ids
    mask = collate(policy.tokenizer, [(range(0), alone)]).mask(torch.float32)
    assert torch.equal(mask[0, 0], torch.full_like(mask[0, 0], float("-inf")).triu(1))


def test_training_pictures_are_cut_as_the_processor_cuts_them() -> None:
    picture = affect.draw(affect.sample_scene(random.Random(1), "any"), size=IMAGE_SIDE, supersample=1)
    theirs = torch.as_tensor(image_processor()(images=[picture], return_tensors="pt")["pixel_values"])
    ours = patches(torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(1, IMAGE_SIDE, IMAGE_SIDE, 3))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_batches_depend_on_seed_and_step_alone(policy: Policy) -> None:
    phase = replace(corpus.TINY[0], scenes=2)
    first, again, other = (Batches(policy.tokenizer, phase, seed)[4] for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first.chunks, again.chunks, strict=True))
    assert not torch.equal(first.images[:, :99, :99], other.images[:, :99, :99])
    assert float(sum(chunk.weights.sum() for chunk in first.chunks)) == pytest.approx(1.0)


def test_corpus_never_asks_a_downstream_question() -> None:
    wanted = {affect.QUESTION}
    for query in errand.QUERIES.values():
        wanted |= {*query.phrasings, *query.held_out}
    rows = some_rows()
    assert not [row for _, _, row in rows if any(question in row.prompt for question in wanted)]


@pytest.mark.parametrize("world", [affect, icons, street])
def test_downstream_classes_appear_only_as_words_drawn_by_lot_or_repeated(world: ModuleType) -> None:
    names = re.compile(rf"\b({'|'.join(world.CLASSES)})s?\b", re.IGNORECASE)
    rows = [row for name, _, row in some_rows(2500) if name == world.NAME]
    told = [row for row in rows if names.search(row.completion) or (row.pictures and names.search(row.prompt))]
    assert len(told) > 2
    assert all("by lot" in row.prompt or "Repeat the" in row.prompt for row in told)


def test_corpus_never_adds_takes_away_works_out_or_changes() -> None:
    """The questions of `blocks` take something away or add it, those of `figures` leave something to be worked out,
    those of `moves` ask for functions."""
    for name, scene, row in some_rows(1500):
        if name == "blocks":
            assert not re.search(r"(?i)\b(subtract|take away|remove|withdraw|add|introduce|insert)", row.prompt)
        if name == "figures":
            assert figures.plan(scene).question not in row.prompt
        if name == "moves":
            assert not re.search(r"(?i)function|change_|turn the scene", row.prompt + row.completion)


def test_corpus_descriptions_are_true() -> None:
    for world, scene, row in some_rows():
        if row.prompt == DESCRIBE:
            assert corpus.WORLDS[world].stated_facts(row.completion) <= corpus.WORLDS[world].true_facts(scene)


def test_learning_rate_rises_holds_and_ends_at_zero() -> None:
    shares = [share_of(step, 100) for step in range(101)]
    assert shares[0] < shares[2] == 1.0 == shares[50] > shares[90]
    assert shares[100] == 0.0


def stated_and_true(
    policy: Policy, world: ModuleType, scenes: int, samples: int, temperature: float
) -> tuple[int, int]:
    """Facts stated in descriptions of scenes that it has not seen, and how many of them hold."""
    drawn = [world.sample_scene(random.Random(f"held out {i}"), "any") for i in range(scenes)]
    prompts = [policy.encode(DESCRIBE, [world.draw(scene)]) for scene in drawn]
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, samples, max_new_tokens=96, temperature=temperature, generator=generator)
    stated = true = 0
    for scene, group in zip(drawn, groups, strict=True):
        assert len({rollout.text for rollout in group}) >= 0.75 * samples
        for rollout in group:
            facts = world.stated_facts(rollout.text)
            stated += len(facts)
            true += len(facts & world.true_facts(scene))
    return stated, true


@pytest.mark.parametrize(
    ("world", "greedy", "sampled"),
    [(affect, 0.97, 0.93), (errand, 0.93, 0.68), (icons, 0.96, 0.68), (street, 0.88, 0.65)],
)
def test_describes_held_out_scenes_truly_and_variously(
    policy: Policy, world: ModuleType, greedy: float, sampled: float
) -> None:
    """docs/tiny-model.md has the figures of more scenes."""
    stated, true = stated_and_true(policy, world, 24, 1, 0.0)
    assert stated > 2 * 24 and true / stated >= greedy
    stated, true = stated_and_true(policy, world, 24, 4, 1.0)
    assert stated > 2 * 96 and true / stated >= sampled


def test_answers_in_form_for_classes_that_it_was_never_asked_about(policy: Policy) -> None:
    """The emotions, greedily; what it answers need not be right, and is not."""
    task = Distribution(affect.CLASSES, affect.QUESTION)
    record = Record(id="x", images=("x.png",), annotation=None, width=336, height=336)
    drawn = [affect.draw(affect.sample_scene(random.Random(f"form {i}"), "any")) for i in range(16)]
    prompts = [policy.encode(task.prompt("answer", record, policy.frame), [picture]) for picture in drawn]
    generator = torch.Generator().manual_seed(0)
    groups = sample(policy, prompts, 1, max_new_tokens=96, temperature=0.0, generator=generator)
    read = [task.parse_completion(group[0].text, record, policy.frame, "answer") for group in groups]
    assert sum(completion.parsed.value is not None for completion in read) >= 14


def test_pages_say_what_is_on_them_and_where(policy: Policy) -> None:
    for number, (down, across) in enumerate((*corpus.SCRAPS, *corpus.SHEETS) * 30):
        page = sample_page(random.Random(number), down, across)
        assert page.draw().size == (across * 28, down * 28)
        assert page.row().completion == ", ".join(text.text.strip("°") for text in page.texts) + "."
        lines = [int(text.y / (down * 28) * max(1, down * 28 // 32)) for text in page.texts]
        assert lines == sorted(lines)
        looks = page.looks()
        told = "".join(WORDS[sign - 1] for sign in looks[looks > 0])
        assert sorted(told) == sorted("".join(text.text for text in page.texts))
    phase = corpus.TINY_FINE[-1]
    batches = Batches(policy.tokenizer, replace(phase, scenes=2), 0)
    kinds = [batches[step].images is not None and batches[step].looks is not None for step in range(0, 160, 8)]
    assert 0 < sum(kinds) < len(kinds)


def numbered(text: str) -> dict[str, str]:
    """By number in a text about things: their looks."""
    return {number: looks for looks, number in re.findall(r"((?:\w+ ){3}\w+) \((\d)\)", text)}


def test_tables_are_read_truly() -> None:
    for number in range(60):
        row = table_row(random.Random(number), 2 + number % 9)
        things, asked = row.prompt.split("\n")
        assert row.pictures == 0 and len(set(numbered(things).values())) == 2 + number % 9
        told = numbered(row.completion)
        assert told and told.items() <= numbered(things).items() and all(looks in asked for looks in told.values())
        scene = moves.sample_scene(random.Random(f"table {number}"), "any")
        row = move_table_row(scene, random.Random(number))
        state, view = (scene.final, scene.view) if "second" in row.prompt else (scene.initial, "center")
        there = re.findall(r"an? ((?:\w+ ){3}\w+)( \(\d\))? (?:on|in) the (\w+)", row.completion)
        seen = [(" ".join(one.full), one.place) for one in moves.seen(state, scene, view)]
        assert sorted((name, place) for name, _, place in there) == sorted(seen)
        table = numbered(row.prompt)
        assert all(bool(known) == (name in table.values()) for name, known, _ in there)
        assert numbered(row.completion).items() <= table.items() or len(set(table.values())) < 10


def test_the_fine_model_finds_things_in_a_table_by_their_looks() -> None:
    fine = Policy.load("tiny_fine", dtype="float32")
    rows = [table_row(random.Random(f"held out {number}"), 10) for number in range(8)]
    prompts = [fine.encode(row.prompt) for row in rows]
    generator = torch.Generator().manual_seed(0)
    groups = sample(fine, prompts, 1, max_new_tokens=128, temperature=0.0, generator=generator)
    wanted = [(k, *one) for k, row in enumerate(rows) for one in numbered(row.completion).items()]
    told = {(k, *one) for k, group in enumerate(groups) for one in numbered(group[0].text).items()}
    right = sum(one in told for one in wanted)
    assert len(wanted) > 30 and right >= 0.95 * len(told), "what it says is so"
    assert right >= 0.7 * len(wanted), "of a long list it leaves out the end now and then"


def test_a_batch_of_tables_has_no_pictures_and_is_learned_from(policy: Policy) -> None:
    phase = Phase(steps=1, scenes=0, rows=0, mixture={}, shares={}, tables=1.0, table_sizes=(2,))
    batch = Batches(policy.tokenizer, phase, 0)[0]
    assert batch.images is None and sum(len(chunk.ids) for chunk in batch.chunks) == 80
    loss = pretraining.loss_of(pretraining.Pupil(policy.model, policy.tokenizer), batch)
    assert loss.item() > 0 and loss.requires_grad


def told_in(looks: Tensor) -> dict[tuple[int, int], list[str]]:
    """By image token of 12 x 12: what it shows."""
    return {divmod(cell, 12): [WORDS[one - 1] for one in slots if one]
            for cell, slots in enumerate(looks.tolist()) if any(slots)}  # fmt: skip


def changed(first: Image.Image, second: Image.Image) -> Tensor:
    """(12, 12): how far each image token's pixels differ."""
    apart = np.abs(np.asarray(first, dtype=np.float32) - np.asarray(second, dtype=np.float32)).sum(-1)
    return torch.from_numpy(apart.reshape(12, 28, 12, 28).sum((1, 3)))


@pytest.mark.parametrize("number", range(6))
def test_a_thing_is_in_the_image_token_that_says_so(number: int) -> None:
    """Without the thing, the picture changes most about there."""
    solids = blocks.sample_scene(random.Random(f"there {number}"), "train")
    told = told_in(looks_of("blocks", solids, 12, 12)[0])
    assert len(told) >= len(solids.items) - 1  # one may stand before another's middle
    for index, item in enumerate(solids.items):
        rest = replace(solids, items=solids.items[:index] + solids.items[index + 1 :])
        apart = changed(blocks.draw(solids, 336, 1), blocks.draw(rest, 336, 1))
        row, column = divmod(int(apart.argmax()), 12)
        looks = [item.size, item.colour, item.material, item.shape]
        assert any(abs(r - row) <= 1 and abs(c - column) <= 1 and one == looks for (r, c), one in told.items())

    scene = moves.sample_scene(random.Random(f"there {number}"), "any")
    for state, view, looks in zip(
        (scene.initial, scene.final), ("center", scene.view), looks_of("moves", scene, 12, 12), strict=True
    ):
        told = told_in(looks)
        assert len(told) <= sum(thing.visible for thing in state)
        for cell, one in told.items():
            size, colour, material, shape = one
            gone = tuple(
                replace(thing, x=90)
                if thing.visible
                and (thing.size, thing.color, thing.material, thing.shape) == (size, colour, material, shape)
                else thing
                for thing in state
            )
            assert gone != state
            apart = changed(moves.picture(state, scene, view, 336, 1), moves.picture(gone, scene, view, 336, 1))
            assert apart[cell] > 0


@pytest.mark.parametrize("number", range(20))
def test_a_sign_of_a_figure_is_in_the_image_token_that_says_so(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = figures.sample_scene(random.Random(f"there {number}"), "any")
    looks = looks_of("figures", scene, 12, 12)[0]
    assert looks[:, SIGN_SLOTS:].sum() == 0
    drawn = figures.draw(scene, 336, 1)
    texts: list[str] = []
    monkeypatch.setattr(Page, "write", lambda page, text, *_: texts.append(text))
    apart = changed(drawn, figures.draw(scene, 336, 1))
    told = told_in(looks)
    about = [{(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1)} for row, column in told]
    assert all(any(apart[cell] > 0 for cell in cells if max(cell) < 12) for cells in about)
    if set("".join(texts)) <= set(SIGNS):  # of algebra not all is told
        assert {(int(r), int(c)) for r, c in apart.nonzero()} <= set().union(*about)
    written = [sign for text in texts for sign in text if sign in SIGNS]
    said = [sign for one in told.values() for sign in one]
    assert said and set(said) <= set(written)
    assert len(said) >= len(written) - 1  # where two texts meet, a token has no room for all


def test_a_grown_tokenizer_says_the_same_in_fewer_pieces(policy: Policy) -> None:
    known = policy.tokenizer
    grown = grow_tokenizer(known, fine_texts(200), 60)
    assert len(grown) == len(known) + 60
    texts = [*itertools.islice(fine_texts(20, seed=9), 90), "Triangle ABC, 45\u00b0; caf\u00e9 <answer>12</answer>"]
    for text in texts:
        assert grown.decode(grown.encode(text)) == text
    assert sum(len(grown.encode(text)) for text in texts) < 0.85 * sum(len(known.encode(text)) for text in texts)
    assert grown.encode("DEF") == known.encode("DEF")
    model = deepcopy(policy.model)
    grow_model(model, grown)
    words = model.get_input_embeddings().weight
    assert words.shape[0] == len(grown) and torch.equal(words[: len(known)], policy.model.get_input_embeddings().weight)
    ids = known.encode(" cube")
    assert len(ids) > 1 and len(grown.encode(" cube")) == 1
    assert model(input_ids=torch.tensor([grown.encode(" cube")])).logits.shape == (1, 1, len(grown))


@pytest.fixture(scope="module")
def grown(policy: Policy) -> Any:
    return grow_tokenizer(policy.tokenizer, fine_texts(150), MORE)


def test_every_look_begins_with_a_token_of_its_own_once_the_tokenizer_has_grown(policy: Policy, grown: Any) -> None:
    assert len(set(first_pieces(grown))) == len(WORDS) > len(set(first_pieces(policy.tokenizer)))


def pretrain(
    out: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, phases: tuple[Phase, ...], halt: int = 99
) -> dict[str, Tensor]:
    """All weights after the phases, in this process."""
    monkeypatch.setitem(corpus.CURRICULA, "short", phases)
    settings = Settings(
        out=out, rate=1e-3, seed=3, save_every=1, halt=halt, processes=1, init=MODEL, curriculum="short"
    )
    settings.work.mkdir(exist_ok=True)
    (settings.work / "meeting").unlink(missing_ok=True)
    tokenizer.save_pretrained(settings.work / "tokenizer")
    pretraining.train(0, settings)
    return load_file(settings.work / "state.safetensors")


def short_phase(steps: int, rows: int) -> Phase:
    return Phase(steps=steps, scenes=1, rows=rows, mixture=corpus.TINY_FINE[-1].mixture, shares=corpus.LAST, fine=1.0)


def test_a_phase_without_rows_trains_the_tower_and_leaves_the_language_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grown: Any
) -> None:
    """Also after a phase with rows: an optimizer remembers."""
    first = pretrain(tmp_path / "a", grown, monkeypatch, (short_phase(1, 1), short_phase(2, 0)), halt=1)
    last = pretrain(tmp_path / "a", grown, monkeypatch, (short_phase(1, 1), short_phase(2, 0)))
    assert (int(first["step"]), int(last["step"])) == (1, 3)
    moved = {name for name, copy in first.items() if name.startswith("master/") and not copy.equal(last[name])}
    assert any("visual.blocks" in name for name in moved) and any("reader" in name for name in moved)
    assert not any("language_model" in name for name in moved)


def test_a_pre_training_that_was_cut_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grown: Any
) -> None:
    phases = (short_phase(1, 0), short_phase(2, 2))
    pretrain(tmp_path / "cut", grown, monkeypatch, phases, halt=2)
    cut = pretrain(tmp_path / "cut", grown, monkeypatch, phases)
    whole = pretrain(tmp_path / "whole", grown, monkeypatch, phases)
    assert cut.keys() == whole.keys()
    assert all(copy.equal(whole[name]) for name, copy in cut.items())
    changed = Policy.load(str(tmp_path / "whole"), dtype="float32").model.state_dict()
    shipped = Policy.load("tiny", dtype="float32").model.state_dict()
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert not changed[name].equal(shipped[name])
