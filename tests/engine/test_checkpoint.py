"""Checkpoints: whole or not at all, read back exactly, refused with a reason; and trainings that die by SIGKILL."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from tiny_models import save_tiny
from torch import nn
from toy import ToyPolicy, ToyWork, result_of, settings

from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.engine.checkpoint import Checkpoint, check, fingerprint, load, recover, replacing, save
from rise_vlm.engine.trainer import train
from rise_vlm.errors import UserError


def example(step: int = 5, **changes: Any) -> Checkpoint:
    g = torch.Generator().manual_seed(step)
    fields: dict[str, Any] = {
        "step": step,
        "settings": {"steps": 9, "learning_rate": 0.1},
        "model": {"w": "2x3 float32 trained"},
        "weights": {"w": torch.randn(2, 3, generator=g)},
        "optimizer": {"step.w": torch.tensor(5.0), "exp_avg.w": torch.randn(2, 3, generator=g)},
        "work": {"order": [3, 1, 2], "ema": torch.randn(3, generator=g), "rng": torch.get_rng_state()},
        "refused": 1,
        "room": {"asked": 64, "token_budget": 16},
    }
    return Checkpoint(**(fields | changes))


def assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert (found.step, found.refused) == (expected.step, expected.refused)
    assert (found.settings, found.model, found.room) == (expected.settings, expected.model, expected.room)
    for one, other in (
        (found.weights, expected.weights),
        (found.optimizer, expected.optimizer),
        (found.work, expected.work),
    ):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    for step in (5, 6):
        save(tmp_path / "new folder", example(step))
        assert_same(load(tmp_path / "new folder"), example(step))
    assert sorted(p.name for p in (tmp_path / "new folder").iterdir()) == ["checkpoint-before", "checkpoint-last"]


def test_a_checkpoint_is_json_and_safetensors_and_no_pickle(tmp_path: Path) -> None:
    save(tmp_path, example())
    names = sorted(p.name for p in (tmp_path / "checkpoint-last").iterdir())
    assert names == ["SHA256SUMS", "state.json", "tensors.safetensors", "weights.safetensors"]
    assert json.loads((tmp_path / "checkpoint-last/state.json").read_text())["step"] == 5


@given(
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.uint8, torch.int64]), shape=st.lists(st.integers(0, 3))
)
def test_tensors_of_any_type_and_shape_come_back(
    tmp_path_factory: pytest.TempPathFactory, dtype: torch.dtype, shape: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    value = (torch.randn(shape) * 50).to(dtype)
    save(folder, example(work={"x": value}))
    found = load(folder)
    assert found is not None
    assert found.work["x"].dtype == dtype
    assert torch.equal(found.work["x"], value)


# --- writing fails


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("operation", ["mkdir", "save_file", "fsync", "rename", "write"])
def test_a_failing_disk_leaves_the_checkpoint_before_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, code: int
) -> None:
    save(tmp_path, example(5))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    target = {"save_file": checkpoints, "fsync": os, "mkdir": Path, "rename": Path, "write": Path}[operation]
    with monkeypatch.context() as broken:
        broken.setattr(target, "open" if operation == "write" else operation, fail)
        with pytest.raises(UserError, match=f"step 6.*{os.strerror(code)}.*before is whole") as caught:
            save(tmp_path, example(6))
    assert caught.value.exit_code == 1
    assert_same(load(tmp_path), example(5))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-last"]


def test_a_failing_first_write_names_the_folder_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(UserError, match=f"{tmp_path}.*No space left.*make room") as caught:
        save(tmp_path, example())
    assert "before is whole" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_second_rename_failing_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, example(5))
    real, calls = Path.rename, []

    def once(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(UserError, match="Input/output error"):
        save(tmp_path, example(6))
    assert_same(load(tmp_path), example(5))


def test_a_folder_left_between_the_renames_is_recovered(tmp_path: Path) -> None:
    save(tmp_path, example(5))
    (tmp_path / "checkpoint-last").rename(tmp_path / "checkpoint-before")
    (tmp_path / "checkpoint-last-new").mkdir()
    assert_same(load(tmp_path), example(5))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-last"]


def test_replacing_keeps_the_old_folder_if_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("one", "two"):
        with replacing(target) as new:
            (new / "file").write_text(text)
    with pytest.raises(RuntimeError), replacing(target) as new:
        (new / "file").write_text("three")
        raise RuntimeError
    assert (target / "file").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    recover(target)
    assert (target / "file").read_text() == "two"


# --- reading back fails


@pytest.mark.parametrize("name", ["state.json", "weights.safetensors", "tensors.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "garbage"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, example())
    path = tmp_path / "checkpoint-last" / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] if damage == "cut" else b"\x80 not what it was")
    with pytest.raises(UserError, match=r"checkpoint-last is damaged.*delete .*checkpoint-last to start afresh"):
        load(tmp_path)


FILES = ["SHA256SUMS", "state.json", "tensors.safetensors", "weights.safetensors"]


def damage(path: Path, how: str) -> None:
    """Cut a file short, turn over one bit in its midst, or delete it."""
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    content[len(content) // 2] ^= 1
    path.write_bytes(content if how == "flipped" else content[:-20])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if (name, how) == ("SHA256SUMS", "gone"):
        pytest.skip("a version without checksums wrote it")
    save(tmp_path, example(5))
    save(tmp_path, example(6))
    damage(tmp_path / "checkpoint-last" / name, how)
    assert_same(load(tmp_path), example(5))
    (said,) = capsys.readouterr().err.splitlines()
    for part in (f"{tmp_path}/checkpoint-last is damaged", "checkpoint before it, of step 5", "checkpoint-damaged"):
        assert part in said
    assert name in said or name == "SHA256SUMS"
    assert_same(load(tmp_path), example(5))
    assert capsys.readouterr().err == "", "said once"
    save(tmp_path, example(7))
    assert_same(load(tmp_path), example(7))


def test_a_checkpoint_of_a_version_without_checksums_is_read(tmp_path: Path) -> None:
    save(tmp_path, example(5))
    (tmp_path / "checkpoint-last/SHA256SUMS").unlink()
    assert_same(load(tmp_path), example(5))


def test_where_both_are_damaged_both_are_named_and_left_as_they_are(tmp_path: Path) -> None:
    save(tmp_path, example(5))
    save(tmp_path, example(6))
    for folder in ("checkpoint-last", "checkpoint-before"):
        damage(tmp_path / folder / "weights.safetensors", "flipped")
    with pytest.raises(
        UserError, match=r"last is damaged .weights.*delete .*-last and .*-before to start afresh"
    ) as told:
        load(tmp_path)
    assert told.value.exit_code == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-before", "checkpoint-last"]


def test_the_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum here")
    save(tmp_path, example())
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path / "checkpoint-last", check=False, capture_output=True).returncode == 0


def test_a_training_that_goes_back_ends_in_the_same_bits(tmp_path: Path) -> None:
    run(tmp_path / "whole", ToyPolicy(), save_every=1)

    def stop(step: int) -> None:
        if step == 5:
            raise RuntimeError("power cut")

    policy = ToyPolicy()
    with pytest.raises(RuntimeError, match="power cut"):
        train(policy, ToyWork(policy, during=stop), settings(save_every=1), tmp_path / "cut", "toy")
    damage(tmp_path / "cut/checkpoint-last/tensors.safetensors", "flipped")
    again = ToyPolicy()
    work = ToyWork(again)
    train(again, work, settings(save_every=1), tmp_path / "cut", "toy")
    assert work.steps == [4, 5, 6], "the last was of step 4, the one before of step 3"
    found, whole = result_of(tmp_path / "cut"), result_of(tmp_path / "whole")
    assert set(found.pop("left over")) - set(whole.pop("left over")) == {"checkpoint-damaged"}
    assert found == whole


def test_a_checkpoint_of_a_later_format_is_refused(tmp_path: Path) -> None:
    save(tmp_path, example())
    path = tmp_path / "checkpoint-last/state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    (path.parent / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="format 99"):
        load(tmp_path)


def run(folder: Path, policy: ToyPolicy, **changes: Any) -> None:
    train(policy, ToyWork(policy), settings(**changes), folder, "toy")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda: ToyPolicy(width=9), r"another model: '0.bias' is 8 float32 trained in the checkpoint and 9 float32"),
        (lambda: ToyPolicy(frozen_seed=0), r"another model: '.frozen weights.'"),
        (lambda: ToyPolicy(dtype=torch.bfloat16), r"8 float32 trained in the checkpoint and 8 bfloat16"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, policy: Any, message: str) -> None:
    run(tmp_path, ToyPolicy())
    before = result_of(tmp_path)
    with pytest.raises(UserError, match=message):
        run(tmp_path, policy())
    assert result_of(tmp_path) == before


def test_another_frozen_base_is_refused_though_its_shapes_agree(tmp_path: Path) -> None:
    run(tmp_path, ToyPolicy(frozen_seed=1))
    run(tmp_path, ToyPolicy(frozen_seed=1))
    with pytest.raises(UserError, match="frozen weights"):
        run(tmp_path, ToyPolicy(frozen_seed=2))


@pytest.mark.parametrize("change", [{"learning_rate": 0.5}, {"seed": 8}, {"warmup_steps": 2}, {"schedule": "cosine"}])
def test_other_settings_are_refused_by_name(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path, ToyPolicy())
    before = result_of(tmp_path)
    name, value = next(iter(change.items()))
    with pytest.raises(UserError, match=f"written with {name}=.*now it is {value}.*delete"):
        run(tmp_path, ToyPolicy(), **change)
    assert result_of(tmp_path) == before


def test_how_often_to_save_may_change(tmp_path: Path) -> None:
    run(tmp_path, ToyPolicy())
    before = result_of(tmp_path)
    run(tmp_path, ToyPolicy(), save_every=5)
    assert result_of(tmp_path) == before


def test_the_fingerprint_tells_frozen_weights_apart() -> None:
    layer, other = nn.Linear(40, 40), nn.Linear(40, 40)
    assert fingerprint(layer) == fingerprint(other), "trained weights are in the checkpoint"
    for module in (layer, other):
        module.weight.requires_grad_(False)
    assert fingerprint(layer) != fingerprint(other)
    check(Path(), example(model=fingerprint(layer)), example().settings, fingerprint(layer))


# --- SIGKILL


def killed(*arguments: str) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_grpo_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Weights, optimizer state, model and metrics of a real, sampled training with the tower trained."""
    model = save_tiny(tmp_path / "tiny")
    steps = killed(str(tmp_path), str(model))["steps"]
    assert len(steps) >= 3, "it was killed several times"
    assert len({step for step in steps if 0 < step < 16}) >= 2, "and went on from several checkpoints"
    whole = result_of(tmp_path / "whole")
    assert whole["checkpoint-last/weights.safetensors"] != model.joinpath("model.safetensors").read_bytes()
    assert result_of(tmp_path / "killed") == whole


class Dead(BaseException):
    """The process is gone: from here on it does nothing to the disk, not even tidy up."""


def die_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Let the process die when it starts its ``moment``-th operation on the disk."""
    count = 0

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if count >= moment:
                raise Dead
            count += 1
            return real(*args, **kwargs)

        return operation

    for name in ("rename", "replace", "mkdir", "open"):
        monkeypatch.setattr(Path, name, deadly(getattr(Path, name)))
    monkeypatch.setattr(os, "fsync", deadly(lambda descriptor: None))  # for power cuts only, and slow
    monkeypatch.setattr(checkpoints, "save_file", deadly(checkpoints.save_file))
    monkeypatch.setattr(shutil, "rmtree", deadly(shutil.rmtree))


def test_death_at_any_operation_on_the_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"steps": 3, "save_every": 1}
    run(tmp_path / "whole", ToyPolicy(), **how)
    whole = result_of(tmp_path / "whole")
    for moment in range(1000):
        with monkeypatch.context() as dying:
            die_at(dying, moment)
            try:
                run(tmp_path / str(moment), ToyPolicy(), **how)
            except Dead:
                pass
            else:
                break
        run(tmp_path / str(moment), ToyPolicy(), **how)
        assert result_of(tmp_path / str(moment)) == whole, moment
    assert moment > 50
