"""The data set that an artefact was made of, opened again as it was then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sppcli.datasets.base import Dataset
from sppcli.datasets.formats import open_dataset
from sppcli.errors import BadArtefact, MissingInput
from sppcli.runtime.url_transfer import at_hand


def reopen(
    artefact: Path,
    source: Mapping[str, Any],
    dataset: Path | None = None,
    *,
    images_needed: bool = True,
    remedy: str = "give the folder first",
    digests: Mapping[str, str] | None = None,
) -> Dataset:
    """The images that ``artefact`` says it was made of, read as the format that they were read as.

    Args:
        source: what the artefact records of its images: ``paths``, ``kind``, ``split_seed``, ``unlabelled``.
        dataset: where they are now, if given; the format is then recognised anew.
        remedy: how to name another place, for the message.
        digests: SHA-256 of images, by id, that the artefact has; others are computed if splits go by them.

    Raises:
        BadArtefact: nothing is recorded.
        MissingInput: the images are no longer there.
    """
    opened = _open(artefact, source, dataset, images_needed, remedy)
    opened.split_seed = int(source.get("split_seed", 0))
    opened.unlabelled = source.get("unlabelled")
    opened.digests.update(digests or {})
    return opened


def _open(artefact: Path, source: Mapping[str, Any], dataset: Path | None, images_needed: bool, remedy: str) -> Dataset:
    if dataset is not None:
        return open_dataset([dataset], images_needed)
    paths = [Path(path) for path in source.get("paths") or ()]
    if not paths:
        raise BadArtefact(f"{artefact}: does not say where its images are; {remedy}")
    for path in paths:
        at_hand(path)
    gone = [path for path in paths if not path.exists()]
    if gone:
        raise MissingInput(f"{gone[0]}: the images of {artefact} are no longer there; {remedy}")
    return open_dataset(paths, images_needed, source.get("kind"))
