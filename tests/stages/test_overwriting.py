"""What -o may name: in every stage that writes, refused before any work where something would be lost by it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts.overwriting import claim
from sppcli.runtime.checksums import seal
from tests.stages.conftest import SCALES, Run, Work, write_network

# Stage -> its arguments without -o, the option that names the output, a fitting name for it, one of its inputs.
STAGES: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "propose": (("propose", "shapes", "-j", "1"), "-o", "new.h5", "shapes/JPEGImages/000001.jpg"),
    "extract": (("extract", "--weights", "net.safetensors", "--scales", SCALES), "-o", "new.h5", "proposals.h5"),
    "train-svm": (("train-svm",), "-o", "new.h5", "features.h5"),
    "train-bbox": (("train-bbox",), "-o", "new.h5", "proposals.h5"),
    "calibrate": (("calibrate", "--folds", "2"), "-o", "new.h5", "svm.h5"),
    "detect": (("detect",), "-o", "new.h5", "svm.h5"),
    "detect --format coco": (("detect", "--format", "coco"), "-o", "new.json", "bbox.h5"),
    "detect --format jsonl": (("detect", "--format", "jsonl"), "-o", "new.jsonl", "features.h5"),
    "detect IMAGE": (("detect", "shapes/JPEGImages", "-j", "1"), "-o", "new.jsonl", "shapes/JPEGImages/000002.jpg"),
    "evaluate --plot": (("evaluate", "--proposals"), "--plot", "new.png", "proposals.h5"),
    "check --plot": (("check", "shapes", "-j", "1"), "--plot", "new.png", "shapes/JPEGImages/000001.jpg"),
    "show": (("show", "proposals.h5"), "-o", "new.png", "proposals.h5"),
    "features": (("features", "shapes", "--weights", "net.safetensors"), "-o", "new.h5", "net.safetensors"),
    "train-net": (
        ("train-net", "crops", "--net", "tiny", "--sizes", "24", "--epochs", "1"),
        "-o",
        "new.safetensors",
        "crops/a/1.png",
    ),
    "finetune": (("finetune", "--iterations", "2"), "-o", "new.safetensors", "features.h5"),
}


@pytest.fixture
def here(work: Work) -> Path:
    for name in ("a", "b"):
        (work.folder / "crops" / name).mkdir(parents=True)
        for number in (1, 2, 3):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(work.folder / "crops" / name / f"{number}.png")
    return work.folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def refused(run: Run, stage: str, output: str, *more: str) -> str:
    arguments, option, _, _ = STAGES[stage]
    before = content(Path())
    code, _, err = run(*arguments, option, output, "-q", *more)
    assert code in (2, 3), err
    assert "Traceback" not in err
    assert content(Path()) == before
    return " ".join(err.split())


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_refused(here: Path, run: Run, stage: str) -> None:
    _, _, name, own = STAGES[stage]
    suffix = Path(name).suffix
    # An input, or an image of the data set, by another name too; --overwrite does not help.
    os.link(own, f"linked{suffix}")
    Path(f"to-it{suffix}").symlink_to(own)
    for path in (f"linked{suffix}", f"to-it{suffix}"):
        text = refused(run, stage, path, "--overwrite")
        assert "one of the files that are read" in text or "an image of the data set" in text
    # A file of someone else's, and one of another kind of ours.
    Path(f"thesis{suffix}").write_text("thesis")
    assert "was not made by spp; name another file, or replace it with --overwrite" in refused(
        run, stage, f"thesis{suffix}"
    )
    with h5py.File(f"theirs{suffix}", "w") as file:
        file["values"] = np.zeros(3)
    assert "was not made by spp" in refused(run, stage, f"theirs{suffix}")
    kind = "bbox" if stage != "train-bbox" else "svm"
    shutil.copy(f"{kind}.h5", f"other{suffix}")
    assert f"other{suffix} holds {kind}, not " in refused(run, stage, f"other{suffix}")
    # No file at all.
    Path(f"folder{suffix}").mkdir()
    if stage != "show":  # a folder is one of its outputs
        assert "is a folder" in refused(run, stage, f"folder{suffix}")
    os.mkfifo(f"pipe{suffix}")
    assert "is a device or a pipe" in refused(run, stage, f"pipe{suffix}")


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_replaced(here: Path, run: Run, stage: str) -> None:
    """Through a symbolic link, which stays; what is damaged or of an earlier run; anything with --overwrite."""
    arguments, option, name, _ = STAGES[stage]
    Path("big").mkdir()
    Path(name).symlink_to(Path("big") / name)
    code, _, err = run(*arguments, option, name, "-q")
    assert code == 0, err
    assert Path(name).is_symlink()
    made = (Path("big") / name).read_bytes()
    again: tuple[str, ...] = ("--force",) if Path(name).suffix in (".h5", ".safetensors") else ()
    for before in (made, made[: len(made) // 2], b""):
        (Path("big") / name).write_bytes(before)
        if before[:1] == b"[" and before != made:
            continue  # half of a list in JSON is nobody's
        code, _, err = run(*arguments, option, name, "-q", *again)
        assert code == 0, err
        assert Path(name).is_symlink()
        assert (Path("big") / name).stat().st_size > 0
    other = f"thesis{Path(name).suffix}"
    Path(other).write_text("thesis")
    code, _, err = run(*arguments, option, other, "-q", "--overwrite")
    assert code == 0, err
    assert Path(other).read_bytes() != b"thesis"


def test_annotations_are_not_replaced(here: Path, run: Run) -> None:
    """--overwrite is for other people's files, not for the data set's."""
    annotation = "shapes/Annotations/000001.xml"
    for stage in ("propose", "train-svm", "finetune"):
        assert "lies in the data set" in refused(
            run, stage, annotation, "--overwrite", *(() if stage == "propose" else ("--dataset", "shapes"))
        )


def test_curves_of_others(here: Path, run: Run) -> None:
    """train-net writes a table and a picture beside its network."""
    Path("new.csv").write_text("name,score\n")
    assert "new.csv is there already and was not made by spp" in refused(run, "train-net", "new.safetensors")
    Path("new.csv").unlink()
    Image.new("RGB", (3, 3)).save("new.png")
    assert "new.png is there already and was not made by spp" in refused(run, "train-net", "new.safetensors")


def test_pictures_in_a_folder(here: Path, run: Run) -> None:
    Path("pictures").mkdir()
    Image.new("RGB", (3, 3)).save("pictures/000004.png")
    code, _, err = run("show", "proposals.h5", "-o", "pictures", "--images", "000004", "-q")
    assert code == 2
    assert "pictures/000004.png is there already and was not made by spp" in " ".join(err.split())
    for more in (("--overwrite",), ()):
        assert run("show", "proposals.h5", "-o", "pictures", "--images", "000004", "-q", *more)[0] == 0


def test_results_of_voc_go_to_a_folder(here: Path, run: Run) -> None:
    Path("results").write_text("mine")
    code, _, err = run("detect", "--format", "voc", "-q")
    assert code == 2
    assert "results is a file; --format voc writes a folder of files" in " ".join(err.split())
    assert Path("results").read_text() == "mine"


def test_an_imported_network(here: Path, run: Run) -> None:
    """spp import-caffe reads nothing before it has looked at its output."""
    Path("a.caffemodel").write_bytes(b"x")
    Path("a.prototxt").write_text("x")
    write_network(Path("network.safetensors"))
    shutil.copy("svm.h5", "other.safetensors")
    Path("linked.safetensors").symlink_to("a.caffemodel")
    for output, text in (("other", "holds svm, not network"), ("linked", "one of the files that are read")):
        arguments = ("import-caffe", "a.caffemodel", "--prototxt", "a.prototxt", "-o", f"{output}.safetensors")
        code, _, err = run(*arguments)
        assert code == 2, err
        assert text in " ".join(err.split())


def test_an_artefact_without_its_seal_is_still_known(here: Path, run: Run) -> None:
    """As written by an older version: it is made again, not taken for someone else's."""
    data = Path("bbox.h5").read_bytes()
    Path("bbox.h5").write_bytes(data[:-60])
    code, _, err = run("train-bbox", "-q")
    assert code == 0, err
    with h5py.File("bbox.h5", "r+") as file:
        del file.attrs["kind"]
    seal(Path("bbox.h5"))
    assert run("train-bbox", "-q")[0] == 0


def test_what_a_file_is_is_told_without_reading_all_of_it(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kind stands at its start: a file of many gigabytes is claimed in no time."""
    read = []
    pread = os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        data = pread(descriptor, count, offset)
        read.append(len(data))
        return data

    size = Path("features.h5").stat().st_size
    assert size > 200_000
    monkeypatch.setattr(os, "pread", counted)
    claim(Path("features.h5"), "features")
    assert 0 < sum(read) < size / 4
