"""The hidden rule of affect: how the cues of a scene become a distribution over seven classes.

Each class gets a sum of small weights, one per cue (`SINGLES`), and of larger ones for pairs of cues (`PAIRS`), where
a face means different things beside different things. Two things share their weights equally. The softmax of the sums
(`SHARPNESS`) is the probability with which one simulated rater picks a class; `RATERS` of them make the annotation.
Left out: any effect of setting, shirt, hat, tree, side and style.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from rise_vlm.worlds.affect_scene import Scene

CLASSES = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
RATERS = 15
SHARPNESS = 1.4

KINDS: dict[str, tuple[str, ...]] = {
    "treat": ("cake", "balloons", "gift"),
    "friend": ("flowers", "dog", "teddy"),
    "menace": ("spider", "snake", "ghost"),
    "wreck": ("gravestone", "vase", "rubbish"),
}
KIND_OF = {thing: kind for kind, things in KINDS.items() for thing in things}

# Weights are small whole numbers; a class that is not named gets none.
SINGLES: dict[str, dict[str, float]] = {
    "face=smile": {"joy": 0.6},
    "face=frown": {"sadness": 0.4, "anger": 0.3},
    "face=crying": {"sadness": 0.5},
    "face=shocked": {"surprise": 0.5},
    "face=gritted": {"anger": 0.5},
    "face=calm": {"neutral": 0.7},
    "thing=spider": {"disgust": 0.7},
    "thing=snake": {"fear": 0.5},
    "thing=ghost": {"surprise": 0.4, "fear": 0.3},
    "thing=gravestone": {"sadness": 0.8},
    "thing=vase": {"anger": 0.8},
    "thing=rubbish": {"disgust": 1.2},
    "thing=gift": {"surprise": 0.5},
    "thing=cake": {"joy": 0.4},
    "thing=balloons": {"joy": 0.4},
    "thing=dog": {"joy": 0.3},
    "thing=teddy": {"neutral": 0.3},
    "thing=flowers": {"neutral": 0.2, "sadness": 0.2},
    "weather=storm": {"fear": 0.3},
    "weather=rain": {"sadness": 0.3},
    "light=night": {"fear": 0.2},
    "light=day": {"joy": 0.2},
    "posture=crossed": {"anger": 0.3},
    "posture=raised": {"surprise": 0.3},
    "posture=slumped": {"sadness": 0.3},
    "posture=standing": {"neutral": 0.4},
}

PAIRS: dict[tuple[str, str], dict[str, float]] = {
    ("face=smile", "kind=treat"): {"joy": 2.4},
    ("face=smile", "kind=friend"): {"joy": 2.0},
    ("face=smile", "kind=menace"): {"surprise": 2.4},
    ("face=smile", "kind=wreck"): {"disgust": 2.2},
    ("face=frown", "kind=treat"): {"neutral": 2.2},
    ("face=frown", "kind=friend"): {"sadness": 2.2},
    ("face=frown", "kind=menace"): {"disgust": 2.4},
    ("face=frown", "kind=wreck"): {"anger": 2.4},
    ("face=crying", "kind=treat"): {"joy": 2.6},
    ("face=crying", "kind=friend"): {"sadness": 2.2},
    ("face=crying", "kind=menace"): {"fear": 2.6},
    ("face=crying", "kind=wreck"): {"sadness": 2.4},
    ("face=shocked", "kind=treat"): {"surprise": 2.6},
    ("face=shocked", "kind=friend"): {"joy": 1.8, "surprise": 0.6},
    ("face=shocked", "kind=menace"): {"fear": 2.6},
    ("face=shocked", "kind=wreck"): {"disgust": 2.2},
    ("face=gritted", "kind=treat"): {"anger": 2.2},
    ("face=gritted", "kind=friend"): {"disgust": 2.0},
    ("face=gritted", "kind=menace"): {"fear": 2.2},
    ("face=gritted", "kind=wreck"): {"anger": 2.4},
    ("face=calm", "kind=treat"): {"neutral": 2.0},
    ("face=calm", "kind=friend"): {"joy": 2.0},
    ("face=calm", "kind=menace"): {"neutral": 2.2},
    ("face=calm", "kind=wreck"): {"sadness": 2.2},
    ("posture=raised", "weather=clear"): {"joy": 1.6},
    ("posture=raised", "weather=storm"): {"fear": 1.8},
    ("posture=raised", "weather=snow"): {"surprise": 1.6},
    ("posture=crossed", "weather=rain"): {"anger": 1.6},
    ("posture=crossed", "weather=fog"): {"disgust": 1.6},
    ("posture=slumped", "weather=rain"): {"sadness": 1.6},
    ("posture=slumped", "weather=storm"): {"fear": 1.6},
    ("posture=slumped", "weather=clear"): {"neutral": 1.4},
    ("posture=standing", "weather=snow"): {"sadness": 1.4},
    ("light=night", "weather=fog"): {"fear": 1.4},
    ("light=night", "weather=clear"): {"surprise": 1.2},
    ("light=dusk", "weather=snow"): {"neutral": 1.2},
    ("light=dusk", "weather=rain"): {"disgust": 1.0},
    ("light=day", "weather=snow"): {"joy": 1.2},
}


def probabilities(scene: Scene) -> tuple[float, ...]:
    """The chance that one rater picks each class, in the order of `CLASSES`; sums to 1."""
    totals: dict[str, float] = dict.fromkeys(CLASSES, 0.0)
    share = 1.0 / len(scene.things)
    for thing in scene.things:
        cues = {f"face={scene.face}", f"thing={thing}", f"kind={KIND_OF[thing]}", f"posture={scene.posture}",
                f"weather={scene.weather}", f"light={scene.light}"}  # fmt: skip
        for cue in sorted(cues):
            _add(totals, SINGLES.get(cue, {}), share)
        for (first, second), weights in PAIRS.items():
            if first in cues and second in cues:
                _add(totals, weights, share)
    powers = [math.exp(SHARPNESS * totals[name]) for name in CLASSES]
    return tuple(power / sum(powers) for power in powers)


def _add(totals: dict[str, float], weights: dict[str, float], share: float) -> None:
    for name, weight in weights.items():
        totals[name] += share * weight


def annotate(scene: Scene, rng: random.Random) -> dict[str, float]:
    """What `RATERS` raters say of a scene: {class: share}, shares in fifteenths, classes nobody picked left out."""
    picks = rng.choices(CLASSES, weights=probabilities(scene), k=RATERS)
    return {name: picks.count(name) / RATERS for name in CLASSES if name in picks}


def agreement(first: Sequence[float], second: Sequence[float]) -> float:
    """1 - Jensen-Shannon divergence in bits of two distributions over the same classes: 1 equal, 0 disjoint."""
    total = 0.0
    for p, q in zip(first, second, strict=True):
        middle = (p + q) / 2
        total += (p * math.log2(p / middle) if p > 0 else 0.0) + (q * math.log2(q / middle) if q > 0 else 0.0)
    return 1.0 - total / 2
