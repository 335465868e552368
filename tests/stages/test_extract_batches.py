"""``spp extract --batch``: the same file, image by image or several at once, on every device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts.features import open_features
from sppcli.features import conv_maps as maps
from sppcli.structures import FloatArray
from tests.devices import DEVICES
from tests.stages.conftest import Run, Work

SIZES = ((60, 80), (80, 60), (60, 80), (50, 70), (60, 80), (60, 80), (80, 60), (60, 80), (60, 80), (60, 80))
BROKEN = 4


@pytest.fixture
def pictures(work: Work, run: Run) -> tuple[str, ...]:
    """Names of photographs of three sizes in turn, one of which has broken since ``pictures.h5`` was made."""
    rng = np.random.default_rng()
    folder = Path("pictures")
    folder.mkdir()
    names = tuple(f"{i:02d}" for i in range(len(SIZES)))
    for name, size in zip(names, SIZES, strict=True):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    assert run("propose", "pictures", "-o", "pictures.h5", "-q", "-j", "1")[0] == 0
    (folder / f"{names[BROKEN]}.png").write_bytes(b"no image")
    return names


def extract(run: Run, device: str, output: str, *more: str) -> tuple[int, str, str]:
    arguments = ("--proposals", "pictures.h5", "--weights", "net.safetensors", "--precision", "fp32")
    return run("extract", *arguments, "--device", device, "-o", output, *more)


def assert_equal_maps(expected: str, found: str, device: str, flip: bool = False) -> None:
    """On the CPU to one unit in the last place of float16; where numbers cancel out, of the arithmetic before it."""
    with open_features(Path(expected)) as a, open_features(Path(found)) as b:
        assert a.images.ids == b.images.ids
        assert a.fingerprint == b.fingerprint
        for row in range(len(a.images)):
            for mirrored in (False, True) if flip else (False,):
                for scale in range(len(a.scales)):
                    mine, theirs = (f.maps(row, mirrored).read(scale).astype(np.float32) for f in (b, a))
                    peak = np.abs(theirs).max()
                    assert peak > 0
                    # A GPU may take other kernels for a batch, and TensorFloat-32 in some of them.
                    unit = np.spacing(np.abs(theirs).astype(np.float16)).astype(np.float32)
                    room = unit + 1e-6 * peak if device == "cpu" else 2e-3 * peak
                    assert (np.abs(mine - theirs) <= room).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("flip", [False, True])
def test_the_batch_does_not_show_in_the_file(
    device: str, flip: bool, pictures: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = maps.Extractor.batch
    sizes: list[int] = []

    def counting(self: maps.Extractor, images: Any, *arguments: Any) -> list[FloatArray]:
        sizes.append(len(images))
        assert len({image.shape for image in images}) == 1
        return plain(self, images, *arguments)

    monkeypatch.setattr(maps.Extractor, "batch", counting)
    options = ("--scales", "48,72", *(["--flip"] if flip else []))
    for batch, counts in ((1, [1] * 9), (3, [3, 3, 2, 1])):
        sizes.clear()
        code, out, err = extract(run, device, f"{batch}.h5", *options, "--batch", str(batch))
        assert code == 0, err
        assert "04.png" in err
        assert "1 skipped" in out
        assert sorted(sizes) == sorted(counts * (2 if flip else 1))
    assert_equal_maps("1.h5", "3.h5", device, flip)
    with open_features(Path("3.h5")) as features:
        assert features.images.ids == tuple(name for i, name in enumerate(pictures) if i != BROKEN)
        assert [item.name for item in features.images.skipped] == ["04.png"]
        assert [size.tolist() for size in features.images.sizes] == [
            [height, width] for i, (width, height) in enumerate(SIZES) if i != BROKEN
        ]
    code, out, _ = extract(run, device, "3.h5", *options, "--batch", "2")
    assert (code, "up to date" in out) == (0, True)


@pytest.mark.parametrize("device", DEVICES)
def test_an_interrupted_extraction_goes_on_from_the_images_that_are_done(
    device: str, pictures: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = maps.Extractor.batch
    done: list[str] = []

    def stopping(self: maps.Extractor, images: Any, scales: Any, names: Any) -> list[FloatArray]:
        if len(done) >= 6:
            raise KeyboardInterrupt
        done.extend(names)
        return plain(self, images, scales, names)

    monkeypatch.setattr(maps.Extractor, "batch", stopping)
    assert extract(run, device, "again.h5", "--scales", "48", "--batch", "3")[0] == 130
    assert not Path("again.h5").exists()
    monkeypatch.setattr(maps.Extractor, "batch", plain)
    code, out, _ = extract(run, device, "again.h5", "--scales", "48", "--batch", "3", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["extracted"] == 3
    assert summary["kept"] == 6
    assert extract(run, device, "whole.h5", "--scales", "48", "--batch", "1", "-q")[0] == 0
    assert_equal_maps("whole.h5", "again.h5", device)


def test_strict_stops_at_the_broken_image(pictures: tuple[str, ...], run: Run) -> None:
    code, _, err = extract(run, "cpu", "f.h5", "--scales", "48", "--batch", "3", "--strict")
    assert code == 3
    assert "04.png" in err
    assert not Path("f.h5").exists()


def test_an_activation_beyond_float16_names_its_image(
    pictures: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = maps.Extractor._run
    Image.new("RGB", (60, 80), (255, 255, 255)).save("pictures/05.png")
    assert run("propose", "pictures", "-o", "pictures.h5", "-q", "-j", "1")[0] == 0

    def bright(self: maps.Extractor, images: Any, scale: int) -> Any:
        values = plain(self, images, scale)
        for one, image in zip(values, images, strict=True):
            if image.min() == 255:
                one[0, 0, 0] = float("inf")
        return values

    monkeypatch.setattr(maps.Extractor, "_run", bright)
    code, _, err = extract(run, "cpu", "f.h5", "--scales", "48", "--batch", "3")
    assert code == 3
    assert "05.png: an activation at scale 48 is beyond float16" in err


@pytest.mark.parametrize("device", DEVICES)
def test_windows_of_rcnn_a_batch(device: str, pictures: tuple[str, ...], run: Run) -> None:
    options = ("--method", "rcnn", "--layer", "fc6", "--context", "4")
    for batch in ("1", "5"):
        code, _, err = extract(run, device, f"{batch}.h5", *options, "--batch", batch, "-q")
        assert code == 0, err
    with open_features(Path("1.h5")) as expected, open_features(Path("5.h5")) as found:
        assert expected.fingerprint == found.fingerprint
        assert expected.images.ids == found.images.ids
        for row in range(len(expected.images)):
            boxes = expected.boxes(row)
            mine, theirs = found.vectors(row).of(boxes), expected.vectors(row).of(boxes)
            tolerance = 2e-3 * np.abs(theirs).max()
            np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=tolerance)


def test_a_batch_of_none_is_refused(work: Work, run: Run) -> None:
    code, _, err = run("extract", "--batch", "0")
    assert code == 2
    assert "--batch" in err
