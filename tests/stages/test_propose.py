"""``spp propose``: windows that depend on the image, options and seed alone; what is skipped and resumed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts.features import open_features
from sppcli.artefacts.proposals import read_proposals
from tests.stages.conftest import SCALES, Run, Work


def test_windows_do_not_depend_on_processes_order_or_earlier_images(work: Work, run: Run) -> None:
    images = sorted(str(path) for path in Path("shapes/JPEGImages").glob("*.jpg"))[:6]
    assert run("propose", *images, "-j", "1", "--max-proposals", "20", "-q", "-o", "one.h5")[0] == 0
    assert run("propose", *images[::-1], "-j", "2", "--max-proposals", "20", "-q", "-o", "two.h5")[0] == 0
    assert run("propose", images[3], "--max-proposals", "20", "-q", "-o", "alone.h5")[0] == 0
    one, two, alone = (read_proposals(Path(name)) for name in ("one.h5", "two.h5", "alone.h5"))
    assert one.images.ids == two.images.ids
    assert np.array_equal(one.boxes, two.boxes)
    index = one.images.digests.index(alone.images.digests[0])
    assert np.array_equal(one.of(index), alone.boxes)
    assert len(alone.boxes) == 20


def test_another_seed_draws_other_windows_of_the_same_set(work: Work, run: Run) -> None:
    image = "shapes/JPEGImages/000001.jpg"
    for name, options in (
        ("all", ()),
        ("a", ("--max-proposals", "15")),
        ("b", ("--max-proposals", "15", "--seed", "1")),
    ):
        assert run("propose", image, *options, "-q", "-o", f"{name}.h5")[0] == 0
    everything, a, b = ({tuple(x) for x in read_proposals(Path(f"{n}.h5")).boxes.tolist()} for n in ("all", "a", "b"))
    assert a != b
    assert a < everything
    assert b < everything


def test_paths_on_standard_input(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("shapes/JPEGImages/000001.jpg\n\nshapes/JPEGImages/000002.jpg\n"))
    assert run("propose", "-", "-q", "-o", "listed.h5")[0] == 0
    assert read_proposals(Path("listed.h5")).images.ids == ("000001", "000002")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = run("propose", "-", "-o", "none.h5")
    assert code == 3
    assert "standard input" in err


def test_large_images_are_searched_small_and_boxes_mapped_back(work: Work, run: Run) -> None:
    small = Image.open("shapes/JPEGImages/000001.jpg")
    small.resize((small.width * 5, small.height * 5), Image.Resampling.NEAREST).save("large.png")
    assert run("propose", "large.png", "--max-side", "128", "-q", "-o", "large.h5")[0] == 0
    found = read_proposals(Path("large.h5"))
    assert found.images.sizes.tolist() == [[480, 640]]
    assert found.boxes.max() > 400
    assert (found.boxes[:, 2] <= 640).all()
    assert (found.boxes[:, 3] <= 480).all()
    assert np.array_equal(found.boxes % 5, np.zeros_like(found.boxes))


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P", "CMYK", "1"])
def test_images_of_every_mode_are_searched(work: Work, run: Run, mode: str) -> None:
    picture = Image.open("shapes/JPEGImages/000001.jpg")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    name = "odd.tif" if mode == "CMYK" else "odd.png"
    picture.save(name)
    code, _, err = run("propose", name, "-q", "-o", "odd.h5")
    assert code == 0, err
    assert len(read_proposals(Path("odd.h5")).boxes) >= 1


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (1, 1), (2, 2)])
def test_images_one_pixel_across(work: Work, run: Run, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (10, 200, 30)).save("thin.png")
    assert run("propose", "thin.png", "-q", "-o", "thin.h5")[0] == 0
    assert (
        run("extract", "--proposals", "thin.h5", "--weights", "net.safetensors", "--scales", "24", "-o", "f.h5")[0] == 0
    )
    with open_features(Path("f.h5")) as features:
        assert features.maps(0).read(0).shape[2] == 24


def test_a_truncated_image_among_good_ones_is_named_skipped_and_listed(work: Work, run: Run) -> None:
    bad = Path("shapes/JPEGImages/000002.jpg")
    bad.write_bytes(bad.read_bytes()[:900])
    code, out, err = run("propose", "shapes", "-o", "p.h5")
    assert code == 0
    assert "000002.jpg" in err
    assert "truncated" in err
    assert "1 skipped" in out
    stored = read_proposals(Path("p.h5"))
    assert "000002" not in stored.images.ids
    assert [item.name for item in stored.images.skipped] == ["JPEGImages/000002.jpg"]
    code, _, err = run("propose", "shapes", "--strict", "-o", "q.h5")
    assert code == 3
    assert not Path("q.h5").exists()


def test_nothing_but_bad_images_is_an_error(work: Work, run: Run) -> None:
    Path("bad.jpg").write_text("no image")
    code, _, err = run("propose", "bad.jpg", "-o", "p.h5")
    assert code == 3
    assert "bad.jpg" in err


def test_adding_an_image_searches_only_that_one(work: Work, run: Run) -> None:
    # The folder's copy holds the same images as the data set that proposals.h5 names, under other paths.
    assert run("propose", "shapes", "-q")[0] == 0
    shutil.copy("shapes/JPEGImages/000001.jpg", "shapes/JPEGImages/extra.png")
    Image.open("shapes/JPEGImages/000001.jpg").rotate(180).save("shapes/JPEGImages/extra.png")
    with Path("shapes/ImageSets/Main/test.txt").open("a") as file:
        file.write("extra\n")
    code, out, _ = run("propose", "shapes", "--dry-run")
    assert code == 0
    assert "would search 1 of 17" in out
    code, out, _ = run("propose", "shapes", "--json")
    assert json.loads(out)["found"] == 1
    code, out, _ = run("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "--json")
    assert code == 0
    assert json.loads(out)["extracted"] == 1


def test_a_killed_search_goes_on_from_its_parts_and_ends_the_same(work: Work, run: Run) -> None:
    command = [sys.executable, "-m", "sppcli", "propose", "shapes", "-j", "1", "-o", "killed.h5", "--mode", "quality"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = Path("killed.h5.parts")
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.h5"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(parts.glob("*.h5")))
    assert not Path("killed.h5").exists()
    assert 2 <= done < 16
    code, out, _ = run("propose", "shapes", "-j", "1", "-o", "killed.h5", "--mode", "quality", "--json")
    assert code == 0
    assert json.loads(out)["found"] == 16 - done
    assert not parts.exists()
    assert run("propose", "shapes", "-j", "1", "-o", "whole.h5", "--mode", "quality", "-q")[0] == 0
    assert Path("killed.h5").read_bytes() == Path("whole.h5").read_bytes()
