"""``spp report``: one HTML file that says what ``spp evaluate`` says and more, whatever the data are called."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.calibration import HeldOutScores, write_calibration
from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.store import Header
from sppcli.detection.scoring import DetectSettings
from sppcli.evaluation.errors import KINDS
from sppcli.structures import Calibration, ScoreMap
from tests.conftest import Run, Voc
from tests.small_artefacts import Found, write_detections

HOSTILE = "</script><script>hacked=1</script>\"'><img src=x onerror=hacked=1>"


def some(voc: Voc, score: float = 0.9) -> dict[str, list[Found]]:
    """The objects, the first of each image by a box that fits badly; and a box on nothing in each image."""
    found: dict[str, list[Found]] = {}
    for name in voc.ids:
        rows = [
            (thing.label, tuple(map(float, thing.box)), score - 0.05 * i) for i, thing in enumerate(voc.things[name])
        ]
        label, (x0, y0, x1, y1), _ = rows[0]
        rows[0] = (label, (x0, y0, x0 + 0.4 * (x1 - x0), y1), 0.3)
        found[name] = [*rows, ("disc", (0.0, 0.0, 4.0, 4.0), 0.2)]
    return found


class Reader(HTMLParser):
    """The elements of a page with their attributes, and the text of each table's rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._cell = tag in ("td", "th") or (self._cell and tag in ("span", "small"))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data

    def attribute(self, tag: str, name: str) -> list[str]:
        return [values[name] for one, values in self.tags if one == tag and name in values]


def made(run: Run, *arguments: str) -> tuple[dict[str, object], str]:
    """The summary and the page of a run that succeeds."""
    code, out, err = run("report", "--json", "-q", "--split", "all", *arguments)
    assert code == 0, err
    summary = json.loads(out)
    return summary, Path(summary["output"]).read_text(encoding="utf-8")


def test_the_page_says_what_evaluate_says(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, some(voc))
    summary, page = made(run)
    voc_scores = json.loads(run("evaluate", "--json", "-q", "--split", "all")[1])
    coco = json.loads(run("evaluate", "--json", "-q", "--split", "all", "--coco")[1])
    assert summary["mAP"] == pytest.approx(voc_scores["mAP"])
    # The first table of seven columns; the counts at a threshold have as many.
    rows = {row[0]: row[1:] for row in reversed(Reader(page).rows) if len(row) == 7}
    for name, ap in voc_scores["ap"].items():
        assert rows[name][:2] == [f"{ap:.3f}", f"{coco['ap'][name]:.3f}"]
    assert rows["Mean"][:4] == [
        f"{value:.3f}" for value in (voc_scores["mAP"], *(coco[n] for n in ("AP", "AP50", "AP75")))
    ]
    # One badly placed box in each image, one on nothing; nothing else is wrong.
    rows = {row[0]: row for row in Reader(page).rows if len(row) == 3}
    kinds = {kind: next(row[2] for name, row in rows.items() if name.startswith(kind)) for kind in KINDS}
    assert kinds == {name: "8" if name in ("localisation", "background") else "0" for name in KINDS}


def test_summary_on_stdout_and_stderr(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, some(voc))
    code, out, err = run("report", "-o", "page.html", "--images", "3", "--split", "all", "--title", "My cells")
    assert (code, out) == (0, "page.html\n")
    assert re.search(r"mAP 0\.\d{4}, F1 0\.\d{4} at score 0\.\d+; 3 of 8 images shown, 0\.\d MB", err)
    assert "<h1>My cells</h1>" in Path("page.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, some(voc))
    summary, page = made(run)
    reader = Reader(page)
    assert summary["size"] == Path("report.html").stat().st_size
    assert len(reader.attribute("img", "src")) == 8
    assert all(source.startswith("data:image/jpeg;base64,") for source in reader.attribute("img", "src"))
    assert all(alt for alt in reader.attribute("img", "alt"))
    assert not reader.attribute("script", "src")
    assert not reader.attribute("link", "href")
    assert all(target.startswith("#") for target in reader.attribute("a", "href"))
    identities = set(reader.attribute("section", "id")) | set(reader.attribute("h3", "id"))
    assert {target[1:] for target in reader.attribute("a", "href")} <= identities
    assert "default-src 'none'" in reader.attribute("meta", "content")[1]
    # Nothing of where the files lie on this machine.
    assert str(voc.root.parent) not in page


def calibrated(voc: Voc, found: dict[str, list[Found]], slope: float) -> None:
    """detections.h5 as a detector with calibration.h5 beside it would have made it."""
    classes = ("disc", "square", "triangle")
    write_detections(Path("detections.h5"), voc, found, classes)
    inputs = read_detections(Path("detections.h5")).header.inputs
    config = {"at": "f1", "scores": "margin", "settings": asdict(DetectSettings())}
    header = Header("calibration", config, {"svm": inputs["svm"]}, {}, {"overall": 0.4})
    maps = tuple(ScoreMap("sigmoid", np.zeros((0, 2)), slope, -0.5 * slope) for _ in classes)
    held = HeldOutScores(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool), np.zeros(3, np.int64))
    write_calibration(Path("calibration.h5"), header, Calibration(classes, maps, np.zeros(3)), held)


def test_a_calibrated_detector_is_shown_by_probability(here: Path, voc: Voc, run: Run) -> None:
    calibrated(voc, some(voc), 4.0)
    summary, page = made(run)
    assert (summary["what"], summary["threshold"]) == ("probability", 0.4)
    assert "at the probability chosen for all classes together by spp calibrate (f1)" in page
    scores = sorted(row[2] for rows in some(voc).values() for row in rows)
    step = re.search(r'<g class="right" data-step="(\d+)"[^>]*>.*?<text[^>]*>\w+ ([\d.]+)</text>', page)
    assert step
    assert float(step[2]) == pytest.approx(1 / (1 + np.exp(-4 * (scores[-1] - 0.5))), abs=0.06)
    error = re.search(r"Expected calibration error: ([\d.]+)\.", page)
    assert error
    assert 0 < float(error[1]) < 0.5
    Path("calibration.h5").unlink()
    summary, page = made(run)
    assert summary["what"] == "score"
    assert "calibration error" not in page


def test_worst_images_come_first(here: Path, voc: Voc, run: Run) -> None:
    found = {name: [(t.label, t.box, 0.9) for t in voc.things[name]] for name in voc.ids}
    found["000005"] += [("disc", (0, 0, 5, 5), 0.95), ("square", (90, 80, 96, 90), 0.95)]
    found["000007"] = []
    write_detections(Path("detections.h5"), voc, found)  # type: ignore[arg-type]
    page = made(run, "--images", "2")[1]
    missed = len(voc.things["000007"])
    order = ["000005", "000007"] if missed <= 2 else ["000007", "000005"]
    assert re.findall(r'aria-label="Enlarge (\d+)"', page) == order
    assert "2 of 8 images" in page
    assert made(run, "--images", "0")[0]["pictures"] == 0


def test_hostile_names_stay_text(here: Path, make_voc: Callable[..., Voc], run: Run) -> None:
    voc = make_voc(4, name="set<b onclick=hacked=1>", classes=("disc", HOSTILE), per_image=2)
    old, new = "000002", "a'\"><svg onload=hacked=1>"
    for path in (voc.image(old), voc.annotation(old)):
        path.rename(path.with_name(new + path.suffix))
    for path in (voc.root / "ImageSets" / "Main").iterdir():
        path.write_text(path.read_text().replace(old, new))
    things = {new if name == old else name: rows for name, rows in voc.things.items()}
    voc = Voc(voc.root, tuple(things), voc.splits)
    voc.things.update(things)
    found = {name: [(thing.label, thing.box, 0.5) for thing in rows] for name, rows in things.items()}
    write_detections(Path("detections.h5"), voc, found, classes=("disc", HOSTILE))  # type: ignore[arg-type]
    _, page = made(run, "--title", HOSTILE)
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 2
    assert not [values for _, values in reader.tags if any(name.startswith("on") for name in values)]
    assert not [tag for tag, values in reader.tags if tag == "img" and values["src"] == "x"]
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    assert "<" not in data[1]
    assert json.loads(data[1])["npos"] == [4, 4]


def test_nothing_detected(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, {name: [] for name in voc.ids})
    summary, page = made(run)
    assert (summary["mAP"], summary["f1"], summary["pictures"]) == (0, 0, 8)
    rows = [row for row in Reader(page).rows if row and row[0].startswith("missed")]
    assert rows[0][1:] == ["1.000", str(sum(map(len, voc.things.values())))]


def test_images_that_are_gone_are_said_to_be(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, some(voc))
    shutil.rmtree(voc.root / "JPEGImages")
    code, _, err = run("report", "-q", "--split", "test")
    page = Path("report.html").read_text(encoding="utf-8")
    assert code == 0
    assert "2 of 2 images cannot be shown, the first: " in err
    assert page.count("The image cannot be shown") == 2
    assert "<rect" in page


def test_many_classes(here: Path, make_voc: Callable[..., Voc], run: Run) -> None:
    classes = tuple(f"kind {i:02d}" for i in range(30))
    voc = make_voc(15, classes=classes, per_image=2)
    # One class is always taken for the next.
    found = {
        name: [
            (classes[(classes.index(t.label) + 1) % 30] if t.label == "kind 03" else t.label, t.box, 0.9) for t in rows
        ]
        for name, rows in voc.things.items()
    }
    write_detections(Path("detections.h5"), voc, found, classes=classes)  # type: ignore[arg-type]
    summary, page = made(run)
    assert "Shown are the 24 of 30 classes that are confused most." in page
    assert summary["size"] < 2_000_000
    row = next(row for row in Reader(page).rows if row[:1] == ["kind 03"] and len(row) == 26)
    count = sum(thing.label == "kind 03" for rows in voc.things.values() for thing in rows)
    assert row[5] == str(count)
    assert row[4] == row[-1] == "0"


def test_one_class(here: Path, make_voc: Callable[..., Voc], run: Run) -> None:
    voc = make_voc(4, classes=("disc",))
    write_detections(Path("detections.h5"), voc, some(voc), classes=("disc",))
    page = made(run)[1]
    assert "of 1 class," in page
    assert 'id="only"' not in page


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--detections", "nowhere.h5"], 3, "h5: there is no such file"),
        (["--split", "tset"], 3, "tset"),
        (["-o", "no/where.html"], 3, "the folder no does not exist; create it"),
        (["-o", "detections.h5"], 2, "detections.h5 is one of the files that are read; name another file"),
        (["-o", "notes.html"], 2, "notes.html is there already and was not made by spp"),
        (["--images", "-1"], 2, "--images"),
        (["--iou", "2"], 2, "--iou"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refusals(here: Path, voc: Voc, run: Run, arguments: list[str], code: int, part: str) -> None:
    write_detections(Path("detections.h5"), voc, some(voc))
    Path("notes.html").write_text("<p>mine</p>")
    found, _, err = run("report", "-q", *arguments)
    assert found == code
    assert part in err
    assert Path("notes.html").read_text() == "<p>mine</p>"


def test_its_own_page_is_written_over(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, some(voc))
    assert [run("report", "-q")[0] for _ in range(2)] == [0, 0]
    Path("report.html").write_text("<p>mine</p>")
    assert run("report", "-q")[0] == 2
    assert run("report", "-q", "--overwrite")[0] == 0
