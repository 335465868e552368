"""Inputs and outputs by URL: the same results as with files of this machine, each object fetched once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from sppcli.cli.main import main
from sppcli.runtime import files, url_transfer
from tests.conftest import Run, build_voc
from tests.object_store import BUCKET, ENVIRONMENT, Store, serving
from tests.stages.conftest import SCALES, Work
from tests.stages.same_files import content

QUICK = ("-j", "1", "--method", "edge-boxes", "--edges", "gradient", "--max-proposals", "50")
OUT = f"s3://{BUCKET}/out"
MADE = ("proposals.h5", "features.h5", "svm.h5", "bbox.h5", "detections.h5")


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with serving() as store:
            yield store


@pytest.fixture(autouse=True)
def place(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty, of a user whose cache is empty."""
    for name, value in (*ENVIRONMENT.items(), ("AWS_ENDPOINT_URL", store.address)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store.read_only = False
    store.asked.clear()
    return tmp_path / "here"


@pytest.fixture(scope="module")
def chain(store: Store, trained: Work, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What each command said: the five of ``trained`` and two more, with everything in the bucket."""
    for path in sorted(trained.voc.root.rglob("*")):
        if path.is_file():
            store.put(f"voc/{path.relative_to(trained.voc.root)}", path)
    store.put("net.safetensors", trained.folder / "net.safetensors")
    here = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", store.address)
        patch.setenv("XDG_CACHE_HOME", str(here / "cache"))
        patch.chdir(here)
        given = ["--proposals", f"{OUT}/proposals.h5", "--features", f"{OUT}/features.h5"]
        how = ["--weights", f"s3://{BUCKET}/net.safetensors", "--scales", SCALES, "--precision", "fp32"]
        assert main(["propose", f"s3://{BUCKET}/voc", "-o", f"{OUT}/proposals.h5", "-q", "-j", "1"]) == 0
        assert main(["extract", "--proposals", f"{OUT}/proposals.h5", "-o", f"{OUT}/features.h5", "-q", *how]) == 0
        assert main(["train-svm", *given, "-o", f"{OUT}/svm.h5", "-q"]) == 0
        assert main(["train-bbox", *given, "-o", f"{OUT}/bbox.h5", "-q"]) == 0
        models = ["--svm", f"{OUT}/svm.h5", "--bbox", f"{OUT}/bbox.h5"]
        assert main(["detect", *given, *models, "-o", f"{OUT}/detections.h5", "-q"]) == 0
        assert list(here.iterdir()) == [here / "cache"]
    return OUT


def test_the_chain_in_a_bucket_makes_what_it_makes_here(
    chain: str, store: Store, work: Work, place: Path, run: Run
) -> None:
    assert main(["detect", "-q", "--bbox", "bbox.h5"]) == 0
    assert store.keys("out/") == sorted(f"out/{name}" for name in MADE)
    fetched = place / "fetched"
    fetched.mkdir()
    for name in MADE:
        (fetched / name).write_bytes(store.get(f"out/{name}"))
        (here, arrays), (there, arrays_there) = content(work.folder / name), content(fetched / name)
        assert [here[row] for row in (0, 1, 4)] == [there[row] for row in (0, 1, 4)], name
        assert sorted(arrays) == sorted(arrays_there)
        for key, values in arrays.items():
            assert np.array_equal(np.asarray(values), np.asarray(arrays_there[key])), (name, key)
    # Here as there: another machine, that has nothing yet, evaluates what the first one sent.
    _, expected, _ = run("evaluate", "--json")
    code, found, _ = run("evaluate", "--json", "--detections", f"{chain}/detections.h5")
    assert code == 0
    assert json.loads(found)["ap"] == json.loads(expected)["ap"]


def test_what_is_recorded_are_urls(chain: str, store: Store, place: Path, run: Run) -> None:
    for name in MADE:
        (place / name).write_bytes(store.get(f"out/{name}"))
        with h5py.File(place / name) as file:
            said = {key: value for key, value in file.attrs.items() if isinstance(value, str)}
        assert "/cache/" not in json.dumps(said)
        assert f"s3://{BUCKET}/voc" in said["source"] or name in ("svm.h5", "bbox.h5")
    _, out, _ = run("info", f"{chain}/proposals.h5", "--json")
    assert f"s3://{BUCKET}/voc" in out
    assert str(place.parent) not in out


def test_a_rerun_sends_and_fetches_nothing(chain: str, store: Store, run: Run) -> None:
    arguments = ("train-svm", "--proposals", f"{chain}/proposals.h5", "--features", f"{chain}/features.h5")
    code, out, _ = run(*arguments, "-o", f"{chain}/svm.h5")
    assert code == 0
    assert out.startswith(f"{chain}/svm.h5: 3 classes from 12 images, ")
    assert "(up to date)" in out
    assert sorted(name for name in store.fetched() if name.startswith("out/")) == [
        "out/features.h5",
        "out/proposals.h5",
        "out/svm.h5",
    ]
    store.asked.clear()
    code, out, _ = run(*arguments, "-o", f"{chain}/svm.h5")
    assert code == 0
    assert "(up to date)" in out
    assert store.fetched() == []
    assert store.sent() == []


@pytest.fixture
def photos(store: Store, place: Path) -> str:
    """A folder of four images in the bucket, in no data set's layout."""
    for key in store.keys("photos"):
        store.delete(key)
    voc = build_voc(place.parent / "photos", 4)
    for number, name in enumerate(voc.ids):
        store.put(f"photos/{'ab'[number % 2]}/{name}.jpg", voc.image(name))
    store.put("photos/model.safetensors", b"not of a data set")
    store.put("photos/.hidden.jpg", b"nor this")
    store.asked.clear()
    return f"s3://{BUCKET}/photos"


def propose(run: Run, *arguments: str) -> dict[str, object]:
    code, out, err = run("propose", *arguments, *QUICK, "--json")
    assert code == 0, err
    return dict(json.loads(out))


def test_of_a_changed_folder_only_what_changed_is_fetched(photos: str, store: Store, place: Path, run: Run) -> None:
    assert propose(run, photos)["found"] == 4
    assert len(store.fetched()) == 4
    assert propose(run, photos)["up_to_date"] is True
    assert len(store.fetched()) == 4
    store.asked.clear()
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    Image.fromarray(noise).save(place / "new.jpg")
    store.put("photos/a/000001.jpg", place / "new.jpg")
    store.delete("photos/b/000002.jpg")
    found = propose(run, photos)
    assert (found["images"], found["found"], found["kept"]) == (3, 1, 2)
    assert store.fetched() == ["photos/a/000001.jpg"]
    with h5py.File("proposals.h5") as file:
        assert [name.decode() for name in file["image_ids"]] == ["a/000001", "a/000003", "b/000004"]


def test_a_fetch_that_was_interrupted_leaves_nothing_unknown(
    photos: str, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, placed = url_transfer._place, []

    def interrupted(*arguments: object, **named: object) -> None:
        if len(placed) == 2:
            raise KeyboardInterrupt
        placed.append(arguments)
        place(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(url_transfer, "_place", interrupted)
        assert run("propose", photos, *QUICK)[0] == 130
    store.delete("photos/a/000001.jpg")
    store.asked.clear()
    assert propose(run, photos)["images"] == 3
    assert sorted(store.fetched()) == ["photos/b/000002.jpg", "photos/b/000004.jpg"]


def test_a_changed_object_is_noticed(photos: str, store: Store, run: Run) -> None:
    target = f"s3://{BUCKET}/changed.h5"
    propose(run, photos, "-o", target)
    first = json.loads(run("info", target, "--json")[1])
    before = store.get("changed.h5")
    propose(run, f"{photos}/a", "-o", target)
    store.put("changed.h5", before)
    assert json.loads(run("info", target, "--json")[1]) == first


def test_outputs_are_asked_for_before_they_are_made(photos: str, store: Store, run: Run) -> None:
    """What an earlier run under the URL has is taken over, on whatever machine it was."""
    target = f"s3://{BUCKET}/elsewhere.h5"
    propose(run, f"{photos}/a", "-o", target)
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
    found = propose(run, photos, "-o", target)
    assert (found["found"], found["kept"]) == (2, 2)


def test_read_only_storage_is_refused_before_any_work(photos: str, store: Store, run: Run) -> None:
    store.read_only = True
    code, out, err = run("propose", photos, "-o", f"s3://{BUCKET}/never.h5", "-j", "1")
    assert (code, out) == (3, "")
    assert f"s3://{BUCKET}/never.h5: access is refused (nothing has been made yet) (" in err
    assert "Access Denied" in err
    assert "give credentials as s3fs reads them" in err
    assert "image" not in err


def test_what_could_not_be_sent_is_sent_by_the_next_run(photos: str, store: Store, run: Run) -> None:
    target = f"s3://{BUCKET}/late.h5"
    propose(run, photos, "-o", target)
    store.delete("late.h5")
    propose(run, f"{photos}/a", "-o", target)
    store.read_only = True
    code, _, err = run("propose", photos, "-o", target, *QUICK)
    assert code == 3
    assert f"{target}: access is refused (what was made is kept here, and sent when the command is run again)" in err
    store.read_only = False
    assert propose(run, photos, "-o", target)["up_to_date"] is True
    code, out, _ = run("info", target)
    assert code == 0
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
    assert run("info", target)[1] == out


KILLED = """
import os, signal, sys
from fsspec.implementations.local import LocalFileSystem
def put_file(self, mine, there, **more):
    with open(mine, "rb") as file, open(there, "wb") as half:
        half.write(file.read()[:1000])
    os.kill(os.getpid(), signal.SIGKILL)
LocalFileSystem.put_file = put_file
from sppcli.cli.main import main
main(sys.argv[1:])
"""


def test_killed_while_it_sends(photos: str, place: Path, run: Run) -> None:
    """On a file system, where a file that is being written is there under its name."""
    there = place.parent / "there"
    target = f"local://{there}/proposals.h5"
    arguments = ("propose", photos, "-o", target, *QUICK)
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    (half,) = there.iterdir()
    assert half.name.startswith(".proposals.h5.")
    assert propose(run, photos, "-o", target)["up_to_date"] is True
    assert [path.name for path in there.iterdir()] == ["proposals.h5"]
    propose(run, photos, "-o", "own.h5")
    assert (there / "proposals.h5").read_bytes() == Path("own.h5").read_bytes()


def test_shards_by_url_are_merged_with_their_maps(chain: str, store: Store, place: Path, run: Run) -> None:
    how = ("--weights", f"s3://{BUCKET}/net.safetensors", "--scales", SCALES, "--precision", "fp32")
    for shard in ("1/2", "2/2"):
        code, out, err = run(
            "extract", "--proposals", f"{chain}/proposals.h5", *how, "-o", f"s3://{BUCKET}/parts/f.h5", "--shard", shard
        )
        assert code == 0, err
        assert out.startswith(f"s3://{BUCKET}/parts/f.shard-{shard[0]}-of-2.h5: ")
    assert store.keys("parts/") == ["parts/f.shard-1-of-2.h5", "parts/f.shard-2-of-2.h5"]
    shards = f"s3://{BUCKET}/parts/f.shard-*-of-2.h5"
    code, _, err = run("merge", shards)
    assert code == 2
    assert "name the file to write, by -o FILE or -o URL" in err
    code, _, err = run("merge", shards, "-o", f"s3://{BUCKET}/merged.h5")
    assert code == 2
    assert "cannot lead to the conv maps in shards by URL; give --copy" in err
    code, out, err = run("merge", shards, "-o", f"s3://{BUCKET}/merged.h5", "--copy")
    assert code == 0, err
    assert out.startswith(f"s3://{BUCKET}/merged.h5: 16 images of 2 shards")
    for key in ("merged.h5", "out/features.h5"):
        (place / Path(key).name).write_bytes(store.get(key))
    assert content(place / "merged.h5")[1].keys() == content(place / "features.h5")[1].keys()
    assert content(place / "merged.h5")[0] == content(place / "features.h5")[0]


def test_new_images_by_url(chain: str, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("detect", "--model", f"{chain}/", f"s3://{BUCKET}/voc/JPEGImages/000001.jpg", "-q")
    assert code == 0, err
    first = [json.loads(line) for line in out.splitlines()]
    assert first
    assert {line["path"] for line in first} == {"000001.jpg"}
    # A detector's folder may hold more than it needs here.
    assert "out/features.h5" not in store.fetched()
    listed = Path("list.txt")
    listed.write_text(f"s3://{BUCKET}/voc/JPEGImages/000001.jpg\ns3://{BUCKET}/voc/JPEGImages/none.jpg\n")
    with listed.open() as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        code, out, err = run("detect", "--model", chain, "-")
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert {line["path"] for line in found} == {f"s3://{BUCKET}/voc/JPEGImages/000001.jpg"}
    assert [line["score"] for line in found] == [line["score"] for line in first]
    assert f"warning: skipped: s3://{BUCKET}/voc/JPEGImages/none.jpg: there is no such object" in err
    code, _, _ = run(
        "detect", "--model", chain, f"s3://{BUCKET}/voc/JPEGImages/000001.jpg", "-o", f"s3://{BUCKET}/found.csv", "-q"
    )
    assert code == 0
    assert store.get("found.csv").startswith(b"image,path,class,score,")


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        (f"s3://{BUCKET}/none/", 3, f"s3://{BUCKET}/none: there is no such object; check its name"),
        ("s3://no-such-bucket/x.h5", 3, "s3://no-such-bucket/x.h5: there is no such object"),
        ("gs://bucket/x.h5", 3, "gs://bucket/x.h5: gs:// needs another package: pip install 'gcsfs' ("),
        ("nosuch://bucket/x.h5", 2, "nosuch://bucket/x.h5: there is no nosuch://; take one of s3, gs, az, https"),
        ("http://127.0.0.1:9/x.h5", 3, "http://127.0.0.1:9/x.h5: cannot be reached ("),
        ("https://me:secret@127.0.0.1/x.h5", 2, "a password does not belong in it; put it into ~/.netrc"),
        (f"s3://{BUCKET}/../x.h5", 2, "it leads to another folder"),
        (f"s3://{BUCKET}//x.h5", 2, "it is empty, or a folder in it is"),
        ("zip://x.h5::s3://a/b.zip", 2, "it is a chain of URLs"),
        ("s3://", 2, "it names nothing"),
    ],
)
def test_urls_that_cannot_be_had(url: str, code: int, said: str, run: Run) -> None:
    found, out, err = run("info", url)
    assert (found, out) == (code, ""), err
    assert said in err
    assert err.count("error:") + err.count("Error:") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("propose", "here", f"s3://{BUCKET}/photos"), "give paths, or URLs, not both"),
        (("propose", "here", "-o", f"s3://{BUCKET}/out/"), "is a folder; name a file"),
        (("propose", "here", "-o", "https://host/p.h5"), "cannot be written to; name an object of s3://"),
        (("convert", "here", f"s3://{BUCKET}/coco", "--to", "coco"), "only a path of this machine can stand here"),
        (("propose", f"s3://{BUCKET}/photos", "--cluster", "tcp://host:1"), "give paths, or --shard and URLs"),
    ],
)
def test_urls_where_none_can_be(arguments: tuple[str, ...], said: str, photos: str, run: Run, place: Path) -> None:
    (place / "here").mkdir()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_file_of_this_machine_by_url(trained: Work, run: Run) -> None:
    """It is read where it is."""
    path = trained.folder / "proposals.h5"
    assert run("info", f"file://{path}") == run("info", str(path))
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


def test_an_output_whose_cache_is_full(photos: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(temporary: Path, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    monkeypatch.setattr(files, "commit", full)
    code, out, err = run("propose", photos, "-o", f"s3://{BUCKET}/full.h5", *QUICK)
    assert (code, out) == (3, "")
    assert f"s3://{BUCKET}/full.h5: while it is made in the cache, the disk is full (" in err
    assert "free some space (spp clean --urls) or set XDG_CACHE_HOME to a folder on another disk" in err


def test_a_cache_without_room(photos: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    code, out, err = run("propose", photos)
    assert (code, out) == (3, "")
    assert f"{photos}: its " in err
    assert "bytes do not fit into the cache on this machine, where 100 are free; free some with spp clean --urls" in err
