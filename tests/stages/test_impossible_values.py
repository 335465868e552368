"""Artefacts whose checksums are right and whose values cannot be: refused by the stage that reads them, by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.store import Header
from sppcli.cli.main import main
from sppcli.runtime.checksums import CheckedFile, seal
from tests.stages.conftest import Run, Work

Change = Callable[[h5py.File], None]

READERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "proposals": (("evaluate", "--proposals"), ("train-svm", "--force"), ("info", "proposals.h5")),
    "features": (("train-bbox", "--force"), ("detect", "--force")),
    "svm": (("detect", "--force"), ("info", "svm.h5")),
    "bbox": (("detect", "--force"), ("info", "bbox.h5")),
    "detections": (("evaluate",), ("show", "detections.h5"), ("info", "detections.h5")),
    "calibration": (("evaluate", "--calibration", "calibration.h5"), ("info", "calibration.h5")),
    "image-features": (("probe",), ("info", "image-features.h5")),
}
"""The stages that read each kind, by its default name."""


def changed(kind: str, change: Change) -> None:
    """The file of ``kind`` with its values changed, and sealed again as if it had been written so."""
    path = Path(f"{kind}.h5")
    with CheckedFile(path) as checked:
        size = checked.size
    with path.open("r+b") as file:
        file.truncate(size)
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path)


def put(name: str, where: object, value: object) -> Change:
    def change(file: h5py.File) -> None:
        file[name][where] = value

    return change


def replaced(name: str, make: Callable[[np.ndarray], object]) -> Change:
    def change(file: h5py.File) -> None:
        values = make(file[name][()])
        del file[name]
        file[name] = values

    return change


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        file.move(name, "kept")
        file[name] = link

    return change


def elsewhere(name: str) -> Change:
    """The data set's values in another file, as HDF5 can have them."""

    def change(file: h5py.File) -> None:
        values = file[name][()]
        Path("raw.bin").write_bytes(values.tobytes())
        del file[name]
        file.create_dataset(name, values.shape, values.dtype, external=[("raw.bin", 0, values.nbytes)])

    return change


def knots(*rows: list[float]) -> Change:
    """Another map of the last class: pairs of score and probability."""

    def change(file: h5py.File) -> None:
        del file["knots"], file["offsets"]
        file["knots"] = np.array(rows)
        file["offsets"] = np.array([0, 0, 0, len(rows)])

    return change


CASES: dict[str, tuple[str, str, Change]] = {
    "offsets that fall": ("proposals", "offsets", put("offsets", 1, 10**6)),
    "offsets outside": ("proposals", "offsets", put("offsets", -1, 10**9)),
    "offsets below zero": ("proposals", "offsets", put("offsets", 0, -1)),
    "too few offsets": ("proposals", "offsets", replaced("offsets", lambda values: values[:-1])),
    "a NaN corner": ("proposals", "boxes", put("boxes", (3, 0), np.nan)),
    "an endless box": ("proposals", "boxes", put("boxes", (3, 2), np.inf)),
    "a backward box": ("proposals", "boxes", put("boxes", 3, (50, 50, 20, 60))),
    "a box outside": ("proposals", "boxes", put("boxes", 3, (0, 0, 5000, 10))),
    "a NaN score": ("proposals", "scores", put("scores", 2, np.nan)),
    "fewer scores": ("proposals", "scores", replaced("scores", lambda values: values[:-1])),
    "a size of zero": ("proposals", "sizes", put("sizes", (1, 0), 0)),
    "a size below zero": ("features", "sizes", put("sizes", (1, 1), -4)),
    "an id twice": ("proposals", "image_ids", put("image_ids", 1, "000001")),
    "an id twice in features": ("features", "image_ids", put("image_ids", 1, "000001")),
    "a path up": ("proposals", "paths", put("paths", 0, "../../etc/passwd")),
    "a path from the root": ("proposals", "paths", put("paths", 0, "/etc/passwd")),
    "an empty path": ("features", "paths", put("paths", 0, "")),
    "fewer paths": ("proposals", "paths", replaced("paths", lambda values: list(values[:-1]))),
    "flat boxes": ("proposals", "boxes", replaced("boxes", lambda values: values.reshape(-1))),
    "boxes of three": ("proposals", "boxes", replaced("boxes", lambda values: values[:, :3])),
    "maps of other channels": ("features", "maps/96", replaced("maps/96/000000", lambda values: values[:, :, :5])),
    "flat maps": ("features", "maps/96", replaced("maps/96/000000", lambda values: values.reshape(-1))),
    "weights of another width": ("svm", "weights", replaced("weights", lambda values: values[:, :-1])),
    "NaN weights": ("svm", "weights", put("weights", (0, 0), np.nan)),
    "an endless bias": ("svm", "biases", put("biases", 0, np.inf)),
    "fewer classes": ("svm", "classes", replaced("classes", lambda values: list(values[:-1]))),
    "a class twice": ("svm", "classes", put("classes", 1, "disc")),
    "no weights": ("bbox", "weights", lambda file: file.__delitem__("weights")),
    "NaN regressors": ("bbox", "weights", put("weights", (0, 0, 0), np.nan)),
    "narrow regressors": ("bbox", "weights", replaced("weights", lambda values: values[:, :, :-1])),
    "NaN means": ("bbox", "means", put("means", (0, 0), np.nan)),
    "an endless matrix": ("bbox", "unwhiten", put("unwhiten", (0, 0, 0), -np.inf)),
    "an image outside": ("detections", "image", put("image", 3, 10**10)),
    "an image below zero": ("detections", "image", put("image", 3, -1)),
    "a label outside": ("detections", "label", put("label", 3, 7)),
    "a label below zero": ("detections", "label", put("label", 3, -1)),
    "a NaN detection": ("detections", "scores", put("scores", 0, np.nan)),
    "a backward detection": ("detections", "boxes", put("boxes", 0, (9, 9, 2, 2))),
    "fewer labels": ("detections", "label", replaced("label", lambda values: values[:-1])),
    "a threshold that is none": ("calibration", "thresholds", put("thresholds", 0, np.nan)),
    "a falling sigmoid": ("calibration", "slopes", put("slopes", 0, -1.0)),
    "an endless intercept": ("calibration", "intercepts", put("intercepts", 0, np.inf)),
    "a label held out of no class": ("calibration", "label", put("label", 0, 9)),
    "knots that are not there": ("calibration", "offsets", put("offsets", 3, 4)),
    "a probability above 1": ("calibration", "knots", knots([0.0, 0.5], [1.0, 1.5])),
    "a probability that falls": ("calibration", "knots", knots([0.0, 0.5], [1.0, 0.4])),
    "knots out of order": ("calibration", "knots", knots([1.0, 0.5], [0.0, 0.5])),
    "fewer than no objects": ("calibration", "objects", put("objects", 0, -1)),
    "a NaN vector": ("image-features", "vectors", put("vectors", (0, 0), np.nan)),
    "a label of 3": ("image-features", "labels", put("labels", (0, 0), 3)),
    "fewer vectors": ("image-features", "vectors", replaced("vectors", lambda values: values[:-1])),
    "a split twice": ("image-features", "split_names", put("split_names", 1, "test")),
    "values in another file": ("svm", "weights", elsewhere("weights")),
    "boxes in another file": ("proposals", "boxes", elsewhere("boxes")),
    "a soft link": ("svm", "weights", linked("weights", h5py.SoftLink("/kept"))),
    "a link to another file": ("proposals", "boxes", linked("boxes", h5py.ExternalLink("features.h5", "/sizes"))),
    "a group": ("svm", "biases", linked("biases", h5py.SoftLink("/"))),
    "a linked map": ("features", "maps/96", linked("maps/96/000000", h5py.SoftLink("/kept"))),
    "values never stored": (
        "svm",
        "weights",
        lambda file: (file.__delitem__("weights"), file.create_dataset("weights", (3, 504), "f4"))[0],
    ),
}


@pytest.fixture(scope="module")
def calibration(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "calibration.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained.folder)
        assert main(["calibrate", "--folds", "2", "-q", "-o", str(path)]) == 0
    return path


@pytest.fixture
def whole(work: Work, run: Run, calibration: Path) -> Path:
    assert run("detect", "-q")[0] == 0
    shutil.copy(calibration, "calibration.h5")
    assert run("features", "shapes", "--weights", "net.safetensors", "--side", "48", "-q")[0] == 0
    return work.folder


def refuses(run: Run, kind: str, arguments: tuple[str, ...], name: str) -> None:
    code, _, err = run(*arguments, *(("-o", "out.png") if arguments[0] == "show" else ()))
    text = " ".join(err.split())
    assert code == 3, (arguments, text)
    assert "Traceback" not in text
    assert f"{kind}.h5: " in text
    assert name in text
    assert f"run {SCHEMAS[kind].made_by}" in text
    assert "--force" in text


@pytest.mark.parametrize("case", CASES)
def test_impossible_values(whole: Path, run: Run, case: str) -> None:
    kind, name, change = CASES[case]
    changed(kind, change)
    for arguments in READERS[kind]:
        if name == "maps/96" and arguments[0] == "detect":
            continue  # the map is one of the training's images
        refuses(run, kind, arguments, name)


NUMBERS = {"NaN": np.nan, "infinity": np.inf, "infinity below zero": -np.inf}


def in_every(group: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """The change of one data set for each of the group's, of whatever image and scale."""

    def each(file: h5py.File) -> None:
        names: list[str] = []
        file[group].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) >= 16
        for name in names:
            replaced(f"{group}/{name}", change)(file)

    return each


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values.reshape(-1)[-3] = value
        return values

    return change


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("stage", ["train-svm", "train-bbox", "finetune", "detect"])
def test_conv_maps_of_no_number(work: Work, run: Run, stage: str, number: str) -> None:
    """A map is large, and read by the image: each is looked at when it is read."""
    changed("features", in_every("maps", with_value(NUMBERS[number])))
    more = ("--iterations", "2", "-o", "new.safetensors") if stage == "finetune" else ("--force",)
    refuses(run, "features", (stage, *more), "has a value in row")


def test_conv_maps_of_another_type(work: Work, run: Run) -> None:
    changed("features", in_every("maps", lambda values: values.astype(np.float32)))
    refuses(run, "features", ("train-svm", "--force"), "is float32, expected float16")


REGIONS: dict[str, tuple[str, Change]] = {
    "a NaN vector": ("windows/", in_every("windows", with_value(np.nan))),
    "an endless vector": ("windows/", in_every("windows", with_value(-np.inf))),
    "vectors of another type": ("windows/", in_every("windows", lambda values: values.astype(np.float64))),
    "a NaN corner": ("boxes/", in_every("boxes", with_value(np.nan))),
    "backward boxes": ("boxes/", in_every("boxes", lambda values: values[:, [2, 3, 0, 1]])),
}


def test_rcnn_features_that_cannot_be(work: Work, run: Run) -> None:
    extract = ("extract", "--method", "rcnn", "--weights", "net.safetensors", "--side", "32", "--context", "2")
    assert run("propose", "shapes", "--max-proposals", "20", "-q", "--force")[0] == 0
    assert run(*extract, "--precision", "fp32", "-q")[0] == 0
    whole = Path("features.h5").read_bytes()
    for name, change in REGIONS.values():
        Path("features.h5").write_bytes(whole)
        changed("features", change)
        refuses(run, "features", ("train-svm", "--force"), name)


def keys_of(value: object, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to every key of a nested table."""
    if not isinstance(value, dict):
        return []
    return [way for key, inner in value.items() for way in ((*at, key), *keys_of(inner, (*at, key)))]


def without(kind: str, attribute: str, way: tuple[str, ...]) -> None:
    """Remove a key, and make the fingerprint that of what is left."""

    def change(file: h5py.File) -> None:
        found = {name: json.loads(file.attrs[name]) for name in ("config", "inputs", "source", "summary")}
        place = found[attribute]
        for key in way[:-1]:
            place = place[key]
        del place[way[-1]]
        file.attrs[attribute] = json.dumps(found[attribute])
        file.attrs["fingerprint"] = Header(kind, **found).fingerprint

    changed(kind, change)


@pytest.mark.parametrize("kind", READERS)
def test_a_header_without_a_key(whole: Path, run: Run, kind: str) -> None:
    """Whatever key is missing: done all the same, or refused in a sentence; never a traceback."""
    path = Path(f"{kind}.h5")
    before = {name: Path(name).read_bytes() for name in (f"{other}.h5" for other in READERS)}
    with h5py.File(path) as file:
        found = {name: json.loads(file.attrs[name]) for name in ("config", "inputs", "source", "summary")}
    ways = [(attribute, way) for attribute, table in found.items() for way in keys_of(table)]
    assert len(ways) > 3
    refused = 0
    for attribute, way in ways:
        for arguments in READERS[kind]:
            for name, data in before.items():
                Path(name).write_bytes(data)
            without(kind, attribute, way)
            code, _, err = run(*arguments, *(("-o", "out.png") if arguments[0] == "show" else ()))
            assert code in (0, 3, 4), (attribute, way, arguments, err)
            assert "Traceback" not in err, (attribute, way, arguments, err)
            refused += code == 3
    assert refused


STRANGE: dict[str, tuple[str, object]] = {
    "proposals": ("source.paths", [None]),
    "proposals ": ("inputs.images", 7),
    "features": ("config.network", None),
    "features ": ("config.network.stride", float("nan")),
    "features  ": ("config.scales", [0]),
    "features   ": ("inputs.proposals", {}),
    "svm": ("summary.features.normalize", "l3"),
    "svm ": ("summary.features.levels", [1e308]),
    "svm  ": ("summary.features.network.digest", -1),
    "svm   ": ("summary.scales", "96"),
    "bbox": ("config.box_width", ""),
    "bbox ": ("summary.features.window_side", 0),
    "detections": ("config.settings", []),
    "image-features": ("source.root", 10**400),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_description_that_cannot_be(whole: Path, run: Run, case: str) -> None:
    """What a stage reads of a description is of the form that it is written in."""
    kind, (way, value) = case.strip(), STRANGE[case]
    attribute, *names = way.split(".")

    def change(file: h5py.File) -> None:
        found = {name: json.loads(file.attrs[name]) for name in ("config", "inputs", "source", "summary")}
        place = found[attribute]
        for name in names[:-1]:
            place = place[name]
        assert names[-1] in place
        place[names[-1]] = value
        file.attrs[attribute] = json.dumps(found[attribute])
        file.attrs["fingerprint"] = Header(kind, **found).fingerprint

    changed(kind, change)
    for arguments in READERS[kind]:
        refuses(run, kind, arguments, f"in its description {way} is ")


@pytest.mark.parametrize("kind", READERS)
def test_a_description_that_is_not_its_fingerprint(whole: Path, run: Run, kind: str) -> None:
    changed(kind, lambda file: file.attrs.__setitem__("config", json.dumps({"other": 1})))
    for arguments in READERS[kind]:
        refuses(run, kind, arguments, "its description is not the one of its fingerprint")
