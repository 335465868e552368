"""Named pipes, devices, folders and links to themselves, wherever a file is named: said in a sentence, and at once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sppcli.errors import SppError
from sppcli.runtime.inputs import open_regular, read_regular
from tests.conftest import Run, build_voc
from tests.stages.conftest import write_network


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)


KINDS = (fifo, device, loop, folder, unix_socket)


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """A test that waits for a pipe fails."""

    def ring(*_: object) -> None:
        raise TimeoutError("waits")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    build_voc(tmp_path / "voc", 3, size=(40, 60))
    write_network(tmp_path / "net.safetensors")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_the_one_place_where_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    kind(Path("a"))
    with pytest.raises(OSError):  # noqa: PT011 (which one is the kind's)
        open_regular(Path("a"))


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("a\0b", "a\ud83d", "a" * 300):
        with pytest.raises(OSError):  # noqa: PT011
            open_regular(tmp_path / name)


def test_a_file_is_not_larger_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="its 5 bytes are more than the 4 that are read"):
        read_regular(tmp_path / "a", 4)


COMMANDS = {
    "propose X.jpg": "X.jpg",
    "propose voc --import X.mat": "X.mat",
    "propose voc --import X.csv": "X.csv",
    "propose voc --import X.jsonl": "X.jsonl",
    "propose voc --import X.json": "X.json",
    "propose voc --import X.h5": "X.h5",
    "propose voc --method edge-boxes --edge-model X.yml.gz": "X.yml.gz",
    "extract --proposals X.h5 --weights net.safetensors": "X.h5",
    "features voc --weights X.pth --backbone alexnet": "X.pth",
    "features voc --weights X.safetensors": "X.safetensors",
    "classify voc --network X.safetensors": "X.safetensors",
    "classify X.jpg --network net.safetensors": "X.jpg",
    "evaluate --proposals X.h5": "X.h5",
    "show X.h5 -o a.png": "X.h5",
    "info X.h5": "X.h5",
    "info X.safetensors": "X.safetensors",
    "import-caffe X.caffemodel --prototxt X.prototxt": "X.prototxt",
    "convert voc out --to csv": "voc/Annotations/000002.xml",
    "convert voc out --to coco": "voc/ImageSets/Main/trainval.txt",
    "check voc": "voc/JPEGImages/000002.jpg",
    "convert coco out --to csv": "coco/annotations/instances_val.json",
    "convert yolo out --to csv": "yolo/data.yaml",
    "convert yolo out --to voc": "yolo/labels/a.txt",
    "convert csv out --to voc": "csv/annotations.csv",
}


@pytest.mark.parametrize("kind", [fifo, device, loop], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_that_a_command_names(here: Path, run: Run, command: str, kind: Callable[[Path], None]) -> None:
    place = Path(COMMANDS[command])
    for name in ("coco/val", "yolo/images", "csv/images"):
        Path(name).mkdir(parents=True)
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(Path(name) / "a.png")
    Path("yolo/labels").mkdir()
    Path("yolo/labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    Path("yolo/data.yaml").write_text("names: [cat]\n")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    kind(place)
    code, _, err = run(*command.split())
    assert "Traceback" not in err
    assert code in ((0, 3) if place.parent != Path() else (3,)), err
    assert not place.is_file()


def test_errors_are_ours(tmp_path: Path) -> None:
    from sppcli.caffe.caffemodel import read_caffemodel, read_mean
    from sppcli.images import problem_with, read_image, upright_size
    from sppcli.nets.weight_files import read_weights

    for number, reader in enumerate((read_caffemodel, read_mean, read_image, upright_size, read_weights)):
        path = tmp_path / f"{number}{'.npy' if reader is read_mean else '.pth'}"
        os.mkfifo(path)
        with pytest.raises(SppError, match="not a regular file"):
            reader(path)
        assert "not a regular file" in problem_with(path)


def test_those_in_a_folder_are_left_out_and_named(here: Path, run: Run) -> None:
    for kind in (fifo, device, loop):
        kind(Path("voc/JPEGImages") / f"{kind.__name__}.jpg")
    code, _, err = run("propose", "voc/JPEGImages", "--method", "edge-boxes", "--edges", "gradient", "-j", "1")
    assert code == 0, err
    assert "2 images are left out, as they are no regular file" in err
    assert "1 image is a link to something that is not there" in err
    assert all(f"{kind.__name__}.jpg" in err for kind in (fifo, device, loop))
