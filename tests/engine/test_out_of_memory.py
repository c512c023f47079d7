"""Memory that runs out: less is computed at once, the step is repeated, and nobody can tell afterwards.

The errors are injected, as the libraries raise them: torch's for an accelerator, its CPU allocator's, and Python's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import picture, save_tiny
from toy import Groups, Packed, ToyPolicy, ToyWork, result_of, rows_of, settings

from rise_vlm.engine import sample as sampling
from rise_vlm.engine import score as scoring
from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.engine.trainer import train
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.policy.room import Room, out_of_memory

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(f"{CPU} 6400 bytes."), MemoryError()]


def run(folder: Path, work: Callable[[ToyPolicy], ToyWork], **changes: Any) -> ToyWork:
    policy = ToyPolicy()
    made = work(policy)
    train(policy, made, settings(token_budget=200, **changes), folder, "toy")
    return made


def full_above(tokens: int, error: BaseException = ERRORS[0]) -> Callable[[Groups], None]:
    def disturb(micro: Groups) -> None:
        if sum(group.tokens for group in micro.groups) > tokens:
            raise error

    return disturb


def outcome(folder: Path) -> dict[str, Any]:
    """The files that hold what was learned."""
    return {name: content for name, content in result_of(folder).items() if name.endswith(".safetensors")}


def test_torch_says_so_as_this_module_takes_it() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 48)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_micro_batches_become_smaller_until_they_fit(
    tmp_path: Path, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve groups of ten tokens: 200 does not cut them, nor does 100 enough; 50 does."""
    work = run(tmp_path / "full", lambda policy: Packed(policy, disturb=full_above(60, error)))
    assert work.steps == [1, 1, 1, 2, 3, 4, 5, 6]
    rows = rows_of(tmp_path / "full")
    assert [row["token_budget"] for row in rows] == [50] * 6
    assert [row["rows"] for row in rows] == [12, 24, 36, 48, 60, 72], "a repeated step counts once"
    said = capsys.readouterr().err
    assert said.count("out of memory: token_budget is 100 from here on, it was 200") == 1
    assert said.count("out of memory: token_budget is 50 from here on, it was 100") == 1
    run(tmp_path / "small", lambda policy: Packed(policy, budget=50))
    assert outcome(tmp_path / "full") == outcome(tmp_path / "small"), "repeated from its seed, with the same bits"


def test_a_budget_that_cuts_nothing_is_not_tried(tmp_path: Path) -> None:
    work = run(tmp_path, lambda policy: Packed(policy, budget=10_000, disturb=full_above(60)), steps=1)
    assert work.steps == [1, 1, 1], "the twelve groups in one, cut at 100, at 50"


@pytest.mark.parametrize("last", [3, 4, 5])
def test_a_training_that_is_killed_after_the_choice_ends_in_the_same_bits(tmp_path: Path, last: int) -> None:
    """Memory is short only once, in step 3, between two checkpoints: what is chosen there must be remembered."""

    class Once(Packed):
        short = True

        def loss(self, micro: Groups) -> Any:
            if self.steps[-1] == 3 and self.short:
                self.short = False
                raise ERRORS[0]
            return super().loss(micro)

    how = {"save_every": 10}
    run(tmp_path / "whole", Once, **how)
    assert [row.get("token_budget") for row in rows_of(tmp_path / "whole")] == [None, None, 100, 100, 100, 100]

    class Killed(Once):
        def loss(self, micro: Groups) -> Any:
            if self.steps[-1] == last and not self.short:
                raise RuntimeError("power cut")
            return super().loss(micro)

    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", Killed, **how)
    again = run(tmp_path / "cut", Packed, **how)
    assert again.steps == [3, 4, 5, 6], "the choice was saved when it was made"
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")


def test_another_token_budget_begins_without_the_limit(tmp_path: Path) -> None:
    run(tmp_path, lambda policy: Packed(policy, disturb=full_above(60)), steps=2)
    policy = ToyPolicy()
    train(policy, Packed(policy, budget=400), settings(token_budget=400, steps=4), tmp_path, "toy")
    assert [row.get("token_budget") for row in rows_of(tmp_path)] == [50, 50, None, None]


def test_a_single_group_that_does_not_fit_is_named_and_what_was_learned_is_kept(tmp_path: Path) -> None:
    class Grows(Packed):
        def loss(self, micro: Groups) -> Any:
            if self.steps[-1] == 4 and any(group.prompt.record == "r7" for group in micro.groups):
                raise ERRORS[0]
            return super().loss(micro)

    with pytest.raises(
        UserError, match=r"toy: out of memory in step 4 .*token_budget.*record 'r7'.*max_pixels"
    ) as told:
        run(tmp_path, Grows, save_every=10)
    assert told.value.exit_code == 1
    assert json.loads((tmp_path / "checkpoint-last/state.json").read_text())["step"] == 3


def test_a_work_that_cannot_be_cut_names_the_setting(tmp_path: Path) -> None:
    class Whole(ToyWork):
        def loss(self, micro: Any) -> Any:
            raise ERRORS[1]

    with pytest.raises(UserError, match="toy: out of memory in step 1: lower token_budget"):
        run(tmp_path, Whole)


def test_other_errors_are_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run(tmp_path, lambda policy: Packed(policy, disturb=full_above(0, RuntimeError("shapes differ"))))


# --- without gradient


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.load(str(save_tiny(tmp_path_factory.mktemp("tiny"))), dtype="float32", device="cpu")


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "policy" in request.fixturenames:
        request.getfixturevalue("policy").room = Room()


def test_fewer_sequences_are_decoded_at_once_and_the_rollouts_are_the_same(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [policy.encode("Write.", [picture(seed)]) for seed in (1, 2)]

    def rollouts() -> list[str]:
        made = sample(policy, prompts, 6, max_new_tokens=5, generator=torch.Generator().manual_seed(0))
        return [rollout.text for group in made for rollout in group]

    wanted = rollouts()
    real, sizes = sampling._Decoder.run, []

    def short(self: Any) -> Any:
        sizes.append(self.cache.own.slots)
        if sizes[-1] > 4:
            raise ERRORS[1]
        return real(self)

    monkeypatch.setattr(sampling._Decoder, "run", short)
    assert rollouts() == wanted
    assert sizes == [12, 8, 4], "the first power of two below the twelve"
    assert policy.room.limits == {"sampled_rows": 4}
    assert rollouts() == wanted
    assert sizes[3:] == [4], "remembered"


def test_a_single_completion_that_does_not_fit_names_its_record(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    prompt = replace(policy.encode("Write.", [picture(1)]), record="r3")

    def full(*_: Any) -> Any:
        raise ERRORS[0]

    monkeypatch.setattr(sampling._Decoder, "_step", full)
    with pytest.raises(UserError, match=r"one completion at a time.*record 'r3'.*Lower max_pixels or max_new_tokens"):
        sample(policy, [prompt], 4, max_new_tokens=5, generator=torch.Generator().manual_seed(0))


def test_fewer_tokens_are_scored_at_once(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [Group(policy.encode("Write."), [torch.tensor([40, 41, 42])]) for _ in range(4)]
    wanted = completion_logprobs(policy, groups, grad=False)
    real, sizes = scoring._score_rows, []

    def short(policy: Policy, rows: Any, *rest: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise ERRORS[0]
        return real(policy, rows, *rest)

    monkeypatch.setattr(scoring, "_score_rows", short)
    for one, other in zip(completion_logprobs(policy, groups, grad=False), wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert sizes[0] == 4 and max(sizes[-2:]) <= 2
    assert "scored_tokens" in policy.room.limits
    monkeypatch.setattr(scoring, "_score_rows", lambda *_: (_ for _ in ()).throw(ERRORS[0]))
    with pytest.raises(torch.OutOfMemoryError):
        completion_logprobs(policy, groups, grad=False)


def test_a_step_that_samples_with_less_room_is_repeated_and_the_choice_saved(tmp_path: Path) -> None:
    """As the rollouts of a step found room by themselves, those before them in the step did not know of it yet."""

    class Samples(Packed):
        def prepare(self, step: int, generator: torch.Generator) -> Any:
            if step == 3 and not self.policy.room.limits:
                self.policy.room.halve("sampled_rows", 16, 12)
            return super().prepare(step, generator)

    work = run(tmp_path, Samples, save_every=10)
    assert work.steps == [1, 2, 3, 3, 4, 5, 6]
    assert [row.get("sampled_rows") for row in rows_of(tmp_path)] == [None, None, 8, 8, 8, 8]
