"""The demonstration's own part: it composes a data set and trains a network; ordinary commands do the rest.

Everything lies in one folder, which ``demo.json`` marks as ours with the settings that made it: a rerun takes what is
there already, and a folder that holds anything else is left alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sppcli.artefacts.networks import recorded_training
from sppcli.demo import scenes
from sppcli.demo.crops import SIDE, crops
from sppcli.demo.digits import Part
from sppcli.errors import BadInput, UsageProblem
from sppcli.images import Normalisation
from sppcli.learn.multisize import accuracy, train
from sppcli.learn.schedule import TrainingConfig
from sppcli.nets.classifier import Architecture, Layer
from sppcli.nets.weights import save_network
from sppcli.runtime.files import replacing
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress

MARKER, DATASET, NETWORK = "demo.json", "digits", "digits.safetensors"

# This number changes with what the demonstration makes; a folder with another number is not continued.
RECIPE = 2

BACKGROUND = "background"

# 224 : 180 in small. Five conv layers as ZF-5, so that its map is conv5; stride 4, a map of 14 x 14 for 56 pixels.
ARCHITECTURE = Architecture(
    name="spp-digits",
    layers=(
        Layer("conv", 5, 2, 2, 16),
        Layer("maxpool", 2, 2),
        Layer("conv", 3, 1, 1, 32),
        Layer("conv", 3, 1, 1, 32),
        Layer("conv", 3, 1, 1, 32),
        Layer("conv", 3, 1, 1, 32),
    ),
    pyramid=(6, 3, 2, 1),
    fc=(256,),
    classes=(*scenes.NAMES, BACKGROUND),
    normalisation=Normalisation((0.45, 0.45, 0.45), (0.25, 0.25, 0.25)),
    input_size=56,
)

# Shorter sides at which a digit of 24 to 96 pixels in a scene of 240 comes near the input size 56.
SCALES = (160, 220, 300, 420)

# The commands that follow, as they are typed in the demonstration's folder.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("propose", DATASET),
    ("extract", "--weights", NETWORK, "--scales", ",".join(str(scale) for scale in SCALES)),
    ("train-svm",),
    ("train-bbox",),
    ("detect",),
    ("evaluate", "--voc2007"),
    ("show",),
)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """``scenes``: of all splits together; ``epochs`` of training over ``crops`` crops of each digit."""

    scenes: int = 200
    seed: int = 0
    epochs: int = 14
    crops: int = 4


@dataclass(frozen=True)
class DemoSummary:
    """``composed``, ``trained``: whether it was done now or found; ``right``: share of held-out crops, a size each."""

    folder: Path
    composed: bool
    trained: bool
    right: dict[int, float]


def run(folder: Path, config: DemoConfig, *, options: RunOptions = USUAL) -> DemoSummary:
    """Compose ``folder/digits`` and train ``folder/digits.safetensors``, unless they are there already.

    Raises:
        BadInput: the folder is a file, or holds things that are not a demonstration's.
        UsageProblem: it holds a demonstration with other settings, or the scenes are too few for three splits.
    """
    progress = options.progress
    if config.scenes < 8:
        raise UsageProblem(f"{config.scenes} scenes are too few for train, val and test; take 8 or more")
    _claim(folder, config)
    composed = not (folder / DATASET).exists()
    if composed:
        progress.say(f"composing {config.scenes} scenes of handwritten digits over photographs: a data set with boxes")
        progress.start(config.scenes, "scenes")
        scenes.compose(folder / DATASET, config.scenes, config.seed, progress.advance)
    training = TrainingConfig(
        sizes=(56, 45),
        epochs=config.epochs,
        batch=32,
        schedule="steps",
        steps=(0.65, 0.9),
        flip=False,
        colour="jitter",
        seed=config.seed,
    )
    recipe = {"recipe": RECIPE, "crops": config.crops, **training.to_json()}
    right = _trained(folder / NETWORK, recipe)
    if right is not None:
        return DemoSummary(folder, composed, False, right)
    right = _train(folder / NETWORK, config, training, recipe, progress)
    return DemoSummary(folder, composed, True, right)


def made(folder: Path) -> list[tuple[str, int, int]]:
    """What lies in the folder: (name, files, bytes); a subfolder counts as one, with a / behind its name."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            files = [item for item in path.rglob("*") if item.is_file()]
            found.append((f"{path.name}/", len(files), sum(item.stat().st_size for item in files)))
        else:
            found.append((path.name, 1, path.stat().st_size))
    return found


def _claim(folder: Path, config: DemoConfig) -> None:
    """Make the folder ours, or make sure that it is."""
    marker = folder / MARKER
    wanted = {"recipe": RECIPE, **asdict(config)}
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: a file, where the demonstration's folder is to be; name another folder")
    if marker.exists():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise BadInput(f"{marker}: damaged; delete {folder} or name another folder") from None
        if found != wanted:
            raise UsageProblem(
                f"{folder} holds a demonstration made with other settings ({_difference(found, wanted)}); "
                "name another folder, or delete it"
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise BadInput(f"{folder} holds other things; name a new or empty folder: spp demo FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(marker) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _difference(found: Any, wanted: dict[str, int]) -> str:
    if not isinstance(found, dict):
        return "unreadable"
    names = [name for name in wanted if found.get(name) != wanted[name]]
    return ", ".join(f"{name} {found.get(name)}, now {wanted[name]}" for name in names) or "more of them"


def _trained(path: Path, recipe: dict[str, Any]) -> dict[int, float] | None:
    """The recorded accuracies, if ``path`` is a network trained by this recipe."""
    training = recorded_training(path)
    if training.get("config") != json.loads(json.dumps(recipe)):
        return None
    try:
        return {int(size): float(share) for size, share in training["held_out"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _train(
    path: Path, config: DemoConfig, training: TrainingConfig, recipe: dict[str, Any], progress: Progress
) -> dict[int, float]:
    sizes = " and ".join(str(size) for size in training.sizes)
    progress.say(f"training a small SPP-net on crops of digits, at {sizes} pixels in turn: the longest step")
    progress.start(config.crops, "rounds of crops")
    samples = crops(Part.TRAINING, config.crops, config.seed, progress.advance)
    model, history = train(ARCHITECTURE, samples, training, progress)
    unseen = crops(Part.HELD_OUT, 1, config.seed)
    right = {size: accuracy(model, unseen, training.sizes[0], size) for size in training.sizes}
    record = {
        "config": recipe,
        "crop_side": SIDE,
        "epochs": [{"size": e.size, "rate": e.rate, "loss": e.loss, "right": e.right} for e in history],
        "held_out": {str(size): share for size, share in right.items()},
    }
    save_network(path, model, record)
    return right
