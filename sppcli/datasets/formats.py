"""The formats of annotations, one line each. `open_dataset` goes through them; nothing is read by guess."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sppcli.datasets import (
    coco,
    createml,
    cvat,
    darknet,
    datumaro_json,
    ilsvrc,
    kaggle,
    label_studio,
    labelme,
    open_images,
    retinanet,
    table,
    via,
    voc_folders,
    yolo,
)
from sppcli.datasets.base import Dataset, Problem, did_you_mean, siblings
from sppcli.datasets.coco import CocoDataset
from sppcli.datasets.folder import PlainImages
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.matching import loose
from sppcli.datasets.remarks import counted
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.runtime.url_transfer import at_hand
from sppcli.runtime.urls import is_by_url

FORMATS: tuple[Format, ...] = (
    ilsvrc.FORMAT,
    voc_folders.FORMAT,
    coco.FORMAT,
    yolo.FORMAT,
    table.FORMAT,
    via.FORMAT,
    cvat.FORMAT,
    darknet.FORMAT,
    labelme.FORMAT,
    createml.FORMAT,
    label_studio.FORMAT,
    datumaro_json.FORMAT,
    open_images.FORMAT,
    retinanet.FORMAT,
    kaggle.FORMAT,
)
"""A new format is one file with its `Format`, and one line here."""

NAMES = tuple(form.name for form in FORMATS)

_OTHERS = [form.title for form in FORMATS if form is not voc_folders.FORMAT]
WANTED = (
    f"give a {voc_folders.FORMAT.title} data set, or one in the format of {', '.join(_OTHERS[:-1])} or {_OTHERS[-1]}, "
    "with the annotation files in the folder that is given"
)
"""What to do where there are no annotations."""


def open_dataset(sources: Sequence[Path | str], images_needed: bool = True, form: str | None = None) -> Dataset:
    """Open ``sources`` as the data set that they are.

    - One file or folder that one of `FORMATS` recognises by its marks is that data set.
    - ``NAME:PATH`` (``yolo:DATA``) is read as the format NAME, whatever else is there.
    - Any other folder is searched through for images.
    - Image files, or files and folders together, are images with ids relative to their common parent.

    Args:
        images_needed: False takes VOC's and COCO's images as there, as evaluation may.
        form: name of the format that ``sources`` were read as before: it wins where several recognise them.

    Raises:
        UsageProblem: no source, two formats to choose from, or an annotated data set among other sources.
        MissingInput: a path that is not there, or a folder without any image.
        BadInput: a file that is not an image by its extension, a list that is not text, or a path without permission.
    """
    if not sources:
        raise UsageProblem("no source was given: name a VOC folder, a folder of images, or image files")
    chosen = [_chosen(source) for source in sources]
    if len({is_by_url(path) for path, _ in chosen}) > 1:
        raise UsageProblem("a data set lies on this machine or is given by URL: give paths, or URLs, not both")
    for path, _ in chosen:
        at_hand(path)
    try:
        places = [Place(_existing(path), images_needed) for path, _ in chosen]
        return _open(places, [name for _, name in chosen], form)
    except PermissionError as error:
        raise BadInput(f"{error.filename} cannot be read: permission is denied") from error


def _chosen(source: Path | str) -> tuple[Path, str | None]:
    """The path in ``NAME:PATH``, and the name; a path that is there as it stands is only a path."""
    name, colon, rest = str(source).partition(":")
    if colon and rest and name in NAMES and not Path(source).exists():
        return Path(rest), name
    return Path(source), None


def _open(places: Sequence[Place], names: Sequence[str | None], before: str | None) -> Dataset:
    for place, name in zip(places, names, strict=True):
        found = recognised(place, name)
        found = [(form, mark) for form, mark in found if form.name == before] or found
        if name and not found:
            (form,) = (form for form in FORMATS if form.name == name)
            raise BadInput(f"{place.path} is not {form.title}: that is recognised by {form.marks}")
        best = [(form, mark) for form, mark in found if mark.sure] or found
        if best and len(places) > 1:
            shown = "a VOC" if best[0][0].name == "voc" else "an annotated"
            raise UsageProblem(f"{place.path} is {shown} data set: give it alone, or give {_images_of(place, best[0])}")
        if len(best) > 1:
            raise UsageProblem(
                f"{place.path} is {' and '.join(f'{form.title} ({mark.by})' for form, mark in best)}: "
                f"choose with {' or '.join(f'{form.name}:{place.path}' for form, _ in best)}"
            )
        if best:
            dataset = best[0][1].open()
            dataset.warnings += [
                f"{place.path} is read as {best[0][0].title} ({best[0][1].by}); it is {form.title} too ({mark.by}): "
                f"give {form.name}:{place.path} for that"
                for form, mark in found
                if (form, mark) not in best
            ]
            dataset.warnings += _passed_over(place, dataset)
            return dataset
    return PlainImages([place.path for place in places])


def _passed_over(place: Place, dataset: Dataset) -> list[Problem]:
    """What is said of files that no reader takes: those called like an image that counts as not annotated, and JSON
    that is none.
    """
    if not place.is_folder:
        return []
    bare, done = set[str](), set[str]()
    for item in dataset.images:
        (done if dataset.is_annotated(item.id) else bare).add(loose(item.path.stem))
    bare -= done
    called = [path for path in place.ending(".xml", ".json") if loose(path.stem) in bare] if bare else []
    damaged = [path for path in place.damaged() if path not in called]
    said = []
    for paths, what in ((called, "of images that count as not annotated"), (damaged, "damaged: no JSON")):
        if paths:
            one = len(paths) == 1
            text = f"{{n}} {'file was' if one else 'files were'} not read as {dataset.kind} annotations, {what}"
            said.append(
                Problem("unread-file", counted(text, [path.relative_to(place.path).as_posix() for path in paths]))
            )
    return said


def recognised(place: Place, name: str | None = None) -> list[tuple[Format, Recognised]]:
    """The formats that recognise ``place``, or of these the one called ``name``, in the order of `FORMATS`."""
    marks = ((form, form.recognise(place)) for form in FORMATS if name in (None, form.name))
    found = [(form, mark) for form, mark in marks if mark]
    if not found and name in (None, "coco") and not place.is_folder and place.path.suffix.lower() == ".json":
        # A file that nothing knows: COCO's reader says what is wrong with it.
        found = [(coco.FORMAT, Recognised(place.path.name, lambda: CocoDataset(place.path, place.images_needed)))]
    return found


def _images_of(place: Place, found: tuple[Format, Recognised]) -> str:
    return "its JPEGImages folder" if found[0].name == "voc" else "the folder of its images"


def _existing(given: Path) -> Path:
    """``given`` as an absolute path, or an error that names its first part which is not there."""
    path = given.resolve() if ".." in given.parts else given.absolute()
    if path.exists():
        return path
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    if missing.is_symlink():
        raise MissingInput(f"{missing} is a link to something that is not there: {missing.readlink()}")
    raise MissingInput(f"there is no file or folder {missing}{did_you_mean(missing.name, siblings(missing))}")


def require_annotations(dataset: Dataset) -> None:
    """Refuse a data set without ground truth.

    Raises:
        BadInput: says which formats are read.
    """
    if not dataset.has_annotations:
        raise BadInput(f"{dataset.root} has no annotations, which training and evaluation need: {WANTED}")
