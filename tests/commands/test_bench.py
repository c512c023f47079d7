"""`rise bench` end to end on a tiny case: the counts are exact, both sides compute the same log-probs."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from rise_vlm import cli
from rise_vlm.bench import case as cases
from rise_vlm.bench.case import Case

G, PROMPTS, TOKENS, ANSWER, IMAGE = 3, 2, 6, 5, 12
SMALL = ["--image-tokens", str(IMAGE), "--group", str(G), "--prompts", str(PROMPTS), "--rounds", "1"]
SMALL += ["--completion-tokens", str(TOKENS), "--json"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The only case that `rise bench` prints, and the environment."""
    assert cli.run(["bench", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    (case,) = told["cases"]
    return case, told["environment"]


def prompt_tokens(text: str) -> int:
    policy = cases.load(Case(IMAGE))
    (picture, _) = cases.pictures(Case(IMAGE), 0, 28)
    return len(policy.encode(text, [picture]))


@pytest.mark.parametrize("tokens", [1, 7, 64, 250])
def test_pictures_have_the_tokens_asked_for_and_are_new_in_each_round(tokens: int) -> None:
    case = Case(tokens, prompts=2)
    policy = cases.load(case)
    drawn = [policy.preprocess([one])[0] for number in (0, 1) for one in cases.pictures(case, number, 28)]
    assert [image.tokens for image in drawn] == [tokens] * 4
    assert len({image.key for image in drawn}) == 4


def test_a_step_beside_trl(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trl", reason="TRL (extra 'dev') is the other side")
    case, environment = bench(capsys, "step", *SMALL, "--no-memory", "--tower", "trained")
    prompt = prompt_tokens(cases.THINK)
    decoded = PROMPTS * G * (TOKENS - 1)
    # Ours: a prompt once in the rollout and once in the update, and so its picture.
    update = PROMPTS * prompt + decoded
    assert case["ours"]["tower_passes"] == 2 * PROMPTS
    assert (case["ours"]["tokens"], case["ours"]["trained_tokens"]) == (PROMPTS * prompt + decoded + update, update)
    # TRL: G times each.
    update = PROMPTS * G * (prompt + TOKENS)
    assert case["trl"]["tower_passes"] == 2 * PROMPTS * G
    assert (case["trl"]["tokens"], case["trl"]["trained_tokens"]) == (PROMPTS * G * prompt + decoded + update, update)
    assert case["logprob_gap"] < 1e-4
    assert case["time_ratio"] == pytest.approx(case["ours"]["seconds"] / case["trl"]["seconds"], rel=0.01)
    for side in ("ours", "trl"):
        assert sum(part["share"] for part in case[side]["phases"].values()) == pytest.approx(1, abs=1e-3)
        assert list(case[side]["phases"]) == ["rollout", "score", "update"]
    assert environment["threads"] >= 1 and environment["torch"]


def test_a_loop_step_beside_the_official_structure(capsys: pytest.CaptureFixture[str]) -> None:
    case, _ = bench(capsys, "loop", *SMALL, "--answer-tokens", str(ANSWER), "--no-memory")
    prompt = prompt_tokens(cases.REASON.format(annotation=cases.ANNOTATION))
    update = PROMPTS * (prompt + G * (TOKENS - 1))
    assert case["official"]["tower_passes"] == 4 * G * PROMPTS
    assert case["ours"]["tower_passes"] == PROMPTS  # the tower is frozen: its features are kept within the step
    assert case["ours"]["trained_tokens"] == update
    assert case["logprob_gap"] < 1e-4
    assert (
        set(case["ours"]["phases"]) == set(case["official"]["phases"]) == {"reason", "reconstruct", "score", "update"}
    )


def test_ours_alone_with_memory_and_profile_needs_no_trl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    one_of_one = [*SMALL, "--group", "1", "--prompts", "1"]
    case, _ = bench(capsys, "step", *one_of_one, "--alone", "--profile")
    prompt = prompt_tokens(cases.THINK)
    assert case["ours"]["trained_tokens"] == prompt + TOKENS - 1
    assert case["ours"]["peak_mb"] > 30  # the float32 weights alone
    assert 0 < case["ours"]["profile"]["not_tensor"] < 1 and case["ours"]["profile"]["top"]
    assert not {"time_ratio", "memory_ratio", "logprob_gap", "trl"} & set(case)


def test_rounds_and_sizes_are_told_as_they_are_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rise_vlm.console.PLAIN_INTERVAL", 0.0)
    sizes = ["--image-tokens", "4,9", "--group", "2", "--prompts", "1", "--completion-tokens", "2", "--rounds", "1"]
    assert cli.run(["bench", "step", *sizes, "--alone", "--no-memory"]) == 0
    told = [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()]
    begins = "{} image tokens, group 2, the first of 2 rounds to warm up: {}/2"
    assert told[0].startswith("Sizes to measure: 2; rounds of each: 1,")
    assert told[1:3] == [begins.format(4, 1), begins.format(4, 2)]
    assert told[3].startswith("4 image tokens, group 2: ours ")
    assert told[4:6] == [begins.format(9, 1), begins.format(9, 2)] and told[6].startswith("9 image tokens, group 2: ")


def test_without_trl_the_comparison_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    assert cli.run(["bench", "step", *SMALL]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and "trl==1.16.0" in told.err and "--alone" in told.err and not told.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["loop", "--image-tokens", "64,many"], "64,many"),
        (["loop", "--group", "0"], "--group"),
        (["step", "--group", "1"], "at least 2"),
        (["loop", "--image-tokens", "4096", "--alone"], "4096"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["bench", *arguments]) == 2
    assert named in capsys.readouterr().err
