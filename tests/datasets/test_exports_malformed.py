"""Exports that are damaged: whatever stands in them, the answer is an annotation or one of our errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sppcli.datasets import open_dataset
from sppcli.datasets.json_values import LARGEST, Json, load_json
from sppcli.errors import BadInput, SppError
from tests.conftest import Run
from tests.datasets.exports import LAYOUTS, Layout

JSON_LAYOUTS = {
    name: layout for name, layout in LAYOUTS.items() if not any(isinstance(c, str) for c in layout.files.values())
}
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_DEEP = "[" * 100_000 + "]" * 100_000
"""Raw JSON that no list holds."""

_MALFORMED = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 3.5, 10**400, float("nan"), float("inf"), -1e308, 1e308, LARGEST * 2, [], {}, [[]]]
    ),
    st.sampled_from(
        ["", " ", "\ud800", "a\0b", "..", "/", "C:\\", "%00", "//[", "http://[x", "x" * 5000, "\u202e", "nan"]
    ),
    st.sampled_from([[None], [1, 2], {"x": None}, [[1, "a"]], {"": {}}, [{}], {"name": []}]),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=3), lambda x: st.lists(x, max_size=3)),
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in ``value``."""
    found = [here]
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*here, key))
    return found


def replaced(value: Any, place: tuple[Any, ...], new: Any, remove: bool) -> Any:
    if not place:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if remove:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return value


def read_everything(root: Path) -> None:
    """Open ``root`` and read each image's annotation: an `SppError` at most."""
    try:
        dataset = open_dataset([root])
        for item in dataset.images:
            if dataset.has_annotations:
                dataset.annotations(item.id)
        assert all(name for name in dataset.classes)
    except SppError as error:
        text = str(error)
        assert "\n" not in text
        text.encode("utf-8")


@pytest.mark.parametrize("name", JSON_LAYOUTS)
@some
@given(data=st.data())
def test_a_wrong_value_anywhere_in_json(name: str, tmp_path: Path, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    root = tmp_path / "data"
    if not root.exists():
        layout.write(root)
    file = data.draw(st.sampled_from(sorted(layout.files)))
    content = layout.files[file]
    place = data.draw(st.sampled_from(places(content)))
    changed = replaced(content, place, data.draw(_MALFORMED), data.draw(st.booleans()))
    (root / file).write_text(json.dumps(changed), encoding="utf-8")
    read_everything(root)
    (root / file).write_text(json.dumps(content), encoding="utf-8")


_PIECES = st.one_of(
    st.sampled_from(
        ['"', ",", ";", "<", ">", "&", "\0", "\n", "=", "nan", "-1e308", "1e999", "[", "]", "/m/", "é", "\\"]
    ),
    st.text(max_size=4),
)


@pytest.mark.parametrize("name", LAYOUTS)
@some
@given(data=st.data())
def test_a_wrong_piece_anywhere_in_the_text(name: str, tmp_path: Path, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    root = tmp_path / "data"
    if not root.exists():
        layout.write(root)
    file = data.draw(st.sampled_from(sorted(layout.files)))
    before = (root / file).read_bytes()
    start = data.draw(st.integers(0, len(before)))
    length = data.draw(st.sampled_from([0, 1, 2, 10, len(before)]))
    piece = data.draw(_PIECES | st.just("\udcff")).encode("utf-8", "surrogateescape")
    (root / file).write_bytes(before[:start] + piece + before[start + length :])
    read_everything(root)
    (root / file).write_bytes(before)


def swap(layout: Layout, root: Path, old: str, new: str) -> str:
    """Put ``new`` for ``old`` in the only file of ``layout``; gives its name."""
    layout.write(root)
    (name,) = layout.files
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("via-json", '"x": 5', '"x": NaN', r"\['a.jpg4213'\]\.regions\[0\]\.shape_attributes\.x is nan, not a number"),
        ("via-json", '"x": 5', '"x": 1e400', r"shape_attributes\.x is inf, not a number"),
        ("via-json", '"x": 5', f'"x": 1{"0" * 400}', r"shape_attributes\.x is 10000.*…, not a number"),
        ("via-json", '"x": 5', '"x": "5"', r"shape_attributes\.x is '5', not a number"),
        ("via-json", '"filename": "b.jpg"', '"filename": "\\ud800"', r"filename is '\\ud800', not a text"),
        ("via-json", '"filename": "b.jpg"', '"filename": "a\\u0000"', r"filename is 'a\\x00', not a text"),
        ("via-json", '"regions": []', '"regions": 7', r"\['b.jpg99'\]\.regions is 7, not an object"),
        ("via-csv", '""x"": 5', '""x"": ""y""', r"line 2: x is 'y', not a number"),
        ("via-csv", '""x"": 5', '""x"": [', r"line 2 is not JSON"),
        ("cvat-images", 'xtl="5.50"', 'xtl="nan"', r"image 'a.jpg': <box>, xtl: 'nan' is not a number"),
        ("cvat-images", 'label="car"', 'label=""', r"image 'a.jpg': <box> has no label"),
        ("cvat-images", "20.00,30.00;", "20.00;", r"image 'a.jpg': <polygon> has the point '20.00', not x,y"),
        ("label-studio", '"x": 25,', '"x": null,', r"\[0\]\.annotations\[1\]\.result\[0\]\.value has no x"),
        ("label-studio-min", '"width": 50', '"width": {}', r"\[0\]\.label\[0\]\.width is an object, not a number"),
        ("kaggle", "[5.0, 6.0, 10.0, 20.0]", "[5.0, 6.0]", r"line 2: bbox is '\[5.0, 6.0\]', not \[x, y"),
    ],
)
def test_complaints_name_the_file_and_the_entry(
    name: str, old: str, new: str, message: str, tmp_path: Path, run: Run
) -> None:
    file = swap(LAYOUTS[name], tmp_path / "data", old, new)
    code, _, err = run("convert", str(tmp_path / "data"), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    with pytest.raises(BadInput, match=message) as caught:
        open_dataset([tmp_path / "data"])
    assert str(tmp_path / "data" / file) in str(caught.value)
    assert "Traceback" not in err


def test_json_that_nests_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"flags": {}, "shapes": ' + _DEEP + "}")
    with pytest.raises(BadInput, match=r"a.json is not JSON that can be read: it nests too deeply"):
        open_dataset([f"labelme:{path}"])
    path.write_text("[" + "9" * 5000 + "]")
    with pytest.raises(BadInput, match=r"a.json is not JSON"):
        load_json(path, "a list")


@given(_MALFORMED)
@example([1, True])
def test_every_accessor_answers_or_refuses(value: Any) -> None:
    top = Json({"a": [value]}, Path("x.json"))
    (entry,) = top.field("a").items()
    asked: list[Callable[[], object]] = [
        entry.text,
        entry.name,
        entry.number,
        entry.whole,
        entry.flag,
        entry.numbers,
        lambda: entry.field("x"),
        lambda: list(entry.items()),
        lambda: list(entry.fields()),
    ]
    refusals = [text for ask in asked if (text := refusal(ask)) is not None]
    assert refusals
    assert all(text.startswith("x.json: a[0]") for text in refusals)


def refusal(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except BadInput as error:
        return str(error)
    return None
