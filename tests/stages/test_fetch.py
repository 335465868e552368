"""spp fetch against a server on this machine: whole, cut off, damaged, absent."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.datasets import voc as torchvision_voc

from sppcli.cli.commands.fetch import NAMES
from sppcli.datasets import open_dataset
from sppcli.errors import BadInput
from sppcli.nets.backbones import SPECS
from sppcli.stages import fetch
from tests.conftest import build_voc
from tests.stages.conftest import Run


@dataclass
class Server:
    """``files``: path -> content; ``cut``: so many bytes of each answer are sent; ``asked``: path and Range."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers["Range"]))
            if self.path not in state.files:
                self.send_error(404)
                return
            body = state.files[self.path]
            start = 0
            if state.ranges and self.headers["Range"]:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:][: state.cut])

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def archives(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """VOC2007 in two archives, as the real one, of 8 small images; the current folder is empty."""
    voc = build_voc(tmp_path / "made" / "VOCdevkit" / "VOC2007", 8)
    parts = {"2007": voc.splits["trainval"], "2007-test": voc.splits["test"]}
    for key, ids in parts.items():
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for path in sorted(voc.root.rglob("*")):
                named = path.stem in ids or (path.suffix == ".txt" and (path.stem == "test") == (key == "2007-test"))
                if path.is_file() and named:
                    tar.add(path, path.relative_to(tmp_path / "made"))
        name = f"/{key}.tar"
        server.files[name] = stream.getvalue()
        entry = {
            "url": server.url + name,
            "filename": "elsewhere.tar",
            "md5": hashlib.md5(stream.getvalue()).hexdigest(),
            "base_dir": "VOCdevkit/VOC2007",
        }
        monkeypatch.setitem(torchvision_voc.DATASET_YEAR_DICT, key, entry)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return server


def test_both_archives_become_one_data_set(archives: Server, run: Run) -> None:
    code, out, err = run("fetch", "voc2007", "-q")
    size = sum(map(len, archives.files.values()))
    assert (code, err) == (0, "")
    assert out == f"VOCdevkit/VOC2007: voc2007, {size / 1e6:,.1f} MB downloaded\n"
    dataset = open_dataset(["."])
    assert {name: len(dataset.split(name)) for name in dataset.split_names()} == {
        "test": 2,
        "train": 4,
        "trainval": 6,
        "val": 2,
    }
    assert len(dataset.annotations(dataset.split("test")[0]).labels) > 0
    archives.asked.clear()
    assert run("fetch", "voc2007", "-q")[1] == "VOCdevkit/VOC2007: voc2007, there already\n"
    assert archives.asked == []


def test_a_download_that_is_cut_off_goes_on(archives: Server, run: Run) -> None:
    archives.cut = 5000
    code, _, err = run("fetch", "voc2007", "-q")
    assert code == 3
    assert f"{archives.url}/2007.tar could not be downloaded (the connection ended after 5,000 of" in err
    assert "run spp fetch voc2007 again to go on, or fetch this file elsewhere, put it into" in err
    assert Path("2007.tar.part").stat().st_size == 5000
    assert not Path("VOCdevkit").exists()
    archives.cut = None
    assert run("fetch", "voc2007", "-q")[0] == 0
    assert archives.asked[1] == ("/2007.tar", "bytes=5000-")
    assert Path("2007.tar").read_bytes() == archives.files["/2007.tar"]
    assert not Path("2007.tar.part").exists()


def test_a_server_without_ranges_begins_anew(archives: Server, run: Run) -> None:
    archives.ranges = False
    Path("2007.tar.part").write_bytes(b"x" * 100)
    assert run("fetch", "voc2007", "-q")[0] == 0
    assert Path("2007.tar").read_bytes() == archives.files["/2007.tar"]


def test_a_part_that_is_the_whole_is_taken(archives: Server, run: Run) -> None:
    Path("2007.tar.part").write_bytes(archives.files["/2007.tar"])
    assert run("fetch", "voc2007", "-q")[0] == 0
    assert open_dataset(["."]).split("train")


def test_a_file_put_there_by_hand_is_checked_and_taken(archives: Server, run: Run) -> None:
    for name, content in archives.files.items():
        Path(name[1:]).write_bytes(content)
    assert run("fetch", "voc2007", "-q")[1] == "VOCdevkit/VOC2007: voc2007, there already\n"
    assert archives.asked == []
    assert len(open_dataset(["."]).images) == 8
    Path("VOCdevkit/VOC2007/.2007.tar.unpacked").unlink()
    Path("2007.tar").write_bytes(b"something else")
    code, _, err = run("fetch", "voc2007")
    assert code == 3
    assert "2007.tar is not the archive it should be (its checksum differs); delete it" in err
    assert Path("2007.tar").read_bytes() == b"something else"


def test_what_comes_is_checked(archives: Server, run: Run) -> None:
    body = bytearray(archives.files["/2007.tar"])
    body[1000] ^= 1
    archives.files["/2007.tar"] = bytes(body)
    code, _, err = run("fetch", "voc2007", "-q")
    assert code == 3
    assert "has another checksum than it should; run spp fetch voc2007 again" in err
    assert not list(Path().iterdir())


def test_without_a_connection(archives: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {**torchvision_voc.DATASET_YEAR_DICT["2012"], "url": "http://127.0.0.1:9/VOC.tar"}
    monkeypatch.setitem(torchvision_voc.DATASET_YEAR_DICT, "2012", entry)
    code, _, err = run("fetch", "voc2012")
    assert code == 3
    lines = [line for line in err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "http://127.0.0.1:9/VOC.tar could not be downloaded" in lines[0]
    archives.files.clear()
    code, _, err = run("fetch", "voc2007")
    assert code == 3
    assert "/2007.tar could not be downloaded (Not Found)" in err


def test_no_folder_and_unknown_names(tmp_path: Path, run: Run) -> None:
    assert run("fetch", "voc2007", "-o", str(tmp_path / "no"))[0] == 3
    code, _, err = run("fetch", "voc2006")
    assert code == 2
    assert "voc2007" in err


def test_weights_come_from_torch_s_cache(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    kept = tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"
    kept.parent.mkdir()
    kept.touch()
    assert run("fetch", "alexnet")[1] == f"{kept}: alexnet, there already\n"


def test_the_names_are_those_of_the_stage_and_of_the_backbones() -> None:
    assert (*fetch.DATASETS, *fetch.WEIGHTS) == NAMES
    assert set(fetch.WEIGHTS) == {name for name, spec in SPECS.items() if spec.url is not None}


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "hard link", "device", "truncated"])
def test_nothing_of_an_archive_lands_outside(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "victim.txt").write_text("precious")
    archive = tmp_path / "a.tar"
    names = {"parent": "../victim.txt", "absolute": str(tmp_path / "victim.txt")}
    with tarfile.open(archive, "w") as file:
        member = tarfile.TarInfo(names.get(kind, "VOCdevkit"))
        if kind in ("link", "hard link", "device"):
            member.type = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}[kind]
            member.linkname = "../victim.txt" if kind == "hard link" else str(tmp_path)
            file.addfile(member)
            member = tarfile.TarInfo("VOCdevkit/victim.txt")
        member.size = 4
        file.addfile(member, io.BytesIO(b"evil"))
    if kind == "truncated":
        archive.write_bytes(archive.read_bytes()[:700])
    # tar's own habit: of an absolute name the leading slash is taken off.
    with nullcontext() if kind == "absolute" else pytest.raises(BadInput, match="cannot be unpacked"):
        fetch._unpack(archive, tmp_path / "out")
    assert (tmp_path / "victim.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out", "victim.txt"]
