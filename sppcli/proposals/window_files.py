"""Proposals in files of others: Selective Search's .mat, CSV, JSON lines, COCO's list of results.

Every reader gives boxes 0-based and half-open, in pixels, by the name that the file has for the image, in the file's
order (highest score first where it has scores).

| file | boxes as they stand there |
|---|---|
| .mat | ``images``, cell of ids; ``boxes``, cell of (N, 4) y0 x0 y1 x1, 1-based inclusive |
| .csv | header ``image,x0,y0,x1,y1`` or ``image,x0,y0,x1,y1,score``; 0-based half-open |
| .jsonl | ``{"image": id, "box": [x0, y0, x1, y1], "score": 0.5}`` a line, score optional; 0-based half-open |
| .json | ``[{"image_id": id or number, "bbox": [x, y, width, height], "score": 0.5}]``, 0-based, score optional; or an
object that has this list as ``annotations``, and ``images``; with ``file_name``, as `spp detect` writes it, that is
the image's name |

Source of the .mat layout: the files that go with Uijlings et al. (IJCV 2013) and with R-CNN, and how R-CNN reads them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.errors import BadInput, MissingInput
from sppcli.proposals.mat_files import read_mat
from sppcli.runtime.inputs import read_regular
from sppcli.structures import Boxes, FloatArray

COLUMNS = ("image", "x0", "y0", "x1", "y1")
_LARGEST = 1e9
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Rows:
    """Boxes (N, 4) float32 of one image; scores (N,) float32, or None where the file has none.

    ``number``: what COCO's results call the image where they say its file name too, else "".
    """

    boxes: Boxes
    scores: FloatArray | None
    number: str = ""


@dataclass
class _Image:
    boxes: list[Sequence[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def read_windows(path: Path) -> dict[str, Rows]:
    """The proposals in ``path``, by image name; its ending says the format.

    Raises:
        MissingInput: no such file.
        BadInput: an unknown ending, or content that is not as the format says; names the line or image.
    """
    readers: dict[str, Callable[[Path, bytes], dict[str, Rows]]] = {
        ".mat": _read_mat,
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".json": _read_coco,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: proposals are imported from {', '.join(readers)} and .h5 files; rename or convert it")
    try:
        data = read_regular(path)
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such file to import") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    found = reader(path, data)
    if not found:
        raise BadInput(f"{path}: holds no proposal of any image")
    return found


def _read_mat(path: Path, data: bytes) -> dict[str, Rows]:
    # MATLAB puts 512 bytes of its own before the HDF5 file.
    if data[:8] == _HDF5 or data[512:520] == _HDF5:
        raise BadInput(f"{path}: a MATLAB 7.3 file; save it again in MATLAB with save(name, 'boxes', 'images', '-v7')")
    content = read_mat(path, data)
    found: dict[str, Rows] = {}
    for number, (key, corners) in enumerate(zip(content.names, content.corners, strict=True), start=1):
        if key in found:
            raise BadInput(f"{path}: image {key!r} stands twice")
        # y x y x, 1-based inclusive: the same shift as VOC's corners, whose columns are x y x y.
        values = corners[:, [1, 0, 3, 2]] - [1, 1, 0, 0]
        where = f"{path}: boxes{{{number}}} (image {key!r})"
        found[key] = Rows(_checked(values, lambda row, where=where: f"{where}, row {row + 1}"), None)  # type: ignore[misc]
    return found


def _checked(values: np.ndarray[Any, Any], where: Callable[[int], str]) -> Boxes:
    """Half-open corners (N, 4) as boxes; ``where(row)`` names a bad row."""
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise BadInput(f"{where(int(np.argmin(finite)))}: a coordinate is not a finite number")
    huge = (np.abs(values) > _LARGEST).any(axis=1)
    if huge.any():
        raise BadInput(f"{where(int(np.argmax(huge)))}: a coordinate is larger than any image")
    # A box of no extent is not wrong: it is dropped and counted by who imports it.
    backwards = (values[:, 2:] < values[:, :2]).any(axis=1)
    if backwards.any():
        raise BadInput(f"{where(int(np.argmax(backwards)))}: the box ends before it starts")
    return values.astype(np.float32)


def _read_csv(path: Path, data: bytes) -> dict[str, Rows]:
    rows = csv.reader(io.StringIO(_text(path, data), newline=""))
    lines = ((rows.line_num, [cell.strip() for cell in row]) for row in _csv_rows(path, rows) if any(row))
    _, header = next(lines, (0, []))
    expected = (*COLUMNS, "score")
    if tuple(header) not in (COLUMNS, expected):
        pairs = zip_longest(header, expected)
        number, found, wanted = next((i, *pair) for i, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
        problem = f"column {number} is {found!r}, not {wanted!r}" if found and wanted else "it has other columns"
        raise BadInput(f"{path}: {problem}: the first line must be {','.join(COLUMNS)} or {','.join(expected)}")
    scored = len(header) == len(expected)

    def records() -> Iterator[tuple[str, str, list[float], float | None]]:
        for number, cells in lines:
            where = f"{path}, line {number}"
            if len(cells) != len(header):
                raise BadInput(f"{where}: {len(cells)} fields, where the header has {len(header)}")
            values = [_number(cell, where, name) for name, cell in zip(header[1:], cells[1:], strict=True)]
            yield where, cells[0], values[:4], values[4] if scored else None

    return _gather(records())


def _csv_rows(path: Path, rows: Any) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise BadInput(f"{path}, line {rows.line_num}: {error}") from None


def _read_jsonl(path: Path, data: bytes) -> dict[str, Rows]:
    def records() -> Iterator[tuple[str, str, list[float], float | None]]:
        for number, line in enumerate(_text(path, data).split("\n"), start=1):
            if line.strip():
                where = f"{path}, line {number}"
                item = _json(line, where)
                if not isinstance(item, dict) or "image" not in item or "box" not in item:
                    raise BadInput(f'{where}: expected {{"image": id, "box": [x0, y0, x1, y1]}}')
                yield where, _name(item["image"], where), _four(item["box"], where, "box"), _score(item, where)

    return _gather(records())


def _read_coco(path: Path, data: bytes) -> dict[str, Rows]:
    content = _json(_text(path, data), str(path))
    names: dict[Any, str] = {}
    items = content
    if isinstance(content, dict):
        items = content.get("annotations")
        listed = content.get("images", [])
        if not isinstance(listed, list):
            raise BadInput(f"{path}: 'images' is not a list")
        for image in listed:
            if not isinstance(image, dict) or "id" not in image or "file_name" not in image:
                raise BadInput(f"{path}: an entry of 'images' has no 'id' or no 'file_name'")
            names[_name(image["id"], str(path))] = _name(image["file_name"], str(path))
    if not isinstance(items, list):
        raise BadInput(
            f'{path}: expected COCO results, [{{"image_id": ..., "bbox": [x, y, width, height], "score": ...}}], '
            "or an object with such a list as 'annotations'"
        )

    numbers: dict[str, str] = {}

    def records() -> Iterator[tuple[str, str, list[float], float | None]]:
        for number, item in enumerate(items):
            where = f"{path}, record {number}"
            if not isinstance(item, dict) or "image_id" not in item or "bbox" not in item:
                raise BadInput(f"{where}: has no 'image_id' or no 'bbox'")
            x, y, width, height = _four(item["bbox"], where, "bbox")
            key = _name(item["image_id"], where)
            name = names.get(key) or _name(item.get("file_name", key), where)
            numbers[name] = key
            yield where, name, [x, y, x + width, y + height], _score(item, where)

    return {name: replace(rows, number=numbers[name]) for name, rows in _gather(records()).items()}


def _gather(records: Iterator[tuple[str, str, list[float], float | None]]) -> dict[str, Rows]:
    """Records (where, image, box, score) by image, highest score first where all have one."""
    images: dict[str, _Image] = {}
    for where, name, box, score in records:
        if not name:
            raise BadInput(f"{where}: the image is not named")
        if box[2] < box[0] or box[3] < box[1]:
            raise BadInput(f"{where}: the box ends before it starts")
        image = images.setdefault(name, _Image())
        image.boxes.append(box)
        if score is not None:
            image.scores.append(score)
    found = {}
    for name, image in images.items():
        boxes = np.array(image.boxes, dtype=np.float32)
        scores = np.array(image.scores, dtype=np.float32) if len(image.scores) == len(boxes) else None
        if scores is not None:
            order = np.argsort(-scores, kind="stable")
            boxes, scores = boxes[order], scores[order]
        found[name] = Rows(boxes, scores)
    return found


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not text in UTF-8") from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not JSON ({error})") from None


def _name(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) >= 2**63):
        raise BadInput(f"{where}: {value!r} is not an image's id or file name")
    return str(value)


def _score(item: dict[str, Any], where: str) -> float | None:
    return None if item.get("score") is None else _number(item["score"], where, "score")


def _four(values: Any, where: str, name: str) -> list[float]:
    if not isinstance(values, list) or len(values) != 4:
        raise BadInput(f"{where}: {name} is not a list of four numbers")
    return [_number(value, where, name) for value in values]


def _number(value: Any, where: str, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{where}: {name} is not a number but {str(value)[:40]!r}") from None
    # What does not fit float32 is no pixel coordinate either.
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise BadInput(f"{where}: {name} is not a finite number of pixels but {value!r}")
    return number
