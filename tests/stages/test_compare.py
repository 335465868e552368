"""runs.jsonl, which ``spp evaluate`` adds a line to, and ``spp compare``, which shows its runs side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Run, Voc
from tests.small_artefacts import Found, write_detections


def found(voc: Voc, without: int = 0) -> dict[str, list[Found]]:
    """Every object but those of the first images."""
    return {
        name: [] if i < without else [(thing.label, thing.box, 0.9) for thing in voc.things[name]]
        for i, name in enumerate(voc.ids)
    }


def logged(path: str = "runs.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


ALL = ("--split", "all", "-q")


def test_an_evaluation_adds_a_line(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, found(voc, 2))
    code, out, err = run("evaluate", *ALL, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    (line,) = logged()
    assert {name: line[name] for name in ("mAP", "ap", "protocol")} == {k: scores[k] for k in ("mAP", "ap", "protocol")}
    assert (line["split"], line["images"], line["iou"], line["detections"]) == ("all", 8, 0.5, "detections.h5")
    assert line["options"] == {"nms": 0.3}
    assert line["inputs"] == {"svm": "ab" * 32}
    assert len(str(line["fingerprint"])) == 64
    assert str(line["date"])[4] == "-"
    # The same once more is no other run; other rules or detections are.
    assert run("evaluate", *ALL)[0] == 0
    assert len(logged()) == 1
    assert run("evaluate", *ALL, "--coco")[0] == 0
    write_detections(Path("detections.h5"), voc, found(voc))
    assert run("evaluate", *ALL, "--ilsvrc")[0] == 0
    assert [line["protocol"] for line in logged()] == ["voc2007", "coco", "ilsvrc"]


def test_another_log_or_none(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, found(voc))
    assert run("evaluate", *ALL, "--log", "off")[0] == 0
    assert run("evaluate", *ALL, "--log", "mine.jsonl")[0] == 0
    assert [path.name for path in here.glob("*.jsonl")] == ["mine.jsonl"]
    code, _, err = run("evaluate", *ALL, "--log", "no/where.jsonl")
    assert (code, "the folder no does not exist" in err) == (3, True)
    Path("notes.txt").write_text("mine\n")
    code, out, err = run("evaluate", *ALL, "--log", "notes.txt")
    assert (code, out, "is no log of spp evaluate" in err) == (2, "", True)
    assert Path("notes.txt").read_text() == "mine\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_no_failure(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, found(voc))
    here.chmod(0o555)
    try:
        assert run("evaluate", *ALL)[::2] == (0, "")
    finally:
        here.chmod(0o755)


@pytest.mark.parametrize("there", ["folder", "other"])
def test_a_log_that_cannot_be_added_to_is_no_failure(here: Path, voc: Voc, run: Run, there: str) -> None:
    write_detections(Path("detections.h5"), voc, found(voc))
    if there == "folder":
        Path("runs.jsonl").mkdir()
    else:
        Path("runs.jsonl").write_text('{"mine": 1}\n')
    assert run("evaluate", *ALL)[::2] == (0, "")
    assert "runs.jsonl" in run("evaluate", *ALL[:2], "-v")[2]
    assert there == "folder" or Path("runs.jsonl").read_text() == '{"mine": 1}\n'


def test_runs_side_by_side(here: Path, voc: Voc, run: Run) -> None:
    for without in (4, 0):
        write_detections(Path("detections.h5"), voc, found(voc, without))
        assert run("evaluate", *ALL)[0] == 0
    assert len(logged()) == 2
    code, out, _ = run("compare")
    assert code == 0
    lines = out.splitlines()
    first, second = logged()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["mAP"] == [f"{first['mAP']:.4f}", "1.0000", f"{1 - float(str(first['mAP'])):+.4f}"]
    assert rows["disc"][1] == f"{second['ap']['disc']:.4f}"  # type: ignore[index]
    summary = json.loads(run("compare", "--json")[1])
    assert [one["mAP"] for one in summary["runs"]] == [first["mAP"], second["mAP"]]
    assert summary["classes"] == ["disc", "square", "triangle"]


def test_many_runs_keep_to_80_columns(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, found(voc))
    assert run("evaluate", *ALL)[0] == 0
    (line,) = logged()
    with Path("runs.jsonl").open("w") as log:
        for i in range(20):
            options = {"nms": i / 20, "settings": {"a setting of a long name": f"value {i}"}}
            ap = {"disc": i / 20, "a class whose name is much longer than a column": None}
            log.write(json.dumps({**line, "mAP": i / 20, "ap": ap, "options": options}) + "\n")
        log.write("not a run\n")
    code, out, err = run("compare", "--last", "15")
    assert code == 0
    assert err.startswith("warning: runs.jsonl: 1 line is no run")
    assert max(map(len, out.splitlines())) <= 80
    rows = [row.split()[1:] for row in out.splitlines() if row.startswith("mAP")]
    assert [value for row in rows for value in row] == [f"{i / 20:.4f}" for i in range(5, 20)]
    assert "nms: 1 0.25, 2 0.3" in out
    assert "-" in out


def test_detections_files_are_evaluated(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("old.h5"), voc, found(voc, 4))
    write_detections(Path("new.h5"), voc, found(voc))
    code, out, _ = run("compare", "old.h5", "new.h5", "--split", "all", "--json")
    assert code == 0
    runs = json.loads(out)["runs"]
    assert [one["detections"] for one in runs] == ["old.h5", "new.h5"]
    assert runs[1]["mAP"] == 1
    expected = json.loads(run("evaluate", *ALL, "--json", "--detections", "old.h5")[1])
    assert runs[0]["ap"] == expected["ap"]
    # A log and a file together: the file is evaluated as the log's newest run was.
    summary = json.loads(run("compare", "runs.jsonl", "new.h5", "--json")[1])
    assert [(one["split"], one["detections"]) for one in summary["runs"]] == [("all", "old.h5"), ("all", "new.h5")]


def test_runs_of_another_split_are_left_out(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, found(voc))
    for split in ("test", "val"):
        assert run("evaluate", "-q", "--split", split)[0] == 0
        # Whatever wrote the line before may not have ended it.
        Path("runs.jsonl").write_bytes(Path("runs.jsonl").read_bytes().rstrip(b"\n"))
    assert [line["split"] for line in logged()] == ["test", "val"]
    code, out, err = run("compare")
    assert (code, out.splitlines()[-1]) == (0, "voc2007, val")
    assert "1 run of other splits or protocols left out; --split and --protocol show them" in err
    assert run("compare", "--split", "test")[1].splitlines()[-1] == "voc2007, test"
    code, _, err = run("compare", "--split", "train")
    assert (code, "no run evaluates split train by voc2007" in err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ([], 3, "there is no runs.jsonl in this folder; run spp evaluate"),
        (["nowhere.jsonl"], 3, "nowhere.jsonl: there is no such file"),
        (["nowhere.h5"], 3, "nowhere.h5: there is no such file"),
        (["empty.jsonl"], 3, "empty.jsonl holds no run of spp evaluate"),
        (["notes.txt"], 3, "notes.txt"),
        (["detections.h5", "--protocol", "coco"], 2, "detections are compared by voc2007 or voc2010, not coco"),
        (["--last", "0"], 2, "--last"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else None,
)
def test_refusals(here: Path, voc: Voc, run: Run, arguments: list[str], code: int, part: str) -> None:
    write_detections(Path("detections.h5"), voc, found(voc))
    Path("empty.jsonl").write_text('[]\n{"mAP": "high"}\nnull\n')
    Path("notes.txt").write_text("mine\n")
    result, _, err = run("compare", *arguments)
    assert (result, part in err) == (code, True), err
