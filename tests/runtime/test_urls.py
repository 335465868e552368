"""URLs and the files that stand for them; and through the command line, servers that tell less than S3's do."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sppcli.runtime.urls import from_record, is_by_url, is_url, local_of, to_record, url_fault, url_of, with_urls
from tests.conftest import Run, Voc

QUICK = ("-j", "1", "--method", "edge-boxes", "--edges", "gradient", "--max-proposals", "50", "-q")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a/b c.h5",
        "s3://bucket",
        "gs://b/x",
        "memory://b/ü.jpg",
        "local:///tmp/x.h5",
        "https://h:80/a%20b.jpg",
    ],
)
def test_a_url_and_its_file_name_each_other(url: str) -> None:
    assert is_url(url)
    assert url_fault(url) == ""
    path = local_of(url)
    assert is_by_url(path)
    assert url_of(path) == url
    assert with_urls(f"{path}: no, '{path}'") == f"{url}: no, '{url}'"
    value = {"paths": [str(path), "imagenet"], "kind": None, "n": 3}
    assert to_record(value) == {"paths": [url, "imagenet"], "kind": None, "n": 3}
    assert from_record(to_record(value)) == value


def test_a_query_is_kept_for_the_server_alone() -> None:
    """It may be a password."""
    url = "https://host/models/raccoon.spp?token=secret"
    path = local_of(url)
    assert path.name == "raccoon.spp"
    assert path != local_of("https://host/models/raccoon.spp?token=other")
    assert url_of(path) == url
    assert with_urls(str(path)) == to_record(str(path)) == "https://host/models/raccoon.spp"


@pytest.mark.parametrize("text", ["a/b.h5", "C:/a", "yolo:data", "imagenet", "s3:/bucket/a", "-", ""])
def test_what_is_no_url(text: str) -> None:
    assert not is_url(text)


def test_records_of_others_lead_nowhere_else() -> None:
    assert from_record(["s3://../../etc/passwd", "s3://b/../x"]) == ["s3://../../etc/passwd", "s3://b/../x"]


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem()
    MemoryFileSystem.store.clear()


def test_a_store_that_has_no_whole_writes(voc: Voc, memory: MemoryFileSystem, run: Run) -> None:
    """There an output is renamed when it is whole."""
    for name in voc.ids:
        memory.put_file(str(voc.image(name)), f"/b/photos/{name}.jpg")
    code, out, err = run("propose", "memory://b/photos", "-o", "memory://b/out/p.h5", *QUICK)
    assert (code, err) == (0, "")
    assert out.startswith("memory://b/out/p.h5: 8 images, ")
    assert memory.ls("/b/out", detail=False) == ["/b/out/p.h5"]
    _, local, _ = run("propose", str(voc.root / "JPEGImages"), "-o", "own.h5", *QUICK)
    assert out.partition(": ")[2] == local.partition(": ")[2]
    assert "(up to date)" in run("propose", "memory://b/photos", "-o", "memory://b/out/p.h5", *QUICK)[1]
    assert memory.ls("/b/out", detail=False) == ["/b/out/p.h5"]


def test_a_dry_run_makes_nothing_there(voc: Voc, memory: MemoryFileSystem, run: Run) -> None:
    memory.put_file(str(voc.image(voc.ids[0])), "/b/photos/a.jpg")
    code, out, _ = run("propose", "memory://b/photos", "-o", "memory://b/out/p.h5", *QUICK, "--dry-run")
    assert code == 0
    assert "would search 1 of 1 image and write memory://b/out/p.h5" in out
    assert not memory.exists("/b/out")


def test_a_file_and_a_folder_of_one_name(memory: MemoryFileSystem, run: Run) -> None:
    memory.pipe_file("/b/x/a.jpg/b.jpg", b"1")
    MemoryFileSystem.store["/b/x/a.jpg"] = MemoryFileSystem.store["/b/x/a.jpg/b.jpg"]
    code, _, err = run("propose", "memory://b/x", *QUICK)
    assert code == 3
    assert "a file and a folder there have the same name; rename one" in err


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Address of a server of the folder ``served``, and what it is asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    asked: list[str] = []
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(f"{self.command} {self.path}")

        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "Last-Modified" or "/dated/" in self.path:
                super().send_header(keyword, value)

    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_from_a_web_server(web: tuple[str, list[str]], voc: Voc, run: Run) -> None:
    address, asked = web
    assert run("propose", str(voc.root), "-o", "own.h5", *QUICK)[0] == 0
    Path("served/dated").mkdir()
    for place in ("dated/p.h5", "undated.h5"):
        shutil.copy("own.h5", Path("served") / place)
        url = f"{address}/{place}"
        first = run("info", f"{url}?token=secret", "--json")
        assert first[0] == 0
        assert url in first[1]
        assert "secret" not in first[1]
        asked.clear()
        assert run("info", f"{url}?token=secret", "--json") == first
        # Of what the server does not say when it was changed, nobody knows whether it has been.
        again = [line for line in asked if line.startswith("GET")]
        assert again == ([] if place.startswith("dated") else [f"GET /{place}?token=secret"])
    code, _, err = run("info", f"{address}/none.h5")
    assert code == 3
    assert f"{address}/none.h5: there is no such object" in err
    code, _, err = run("propose", f"{address}/undated.h5", *QUICK)
    assert code == 3
    assert f"{address}/undated.h5 is not an image by its name" in err


def test_a_package_that_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    code, _, err = run("info", "s3://bucket/x.h5")
    assert code == 3
    assert "s3://bucket/x.h5: s3:// needs another package: pip install 's3fs' (" in err
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    code, _, err = run("info", "https://host/x.h5")
    assert code == 3
    assert "needs another package: pip install 'sppcli[urls]'" in err


def test_cleaning_the_cache(voc: Voc, memory: MemoryFileSystem, run: Run, cache: Path) -> None:
    memory.put_file(str(voc.image(voc.ids[0])), "/b/photos/a.jpg")
    assert run("clean", "--urls")[1] == "nothing here can go\n"
    assert run("propose", "memory://b/photos", "-o", "memory://b/out/p.h5", *QUICK)[0] == 0
    found = json.loads(run("clean", "--urls", "--json")[1])["files"]
    assert [(item["path"], item["cost"], item["safe"]) for item in found] == [
        ("memory://b", "fetched again when needed", True)
    ]
    memory.rm("/b/out/p.h5")
    unsent = cache / "sppcli/urls/memory/b/out/unsent.h5"
    unsent.touch()
    (item,) = json.loads(run("clean", "--urls", "--json")[1])["files"]
    assert (item["cost"], item["safe"]) == (
        "fetched again when needed; 1 file of runs that have not ended, or not been sent, made again",
        False,
    )
    assert run("clean", ".", "--urls", "--keep", "parts")[0] == 2
    assert run("clean", "--urls", "--yes")[0] == 0
    assert not unsent.exists()
    assert run("clean", "--urls")[1] == "nothing here can go\n"
    assert "8 images" not in run("propose", "memory://b/photos", *QUICK)[1]
    assert os.listdir(cache / "sppcli/urls/memory/b") == ["photos"]  # noqa: PTH208
