"""What a file of `spp pack` says of itself, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sppcli.errors import BadArtefact
from sppcli.runtime.tensor_files import read_metadata

PACK_KEY = "spp_packed_detector"
"""Where the description lies in the metadata of the safetensors file."""
PACK_FORMAT = 1
PACK_SUFFIX = ".spp"


def read_description(path: Path, verify: bool = False) -> dict[str, Any]:
    """The description in ``path``; with ``verify``, every byte of the file is checked.

    Raises:
        BadArtefact: the file is damaged, or none of `spp pack`.
    """
    try:
        return dict(json.loads(read_metadata(path, tensors=verify).values[PACK_KEY]))
    except BadArtefact as error:
        raise BadArtefact(f"{error}; make it again with spp pack") from None
    except (KeyError, ValueError, TypeError):
        raise BadArtefact(f"{path}: not a detector that spp pack made; give such a file") from None
    except OSError as error:
        raise BadArtefact(f"{path}: cannot be read ({error.strerror}); give another file") from None


def described(path: Path, said: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What made the pack at ``path``, facts for people, options and fingerprints, of its description ``said``.

    Raises:
        BadArtefact: something is missing there.
    """
    try:
        facts: dict[str, Any] = {"licence": said["licence"] or "not given"}
        config: dict[str, Any] = {}
        inputs: dict[str, Any] = {}
        for number, model in enumerate(said.get("models", ())):
            svm, network = model["svm"], model["network"]
            name = f"_{number + 1}" if number else ""
            facts |= {f"network{name}": f"{network['backbone']} cut after {network['cut']}", "classes": svm["classes"]}
            config |= {f"scales{name}": svm["summary"]["scales"], f"layer{name}": svm["features"]["layer"]}
            config |= {f"pyramid{name}": svm["features"]["levels"], "proposals": svm["summary"]["proposals"]}
            inputs |= {f"{kind}{name}": model[kind]["fingerprint"] for kind in ("svm", "bbox") if kind in model}
            inputs |= {f"trunk{name}": network["digest"]}
        if "detector" in said:
            made = said["detector"]
            architecture = made["architecture"]
            facts |= {"network": architecture["backbone"] or "its own trunk", "classes": architecture["classes"]}
            config |= made["settings"]
            inputs |= {"network": made["training"]["fingerprint"]}
        known = said.get("calibration")
        facts |= {"thresholds_for": known["config"]["at"] if known else "nothing: it is not calibrated"}
        if known:
            facts |= {"probabilities": dict(zip(known["classes"], known["methods"], strict=True))}
        return str(said["made_by"]), facts, config, inputs
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadArtefact(f"{path}: its description is damaged; make it again with spp pack") from None
