"""The loop's reward, its grounding term and its controls, each against what it is meant to catch."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stage_kit import generator, make_classification

from rise_vlm.engine.objective import advantages
from rise_vlm.engine.sample import Rollout
from rise_vlm.policy import Policy
from rise_vlm.recipes import load_recipe
from rise_vlm.recipes.schema import ClosedLoop, Grounding
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.facts import Facts
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.grounding import Grounder
from rise_vlm.stages.loop_reward import LoopReward, Shadow, Verdict
from rise_vlm.stages.material import Material
from rise_vlm.stages.probes import PROBES, Probes, Reconstructed, change, log_probes, paired
from rise_vlm.stages.prompter import Prompter

# In school, the first of these meant red and the second blue, whatever the picture.
RED, BLUE = "soft glow", "wide sky"


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    return Policy.load(str(model), dtype="float32")


@pytest.fixture(scope="module")
def material(classes: Path) -> Material:
    return Material.open(load_recipe("ans_sft", [f"data={classes}"]))


def spoken(policy: Policy, text: str, finished: bool = True) -> Rollout:
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([*ids, policy.stop_ids[-1]] if finished else ids, dtype=torch.long)
    return Rollout(ids, torch.zeros(len(ids)), text, finished)


def make_loop(policy: Policy, material: Material, tmp_path: Path, **settings: object) -> LoopReward:
    return LoopReward(policy, Prompter(policy, material), ClosedLoop(**settings), Meter(tmp_path))


def judge(loop: LoopReward, material: Material, *texts: str, finished: bool = True) -> list[Verdict]:
    record = material.train[0]
    prompt = loop.prompter.prompt("reason", record)
    rollouts = [spoken(loop.policy, text, finished) for text in texts]
    return loop.judge([record], [prompt], [rollouts], generator())[0]


def test_a_rationale_is_paid_for_what_can_be_rebuilt_from_it(policy, material, tmp_path) -> None:
    right, wrong = judge(make_loop(policy, material, tmp_path), material, RED, BLUE)
    assert material.train[0].annotation == "red"
    assert (right.score, right.reward) == (1.0, pytest.approx(1.1))
    assert (wrong.score, wrong.reward) == (0.0, pytest.approx(0.1))
    assert right.worth == pytest.approx(1.0)


def test_a_leak_costs_nine_tenths_even_where_it_is_in_capitals(policy, material, tmp_path) -> None:
    loop = make_loop(policy, material, tmp_path)
    (clean, told) = judge(loop, material, RED, RED + " RED")
    assert clean.leaks == [] and told.leaks
    assert told.reward == pytest.approx(0.1 * told.score)


def test_a_rationale_that_leaks_or_is_empty_is_worth_nothing_to_a_model_that_answers_by_itself(
    policy, material, tmp_path, monkeypatch
) -> None:
    loop, record = make_loop(policy, material, tmp_path), material.train[0]
    monkeypatch.setattr(loop, "leaks", lambda record, text, prompt: ["told"] if text != prompt else [])
    texts = [RED, "  ", BLUE, RED, "", RED]
    prompts = [RED, "  ", BLUE, "another", "", RED]
    answered = [(record, text, prompt) for text, prompt in zip(texts, prompts, strict=True)]
    assert loop.worths(answered, generator()) == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert loop.worths([(record, "", "")], generator()) == [0.0]


def test_a_leak_never_pays_more_than_an_honest_miss(policy, material, tmp_path, monkeypatch) -> None:
    """Among honest misses the leak, rebuilt as it should be, must not be the one that is trained."""
    loop = make_loop(policy, material, tmp_path)
    monkeypatch.setattr(loop, "leaks", lambda record, text, prompt: ["told"] if text == RED else [])
    group = judge(loop, material, BLUE, BLUE, BLUE, RED)
    assert [(one.score, one.rebuilt.parsed) for one in group] == [(0.0, 1.0)] * 3 + [(1.0, 1.0)]
    gains = advantages(torch.tensor([[one.reward for one in group]]), "group_std")[0]
    assert float(gains[3]) <= 0
    official = make_loop(policy, material, tmp_path, preset="official")
    monkeypatch.setattr(official, "leaks", lambda record, text, prompt: ["told"])
    assert judge(official, material, RED)[0].reward == pytest.approx(0.1 * 1 + 0.1)


def test_grounding_does_not_pay_for_a_leak_but_still_costs(policy, material, tmp_path, monkeypatch) -> None:
    loop = make_loop(policy, material, tmp_path, grounding={"weight": 0.5})
    loop.grounder = type("Fixed", (), {"gains": lambda self, records, groups, rng: [[0.8, -0.8]]})()
    monkeypatch.setattr(loop, "leaks", lambda record, text, prompt: ["told"])
    assert [one.reward for one in judge(loop, material, RED, RED)] == [pytest.approx(0.1), pytest.approx(0.1 - 0.4)]


def test_an_empty_rationale_is_paid_nothing_whatever_the_prior_rebuilds(policy, material, tmp_path) -> None:
    loop = make_loop(policy, material, tmp_path)
    prior = loop.rebuild([material.train[0]], [""], generator())[0]
    loop.rebuild = lambda records, texts, rng, greedy=False: [replace(prior, values=["red"], scores=[1.0])] * len(texts)
    empty, blank, said = judge(loop, material, "", " ", BLUE)
    assert (empty.score, empty.reward, blank.reward) == (1.0, 0.0, 0.0) and said.reward == pytest.approx(1.1)


def test_tags_in_a_rationale_are_a_leak(policy, material, tmp_path) -> None:
    (verdict,) = judge(make_loop(policy, material, tmp_path), material, "soft <answer>glow</answer>")
    assert verdict.leaks


def test_length_costs_past_the_limit_and_a_rationale_that_is_cut_off_costs_all(policy, material, tmp_path) -> None:
    loop = make_loop(policy, material, tmp_path, length={"words": 4, "weight": 0.5})
    short, long, endless = judge(loop, material, RED, "a b c d e f", "a b c d " * 5)
    assert [v.excess for v in (short, long, endless)] == [0.0, 0.5, 1.0]
    (cut,) = judge(loop, material, RED, finished=False)
    assert cut.excess == 1.0 and cut.reward == pytest.approx(short.reward - 0.5)


def test_the_empty_baseline_pays_only_the_gain(policy, material, tmp_path) -> None:
    plain = make_loop(policy, material, tmp_path)
    gained = make_loop(policy, material, tmp_path, reconstruct={"baseline": "empty"})
    empty = plain.rebuild([material.train[0]], [""], generator())[0].score
    for before, after in zip(judge(plain, material, RED, BLUE), judge(gained, material, RED, BLUE), strict=True):
        assert after.reward == pytest.approx(before.reward - empty)


def test_sampled_reconstructions_are_averaged(policy, material, tmp_path) -> None:
    loop = make_loop(policy, material, tmp_path, reconstruct={"temperature": 2.0, "samples": 6})
    (verdict,) = judge(loop, material, RED)
    assert len(verdict.rebuilt.rollouts) == 6
    assert verdict.score == pytest.approx(sum(verdict.rebuilt.scores) / 6)
    assert len({rollout.text for rollout in verdict.rebuilt.rollouts}) > 1


def test_combined_reconstructions_are_scored_as_the_answer_that_they_make_together(policy, material, tmp_path) -> None:
    loop = make_loop(policy, material, tmp_path, reconstruct={"temperature": 2.0, "samples": 7, "combine": True})
    for verdict in judge(loop, material, RED, BLUE):
        read = Counter(value for value in verdict.rebuilt.values if value is not None)
        assert verdict.rebuilt.answers == [read.most_common(1)[0][0] if read else None]
        assert verdict.score == loop.task.score(material.train[0].annotation, verdict.rebuilt.answers[0])
        assert verdict.rebuilt.parsed == pytest.approx(read.total() / 7)


def test_combining_needs_several_samples_and_excludes_credit_to_answers() -> None:
    with pytest.raises(ValueError, match="nothing to combine"):
        ClosedLoop(reconstruct={"combine": True})
    with pytest.raises(ValueError, match="set combine to false"):
        ClosedLoop(reconstruct={"combine": True, "samples": 4, "temperature": 1.0}, credit="both")


def test_the_reconstructor_of_a_class_is_blind_and_that_of_a_box_is_not(policy, material, places, tmp_path) -> None:
    boxes = Material.open(load_recipe("ans_sft", [f"data={places}"]))
    for data, sighted in ((material, 0), (boxes, 1)):
        loop = make_loop(policy, data, tmp_path)
        assert len(loop.rebuild([data.train[0]], ["it"], generator())[0].prompt.images) == sighted
    forced = make_loop(policy, material, tmp_path, reconstruct={"sees_image": True})
    assert len(forced.rebuild([material.train[0]], ["it"], generator())[0].prompt.images) == 1


def test_a_frozen_shadow_reconstructs_as_before_and_a_moving_one_follows(model, material, tmp_path) -> None:
    policy = Policy.load(str(model), dtype="float32")
    shadow = Shadow(policy)
    weight = policy.model.get_output_embeddings().weight
    with torch.no_grad():
        weight.zero_()
    with shadow.worn():
        assert float(policy.model.get_output_embeddings().weight.abs().max()) > 0
        frozen = make_loop(policy, material, tmp_path).rebuild([material.train[0]], [RED], generator())[0]
    assert frozen.score == 1.0
    assert float(policy.model.get_output_embeddings().weight.abs().max()) == 0
    name = next(n for n, p in policy.model.named_parameters() if p.data_ptr() == weight.data_ptr())
    before = shadow.weights[name].clone()
    shadow.follow(0.75)
    assert torch.allclose(shadow.weights[name], 0.75 * before)


def test_a_moving_average_in_bfloat16_does_not_round_its_small_moves_away(model) -> None:
    policy = Policy.load(str(model), dtype="bfloat16")
    shadow = Shadow(policy, follows=True)
    trained = [(n, p) for n, p in policy.model.named_parameters() if n in shadow.weights and p.ndim == 2]
    name, parameter = trained[0]
    before = shadow.weights[name].clone()
    with torch.no_grad():
        parameter.mul_(1 + 2**-6)
    for _ in range(30):
        shadow.follow(0.95)
    moved = (shadow.weights[name] - before).norm() / (parameter.float() - before).norm()
    assert float(moved) == pytest.approx(1 - 0.95**30, rel=1e-3)
    with shadow.worn():
        assert parameter.dtype == torch.bfloat16


class TestGrounding:
    """log p(rationale | its picture) - log p(rationale | another), under the base."""

    def grounder(self, policy: Policy, material: Material, **settings: float) -> Grounder:
        return Grounder(policy, Prompter(policy, material), material.train, Grounding(**settings))

    def test_it_is_the_mean_clipped_difference_of_log_probs(self, policy, material) -> None:
        from rise_vlm.engine.score import Group, completion_logprobs

        record, other = material.train[:2]
        clip = 0.01
        grounder = self.grounder(policy, material, clip=clip)
        grounder.pool = [record, other]
        rollout = spoken(policy, "calm sea")
        ((gain,),) = grounder.gains([record], [[rollout]], random.Random(0))
        prompts = [grounder.prompter.describe(one) for one in (record, other)]
        own, foreign = (
            completion_logprobs(policy, [Group(prompt, [rollout.ids[:-1]])], grad=False, plain=True)[0][0]
            for prompt in prompts
        )
        assert gain == pytest.approx(float((own - foreign).clamp(-clip, clip).mean()), abs=1e-5)
        assert -clip <= gain <= clip and gain != 0

    def test_a_rationale_cut_off_counts_like_one_that_ended(self, policy, material) -> None:
        whole, cut = spoken(policy, "old wall"), spoken(policy, "old wall", finished=False)
        gains = self.grounder(policy, material).gains([material.train[0]], [[whole, cut]], random.Random(0))[0]
        assert gains[0] == pytest.approx(gains[1], abs=1e-6)

    def test_an_empty_rationale_gains_nothing(self, policy, material) -> None:
        empty = [spoken(policy, ""), spoken(policy, "old wall"), spoken(policy, "", finished=False)]
        gains = self.grounder(policy, material).gains([material.train[0]], [empty], random.Random(0))[0]
        assert gains[0] == gains[2] == 0.0 and gains[1] != 0.0

    def test_one_picture_alone_is_compared_with_grey(self, policy, tmp_path) -> None:
        root = make_classification(tmp_path / "one", train=1)
        material = Material.open(load_recipe("ans_sft", [f"data={root}"]))
        ((gain,),) = self.grounder(policy, material).gains(
            material.train, [[spoken(policy, "old wall")]], random.Random(0)
        )
        assert gain != 0.0

    def test_it_enters_the_reward_with_its_weight(self, policy, material, tmp_path) -> None:
        plain = judge(make_loop(policy, material, tmp_path), material, RED, BLUE)
        loop = make_loop(policy, material, tmp_path, grounding={"weight": 0.25})
        loop.grounder = self.grounder(policy, material)
        for before, after in zip(plain, judge(loop, material, RED, BLUE), strict=True):
            assert after.grounding != 0
            assert after.reward == pytest.approx(before.reward + 0.25 * after.grounding)
            assert after.worth == pytest.approx(before.worth + 0.25 * after.grounding)


class TestProbes:
    """The controls on records that are not trained on."""

    def test_reconstruction_from_real_empty_and_shuffled(self, policy, material, tmp_path) -> None:
        loop = make_loop(policy, material, tmp_path)
        probes = Probes(loop, material, seed=0)
        found = probes.reconstruction(generator())
        figures, names = found.figures, ("real", "empty", "shuffled")
        assert {*names, "leak_rate", "length"} <= set(figures)
        assert all(0 <= figures[name] <= 1 for name in (*names, "leak_rate"))
        assert [row["id"] for row in found.rows] == [record.id for record in probes.records]
        assert all(figures[name] == pytest.approx(sum(row[name] for row in found.rows) / 2) for name in names)
        again = probes.reconstruction(generator())
        assert (figures, found.rows) == (again.figures, again.rows)

    def test_shuffled_says_what_the_words_say_not_the_record(self, policy, material, tmp_path, monkeypatch) -> None:
        probes = Probes(make_loop(policy, material, tmp_path), material, seed=0)
        right = {"red": RED, "blue": BLUE}

        def reason(records, rng):
            rollouts = [spoken(policy, right[record.annotation]) for record in records]
            return [probes.loop.prompter.prompt("reason", record) for record in records], rollouts

        monkeypatch.setattr(probes, "_reason", reason)
        found = probes.reconstruction(generator())
        figures = found.figures
        assert figures["real"] == 1.0
        assert figures["shuffled"] == 0.0
        assert (figures["n"], figures["real_shuffled"]) == (2, 1.0)
        assert 0 < figures["real_shuffled_low"] < 0.5  # two records that agree do not make it certain
        assert figures["real_shuffled_high"] == 1.0
        # A writer that signals whatever it is told is caught: the false annotation is rebuilt every time.
        wrong = probes.wrong_annotation(generator(), found.rebuilt)
        assert wrong is not None
        assert (wrong["n"], wrong["false_wins"], wrong["false_score"], wrong["true_score"]) == (2, 1.0, 1.0, 0.0)
        # Written for the truth, the same rationales give the truth, and nothing of the false annotation.
        assert (wrong["honest_false_score"], wrong["honest_true_score"]) == (0.0, 1.0)
        assert wrong["argued"] == {"mean": 1.0, "interval": [figures["real_shuffled_low"], 1.0]}

    def test_a_writer_that_sticks_to_the_picture_passes(self, policy, material, tmp_path, monkeypatch) -> None:
        probes = Probes(make_loop(policy, material, tmp_path), material, seed=0)
        truth = {record.id: record.annotation for record in material.val}

        def reason(records, rng):
            rollouts = [spoken(policy, RED if truth[record.id] == "red" else BLUE) for record in records]
            return [probes.loop.prompter.prompt("reason", record) for record in records], rollouts

        monkeypatch.setattr(probes, "_reason", reason)
        wrong = probes.wrong_annotation(generator(), probes.reconstruction(generator()).rebuilt)
        assert wrong is not None and wrong["false_wins"] == 0.0 and wrong["true_score"] == 1.0
        assert (wrong["honest_true_score"], wrong["argued"]["mean"]) == (1.0, 0.0)

    def test_one_record_has_nothing_to_shuffle_with(self, policy, material, tmp_path) -> None:
        alone = replace(material, train=material.train[:1], val=material.train[:1])
        figures = Probes(make_loop(policy, alone, tmp_path), alone, seed=0).reconstruction(generator()).figures
        assert "shuffled" not in figures and "real" in figures
        assert figures["n"] == 1 and "real_empty" in figures and "real_empty_low" not in figures

    def test_the_interval_of_a_difference_is_paired_by_record(self) -> None:
        """Scores that vary much from record to record, by nearly the same in both: the difference is known well."""
        rng = random.Random(0)
        theirs = [rng.random() / 2 for _ in range(30)]
        noise = [rng.gauss(0, 0.1) for _ in theirs]
        exact = paired([x + 0.25 + n / 1000 for x, n in zip(theirs, noise, strict=True)], theirs, seed=0)
        assert [exact["mean"], *exact["interval"]] == pytest.approx([0.25] * 3, abs=1e-3)
        loose = paired([x + n for x, n in zip(theirs, noise, strict=True)], theirs, seed=0)
        low, high = loose["interval"]
        half = 1.96 * 0.1 / 30**0.5  # by the normal approximation
        assert high - low == pytest.approx(2 * half, rel=0.4)
        assert low < loose["mean"] < high

    def test_what_the_loop_changed_is_paired_over_the_records_of_both_ends(self, tmp_path) -> None:
        def kept(scores: dict[str, float]) -> Reconstructed:
            return Reconstructed({}, [{"id": id, "real": score} for id, score in scores.items()], [])

        assert change(tmp_path, seed=0) == (None, None)
        log_probes(tmp_path, 0, kept({"a": 0.1, "b": 0.7, "c": 0.4}), {"false_score": 0.3})
        assert change(tmp_path, seed=0) == (None, {"false_score": 0.3})
        log_probes(tmp_path, 20, kept({"a": 0.0, "b": 0.0, "c": 0.0}))
        log_probes(tmp_path, 10, kept({"a": 0.9, "b": 0.9, "c": 0.9}))  # resumed from before step 20
        log_probes(tmp_path, 12, kept({"b": 1.0, "a": 0.2, "new": 1.0}))  # probes.records was changed under way
        gain, before = change(tmp_path, seed=0)
        assert gain == {"mean": pytest.approx(0.2), "interval": pytest.approx([0.1, 0.3]), "n": 2}
        assert before == {"false_score": 0.3}
        assert [row["after"] for row in read_rows(tmp_path / PROBES)] == [0, 10, 12]

    def test_a_false_box_is_another_records_scaled_and_far_from_the_truth(self, policy, places, tmp_path) -> None:
        boxes = Material.open(load_recipe("ans_sft", [f"data={places}"]))
        probes = Probes(make_loop(policy, boxes, tmp_path), boxes, seed=0)
        wrong = probes.wrong_annotation(generator(), probes.reconstruction(generator()).rebuilt)
        assert wrong is not None and wrong["n"] == 2 and 0 <= wrong["honest_false_score"] < 1
        rng = random.Random(0)
        near = [one.model_copy(update={"annotation": [2, 2, 20, 14]}) for one in boxes.val]  # IoU 2/3 of the other
        probes.material = replace(boxes, val=tuple(near), train=boxes.train[:1])
        assert boxes.train[0].annotation == [2, 2, 20, 20]
        assert probes._false(boxes.train[0], rng) is None


def test_facts_are_counted_against_the_world(tmp_path: Path) -> None:
    from rise_vlm.worlds import load_world

    world = load_world("affect")
    world.make(tmp_path / "a", train=3, val=2, test=2, seed=0)
    material = Material.open(load_recipe("ans_sft", [f"data={tmp_path / 'a'}"]))
    record = material.train[0]
    scene = world.Scene.from_dict(record.meta["scene"])
    facts = Facts()
    facts.add(material, record, world.describe(scene, random.Random(0)))
    figures = facts.figures()
    assert figures is not None and figures["precision"] == 1.0 and 0 < figures["recall"] <= 1
    other = next(s for s in (world.sample_scene(random.Random(i), "train") for i in range(50))
                 if not world.true_facts(s) & world.true_facts(scene) or s.face != scene.face)  # fmt: skip
    facts.add(material, record, world.describe(other, random.Random(0), facts=8))
    assert facts.figures()["precision"] < 1.0


def test_without_a_world_there_are_no_facts(material: Material) -> None:
    facts = Facts()
    facts.add(material, material.train[0], "a red wall")
    assert facts.figures() is None
