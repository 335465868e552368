"""Describes what a file of ours holds and what made it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sppcli.artefacts.networks import NETWORK_KEY
from sppcli.artefacts.onnx_models import ONNX_SUFFIX, onnx_description
from sppcli.artefacts.packs import PACK_SUFFIX, described, read_description
from sppcli.artefacts.parts import PARTS, parts_folder, unfinished_parts
from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.store import Artefact, open_artefact
from sppcli.artefacts.validity import checked_values
from sppcli.errors import BadArtefact, MissingInput
from sppcli.runtime.counts import count_of
from sppcli.runtime.inputs import open_regular
from sppcli.runtime.tensor_files import read_metadata
from sppcli.structures import Skipped

# The files that stages make by default, in the order of the work.
DEFAULT_FILES = (
    "proposals.h5",
    "features.h5",
    "svm.h5",
    "bbox.h5",
    "calibration.h5",
    "detections.h5",
    "image-features.h5",
)
_HDF5 = b"\x89HDF\r\n\x1a\n"

Facts = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """One file.

    | field | meaning |
    |---|---|
    | kind | a kind of `schema`, network, packed detector, ONNX network, or unfinished |
    | bytes | size on disk |
    | made_by | command and version, as far as the file says |
    | fingerprint | of what decides the content; "" for networks |
    | facts | counts and sizes, by name; ``*_bytes`` are bytes, ``*_per_image`` are min, mean and max |
    | config, inputs, source, summary | as the stage recorded them |
    | skipped | inputs left out |
    | unfinished | parts of a run that has not ended, or None if there is no such run |
    """

    path: Path
    kind: str
    bytes: int
    made_by: str
    fingerprint: str = ""
    facts: Facts = field(default_factory=dict)
    config: Facts = field(default_factory=dict)
    inputs: Facts = field(default_factory=dict)
    source: Facts = field(default_factory=dict)
    summary: Facts = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    unfinished: int | None = None


def default_files() -> list[Path]:
    """The default files that are in the current folder, finished or not, and its networks.

    Raises:
        MissingInput: there is none.
    """
    found = [Path(name) for name in DEFAULT_FILES if Path(name).exists() or parts_folder(Path(name)).is_dir()]
    found += sorted(path for path in Path().iterdir() if path.suffix in (".safetensors", PACK_SUFFIX, ONNX_SUFFIX))
    if not found:
        raise MissingInput("there is no file of spp's in this folder; run spp propose, or name a file")
    return found


def describe(path: Path, verify: bool = False) -> Description:
    """Look into one file; with ``verify``, every byte of it is checked.

    Raises:
        MissingInput: neither the file nor an unfinished run of it is there.
        BadArtefact: not a file that spp makes or reads, or a damaged one.
    """
    if path.name.endswith(PARTS) and path.is_dir():
        path = path.with_name(path.name.removesuffix(PARTS))
    if path.is_dir():
        raise BadArtefact(f"{path}: a folder; name a file that spp made, such as {DEFAULT_FILES[0]}")
    unfinished = unfinished_parts(path)
    if not path.exists() and unfinished is not None:
        size = sum(part.stat().st_size for part in parts_folder(path).iterdir())
        return Description(path, "unfinished", size, "", unfinished=unfinished)
    special = {".safetensors": _network, PACK_SUFFIX: _pack, ONNX_SUFFIX: _onnx}.get(path.suffix)
    if special and not path.exists():
        raise MissingInput(f"{path}: there is no such file; name one that spp made")
    if special:
        return special(path, verify)
    if path.is_file() and not _is_hdf5(path):
        raise BadArtefact(f"{path}: not a file that spp made; its files are HDF5 (.h5) and safetensors, .spp, .onnx")
    with open_artefact(path) as artefact:
        if verify:
            artefact.verify()
        header = artefact.header
        return Description(
            path,
            header.kind,
            path.stat().st_size,
            f"{SCHEMAS[header.kind].made_by} {artefact.tool_version}",
            artefact.fingerprint,
            _facts(artefact),
            header.config,
            dict(header.inputs),
            header.source,
            header.summary,
            _skipped(artefact),
            unfinished,
        )


def _is_hdf5(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(len(_HDF5)) == _HDF5


def _skipped(artefact: Artefact) -> tuple[Skipped, ...]:
    if "skipped_names" not in artefact:
        return ()
    names, reasons = artefact.strings("skipped_names"), artefact.strings("skipped_reasons")
    return tuple(Skipped(name, reason) for name, reason in zip(names, reasons, strict=True))


def _images(artefact: Artefact) -> Facts:
    sizes = artefact.array("sizes")
    facts: Facts = {"images": len(sizes)}
    if len(sizes):
        facts |= {"height": _spread(sizes[:, 0]), "width": _spread(sizes[:, 1])}
    return facts


def _spread(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}


def _proposals(artefact: Artefact) -> Facts:
    counts = np.diff(artefact.array("offsets"))
    facts = _images(artefact) | {"windows": int(counts.sum())}
    return facts | ({"windows_per_image": _spread(counts)} if len(counts) else {})


def _features(artefact: Artefact) -> Facts:
    maps = [name for name in artefact.names() if name.startswith("maps/")]
    windows = [name for name in artefact.names() if name.startswith("windows/")]
    plain = sum(2 * math.prod(artefact.shape(name)) for name in maps + windows)
    stored = artefact.stored_bytes()
    if windows:
        return _images(artefact) | {
            "windows": sum(artefact.shape(name)[0] for name in windows),
            "features": artefact.shape(windows[0])[1],
            "uncompressed_bytes": plain,
            "compression": plain / stored if stored else 1.0,
        }
    return _images(artefact) | {
        "scales": sorted({int(name.split("/")[1]) for name in maps}),
        "maps": len(maps),
        "channels": artefact.shape(maps[0])[2] if maps else 0,
        "uncompressed_bytes": plain,
        "compression": plain / stored if stored else 1.0,
    }


def _svm(artefact: Artefact) -> Facts:
    return {"classes": list(artefact.strings("classes")), "features": artefact.shape("weights")[1]}


def _bbox(artefact: Artefact) -> Facts:
    classes, trained = artefact.strings("classes"), artefact.array("trained")
    return {
        "classes": list(classes),
        "features": artefact.shape("weights")[2],
        "untrained_classes": [name for name, is_trained in zip(classes, trained, strict=True) if not is_trained],
    }


def _detections(artefact: Artefact) -> Facts:
    classes = artefact.strings("classes")
    counts = np.bincount(artefact.array("label"), minlength=len(classes))
    per_image = np.bincount(artefact.array("image"), minlength=artefact.shape("image_ids")[0])
    facts = _images(artefact) | {
        "classes": list(classes),
        "detections": int(counts.sum()),
        "detections_per_class": {name: int(count) for name, count in zip(classes, counts, strict=True)},
    }
    return facts | ({"detections_per_image": _spread(per_image)} if len(per_image) else {})


def _calibration(artefact: Artefact) -> Facts:
    classes = artefact.strings("classes")
    of = {name: artefact.array(name).tolist() for name in ("thresholds", "objects")}
    return {
        "classes": list(classes),
        "methods": dict(zip(classes, artefact.strings("methods"), strict=True)),
        "thresholds": dict(zip(classes, of["thresholds"], strict=True)),
        "objects_held_out": dict(zip(classes, of["objects"], strict=True)),
        "detections_held_out": artefact.shape("hits")[0],
    }


def _image_features(artefact: Artefact) -> Facts:
    splits = artefact.strings("split_names")
    return _images(artefact) | {
        "features": artefact.shape("vectors")[1],
        "classes": list(artefact.strings("classes")),
        "splits": dict(zip(splits, artefact.array("in_split").sum(axis=0).tolist(), strict=True)),
    }


_FACTS: dict[str, Callable[[Artefact], Facts]] = {
    "proposals": _proposals,
    "features": _features,
    "image-features": _image_features,
    "svm": _svm,
    "bbox": _bbox,
    "detections": _detections,
    "calibration": _calibration,
}


_HELD = {"packed detector": "a detector to hand over", "ONNX network": "a network for programs without spp"}
_TERMS = {"windows": "proposals", "windows_per_image": "proposals per image"}
_NETWORKS_MADE_BY = (
    "make it again with the command that wrote it (spp train-net, spp finetune, spp train-detector or spp import-caffe)"
)


def _facts(artefact: Artefact) -> Facts:
    checked_values(artefact)
    return _FACTS[artefact.schema.kind](artefact)


def _network(path: Path, verify: bool) -> Description:
    """A network's weights: ours say what they are; of others the tensors are counted."""
    try:
        metadata = read_metadata(path, tensors=verify).values
        with safe_open(path, framework="numpy") as file:
            slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 (safe_open is no dict)
            shapes = [(tuple(item.get_shape()), str(item.get_dtype())) for item in slices]
    except BadArtefact as error:
        raise BadArtefact(f"{error}; {_NETWORKS_MADE_BY}") from None
    except (SafetensorError, OSError) as error:
        raise BadArtefact(f"{path}: not a readable safetensors file ({error}); make or fetch it again") from None
    facts: Facts = {
        "tensors": len(shapes),
        "parameters": sum(math.prod(shape) for shape, _ in shapes),
        "types": sorted({dtype for _, dtype in shapes}),
    }
    if NETWORK_KEY not in metadata:
        return Description(path, "network", path.stat().st_size, "", facts=facts, source=metadata)
    try:
        description = json.loads(metadata[NETWORK_KEY])
        if "detector" in description:
            detector = description["detector"]
            facts |= {"detector_on": detector["backbone"] or "its own trunk", "classes": detector["classes"]}
            architecture = {**detector, **description["settings"]}
        else:
            architecture = description["architecture"]
            names = ("name", "classes", "pyramid")
            facts |= {name: architecture[name] for name in names}
        training = description["training"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise BadArtefact(f"{path}: the description of the network is damaged; make the file again") from None
    return Description(path, "network", path.stat().st_size, "spp", facts=facts, config=architecture, summary=training)


def _pack(path: Path, verify: bool) -> Description:
    made_by, facts, config, inputs = described(path, read_description(path, verify))
    return Description(path, "packed detector", path.stat().st_size, made_by, "", facts, config, inputs)


def _onnx(path: Path, verify: bool) -> Description:
    return Description(path, "ONNX network", path.stat().st_size, *onnx_description(path))


def lines(description: Description) -> list[tuple[str, str]]:
    """A description for people: (name, text) in the order of reading."""
    rows = [("holds", _holds(description))]
    if description.made_by:
        rows.append(("made by", description.made_by))
    compression = description.facts.get("compression")
    plain = description.facts.get("uncompressed_bytes")
    said = f", {compression:.2f} times smaller than its {size_text(plain)} of float16" if compression and plain else ""
    rows.append(("size", size_text(description.bytes) + said))
    hidden = {"compression", "uncompressed_bytes"}
    rows += [(_words(name), _text(value)) for name, value in description.facts.items() if name not in hidden]
    for title, values in (("config", description.config), ("summary", description.summary)):
        rows += [(title if i == 0 else "", line) for i, line in enumerate(_flat(values))]
    rows += [
        ("made from" if i == 0 else "", f"{name} {str(value)[:12]}")
        for i, (name, value) in enumerate(description.inputs.items())
    ]
    source = "metadata" if description.kind == "network" else "source"
    rows += [(source if i == 0 else "", line) for i, line in enumerate(_source_lines(description.source))]
    if description.fingerprint:
        rows.append(("fingerprint", description.fingerprint[:12]))
    if description.skipped:
        rows.append(("left out", count_of(len(description.skipped), "input")))
        rows += [("", f"{item.name}: {item.reason}") for item in description.skipped]
    if description.unfinished is not None:
        parts = count_of(description.unfinished, "part")
        rows.append(("unfinished run", f"{parts} in {parts_folder(description.path).name}"))
    return rows


def size_text(count: int) -> str:
    """Bytes as ``512 bytes``, ``1.2 kB``, ``34.5 MB``; powers of 1000, as disks are sold."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.0f} {unit}" if value >= 99.5 else f"{value:.1f} {unit}"


def _holds(description: Description) -> str:
    if description.kind == "unfinished":
        return "nothing yet: a run that has not ended; run the same command again and it goes on from its parts"
    if description.kind in _HELD:
        return _HELD[description.kind]
    if description.kind == "network":
        return "a network that spp made" if description.made_by else "weights of a network"
    return f"{description.kind}, format {SCHEMAS[description.kind].version}"


def _words(name: str) -> str:
    """A field's name for people, in the terms of the field; JSON keeps the name itself."""
    return _TERMS.get(name, name.replace("_", " "))


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"min", "mean", "max"}:
        low, mean, high = value["min"], value["mean"], value["max"]
        return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}, {mean:,.1f} on average"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = [_text(item) for item in value[:20]]
        more = f" and {len(value) - 20} more" if len(value) > 20 else ""
        return (", ".join(shown) + more) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _flat(values: Facts) -> list[str]:
    """``name: value`` lines; tables within are lines of their own below."""
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping) and any(isinstance(item, Mapping | list | tuple) for item in value.values()):
            found += [f"{_words(name)} / {line}" for line in _flat(dict(value))]
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            found += [f"{_words(name)}:", *(f"  {line}" for line in _as_table(value))]
        else:
            found.append(f"{_words(name)}: {_text(value)}")
    return found


def _as_table(records: Sequence[Facts]) -> list[str]:
    """A row for each record below the names of their fields, ``name`` first; numbers are right-aligned."""
    names = list(dict.fromkeys(name for record in records for name in record))
    names.sort(key=lambda name: name != "name")
    rows = [[_words(name) for name in names], *([_text(record.get(name)) for name in names] for record in records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    numbers = [all(isinstance(record.get(name), int | float) for record in records) for name in names]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in rows
    ]


def _source_lines(source: Facts) -> list[str]:
    """Where inputs were; long lists of files are cut short."""
    return [
        f"{_words(name)}: "
        + (f"{value[0]} and {len(value) - 1} more" if isinstance(value, list) and len(value) > 3 else _text(value))
        for name, value in source.items()
    ]
