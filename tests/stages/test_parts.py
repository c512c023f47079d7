"""Runs whose processes hold the weights in parts end as a run of one that holds them whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from stage_kit import environment
from test_together import SAVES, TRAINED, UNEVEN, launched, losses, recipe_in, together
from test_unkillable import left_in
from tiny_families import save_family
from tiny_models import save_tiny
from transformers import Qwen2VLForConditionalGeneration

from rise_vlm.errors import UserError
from rise_vlm.launched import Division, division

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and talks by gloo")

PARTS = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
KEPT = PARTS | {"FSDP_RESHARD_AFTER_FORWARD": "false"}
GONE = "another process of this run has ended"


def test_parts_share_a_run(classes: Path, model: Path, tmp_path: Path) -> None:
    """All stages and all weights, the tower's too; Muon and AdamW; a reference; a reconstructor that follows."""
    recipe = recipe_in(tmp_path, "rise", classes, model, *UNEVEN, "reconstruct.reconstructor=ema")
    outs = {count: tmp_path / f"of-{count}" / "run" for count in (1, 2, 4)}
    for done in together(*((recipe, out, count, None, PARTS) for count, out in outs.items())):
        count = len(done["codes"])
        assert set(done["codes"]) == {0}, done["said"]
        assert ("holds a part" in done["said"][0]) == (count > 1), "a process alone holds what there is"
        assert not "".join(done["said"][1:]).strip(), "the main process speaks for all"
    alone = losses(outs[1])
    assert {stage for stage, _, _ in alone} == set(TRAINED.values())
    for count in (2, 4):
        assert losses(outs[count]) == pytest.approx(alone, abs=1e-4), count
        assert set(left_in(outs[count])) == set(left_in(outs[1])), "the same files, each once"
        for stage, text in (("02-closed_loop", "rationale"), ("05-grpo", "completion")):
            ours, theirs = (
                pyarrow.parquet.read_table(outs[n] / "stages" / stage / "rollouts.parquet") for n in (count, 1)
            )
            assert ours[text].equals(theirs[text])


def test_adapters_and_half_precision_over_parts(classes: Path, model: Path, tmp_path: Path) -> None:
    """Of LoRA the base is in parts, its adapters are whole; one record a step leaves processes without any. What is
    computed in bfloat16 is kept in float32, and saved as by a run with whole weights. All processes together probe a
    family that no test proves."""
    lora = ("policy.lora={r: 4}", "policy.precision=float32", "policy.gradient_checkpointing=true", "data.limit=3")
    loop = recipe_in(tmp_path, "rise", classes, model, *lora, "closed_loop.objective.beta=0.02", "sft.epochs=null",
                     "sft.steps=3", "harvest.threshold=-9", "harvest.gain=-9")  # fmt: skip
    grpo = recipe_in(tmp_path, "visual_rft", classes, model, *lora, "grpo.steps=3", "grpo.records_per_step=1")
    jobs = [(loop, tmp_path / "two", 2, None, PARTS), (loop, tmp_path / "one", 1, None)]
    jobs += [(grpo, tmp_path / "three", 3, None, KEPT), (grpo, tmp_path / "alone", 1, None)]
    half = ("policy.precision=bfloat16", "policy.gradient_checkpointing=true", "sft.records_per_step=1")
    sft = recipe_in(tmp_path, "ans_sft", classes, model, *half, "sft.steps=3", "sft.token_budget=1")
    jobs += [(sft, tmp_path / "parts", 2, None, PARTS), (sft, tmp_path / "whole", 1, None)]
    (tmp_path / "gemma3").mkdir()
    save_family(tmp_path / "gemma3", "gemma3")
    float32 = ("policy.precision=float32", "grpo.steps=2", "grpo.records_per_step=3", "grpo.max_new_tokens=8")
    probed = recipe_in(tmp_path / "gemma3", "visual_rft", classes, tmp_path / "gemma3", *float32)
    jobs += [(probed, tmp_path / "probed", 2, None, PARTS), (probed, tmp_path / "by itself", 1, None)]
    for done in together(*jobs):
        assert set(done["codes"]) == {0}, done["said"]
    for ours, theirs in (("two", "one"), ("three", "alone"), ("probed", "by itself")):
        found = losses(tmp_path / theirs)
        assert len(found) >= 9
        assert losses(tmp_path / ours) == pytest.approx(found, abs=1e-4)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-3)
    saved = [load_file(tmp_path / out / "stages/01-sft/model/model.safetensors") for out in ("parts", "whole")]
    ours, theirs = ({name: (tensor.shape, tensor.dtype) for name, tensor in one.items()} for one in saved)
    assert ours == theirs


def test_an_adapter_of_one_layer(classes: Path, model: Path, tmp_path: Path) -> None:
    """The layers below it need no gradient, but a pass without a record goes back through all of them."""
    deep = save_tiny(tmp_path / "deep", num_hidden_layers=5)
    chosen = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[4])
    base = Qwen2VLForConditionalGeneration.from_pretrained(deep)
    get_peft_model(base, chosen).save_pretrained(tmp_path / "adapter")
    options = ("policy.precision=float32", "grpo.steps=2", "grpo.records_per_step=1")
    recipe = recipe_in(tmp_path, "visual_rft", classes, tmp_path / "adapter", *options)
    jobs = [(recipe, tmp_path / "two", 2, None, PARTS), (recipe, tmp_path / "one", 1, None)]
    for done in together(*jobs):
        assert set(done["codes"]) == {0}, done["said"]
    found = losses(tmp_path / "one")
    assert len(found) >= 6
    assert losses(tmp_path / "two") == pytest.approx(found, abs=1e-4)


def test_checkpoints_go_between_parts_and_wholes(classes: Path, model: Path, tmp_path: Path) -> None:
    """Two in parts, of which one dies amid Muon's steps; one whole, which dies in the loop; four in parts."""
    stages = ("warm_up", "closed_loop")
    options = [one for one in (*UNEVEN, *SAVES) if one.startswith(("policy", "records", *stages))]
    follows = ("reconstruct.reconstructor=ema", "stages=[warm_up, closed_loop]")
    recipe = recipe_in(tmp_path, "rise", classes, model, *options, *follows)
    out, alone = tmp_path / "run", tmp_path / "alone"
    two, one, four, undisturbed = together(
        (recipe, out, 2, [1, "warm_up", 3], PARTS),
        (recipe, out, 1, [0, "closed_loop", 3]),
        (recipe, out, 4, None, PARTS),
        (recipe, alone, 1, None),
    )
    assert two["codes"] == [1, -9]
    assert GONE in two["said"][0]
    assert one["codes"] == [-9]
    assert "continuing after step 2 of 3" in one["said"][0]
    assert set(four["codes"]) == {0}, four["said"]
    assert "continuing after step 2 of 4" in four["said"][0]
    assert undisturbed["codes"] == [0]
    assert losses(out) == pytest.approx(losses(alone), abs=1e-4)
    assert set(left_in(out)) == set(left_in(alone))


def test_what_fails_hangs_nobody(classes: Path, model: Path, tmp_path: Path) -> None:
    """A process killed amid a pass ends the others. One whose memory runs out samples less at once, but cannot repeat a
    pass with gradient. Steps that are not finite name their records, not those of another process."""
    grpo = recipe_in(tmp_path, "visual_rft", classes, model, "policy.precision=float32", "grpo.steps=1")
    sft = recipe_in(tmp_path, "ans_sft", classes, model, "policy.precision=float32")
    (tmp_path / "nan").mkdir()
    nan = recipe_in(tmp_path / "nan", "ans_sft", classes, model, "policy.precision=float32", "sft.learning_rate=1e30",
                    "sft.steps=9", "sft.records_per_step=1")  # fmt: skip
    out = {name: tmp_path / name / "run" for name in ("killed", "full", "filled", "whole", "learning", "nan", "first")}
    killed, full, filled, whole, learning, failed, first = together(
        (grpo, out["killed"], 2, [1, "killed", 3], PARTS),
        (grpo, out["full"], 2, [0, "full", 3], PARTS),
        (grpo, out["filled"], 2, [0, "filled", 3], PARTS),
        (grpo, out["whole"], 1, None),
        (sft, out["learning"], 2, [1, "full", 1], PARTS),
        (nan, out["nan"], 2, None, PARTS),
        (sft, out["first"], 2, None, PARTS | {"FSDP_VERSION": "1"}),
    )
    assert killed["codes"] == [1, -9]
    assert GONE in killed["said"][0]
    for done in (full, filled, whole):
        assert set(done["codes"]) == {0}, done["said"]
    assert "out of memory: sampled_rows is" in full["said"][0]
    assert losses(out["full"]) == losses(out["filled"]) == pytest.approx(losses(out["whole"]), abs=1e-4)
    assert learning["codes"] == [1, 1]
    assert "out of memory in a pass through weights in parts" in learning["said"][1]
    assert GONE in learning["said"][0]
    assert failed["codes"] == [1, 1]
    assert "was not finite" in failed["said"][0]
    rows = [json.loads(line) for line in (out["nan"] / "stages/01-sft/metrics.jsonl").open()]
    assert [len(row["refused_records"]) for row in rows if row.get("refused")] == [1, 1, 1]
    assert first["codes"] == [2, 2]
    assert "the configuration of accelerate says fsdp_version: 1: give fsdp_version: 2" in first["said"][0]
    assert not first["said"][1]


def test_each_process_holds_its_part(tmp_path: Path) -> None:
    """And no more than a few layers beside it, neither after the load nor while it computes."""
    program = Path(__file__).with_name("held_parts.py")
    given = environment() | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # else glibc keeps what was let go, to use it again
    command = [sys.executable, str(program), str(tmp_path)]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for found in json.loads(done.stdout):
        assert all(share == pytest.approx(1 / 2, abs=0.02) for share in found["shares"])
        assert found["loaded"] < found["decoder"] / 2 + 3 * found["layer"]
        assert found["computing"] < found["decoder"] / 2 + 6 * found["layer"]
        assert found["whole"] == found["again"], "put together it is what was loaded"
        assert found["fingerprint"] == found["of whole"]


def test_accelerate_starts_a_run_in_parts(classes: Path, model: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "ans_sft", classes, model)
    config = Path(__file__).parents[2] / "recipes/accelerate/fsdp2.yaml"
    started = launched(config, recipe, tmp_path / "run")
    assert started.returncode == 0, started.stderr
    assert "each of 2 processes holds a part" in started.stderr
    assert (tmp_path / "run" / "results.json").is_file()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_USE_FSDP": "false"}, "fsdp2.yaml"),
        ({"FSDP_VERSION": "1"}, "fsdp_version: 1"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, r"mixed_precision \(bf16\): give 'no'"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "dynamo_backend"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "parallelism_config"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true", "ACCELERATE_USE_FSDP": "false"}, "MEGATRON_LM"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params: true"),
        ({"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "give TRANSFORMER_BASED_WRAP"),
        ({"FSDP_TRANSFORMER_CLS_TO_WRAP": "Layer"}, "fsdp_transformer_layer_cls_to_wrap: Layer: leave it out"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "policy.gradient_checkpointing"),
        ({"FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}, "fsdp_state_dict_type"),
        ({"FSDP_RESHARD_AFTER_FORWARD": "FULL_SHARD"}, "give true or false"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_key(
    given: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (PARTS | given).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=named):
        division()


def test_what_the_launcher_sets_by_itself_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert division() is None
    itself: dict[str, Any] = {"FSDP_MIN_NUM_PARAMS": 10**8, "FSDP_SHARDING_STRATEGY": "FULL_SHARD",
                              "FSDP_USE_ORIG_PARAMS": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
                              "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO",
                              "FSDP_SYNC_MODULE_STATES": "true", "FSDP_FORWARD_PREFETCH": "false"}  # fmt: skip
    for name, value in (KEPT | itself).items():
        monkeypatch.setenv(name, str(value))
    assert division() == Division(keeps=True)
