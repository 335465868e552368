"""``spp detect`` of videos, of folders that fill, and into pictures, tables and YOLO's text files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import sppcli
from sppcli.datasets import open_dataset
from sppcli.images import read_image
from sppcli.report.video import VideoSource, VideoWriter
from tests.conftest import Run
from tests.stages.conftest import Work

PHOTOS = ("shapes/JPEGImages/000004.jpg", "shapes/JPEGImages/000008.jpg")


def frames_of(path: str) -> list[np.ndarray]:
    video = VideoSource(path)
    found = [frame.pixels for frame in video.frames()]
    video.close()
    return found


@pytest.fixture
def clip(work: Work) -> Path:
    """Seven frames at 10 per second: three of one image, four of another; lossless, so that frames are the images."""
    path = Path("clip.avi")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (128, 96))
    assert writer.isOpened()
    for number in range(7):
        writer.write(np.ascontiguousarray(read_image(Path(PHOTOS[number // 3 > 0]))[:, :, ::-1]))
    writer.release()
    return path


def rows_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_frames_are_those_of_the_video_with_numbers_and_times(clip: Path, run: Run) -> None:
    code, out, err = run("detect", str(clip), "--every", "3", "-q")
    assert code == 0, err
    rows = rows_of(out)
    assert sorted({(row["frame"], row["seconds"]) for row in rows}) == [(0, 0.0), (3, 0.3), (6, 0.6)]
    detector = sppcli.Detector.load(".")
    for number, frame in enumerate(frames_of(str(clip))):
        mine = [row for row in rows if row["frame"] == number]
        if number % 3:
            assert not mine
            continue
        found = detector.detect(frame)
        assert [row["class"] for row in mine] == list(found.labels)
        np.testing.assert_allclose([row["box"] for row in mine], found.boxes, atol=0.006)
    # The same by name of the option, as a table, and up to a frame.
    table = list(
        csv.DictReader(run("detect", "--video", str(clip), "--frames", "1", "--format", "csv", "-q")[1].splitlines())
    )
    assert {row["frame"] for row in table} == {"0"}
    assert [row["class"] for row in table] == [row["class"] for row in rows if row["frame"] == 0]
    summary = json.loads(run("detect", str(clip), "--every", "3", "-o", "found.jsonl", "--json", "-q")[1])
    assert (summary["frames"], summary["looked_at"], summary["detections"]) == (7, 3, len(rows))
    assert rows_of(Path("found.jsonl").read_text()) == rows


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_an_annotated_video(clip: Path, run: Run, name: str) -> None:
    code, out, err = run("detect", str(clip), "-o", name, "--every", "2", "-q")
    assert code == 0, err
    assert out.startswith(f"{name}: ")
    assert out.rstrip().endswith("in 4 frames of 7")
    drawn, plain = frames_of(name), frames_of(str(clip))
    assert len(drawn) == len(plain)
    assert VideoSource(name).rate == pytest.approx(10)
    # Every frame is marked, those between too, and is the video's frame apart from the marks.
    for marked, frame in zip(drawn, plain, strict=True):
        assert marked.shape == frame.shape
        different = np.abs(marked.astype(int) - frame).max(axis=2)
        assert (different > 100).mean() > 0.02
        assert np.median(different) < 16
    assert sorted(path.name for path in Path().glob(".out*")) == []
    code, _, err = run("detect", str(clip), "-o", name, "-q")
    assert code == 2
    assert "--overwrite" in err
    assert run("detect", str(clip), "-o", name, "-q", "--frames", "1", "--overwrite")[0] == 0
    assert len(frames_of(name)) == 1


def test_a_video_that_fails_leaves_nothing(clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: VideoWriter, pixels: object) -> None:
        raise OSError(28, "No space left on device", "out.mp4")

    monkeypatch.setattr(VideoWriter, "add", full)
    assert run("detect", str(clip), "-o", "out.mp4", "-q")[0] == 3
    assert not list(Path().glob("*out*"))


def test_one_picture_and_a_folder_of_them(work: Work, run: Run) -> None:
    code, out, err = run("detect", PHOTOS[0], "-o", "one.png", "-q")
    assert code == 0, err
    assert out.startswith("one.png: ")
    marked = np.asarray(Image.open("one.png"))
    plain = np.asarray(Image.fromarray(read_image(Path(PHOTOS[0]))).resize((640, 480), Image.Resampling.BILINEAR))
    assert marked.shape == plain.shape  # small images are enlarged
    assert 0.02 < (np.abs(marked.astype(int) - plain).max(axis=2) > 60).mean() < 0.5
    assert run("detect", "-j", "1", *PHOTOS, "-o", "pictures/", "-q")[0] == 0
    assert sorted(path.name for path in Path("pictures").iterdir()) == ["000004.png", "000008.png"]
    assert Path("pictures/000004.png").read_bytes() == Path("one.png").read_bytes()
    assert run("detect", "-j", "1", *PHOTOS, "-o", "pictures", "-q")[0] == 0  # its own, in a folder that is there
    Path("pictures/000008.png").write_bytes(b"a letter")
    code, _, err = run("detect", "-j", "1", *PHOTOS, "-o", "pictures/", "-q")
    assert code == 2
    assert "000008.png is there already and was not made by spp" in " ".join(err.split())
    code, _, err = run("detect", "-j", "1", *PHOTOS, "-o", "two.png", "-q")
    assert code == 2
    assert "-o two.png is one picture, for 2 images; name a folder" in " ".join(err.split())
    # Of a split too.
    assert run("detect", "--split", "test", "--min-score", "0", "-o", "test/", "-q")[0] == 0
    assert len(list(Path("test").glob("*.png"))) == len(work.voc.splits["test"])


def test_a_table_is_read_back(work: Work, run: Run) -> None:
    lines = rows_of(run("detect", "-j", "1", *PHOTOS, "-q")[1])
    assert run("detect", "-j", "1", *PHOTOS, "-o", "shapes/JPEGImages/found.csv", "-q")[0] == 0
    rows = list(csv.DictReader(Path("shapes/JPEGImages/found.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == [line["class"] for line in lines]
    assert [[float(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in rows] == [line["box"] for line in lines]
    assert {row["probability"] for row in rows} == {""}  # not calibrated
    assert (
        run("detect", "-j", "1", *PHOTOS, "--format", "csv", "-q")[1] == Path("shapes/JPEGImages/found.csv").read_text()
    )
    assert run("detect", "-j", "1", *PHOTOS, "-o", "shapes/JPEGImages/found.csv", "-q")[0] == 0  # its own file
    data = open_dataset([Path("shapes/JPEGImages/found.csv").absolute()])
    assert set(data.classes) == {line["class"] for line in lines}


def test_yolo_text_files(work: Work, run: Run) -> None:
    lines = rows_of(run("detect", "-j", "1", *PHOTOS, "-q")[1])
    code, out, err = run("detect", "-j", "1", *PHOTOS, "--format", "yolo", "-q")
    assert code == 0, err
    assert out.startswith("labels: ")
    classes = Path("labels/classes.txt").read_text().split()
    mine = [
        (name, line.split())
        for name in ("000004", "000008")
        for line in Path(f"labels/{name}.txt").read_text().splitlines()
    ]
    assert [(name, classes[int(row[0])]) for name, row in mine] == [(line["image"], line["class"]) for line in lines]
    for (_, row), line in zip(mine, lines, strict=True):
        cx, cy, w, h = (float(value) for value in row[1:])
        box = [(cx - w / 2) * 128, (cy - h / 2) * 96, (cx + w / 2) * 128, (cy + h / 2) * 96]
        np.testing.assert_allclose(box, line["box"], atol=0.006)


def test_a_folder_that_fills(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there, then what comes; other files and hidden ones are passed over."""
    watchfiles = pytest.importorskip("watchfiles")
    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(Path(PHOTOS[0]).read_bytes())
    Path("in/notes.txt").write_text("no image")

    def watch(folder: Path, **_: object) -> Iterator[set[tuple[object, str]]]:
        yield set()
        Path("in/b.jpg").write_bytes(Path(PHOTOS[1]).read_bytes())
        Path("in/.c.jpg").write_bytes(b"half of an image")
        added = watchfiles.Change.added
        yield {(added, str(Path("in", name).absolute())) for name in ("b.jpg", ".c.jpg", "notes.txt")}
        yield {(watchfiles.Change.deleted, str(Path("in/a.jpg").absolute()))}

    monkeypatch.setattr(watchfiles, "watch", watch)
    code, out, err = run("detect", "--watch", "in")
    assert code == 0, err
    assert "watching in" in err
    assert list(dict.fromkeys(row["path"] for row in rows_of(out))) == ["in/a.jpg", "in/b.jpg"]
    assert run("detect", "--watch", "in", "-o", "out/", "-q")[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["in__a.png", "in__b.png"]


def test_a_folder_is_really_watched(work: Work) -> None:
    pytest.importorskip("watchfiles")
    from sppcli.detection.watching import images_of
    from sppcli.runtime.progress import NoProgress

    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(b"x")
    coming = images_of(Path("in"), NoProgress())
    assert next(coming) == Path("in/a.jpg")
    Path("in/b.jpg").write_bytes(b"y")
    assert next(coming) == Path("in/b.jpg")


def test_what_no_flag_names_gives_way(work: Work, run: Run) -> None:
    """A file of options says what is usual; it forbids nothing."""
    Path("spp.toml").write_text("[detect]\nevery = 5\nwatch = 'inbox'\n[evaluate]\ncalibration = 'gone.h5'\n")
    assert run("detect", PHOTOS[0], "-q")[0] == 0
    assert run("detect", "--no-calibration", "-q", PHOTOS[0], "-o", "one.png")[0] == 0
    assert run("evaluate", "--proposals", "proposals.h5", "-q")[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("gone.mp4",), 3, "gone.mp4: there is no such video"),
        (("text.mp4",), 3, "text.mp4: OpenCV cannot read it as a video"),
        (("--video", "97"), 3, "97: this webcam cannot be opened"),
        (("text.mp4", PHOTOS[0]), 2, "give one video at a time"),
        (("--video", "text.mp4", PHOTOS[0]), 2, "IMAGEs, --video and --watch exclude each other"),
        ((PHOTOS[0], "--every", "2"), 2, "--every and --frames are for videos"),
        ((PHOTOS[0], "-o", "out.mp4"), 2, "only the detections of a video go into a video"),
        (("text.mp4", "-o", "out.json"), 2, "a video's detections go to"),
        (("--watch", "gone"), 3, "gone: there is no such folder to watch"),
        (("--watch", ".", "-o", "a.h5"), 2, "of a watched folder detections go to"),
        ((PHOTOS[0], "-o", "a.gif"), 2, "say which --format"),
        ((PHOTOS[0], "-o", "gone/pictures/"), 3, "does not exist; create it"),
        ((PHOTOS[0], "--format", "yolo", "-o", "text.mp4"), 2, "name a folder"),
        ((PHOTOS[0], "--format", "pictures", "-o", "-"), 2, "cannot go to standard output"),
    ],
)
def test_refusals(work: Work, run: Run, options: tuple[str, ...], code: int, text: str) -> None:
    Path("text.mp4").write_text("no video")
    found, _, err = run("detect", *options, "-q")
    assert found == code, err
    assert text in " ".join(err.split())
    assert "Traceback" not in err
