"""Presets: which stages make a detector, and the options of each that are not their defaults. Data, not code.

``spp init --preset NAME`` writes one into ``spp.toml``, where every value can be changed. docs/performance.md says what
each reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """``text``: what it is, in a few words; ``stages``: commands in order; ``sections``: of spp.toml.

    Where ``sections`` hold images out to choose thresholds on, and the data has a val of its own besides a test, that
    is held out instead: nothing is then trained twice.
    """

    name: str
    text: str
    stages: tuple[str, ...]
    sections: Sections


HELD_OUT_STAGES = ("detect", "evaluate", "report")
"""Stages that want a split that nothing was learnt from."""

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="fast",
            text="one network trained as a whole, three epochs, thresholds",
            stages=("propose", "train-detector", "calibrate", "detect", "evaluate", "report"),
            sections={
                "train-detector": {"backbone": "efficientnet_lite0", "epochs": 3},
                "calibrate": {"network": "detector.safetensors", "held-out": 0.25},
                "detect": {"network": "detector.safetensors"},
                "pack": {"network": "detector.safetensors"},
            },
        ),
        Preset(
            name="accurate",
            text="proposals of two methods, one network trained as a whole, six epochs",
            stages=("propose", "train-detector", "detect", "evaluate", "report"),
            sections={
                "propose": {"method": ["selective-search", "edge-boxes"], "edges": "gradient"},
                "train-detector": {"backbone": "efficientnet_lite0"},
                "detect": {"network": "detector.safetensors"},
                "pack": {"network": "detector.safetensors"},
            },
        ),
        Preset(
            name="paper",
            text="SPP-net as in the paper, five scales, SVMs, box regression",
            stages=("propose", "extract", "train-svm", "train-bbox", "calibrate", "detect", "evaluate", "report"),
            sections={"all": {"recipe": "paper"}, "extract": {"backbone": "alexnet"}},
        ),
    )
}

NETWORK_STAGES = ("extract", "train-detector")
"""Stages that take ``--weights`` and ``--backbone`` of `spp init`."""
