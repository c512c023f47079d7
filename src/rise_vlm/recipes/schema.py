"""The settings of a recipe: which stages run, in which order, and with what. Unknown keys are errors.

Every default here is a choice of ours for the built-in model; the YAML files say what is the official code's.
Left out: reading files and overrides (``loader``), and what the stages do with the settings (``rise_vlm.stages``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from rise_vlm.engine.settings import AdvantageKind, PolicyKind, SftKind, TrainSettings
from rise_vlm.policy.lora import LoraSettings

StageName = Literal["warm_up", "closed_loop", "harvest", "sft", "grpo", "evaluate"]
STAGES: tuple[StageName, ...] = ("warm_up", "closed_loop", "harvest", "sft", "grpo", "evaluate")

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Settings):
    """The dataset's ``folder``, and at most how many of its training records are used: ``limit``, the same for all
    stages. A smaller number of them lies within a larger one. A folder alone stands for the whole section."""

    folder: str | None = None
    limit: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _folder_alone(cls, value: Any) -> Any:
        return {"folder": value} if value is None or isinstance(value, str) else value


class PolicySettings(Settings):
    """How the model is loaded, in every stage. ``max_pixels`` bounds a resized picture (None: the model's bound); fewer
    than the smallest are no token of any model. ``gradient_checkpointing``: layers are computed again in the backward
    pass, instead of keeping what they computed."""

    lora: LoraSettings | None = None
    freeze_tower: bool = True
    max_pixels: int | None = Field(default=None, ge=28 * 28)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _adapters_are_the_decoder_s(self) -> PolicySettings:
        if self.lora is not None and not self.freeze_tower:
            raise ValueError("lora trains adapters of the language model only: it needs freeze_tower true")
        return self


class TaskSettings(Settings):
    """``score``: what the loop, the harvest and GRPO reward: ``default``, ``official`` (the official code's formula,
    where it has another), ``visual_rft`` (the same of Visual-RFT's code), or a score of the task by name. The test
    metric ``score`` is always the default one."""

    score: Annotated[str, Field(min_length=1)] = "default"


class Rollouts(Settings):
    """How rationales or answers are sampled: ``group`` of them per record, scored exactly as sampled."""

    group: Annotated[int, Field(ge=2)] = 8
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    max_new_tokens: Count = 160


class Objective(Settings):
    """The policy-gradient objective; see ``engine.objective.policy_loss`` and ``advantages``."""

    loss: PolicyKind = "dapo"
    advantage: AdvantageKind = "group_std"
    clip_low: Weight = 0.2
    clip_high: Weight = 0.2
    beta: Weight = 0.0


class Reconstruct(Settings):
    """How an annotation is rebuilt from a rationale.

    ``sees_image``: auto lets the task say (boxes need the picture). ``temperature`` 0 is greedy: one reconstruction
    then says all, the reward does not jitter, and it is how the model will answer in the end. With a temperature the
    scores of ``samples`` reconstructions are averaged, or with ``combine`` the answer that they make together is scored
    (the mean of distributions, the vote of classes): one sample is a guess, their mean knows its doubts.
    ``reconstructor``: the policy itself, frozen as it was at the start of the loop, an exponential moving average of it
    with ``ema_decay``, or the ``warm_up``'s model (without that stage the base), while the policy starts as the base.
    ``baseline: empty`` subtracts the score that an empty rationale reaches; it is the same for a whole group, so it
    moves the harvest's threshold, not the gradient. ``max_new_tokens`` None: the longest true answer of the records in
    use and a margin (``stages.limits``).
    """

    reconstructor: Literal["policy", "frozen", "ema", "warm_up"] = "policy"
    ema_decay: Share = 0.95
    sees_image: Literal["auto"] | bool = "auto"
    temperature: Weight = 0.0
    samples: Count = 1
    combine: bool = False
    max_new_tokens: Count | None = None
    baseline: Literal["none", "empty"] = "none"

    @model_validator(mode="after")
    def _greedy_once(self) -> Reconstruct:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("greedy reconstructions are all the same: set temperature above 0 or samples to 1")
        if self.combine and self.samples == 1:
            raise ValueError("there is nothing to combine: set samples above 1 and a temperature")
        return self


class Grounding(Settings):
    """The grounding term: ``weight`` x mean clipped gain per token in log-probability of the picture over another."""

    weight: Weight = 0.5
    clip: Annotated[float, Field(gt=0.0)] = 1.0


class Length(Settings):
    """``weight`` x how far a rationale runs past ``words``, as a share of ``words``; one cut off counts in full."""

    words: Count = 100
    weight: Weight = 0.5


class Probes(Settings):
    """The controls: every ``every`` steps and at the end, on at most ``records`` records that are not trained on."""

    every: Count = 20
    records: Count = 64


class WarmUp(Settings):
    """SFT of the reason and reconstruct roles on the base model's own descriptions of the training pictures.

    ``prompt``: ``describe`` asks for a description of the picture; ``reason`` gives the base the annotation too, which
    a region needs (``auto``: reason for tasks that see the picture, else describe). ``samples`` per record. ``roles``:
    a base that writes rationales well already need only learn to reconstruct.
    """

    prompt: Literal["auto", "describe", "reason"] = "auto"
    roles: Annotated[tuple[Literal["reason", "reconstruct"], ...], Field(min_length=1)] = ("reason", "reconstruct")
    samples: Count = 4
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    max_new_tokens: Count = 160
    records_per_step: Count = 16
    train: TrainSettings = TrainSettings(steps=40, learning_rate=3e-4, warmup_steps=5, schedule="cosine")


class ClosedLoop(Settings):
    """RISE-CoT: annotation -> rationale -> annotation. ``preset: official`` fills in the official code's choices.

    reward = score x (``leak_factor`` if leaked) + ``format_weight`` x parsed + grounding - length. ``credit``: which
    tokens take the gradient, those of the rationale, of the reconstructed answer (the official code), or of both.
    ``stop_without_spread``: end after so many steps in a row in which no record's rationales differed in score.
    """

    preset: Literal["ours", "official"] = "ours"
    records_per_step: Count = 8
    rollouts: Rollouts = Rollouts()
    objective: Objective = Objective()
    reconstruct: Reconstruct = Reconstruct()
    grounding: Grounding = Grounding()
    length: Length = Length()
    leak_factor: Share = 0.1
    format_weight: Weight = 0.1
    credit: Literal["rationale", "answer", "both"] = "rationale"
    probes: Probes = Probes()
    stop_without_spread: Count | None = None
    train: TrainSettings = TrainSettings(steps=60, learning_rate=1e-4, warmup_steps=5)

    @model_validator(mode="after")
    def _answers_need_sampling(self) -> ClosedLoop:
        if self.credit != "rationale" and self.reconstruct.temperature == 0:
            raise ValueError(
                f"credit '{self.credit}' needs sampled reconstructions: set reconstruct.temperature above 0"
            )
        if self.credit != "rationale" and self.reconstruct.combine:
            raise ValueError(f"credit '{self.credit}' needs a score for each reconstruction: set combine to false")
        if self.credit != "rationale" and self.reconstruct.reconstructor != "policy":
            raise ValueError(
                f"credit '{self.credit}' needs reconstruct.reconstructor 'policy', whose tokens can be trained"
            )
        return self


class Harvest(Settings):
    """Sampling rationales from the trained loop and keeping the best.

    A rationale is kept if it does not leak, its reconstruction parses, its worth (score + grounding term, as in the
    loop) reaches ``threshold``, a blind reconstruction scores at least ``gain`` more than those from other records'
    rationales do, at most a share of ``repetition`` of its runs of four words has come before in it (1: any), it is
    among the ``top_k`` of its record, and its text is new: words shared with one that is kept of the record stay below
    ``similarity`` (1: only the same words in the same order are a duplicate). ``per_class`` caps a class, ``balance``
    evens out the classes. ``at_least`` keeps that many of a record's best leak-free ones even below threshold and gain.
    """

    samples: Count = 8
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    max_new_tokens: Count = 160
    threshold: Annotated[float, Field(allow_inf_nan=False)] = 0.5
    gain: Annotated[float, Field(allow_inf_nan=False)] = 0.05
    top_k: Count = 2
    at_least: Annotated[int, Field(ge=0)] = 0
    per_class: Count | None = None
    similarity: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    repetition: Share = 1.0
    balance: bool = False
    records_per_batch: Count = 8


class Sft(Settings):
    """SFT on ``source``: ``annotations`` (answers only), ``harvest`` or the dataset's ``rationales``.

    ``start``: the base model, or the ``warm_up``'s (without that stage the base), which knows how an annotation follows
    from a description.
    ``loss: balanced`` averages rationale and answer each over its own tokens; ``token`` is the usual mean over all.
    ``epochs``, where given, overrides ``train.steps``, unless those are given above the file that has the epochs.
    ``per_record``: rationales of one record in one step.
    ``records``: it learns from so many of the training records, or, up to 1.0, from that share of them; of those with a
    rationale where it learns the dataset's own. A smaller part lies within a larger one.
    """

    source: Literal["annotations", "harvest", "rationales"] = "annotations"
    start: Literal["base", "warm_up"] = "base"
    loss: SftKind = "balanced"
    records: Count | Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] | None = None
    records_per_step: Count = 16
    per_record: Count = 2
    epochs: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    train: TrainSettings = TrainSettings(steps=100, learning_rate=3e-4, warmup_steps=10, schedule="cosine")

    @field_validator("records", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        if isinstance(value, float) and value > 1 and value % 1:
            raise ValueError("it is a number of records or a share below 1")
        return value


RECONSTRUCTION = "reconstruction"
"""The reward of GRPO for a rationale: the score of what the warm-up's model rebuilds from it."""


class Grpo(Settings):
    """GRPO on think-and-answer. ``preset`` fills in the choices of RISE's code, ``official``, or of ``visual_rft``'s.

    Reward = ``score_weight`` x task score + ``format_weight`` x well formed + ``rewards``.

    ``rewards`` maps further rewards to their weights: shipped ones by name, a user's own as ``module:function``.
    ``records``: all training records, or the rest that SFT does not learn from. ``epochs``: as in `Sft`, over these.
    ``refill``: how many times a step may draw further records to replace groups whose rewards are all equal; they count
    for no epoch. ``stop_without_spread``: end after so many steps in a row in which no group's rewards differed.
    """

    preset: Literal["ours", "official", "visual_rft"] = "ours"
    records: Literal["all", "rest"] = "all"
    score_weight: Weight = 1.0
    rewards: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    records_per_step: Count = 8
    rollouts: Rollouts = Rollouts()
    objective: Objective = Objective()
    format_weight: Weight = 0.2
    refill: Annotated[int, Field(ge=0)] = 0
    stop_without_spread: Count | None = None
    epochs: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    train: TrainSettings = TrainSettings(steps=40, learning_rate=5e-5, warmup_steps=5)

    @property
    def rebuilds(self) -> bool:
        """Whether it rewards what the warm-up's model rebuilds from a rationale."""
        return bool(self.rewards.get(RECONSTRUCTION))

    @field_validator("rewards", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        """A name, or a list of names, stands for weights of 1."""
        names = [value] if isinstance(value, str) else value
        return dict.fromkeys(names, 1.0) if isinstance(names, list) else value

    @field_serializer("rewards")
    def _paid(self, value: dict[str, float]) -> dict[str, float]:
        """Those that are paid: a weight of 0 takes out what the recipe below has, and is no reason to run again."""
        return {name: weight for name, weight in value.items() if weight}


class Quality(Settings):
    """What is measured of the rationales that the model of each stage writes: on ``records`` records of the first split
    (0: nothing). ``judge`` rebuilds annotations from them: a model or a run; None is the base."""

    records: Annotated[int, Field(ge=0)] = 32
    judge: Annotated[str, Field(min_length=1)] | None = None


class Evaluate(Settings):
    """Greedy answers on ``splits``. ``auto`` is every split whose name begins with test or ood. The dataset may lack
    ``test`` or ``ood``, which is said; any other must be there.

    The first of ``roles`` is the arm's own; a further one is an arm beside it, ``NAME_ROLE``. ``limit`` caps a split.
    """

    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("auto",)
    roles: Annotated[tuple[Literal["answer", "think"], ...], Field(min_length=1)] = ("think",)
    max_new_tokens: Count = 128
    limit: Count | None = None
    records_per_batch: Count = 32
    resamples: Count = 1000
    quality: Quality = Quality()

    @property
    def measures_quality(self) -> bool:
        """Whether there are rationales, and something is to be measured of them."""
        return "think" in self.roles and self.quality.records > 0


class Recipe(Settings):
    """A run. ``model`` is a built-in one, a folder or a hub id."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    description: str = ""
    data: DataSettings = DataSettings()
    model: str = "tiny"
    seed: int = Field(default=0, ge=0)
    policy: PolicySettings = PolicySettings()
    task: TaskSettings = TaskSettings()
    stages: Annotated[tuple[StageName, ...], Field(min_length=1)] = ("evaluate",)
    warm_up: WarmUp = WarmUp()
    closed_loop: ClosedLoop = ClosedLoop()
    harvest: Harvest = Harvest()
    sft: Sft = Sft()
    grpo: Grpo = Grpo()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        if len(set(self.stages)) < len(self.stages):
            raise ValueError("stages: a stage is listed twice")
        if list(self.stages) != [stage for stage in STAGES if stage in self.stages]:
            raise ValueError(f"stages: the order must be {', '.join(s for s in STAGES if s in self.stages)}")
        if "sft" in self.stages and self.sft.source == "harvest" and "harvest" not in self.stages:
            raise ValueError("sft.source is 'harvest', but the stages have no harvest")
        if "grpo" in self.stages and self.grpo.records == "rest":
            if "sft" not in self.stages:
                raise ValueError("grpo.records is 'rest', but the stages have no sft whose records it could leave out")
            if self.sft.records is None and self.sft.source != "rationales":
                raise ValueError("grpo.records is 'rest', but sft learns from all records: set sft.records")
        for stage in ("warm_up", "closed_loop", "sft", "grpo"):
            train: TrainSettings = getattr(self, stage).train
            if train.seed or train.precision != "auto":
                raise ValueError(f"{stage}.train: seed and precision are set once, as 'seed' and 'policy.precision'")
        return self

    def training(self, stage: StageName) -> TrainSettings:
        """The training settings of a stage, with the recipe's seed and precision."""
        train: TrainSettings = getattr(self, stage).train
        return train.model_copy(update={"seed": self.seed, "precision": self.policy.precision})

    def evaluated(self, role: str) -> str:
        """The name of the arm that answers in ``role``."""
        return self.name if role == self.evaluate.roles[0] else f"{self.name}_{role}"

    @property
    def rebuilding(self) -> list[StageName]:
        """The stages that rebuild annotations from rationales, as ``closed_loop.reconstruct`` says."""
        rebuild = {"closed_loop", "harvest", *(["grpo"] if self.grpo.rebuilds else [])}
        return [stage for stage in self.stages if stage in rebuild]

    def resolved(self) -> dict[str, Any]:
        """Plain values of everything that plays a part: sections of stages that do not run are left out."""
        unused = {stage for stage in STAGES if stage not in self.stages}
        if self.rebuilding:
            unused.discard("closed_loop")  # they score as the loop does
        return self.model_dump(mode="json", exclude=unused)
