"""``spp show``: which file and images it takes, what it writes, what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sppcli.cli.main import main
from sppcli.errors import UsageProblem
from sppcli.report.overlays import Overlay, detection_overlay
from sppcli.stages import show
from sppcli.stages.show import ShowConfig
from tests.conftest import Voc
from tests.small_artefacts import Found, write_detections, write_features, write_proposals

Captured = pytest.CaptureFixture[str]


def perfect(voc: Voc) -> dict[str, list[Found]]:
    return {name: [(thing.label, thing.box, 0.9) for thing in voc.things[name]] for name in voc.ids}


def shown(capsys: Captured, *arguments: str) -> dict[str, object]:
    """The summary of a run that succeeds."""
    capsys.readouterr()
    code = main(["show", "--json", "-q", *arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert isinstance(summary, dict)
    return summary


def refused(capsys: Captured, *arguments: str) -> tuple[int, str]:
    """Exit code and last line of a run that fails."""
    capsys.readouterr()
    code = main(["show", "-q", *arguments])
    return code, capsys.readouterr().err.splitlines()[-1]


def ids_of(summary: dict[str, object]) -> list[str]:
    return [picture["id"] for picture in summary["pictures"]]  # type: ignore[attr-defined]


def test_detections_are_what_is_shown_first(here: Path, voc: Voc, capsys: Captured) -> None:
    write_proposals(Path("proposals.h5"), voc)
    assert shown(capsys)["files"] == ["proposals.png"]
    write_detections(Path("detections.h5"), voc, perfect(voc))
    summary = shown(capsys)
    assert summary["files"] == ["detections.png"]
    assert summary["what"] == "detections"
    assert ids_of(summary) == list(voc.ids)
    for picture in summary["pictures"]:  # type: ignore[attr-defined]
        count = len(voc.things[picture["id"]])
        assert (picture["boxes"], picture["objects"], picture["found"]) == (count, count, count)
    with Image.open("detections.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 480
    assert shown(capsys, "--what", "proposals")["what"] == "proposals"


def test_results_on_stdout_messages_on_stderr(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    assert main(["show", "--count", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == "detections.png\n"
    assert err.splitlines()[-1] == "detections on 2 of 8 images"


def test_what_is_wrong_is_counted(here: Path, voc: Voc, capsys: Captured) -> None:
    found = perfect(voc)
    first = voc.ids[0]
    label, box, _ = found[first][0]
    found[first] = [(label, box, 0.9), (label, box, 0.8), ("disc", (0, 0, 4, 4), 0.7)]
    write_detections(Path("detections.h5"), voc, found)
    summary = shown(capsys, "--images", first)
    picture = summary["pictures"][0]  # type: ignore[index]
    assert (picture["boxes"], picture["found"]) == (3, 1)
    assert picture["objects"] == len(voc.things[first])
    picture = shown(capsys, "--images", first, "--min-score", "0.75")["pictures"][0]  # type: ignore[index]
    assert picture["boxes"] == 2


def test_ground_truth_from_a_data_set_or_from_a_file(here: Path, voc: Voc, capsys: Captured) -> None:
    summary = shown(capsys, str(voc.root))
    assert summary["files"] == ["ground-truth.png"]
    assert shown(capsys, "--what", "ground-truth", "--dataset", str(voc.root))["pictures"] == summary["pictures"]
    write_proposals(Path("proposals.h5"), voc)
    assert shown(capsys, "--what", "ground-truth")["pictures"] == summary["pictures"]
    assert Path("ground-truth.png").exists()
    assert not Path("proposals.png").exists()


def test_images_are_spread_evenly_or_drawn_by_seed(here: Path, voc: Voc, capsys: Captured) -> None:
    write_proposals(Path("proposals.h5"), voc)
    assert ids_of(shown(capsys, "--count", "4")) == [voc.ids[i] for i in (0, 2, 4, 6)]
    one, same = (ids_of(shown(capsys, "--count", "4", "--seed", "1")) for _ in range(2))
    assert one == same == sorted(one)
    assert len({tuple(ids_of(shown(capsys, "--count", "4", "--seed", str(seed)))) for seed in range(5)}) > 1
    assert ids_of(shown(capsys, "--count", "100")) == list(voc.ids)


def test_images_by_id_keep_their_order(here: Path, voc: Voc, capsys: Captured) -> None:
    write_proposals(Path("proposals.h5"), voc)
    assert ids_of(shown(capsys, "--images", "000005,000002")) == ["000005", "000002"]
    code, line = refused(capsys, "--images", "5")
    assert (code, line) == (3, "spp show: error: proposals.h5: holds no image '5'; an id looks like '000001'")
    code, line = refused(capsys, "--images", "000001", "--split", "test")
    assert "holds no image '000001' in the split test" in line


def test_split(here: Path, voc: Voc, capsys: Captured) -> None:
    write_proposals(Path("proposals.h5"), voc)
    assert ids_of(shown(capsys, "--split", "test")) == list(voc.splits["test"])
    code, line = refused(capsys, "--split", "tset")
    assert code == 3
    assert "tset" in line
    write_detections(Path("detections.h5"), voc, {name: [] for name in voc.splits["test"]})
    code, line = refused(capsys, "--split", "train")
    assert (code, line) == (3, "spp show: error: detections.h5: holds no image of the split train")


def test_a_folder_gets_a_picture_per_image(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    summary = shown(capsys, "-o", "pictures/", "--count", "3")
    names = sorted(path.name for path in Path("pictures").iterdir())
    assert names == sorted(f"{name}.png" for name in ids_of(summary))
    assert len(summary["files"]) == 3  # type: ignore[arg-type]
    with Image.open(f"pictures/{names[0]}") as picture:
        # Small images are enlarged, so that lines and text can be read.
        assert picture.width >= 640
    assert len(shown(capsys, "-o", "pictures", "--count", "1")["files"]) == 1  # type: ignore[arg-type]


def test_ids_with_slashes_stay_in_the_folder_and_apart(
    here: Path, make_voc: Callable[..., Voc], capsys: Captured
) -> None:
    for name in ("a/b.png", "a__b.png", "a/c.png"):
        path = here / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (90, 120, 150)).save(path)
    voc = Voc(here / "images", ("a/b", "a/c", "a__b"), {})
    write_detections(Path("detections.h5"), voc, {name: [("disc", (5, 5, 20, 20), 1.0)] for name in voc.ids})
    summary = shown(capsys, "-o", "out/")
    assert summary["files"] == ["out/a__b.png", "out/a__c.png", "out/a__b-2.png"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["a__b-2.png", "a__b.png", "a__c.png"]
    # There is no ground truth here, so nothing is counted by it.
    assert [picture["objects"] for picture in summary["pictures"]] == [None] * 3  # type: ignore[attr-defined]


def test_a_data_set_that_moved(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    before = shown(capsys)["pictures"]
    moved = voc.root.rename(voc.root.with_name("elsewhere"))
    code, line = refused(capsys)
    assert code == 3
    assert line == (
        f"spp show: error: {voc.root}: the images of detections.h5 are no longer there; "
        "name the data set with --dataset"
    )
    assert shown(capsys, "--dataset", str(moved))["pictures"] == before


def test_another_data_set_is_noticed(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    Image.new("RGB", (40, 30)).save(here / "other.png")
    code, line = refused(capsys, "--dataset", str(here / "other.png"))
    assert code == 3
    assert "none of its 8 images is in" in line


def test_damaged_and_missing_images_are_left_out(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    voc.image("000003").write_bytes(voc.image("000003").read_bytes()[:700])
    assert main(["show", "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert "000003" not in ids_of(summary)
    assert [item["name"] for item in summary["skipped"]] == ["000003"]
    assert "warning: skipped: " in err
    assert "000003.jpg" in err
    code, line = refused(capsys, "--images", "000003")
    assert code == 3
    assert "none of the 1 images can be shown" in line


def test_an_image_without_annotation_is_shown_without_ground_truth(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    voc.annotation("000002").unlink()
    picture = shown(capsys, "--images", "000002")["pictures"][0]  # type: ignore[index]
    assert picture["boxes"] == len(voc.things["000002"])
    assert picture["objects"] is None


def mixed(voc: Voc) -> dict[str, list[Found]]:
    """All found but in 000003 (nothing) and 000006 (two false positives)."""
    found = perfect(voc)
    found["000003"] = []
    found["000006"] += [("disc", (0, 0, 4, 4), 0.8), ("triangle", (0, 0, 4, 4), 0.8)]
    return found


def test_the_worst_images(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, mixed(voc))
    mistakes = {"000003": len(voc.things["000003"]), "000006": 2}
    order = sorted(mistakes, key=lambda name: -mistakes[name])
    # The others have no mistake, and are not drawn.
    assert ids_of(shown(capsys, "--worst", "5")) == order
    assert main(["show", "--json", "-q", "--worst", "1"]) == 0
    assert ids_of(json.loads(capsys.readouterr().out)) == order[:1]
    write_detections(Path("detections.h5"), voc, perfect(voc))
    code, line = refused(capsys, "--worst", "5")
    assert (code, "no image has a mistake to show" in line) == (3, True)


@pytest.mark.parametrize("choice", [["--worst", "5"], ["--only", "false"], ["--worst", "5", "--only", "missed"]])
def test_each_image_is_judged_once(
    here: Path, voc: Voc, capsys: Captured, monkeypatch: pytest.MonkeyPatch, choice: list[str]
) -> None:
    write_detections(Path("detections.h5"), voc, mixed(voc))
    judged: list[int] = []

    def counting(*arguments: Any) -> Overlay:
        judged.append(1)
        return detection_overlay(*arguments)

    monkeypatch.setattr(show, "detection_overlay", counting)
    shown(capsys, *choice)
    assert len(judged) == len(voc.ids)


def test_of_a_network_what_is_more_likely_than_not(here: Path, voc: Voc, capsys: Captured) -> None:
    """Its scores are probabilities, down to 0.01: SVMs' threshold of 0 would draw every one."""
    first = voc.ids[0]
    label, box, _ = perfect(voc)[first][0]
    found = {first: [(label, box, 0.9), (label, (0.0, 0.0, 9.0, 9.0), 0.49), (label, (2.0, 2.0, 9.0, 9.0), 0.02)]}
    for made_by, drawn in (("network", 1), ("svm", 3)):
        write_detections(Path(f"{made_by}.h5"), voc, found, made_by=made_by)
        (picture,) = shown(capsys, f"{made_by}.h5")["pictures"]  # type: ignore[misc]
        assert picture["drawn"] == drawn
    assert shown(capsys, "network.h5", "--min-score", "0.1")["pictures"][0]["drawn"] == 2  # type: ignore[index]
    assert main(["show", "network.h5"]) == 0
    said = capsys.readouterr().err
    assert "with a probability of 0.5 or more are drawn; --min-score chooses another" in said
    assert "spp calibrate" not in said


def test_only_some_boxes(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, mixed(voc))
    (picture,) = shown(capsys, "--only", "false")["pictures"]  # type: ignore[misc]
    assert (picture["id"], picture["drawn"], picture["boxes"]) == ("000006", 2, len(voc.things["000006"]) + 2)
    (picture,) = shown(capsys, "--only", "missed")["pictures"]  # type: ignore[misc]
    assert (picture["id"], picture["drawn"]) == ("000003", 0)
    summary = shown(capsys, "--only", "disc")
    assert ids_of(summary) == [
        name for name in voc.ids if name == "000006" or any(thing.label == "disc" for thing in voc.things[name])
    ]
    counts = {picture["id"]: picture["objects"] for picture in summary["pictures"]}  # type: ignore[attr-defined]
    assert counts == {name: sum(thing.label == "disc" for thing in voc.things[name]) for name in counts}
    code, line = refused(capsys, "--only", "dsic")
    assert (code, "neither false nor missed nor a class; the classes are disc, square, triangle" in line) == (2, True)
    assert line.endswith("(did you mean 'disc'?)")


def test_a_jpeg_is_small_and_may_be_written_over(here: Path, make_voc: Callable[..., Voc], capsys: Captured) -> None:
    voc = make_voc(8, size=(480, 640))
    rng = np.random.default_rng(0)
    for name in voc.ids:
        Image.fromarray(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(voc.image(name))
    write_detections(Path("detections.h5"), voc, perfect(voc), size=(480, 640))
    for _ in range(2):
        assert shown(capsys, "-o", "sheet.jpg")["files"] == ["sheet.jpg"]
    assert 300_000 < Path("sheet.jpg").stat().st_size < 1_000_000
    with Image.open("sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
    Image.new("RGB", (9, 9)).save("mine.jpg")
    code, line = refused(capsys, "-o", "mine.jpg")
    assert (code, "was not made by spp" in line) == (2, True)


def test_nothing_above_the_score_is_said(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, perfect(voc))
    assert main(["show", "-q", "--min-score", "2"]) == 0
    assert capsys.readouterr().err == (
        "warning: detections.h5: no detection on these images scores 2 or more; the highest in the file is 0.90\n"
    )


def test_no_detections_at_all(here: Path, voc: Voc, capsys: Captured) -> None:
    write_detections(Path("detections.h5"), voc, {name: [] for name in voc.ids})
    assert main(["show", "-q"]) == 0
    assert capsys.readouterr().err.endswith("there are none in the file\n")
    assert Path("detections.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["-o", "a.gif"], 2, "a.gif: pictures are PNG or JPEG; name a file ending in .png or .jpg, or a folder"),
        (["--worst", "2"], 2, "--worst chooses by detections; proposals.h5 is shown as proposals"),
        (["--only", "missed"], 2, "--only chooses by detections"),
        (["-o", "no/where/"], 3, "no does not exist; create it"),
        (["-o", "no/where.png"], 3, "the folder no does not exist; create it"),
        (["-o", "proposals.h5/"], 2, "a file, where a folder for the pictures is meant"),
        (["--what", "detections"], 2, "proposals.h5 holds proposals: there are no detections to draw"),
        (["features.h5"], 2, "features.h5 holds features: there are no detections or proposals to draw"),
        (["my photo.JPG"], 2, "is an image; spp detect 'my photo.JPG' -o found.png draws what a detector finds in it"),
        (["nowhere.h5"], 3, "nowhere.h5: there is no such file"),
        (["proposals.h5", "copy.h5"], 2, "proposals.h5 and copy.h5 both hold proposals"),
        ([".", "--dataset", "."], 2, "several data sets are named"),
        (["--count", "0"], 2, "--count"),
        (["--min-score", "high"], 2, "'high' is not a number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refusals(here: Path, voc: Voc, capsys: Captured, arguments: list[str], code: int, part: str) -> None:
    for name in ("proposals.h5", "copy.h5"):
        write_proposals(Path(name), voc)
    write_features(Path("features.h5"), voc)
    found, line = refused(capsys, *arguments)
    assert found == code
    assert part in line
    assert not list(here.rglob("*.png"))


def test_an_empty_folder(here: Path, capsys: Captured) -> None:
    code, line = refused(capsys)
    assert code == 3
    assert "run spp propose, or name a file to show" in line


def test_too_many_for_a_sheet(here: Path, voc: Voc, monkeypatch: pytest.MonkeyPatch) -> None:
    write_proposals(Path("proposals.h5"), voc)
    monkeypatch.setattr(show, "MAX_ON_SHEET", 3)
    with pytest.raises(UsageProblem, match="too many for one sheet; choose at most 3, or -o FOLDER/"):
        show.run([], None, ShowConfig(count=4))


def test_detections_lie_on_the_objects(here: Path, voc: Voc) -> None:
    """The left side of a box in the picture is one strong colour, right where the object begins."""
    write_detections(Path("detections.h5"), voc, perfect(voc))
    show.run([], "one/", ShowConfig(images=("000001",)))
    picture = np.asarray(Image.open("one/000001.png")).astype(int)
    x0, y0, _, y1 = voc.things["000001"][0].box
    scale, margin = 640 // 128, 14
    top = picture.shape[0] - margin - 96 * scale
    side = picture[top + y0 * scale + 20 : top + y1 * scale - 20, margin + x0 * scale]
    assert len(side) > 40
    assert (side == side[0]).all()
    assert np.ptp(side[0]) > 100
