"""What simple predictors reach on affect when they are told the cues: the floors that a model has to beat.

All are fitted on the annotations of the training records and scored by the mean agreement with those of another split.
Left out: predictors that combine cues freely; the rule itself is the best of those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rise_vlm.worlds.affect_rule import CLASSES, agreement, probabilities
from rise_vlm.worlds.affect_scene import FACTS, Scene

Annotated = Sequence[tuple[Scene, Mapping[str, float]]]
Predict = Callable[[Scene], np.ndarray]
CUES = ("face", "thing", "weather", "posture", "light")


def floors(train: Annotated, split: Annotated) -> dict[str, float]:
    """Mean agreement (0 to 1) on `split` of: `uniform`; `mean`, the mean training annotation; `single_cue`, the mean
    annotation given the one most telling cue family; `additive`, a softmax regression on all cues without pairs."""
    truth = _rows(split)
    mean = _rows(train).mean(axis=0)
    single = {cue: _score(_given(train, cue), split, truth) for cue in CUES}
    return {
        "uniform": _score(lambda _: np.full(len(CLASSES), 1 / len(CLASSES)), split, truth),
        "mean": _score(lambda _: mean, split, truth),
        "single_cue": max(single.values()),
        "additive": _score(_additive(train), split, truth),
    }


def best_possible(split: Annotated) -> float:
    """Mean agreement of the rule's own probabilities with the raters."""
    return _score(lambda scene: np.array(probabilities(scene)), split, _rows(split))


def _rows(records: Annotated) -> np.ndarray:
    """(records, classes) of annotations."""
    return np.array([[annotation.get(name, 0.0) for name in CLASSES] for _, annotation in records])


def _score(predict: Predict, split: Annotated, truth: np.ndarray) -> float:
    guesses = [predict(scene).tolist() for scene, _ in split]
    return float(np.mean([agreement(guess, row.tolist()) for guess, row in zip(guesses, truth, strict=True)]))


def _values(scene: Scene, cue: str) -> tuple[str, ...]:
    return scene.things if cue == "thing" else (getattr(scene, cue),)


def _given(train: Annotated, cue: str) -> Predict:
    """The mean training annotation for a value of the cue (the overall mean for a value never seen)."""
    rows = _rows(train)
    mean = rows.mean(axis=0)
    table = {}
    for value in FACTS[cue]:
        chosen = [value in _values(scene, cue) for scene, _ in train]
        table[value] = rows[chosen].mean(axis=0) if any(chosen) else mean
    return lambda scene: np.mean([table[value] for value in _values(scene, cue)], axis=0)


def _features(scene: Scene) -> np.ndarray:
    """One-hot cues; two things count half each."""
    out: list[float] = [1.0]
    for cue in CUES:
        values = _values(scene, cue)
        out += [(value in values) / len(values) for value in FACTS[cue]]
    return np.array(out)


def _additive(train: Annotated, steps: int = 400, rate: float = 0.5, decay: float = 0.0003) -> Predict:
    """Softmax regression, by gradient descent with momentum."""
    inputs, targets = np.array([_features(scene) for scene, _ in train]), _rows(train)
    weights = np.zeros((inputs.shape[1], len(CLASSES)))
    speed = np.zeros_like(weights)
    for _ in range(steps):
        slope = inputs.T @ (_softmax(inputs @ weights) - targets) / len(inputs) + decay * weights
        speed = 0.9 * speed - rate * slope
        weights += speed
    return lambda scene: _softmax(_features(scene) @ weights)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
