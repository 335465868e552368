"""What `spp extract` would do, as far as the files say: no network is loaded, and no image opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sppcli.artefacts.features import Features, open_features
from sppcli.artefacts.proposals import read_images
from sppcli.errors import BadArtefact, MissingInput, UsageProblem
from sppcli.nets.registry import BACKBONES


@dataclass(frozen=True, kw_only=True)
class MapsWanted:
    """Options of `spp extract` that decide its maps; ``precision`` auto fits whatever a file has."""

    weights: str
    backbone: str | None
    cut: str | None
    scales: tuple[int, ...]
    flip: bool
    precision: str


@dataclass(frozen=True)
class ExtractPlan:
    """``images``: all; ``extracted``: those whose maps are not in ``path`` yet."""

    path: Path
    images: int
    scales: tuple[int, ...]
    extracted: int
    kept: int
    dry_run: bool = True


def plan_maps(proposals_path: Path, output: Path, wanted: MapsWanted, force: bool = False) -> ExtractPlan:
    """Compare the images of ``proposals_path`` with those in ``output``, if that was made alike.

    Raises:
        MissingInput: no proposals, or no weights file.
        UsageProblem: a backbone that does not exist.
    """
    images = read_images(proposals_path)
    if wanted.backbone and wanted.backbone not in BACKBONES:
        raise UsageProblem(f"there is no backbone {wanted.backbone!r}; choose one of {', '.join(BACKBONES)}")
    if wanted.weights not in ("imagenet", "") and not Path(wanted.weights).is_file():
        raise MissingInput(
            f"{wanted.weights}: there is no such weights file; give a .safetensors or .pth file, or --weights imagenet"
        )
    digests = images.digests
    there: frozenset[str] = frozenset()
    if not force:
        try:
            with open_features(output) as features:
                if _alike(features, wanted, output):
                    there = frozenset(features.images.digests)
        except (MissingInput, BadArtefact):
            there = frozenset()
    todo = sum(digest not in there for digest in dict.fromkeys(digests))
    return ExtractPlan(output, len(digests), wanted.scales, todo, len(digests) - todo)


def _alike(features: Features, wanted: MapsWanted, output: Path) -> bool:
    """Whether the file was made with the same options from weights that have not been replaced since."""
    made, place = features.header.config, features.header.source.get("network", {})
    weights = wanted.weights if wanted.weights == "imagenet" else str(Path(wanted.weights).absolute())
    newer = wanted.weights != "imagenet" and Path(wanted.weights).stat().st_mtime > output.stat().st_mtime
    return (
        not newer
        and not features.rcnn
        and tuple(made["scales"]) == wanted.scales
        and bool(made.get("flip")) == wanted.flip
        and wanted.precision in ("auto", made["precision"])
        and place.get("weights") == weights
        and (place.get("backbone"), place.get("cut")) == (wanted.backbone, wanted.cut)
    )
