"""The loop: what it writes, what it refuses, how it resumes, how it stops. Real models train in test_checkpoint."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process
from pydantic import ValidationError
from toy import Packed, ToyPolicy, ToyWork, result_of, rows_of, settings

from rise_vlm.engine import trainer
from rise_vlm.engine.metrics import start_trackers
from rise_vlm.engine.objective import Loss
from rise_vlm.engine.optimizer import MasterOptimizer, learning_rate_at, muon_products
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.engine.trainer import seed_of, train
from rise_vlm.engine.work import Prepared
from rise_vlm.errors import Interrupted, UserError


def run(folder: Path, policy: ToyPolicy | None = None, work: Any = None, **changes: Any) -> ToyPolicy:
    policy = policy or ToyPolicy()
    train(policy, work or ToyWork(policy), settings(**changes), folder, "toy")
    return policy


# --- a training


def test_it_learns_and_leaves_metrics_checkpoint_and_model(tmp_path: Path) -> None:
    run(tmp_path / "run", steps=60, max_grad_norm=None)
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 61))
    assert sum(row["loss"] for row in rows[-10:]) < 0.3 * sum(row["loss"] for row in rows[:10])
    assert rows[0].keys() == {"step", "reward", "rows", "loss", "grad_norm", "learning_rate"}
    left = ["checkpoint-before", "checkpoint-last", "metrics.jsonl", "model"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == left
    assert (tmp_path / "run/model/model.safetensors").is_file()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(tmp_path / name, seed=seed)
    a, b, c = (result_of(tmp_path / name) for name in "abc")
    assert a == b
    assert a["model/model.safetensors"] != c["model/model.safetensors"]
    drawn = [{row["reward"] for row in one["metrics"]} for one in (a, c)]
    assert [len(rewards) for rewards in drawn] == [6, 6], "each step draws other rows"
    assert not drawn[0] & drawn[1], "and each seed others"


def test_an_uninterrupted_run_equals_one_that_was_cut_anywhere(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    for last in range(1, 7):

        def fail(step: int, last: int = last) -> None:
            if step == last:
                raise RuntimeError("power cut")

        folder, policy = tmp_path / str(last), ToyPolicy()
        with pytest.raises(RuntimeError, match="power cut"):
            run(folder, policy, ToyWork(policy, during=fail))
        again = ToyPolicy()
        work = ToyWork(again)
        run(folder, again, work)
        assert work.steps[0] == (last - 1) // 2 * 2 + 1, "it goes on from the last multiple of save_every"
        assert result_of(folder) == result_of(tmp_path / "whole")


def test_a_finished_training_restores_its_weights_and_does_nothing_more(tmp_path: Path) -> None:
    trained = run(tmp_path)
    before = result_of(tmp_path)
    policy = ToyPolicy()
    work = ToyWork(policy)
    run(tmp_path, policy, work)
    assert work.steps == []
    assert result_of(tmp_path) == before
    for name, weight in policy.model.state_dict().items():
        assert torch.equal(weight, trained.model.state_dict()[name])


def test_losses_of_micro_batches_are_summed_and_their_metrics_merged(tmp_path: Path) -> None:
    class Cut(ToyWork):
        def prepare(self, step: int, generator: torch.Generator) -> Prepared:
            (a, weight), (b, _) = super().prepare(step, generator).micro
            return Prepared([(row[None], weight) for row in torch.cat([a, b])])

        def loss(self, micro: Any) -> Any:
            row = micro[0]
            return Loss(super().loss(micro), {"size": row.abs().mean(), "far_max": row.abs().max()}, weight=row.numel())

    runs = []
    for kind in (ToyWork, Cut):
        policy = ToyPolicy()
        policy.model = torch.nn.Sequential(*[m for m in policy.model if not isinstance(m, torch.nn.Dropout)])
        runs.append(run(tmp_path / kind.__name__, policy, kind(policy)))
    for one, other in zip(*(policy.model.parameters() for policy in runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for row, whole in zip(rows_of(tmp_path / "Cut"), rows_of(tmp_path / "ToyWork"), strict=True):
        assert row["loss"] == pytest.approx(whole["loss"], rel=1e-4)
        assert 0.5 < row["size"] < 1.2, "a mean over the micro-batches"
        assert row["far_max"] > 1.4, "the largest of all of them"


def test_a_step_without_micro_batches_changes_no_weight(tmp_path: Path) -> None:
    class Idle(ToyWork):
        def prepare(self, step: int, generator: torch.Generator) -> Prepared:
            return Prepared([], {"zero_spread": 1.0})

    policy = ToyPolicy()
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    run(tmp_path, policy, Idle(policy), weight_decay=0.1)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.model.state_dict().items())
    assert [(row["loss"], row["grad_norm"], row["zero_spread"]) for row in rows_of(tmp_path)] == [(0, 0, 1)] * 6


def test_the_generator_of_a_step_does_not_depend_on_the_steps_before() -> None:
    assert len({seed_of(seed, step) for seed in range(30) for step in range(30)}) == 900
    assert seed_of(1, 11) != seed_of(11, 1)
    assert all(0 <= seed_of(-5, step) < 2**63 for step in range(50))


def test_frozen_weights_stay_and_are_not_in_the_checkpoint(tmp_path: Path) -> None:
    policy = ToyPolicy(frozen_seed=1)
    before = policy.model[0].weight.clone()  # type: ignore[index]
    run(tmp_path, policy)
    assert torch.equal(policy.model[0].weight, before)  # type: ignore[index]
    state = json.loads((tmp_path / "checkpoint-last/state.json").read_text())
    assert state["model"]["0.weight"].endswith("frozen")
    from safetensors import safe_open

    with safe_open(tmp_path / "checkpoint-last/weights.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["3.bias", "3.weight"]


def test_a_policy_with_everything_frozen_is_refused(tmp_path: Path) -> None:
    policy = ToyPolicy()
    policy.model.requires_grad_(False)
    with pytest.raises(UserError, match="everything is frozen"):
        run(tmp_path, policy)


def test_gradient_accumulation_of_the_environment_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "a")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    run(tmp_path / "b")
    assert result_of(tmp_path / "a") == result_of(tmp_path / "b")


# --- settings


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"learning_rate": -1},
        {"learning_rate": float("nan")},
        {"schedule": "cosin"},
        {"warmup_steps": -1},
        {"save_every": 0},
        {"max_grad_norm": 0},
        {"learning_rte": 1e-5},
        {"track": ["tensorbord"]},
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        TrainSettings(**({"steps": 5, "learning_rate": 1e-3} | change))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("steps", "warmup"), [(10, 0), (10, 4), (10, 10), (1, 0), (3, 5)])
def test_rates_climb_through_the_warm_up_and_never_reach_zero(schedule: str, steps: int, warmup: int) -> None:
    rates = [
        learning_rate_at(s, peak=2.0, steps=steps, warmup_steps=warmup, schedule=schedule) for s in range(1, steps + 1)
    ]
    climb, rest = rates[:warmup], rates[warmup:]
    assert climb == pytest.approx([2.0 * (i + 1) / warmup for i in range(len(climb))])
    assert all(0 < rate <= 2 for rate in rates)
    assert rest == sorted(rest, reverse=True)
    assert rest[:1] in ([], [2.0])
    if schedule == "linear" and rest:
        assert rest[-1] == pytest.approx(2.0 / len(rest))
    if schedule == "cosine" and rest:
        assert rest == pytest.approx([1 + math.cos(math.pi * i / len(rest)) for i in range(len(rest))])


# --- optimizer


def test_in_float32_the_optimizer_is_torchs_adamw_with_decay_on_matrices_only() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Linear(5, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    oracle = torch.optim.AdamW(groups, lr=0.01, foreach=False)
    optimizer = MasterOptimizer(dict(ours.named_parameters()), weight_decay=0.1)
    for _ in range(5):
        rows = torch.randn(7, 5)
        for layer in (ours, theirs):
            layer(rows).pow(2).sum().backward()
        norm = optimizer.gradient_norm()
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)), rel=1e-5)
        assert norm > 0.5
        optimizer.step(0.01, norm=norm, max_norm=0.5)
        oracle.step()
        optimizer.clear()
        oracle.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_muon_takes_hidden_matrices_and_leaves_the_rest_to_adamw() -> None:
    def made() -> torch.nn.ModuleDict:
        layers = {"embed_tokens": torch.nn.Embedding(6, 4), "hidden": torch.nn.Linear(4, 3)}
        return torch.nn.ModuleDict(layers)

    ours, theirs = made(), made()
    theirs.load_state_dict(ours.state_dict())
    muon = torch.optim.Muon([theirs["hidden"].weight], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": [theirs["embed_tokens"].weight], "weight_decay": 0.1},
        {"params": [theirs["hidden"].bias], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=0.01)
    optimizer = MasterOptimizer(dict(ours.named_parameters()), kind="muon", weight_decay=0.1)
    for _ in range(5):
        tokens = torch.randint(6, (7,))
        for one in (ours, theirs):
            one["hidden"](one["embed_tokens"](tokens)).pow(2).sum().backward()
        optimizer.step(0.01, norm=optimizer.gradient_norm(), max_norm=None)
        with muon_products(torch.device("cpu")):
            muon.step()
        adamw.step()
        optimizer.clear(), theirs.zero_grad()
    for name, weight in theirs.named_parameters():
        torch.testing.assert_close(dict(ours.named_parameters())[name], weight, rtol=1e-4, atol=1e-6)


def test_muon_steps_in_float32_where_bfloat16_is_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update is the same but for the rounding of bfloat16; on a processor without it that takes a twentieth."""
    moved = []
    for has in (True, False):
        monkeypatch.setattr("rise_vlm.engine.optimizer.cpu_has_bf16", lambda has=has: has)
        torch.manual_seed(0)
        layer = torch.nn.Linear(16, 12, bias=False)
        before = layer.weight.detach().clone()
        optimizer = MasterOptimizer(dict(layer.named_parameters()), kind="muon")
        layer(torch.randn(64, 16)).pow(2).sum().backward()  # of full rank: what is noise in bfloat16 would be blown up
        optimizer.step(0.01, norm=1.0, max_norm=None)
        moved.append(layer.weight.detach() - before)
    assert not moved[0].equal(moved[1])
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=0.1 * float(moved[1].abs().max()))


def test_bfloat16_weights_keep_updates_too_small_for_them() -> None:
    """1.0 + 1e-4 rounds back to 1.0 in bfloat16; a hundred such steps must still arrive."""
    weight = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))
    optimizer = MasterOptimizer({"w": weight})
    for _ in range(100):
        (-weight).sum().backward()
        optimizer.step(1e-4, norm=1.0, max_norm=None)
        optimizer.clear()
    assert optimizer.masters["w"].dtype == torch.float32
    torch.testing.assert_close(optimizer.masters["w"].detach(), torch.full((4, 4), 1.01), rtol=0, atol=1e-5)
    assert torch.equal(weight, optimizer.masters["w"].bfloat16())
    assert (weight > 1).all()


def test_gradients_of_bfloat16_micro_batches_are_summed_in_float32() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))
    optimizer = MasterOptimizer({"w": weight})
    for _ in range(300):  # in bfloat16 the sum would stick at 256
        weight.sum().backward()
        assert weight.grad is None, "it has been taken while the backward pass went on"
    assert optimizer.gradient_norm() == pytest.approx(600)
    optimizer.step(0.0, norm=600.0, max_norm=None)
    gradient = optimizer.masters["w"].grad
    assert gradient is not None
    assert gradient.tolist() == [[300.0, 300.0], [300.0, 300.0]]
    optimizer.close()
    weight.sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_bfloat16_training_resumes_to_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    run(tmp_path / "whole", ToyPolicy(dtype=torch.bfloat16), optimizer=optimizer)

    def fail(step: int) -> None:
        if step == 4:
            raise RuntimeError

    policy = ToyPolicy(dtype=torch.bfloat16)
    with pytest.raises(RuntimeError):
        run(tmp_path / "cut", policy, ToyWork(policy, during=fail), optimizer=optimizer)
    run(tmp_path / "cut", ToyPolicy(dtype=torch.bfloat16), optimizer=optimizer)
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")


# --- losses that are not finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_touches_nothing_and_is_counted(tmp_path: Path, bad: float) -> None:
    policy = ToyPolicy()
    weights: list[torch.Tensor] = []
    work = ToyWork(
        policy,
        during=lambda step: weights.append(policy.model[3].weight.detach().clone()),  # type: ignore[index]
        spoil=lambda step: bad if step in (3, 4) else 1.0,
    )
    run(tmp_path, policy, work)
    assert torch.equal(weights[2], weights[3])
    assert torch.equal(weights[2], weights[4])
    assert not torch.equal(weights[4], weights[5])
    rows = rows_of(tmp_path)
    assert [row.get("refused", 0) for row in rows] == [0, 0, 1, 1, 0, 0]
    assert rows[2]["loss"] is None, "JSON has no NaN"
    assert all(torch.isfinite(weight).all() for weight in policy.model.parameters())


def test_three_such_steps_in_a_row_end_the_training_with_the_last_good_weights(tmp_path: Path) -> None:
    policy = ToyPolicy()
    weights: list[torch.Tensor] = []
    work = ToyWork(
        policy,
        during=lambda step: weights.append(policy.model[3].weight.detach().clone()),  # type: ignore[index]
        spoil=lambda step: float("nan") if step >= 2 else 1.0,
    )
    with pytest.raises(UserError, match=r"toy: .*not finite in step 4 and the 2 before.*learning_rate") as caught:
        run(tmp_path, policy, work)
    assert caught.value.exit_code == 1
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2, 3, 4]
    assert torch.equal(policy.model[3].weight, weights[1])  # type: ignore[index]
    assert not (tmp_path / "model").exists()
    again = ToyPolicy()
    with pytest.raises(UserError, match="not finite in step 5"):  # the count goes on where it was
        run(tmp_path, again, ToyWork(again, spoil=lambda step: float("nan")))


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_the_records_of_a_step_that_is_not_finite_are_named(tmp_path: Path, kind: str) -> None:
    """The gradient of a square root at 0 is not finite, although its value is."""

    class Spoilt(Packed):
        def loss(self, micro: Any) -> Any:
            loss = super().loss(micro)
            if not any(group.prompt.record in ("r4", "r9") for group in micro.groups):
                return loss
            root = (0 * next(self.policy.model.parameters()).sum()).sqrt()
            return loss + (root if kind == "gradient" else float("nan"))

    policy = ToyPolicy()
    with pytest.raises(UserError, match=r"not finite in step 3 .*hold the records r4, r5, r8, r9\. ") as caught:
        run(tmp_path, policy, Spoilt(policy, budget=20))
    assert caught.value.exit_code == 1
    assert [row["refused_records"] for row in rows_of(tmp_path)] == [["r4", "r5", "r8", "r9"]] * 3
    assert rows_of(tmp_path)[0]["loss"] is None or kind == "gradient"


def test_finite_steps_name_no_records_and_compute_nothing_twice(tmp_path: Path) -> None:
    computed: list[int] = []
    policy = ToyPolicy()
    run(tmp_path, policy, Packed(policy, budget=20, disturb=lambda micro: computed.append(1)))
    assert len(computed) == 6 * 6
    assert not any("refused_records" in row for row in rows_of(tmp_path))


# --- a step that cannot be computed


def test_what_was_learned_before_a_reward_failed_is_kept(tmp_path: Path) -> None:
    run(tmp_path / "whole", save_every=4)

    def fail(step: int) -> None:
        if step == 4:
            raise UserError("reward 'mine' failed on record 'r7'", exit_code=1)

    policy = ToyPolicy()
    with pytest.raises(UserError, match="reward 'mine' failed on record 'r7'"):
        run(tmp_path / "cut", policy, ToyWork(policy, during=fail), save_every=4)
    again = ToyPolicy()
    work = ToyWork(again)
    run(tmp_path / "cut", again, work, save_every=4)
    assert work.steps == [4, 5, 6]
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")


# --- metrics


def test_rows_after_the_checkpoint_and_torn_rows_are_written_once(tmp_path: Path) -> None:
    run(tmp_path)
    whole = result_of(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "loss": 1.0}\n{"step": 8, "lo')
    run(tmp_path)
    assert result_of(tmp_path) == whole


def test_trackers_get_every_row_and_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[int, dict[str, Any]]] = []

    class Remembering(GeneralTracker):
        name, requires_logging_directory = "remembering", False
        closed = False

        def __init__(self) -> None:
            super().__init__()

        @property
        def tracker(self) -> None:
            return None

        @on_main_process
        def store_init_configuration(self, values: dict[str, Any]) -> None: ...

        @on_main_process
        def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
            logged.append((step or 0, values))

        def finish(self) -> None:
            type(self).closed = True

    def with_tracker(*args: Any, **kwargs: Any) -> Accelerator:
        accelerator = Accelerator(log_with=Remembering())
        accelerator.init_trackers("toy")
        return accelerator

    monkeypatch.setattr(trainer, "_accelerator", with_tracker)
    run(tmp_path)
    assert [step for step, _ in logged] == [1, 2, 3, 4, 5, 6]
    assert {k: v for k, v in logged[2][1].items() if k != "seconds"} == rows_of(tmp_path)[2]
    assert Remembering.closed


def test_a_tracker_that_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="'nothere' is not installed"):
        start_trackers(Accelerator(), ("nothere",), "toy", {})


# --- Ctrl-C


def ctrl_c(times: int) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_once_finishes_the_step_saves_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    run(tmp_path / "whole")
    policy, before = ToyPolicy(), signal.getsignal(number)
    work = ToyWork(policy, during=lambda step: signal.raise_signal(number) if step == 3 else None)
    with pytest.raises(Interrupted, match=r"toy: stopped after step 3 of 6.*same command.*checkpoint-last") as caught:
        run(tmp_path / "cut", policy, work)
    assert caught.value.exit_code == 130
    assert "press Ctrl-C again" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert len(rows_of(tmp_path / "cut")) == 3
    again = ToyPolicy()
    work = ToyWork(again)
    run(tmp_path / "cut", again, work)
    assert work.steps == [4, 5, 6]
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")


def test_ctrl_c_twice_stops_at_once(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    policy, before = ToyPolicy(), signal.getsignal(signal.SIGINT)
    work = ToyWork(policy, during=lambda step: ctrl_c(2) if step == 4 else None)
    with pytest.raises(Interrupted, match="stopped at once"):
        run(tmp_path / "cut", policy, work)
    assert work.steps == [1, 2, 3], "step 4 was not finished"
    assert signal.getsignal(signal.SIGINT) is before
    run(tmp_path / "cut")
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")


def test_ctrl_c_in_the_last_step_keeps_the_model_and_still_stops_the_command(tmp_path: Path) -> None:
    policy = ToyPolicy()
    work = ToyWork(policy, during=lambda step: ctrl_c(1) if step == 6 else None)
    with pytest.raises(Interrupted, match="finished"):
        run(tmp_path, policy, work)
    assert (tmp_path / "model/model.safetensors").is_file()


def test_ctrl_c_before_any_checkpoint_says_that_it_starts_over(tmp_path: Path) -> None:
    policy = ToyPolicy()
    with pytest.raises(Interrupted, match="no checkpoint yet"):
        run(tmp_path, policy, ToyWork(policy, during=lambda step: ctrl_c(2)))


# --- folders that cannot be written


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow beyond ``size`` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_the_checkpoint_before_stays_whole(tmp_path: Path) -> None:
    changes = {"steps": 6, "save_every": 2}
    run(tmp_path / "whole", ToyPolicy(width=2000), **changes)
    policy = ToyPolicy(width=2000)
    full = no_file_above(40_000)  # enough for the metrics, not for 2000 x 4 weights

    def disturb(step: int) -> None:
        if step == 4:
            full.__enter__()

    try:
        with pytest.raises(
            UserError, match=r"checkpoint of step 4 in .*checkpoint before is whole.*make room"
        ) as caught:
            run(tmp_path / "cut", policy, ToyWork(policy, during=disturb), **changes)
    finally:
        full.__exit__(None, None, None)
    assert caught.value.exit_code == 1
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["checkpoint-last", "metrics.jsonl"]
    assert json.loads((tmp_path / "cut/checkpoint-last/state.json").read_text())["step"] == 2
    run(tmp_path / "cut", ToyPolicy(width=2000), **changes)
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody can write")
def test_a_folder_that_cannot_be_written_is_told_before_any_step() -> None:
    policy = ToyPolicy()
    work = ToyWork(policy)
    with pytest.raises(UserError, match="/sys/kernel/rise") as caught:
        run(Path("/sys/kernel/rise"), policy, work)
    assert caught.value.exit_code == 1
    assert work.steps == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        run(tmp_path / "run")
    tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(UserError, match="run"):
        run(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "not a folder"


def test_running_out_of_memory_names_the_setting(tmp_path: Path) -> None:
    def explode(step: int) -> None:
        if step == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    policy = ToyPolicy()
    with pytest.raises(UserError, match=r"toy: out of memory in step 2: lower token_budget"):
        run(tmp_path, policy, ToyWork(policy, during=explode))
