"""LoRA from stage to stage: each goes on from base and adapter as they were trained, in bfloat16 too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stage_kit import small_recipe

from rise_vlm.policy import Policy
from rise_vlm.stages.run import run_recipe
from rise_vlm.stages.trained import find_model


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, classes: Path, model: Path) -> Path:
    """A whole run of ``rise`` with LoRA over bfloat16 weights, a reference in the loop and in GRPO."""
    out = tmp_path_factory.mktemp("lora") / "run"
    options = ("lora.r=2", "policy.precision=bfloat16", "closed_loop.beta=0.1", "grpo.beta=0.1", "at_least=1")
    results = run_recipe(small_recipe("rise", classes, model, *options), out, report=False)
    assert results["arms"][0]["n"] == 2
    return out


def test_every_stage_leaves_an_adapter_over_the_recipe_s_model(adapted: Path, model: Path) -> None:
    for stage in ("01-warm_up", "02-closed_loop", "04-sft", "05-grpo"):
        folder = adapted / "stages" / stage / "model"
        assert (folder / "adapter_config.json").is_file() and not list(folder.glob("model*.safetensors"))
        policy = Policy.load(str(folder), dtype="bfloat16", device="cpu")
        assert policy.adapts and policy.dtype == torch.bfloat16
        assert policy.model.peft_config["default"].base_model_name_or_path == str(model.resolve())


def test_a_stage_goes_on_from_the_adapter_of_the_one_before(adapted: Path) -> None:
    def weights(stage: str) -> dict[str, torch.Tensor]:
        policy = Policy.load(str(adapted / "stages" / stage / "model"), dtype="bfloat16", device="cpu")
        return {name: weight.detach() for name, weight in policy.model.named_parameters() if "lora_A" in name}

    before, after, apart = weights("01-warm_up"), weights("04-sft"), weights("02-closed_loop")
    # A few steps at a small rate: near where it began, far from another beginning.
    near = sum(float((after[name] - before[name]).norm()) for name in before)
    far = sum(float((after[name] - apart[name]).norm()) for name in before)
    assert near < 0.5 * far


def test_the_same_recipe_gives_the_same_adapter(classes: Path, model: Path, tmp_path: Path) -> None:
    found: list[dict[str, torch.Tensor]] = []
    for name in ("one", "other"):
        torch.rand(3 + len(found))  # what the process drew before must not matter
        recipe = small_recipe("ans_sft", classes, model, "lora.r=2", "stages=[sft]", "policy.precision=float32")
        run_recipe(recipe, tmp_path / name, report=False)
        found.append(load_file(tmp_path / name / "stages" / "01-sft" / "model" / "adapter_model.safetensors"))
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())


def test_a_run_with_lora_is_a_model_to_others(adapted: Path, classes: Path, tmp_path: Path) -> None:
    assert find_model(str(adapted)).model == str(adapted / "stages" / "05-grpo" / "model")
    results = run_recipe(small_recipe("zero_shot", classes, adapted), tmp_path / "e", report=False)
    assert results["arms"][0]["n"] == 2
