"""``spp features`` against the same network written out, and what it takes over, skips and refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sppcli.artefacts.image_features import ImageFeatures, read_image_features
from sppcli.features.whole_images import centre_square
from sppcli.runtime.batches import same_shape
from sppcli.stages import features
from tests.conftest import build_voc
from tests.stages.conftest import Run, write_network

SIZES = ((40, 60), (60, 40), (40, 60), (33, 97), (50, 50), (40, 60))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, and images of several sizes in train/ and test/ of two classes; the current one."""
    rng = np.random.default_rng(0)
    write_network(tmp_path / "net.safetensors")
    for number, (height, width) in enumerate(SIZES * 2):
        path = tmp_path / "set" / ("train", "test")[number % 2] / ("cat", "dog")[number % 4 // 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(run: Run, *more: str) -> tuple[str, str]:
    """Run with the small network and return what it said on both streams."""
    arguments = ("features", "set", "--weights", "net.safetensors", "--precision", "fp32", "--side", "45", *more)
    code, out, err = run(*arguments)
    assert code == 0, err
    return out, err


def read(name: str = "image-features.h5") -> ImageFeatures:
    return read_image_features(Path(name))


def by_hand(
    path: Path, side: int, levels: Sequence[int], *, crop: bool = False, mirror: bool = False, fc: bool = False
) -> np.ndarray:
    """One image through the layers of `write_network`, each spelt out; not normalised."""
    state = load_file("net.safetensors")
    image = cv2.imread(str(path))[:, :, ::-1]
    height, width = image.shape[:2]
    factor = side / min(height, width)
    size = (side, int(width * factor + 0.5)) if height <= width else (int(height * factor + 0.5), side)
    image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    if crop:
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        image = image[top : top + side, left : left + side]
    if mirror:
        image = image[:, ::-1]
    x = torch.from_numpy((image / 255 - 0.5) / 0.25).float().permute(2, 0, 1)[None]
    x = torch.relu(torch.conv2d(x, state["trunk.conv1.weight"], state["trunk.conv1.bias"], stride=2, padding=2))
    x = torch.max_pool2d(x, 3, 2, ceil_mode=True)
    x = torch.relu(torch.conv2d(x, state["trunk.conv2.weight"], state["trunk.conv2.bias"], padding=1))[0]
    rows, columns = x.shape[1:]
    bins = []
    for n in levels:
        for i in range(n):
            for j in range(n):
                part = x[:, i * rows // n : -(-(i + 1) * rows // n), j * columns // n : -(-(j + 1) * columns // n)]
                bins.append(part.amax(dim=(1, 2)))
    vector = torch.cat(bins)
    return (torch.relu(state["fc.fc6.weight"] @ vector + state["fc.fc6.bias"]) if fc else vector).numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("levels", [(6, 3, 2, 1), (1,), (4, 2, 1)])
def test_vectors_are_the_networks(here: Path, run: Run, levels: tuple[int, ...]) -> None:
    make(run, "--pyramid", ",".join(map(str, levels)))
    file = read()
    assert len(file.images) == len(SIZES) * 2
    assert file.vectors.shape == (12, sum(n * n for n in levels) * 24)
    for path, size, vector in zip(file.images.paths, file.images.sizes.tolist(), file.vectors, strict=True):
        assert np.abs(vector - unit(by_hand(here / "set" / path, 45, levels))).max() < 1e-5
        assert tuple(size) == cv2.imread(str(here / "set" / path)).shape[:2]


def test_the_networks_own_pyramid_is_the_default(here: Path, run: Run) -> None:
    make(run, "--normalize", "none")
    file = read()
    expected = np.stack([by_hand(here / "set" / path, 45, (4, 2, 1)) for path in file.images.paths])
    assert np.abs(file.vectors - expected).max() < 1e-4
    assert np.linalg.norm(expected, axis=1).max() > 2  # far from unit length


def test_fc_crop_and_flip(here: Path, run: Run) -> None:
    make(run, "--layer", "fc6", "--views", "crop", "--flip")
    file = read()
    assert file.vectors.shape == (12, 32)
    for path, vector in zip(file.images.paths, file.vectors, strict=True):
        both = [by_hand(here / "set" / path, 45, (4, 2, 1), crop=True, mirror=m, fc=True) for m in (False, True)]
        assert np.abs(both[0] - both[1]).max() > 1e-3
        assert np.abs(vector - unit((both[0] + both[1]) / 2)).max() < 1e-5


def test_labels_and_splits_are_those_of_the_folders(here: Path, run: Run) -> None:
    out, _ = make(run)
    file = read()
    assert "12 images of 504 features (two-layers, pool5), 2 classes, splits train, test" in out
    assert (file.kind, file.classes, file.splits) == ("class folders", ("cat", "dog"), ("train", "test"))
    for row, path in enumerate(file.images.paths):
        split, name, _ = path.split("/")
        assert file.labels[row].tolist() == [1 if name == label else -1 for label in file.classes]
        assert file.in_split[row].tolist() == [split == other for other in file.splits]


def test_labels_of_a_voc_data_set(here: Path, run: Run) -> None:
    voc = build_voc(here / "voc", 8, per_image=2, difficult_every=3)
    code, out, err = run("features", "voc", "--weights", "net.safetensors", "--side", "48", "--json")
    assert code == 0, err
    assert json.loads(out)["splits"] == ["test", "train", "trainval", "val"]
    file = read()
    for row, image_id in enumerate(file.images.ids):
        for column, name in enumerate(file.classes):
            flags = [thing.difficult for thing in voc.things[image_id] if thing.label == name]
            assert file.labels[row, column] == (-1 if not flags else int(not all(flags)))
        assert bool(file.in_split[row, file.splits.index("trainval")]) == (image_id in voc.splits["trainval"])
    assert 0 in file.labels


def test_the_batch_does_not_matter(here: Path, run: Run) -> None:
    make(run, "--batch", "1")
    one = read()
    make(run, "--batch", "5", "-o", "five.h5")
    five = read("five.h5")
    assert one.images.digests == five.images.digests
    assert np.abs(one.vectors - five.vectors).max() < 1e-5
    assert one.header.fingerprint == five.header.fingerprint


def test_the_number_of_threads_does_not_matter(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    for threads in (1, 4):
        monkeypatch.setattr(features, "cpu_threads", lambda threads=threads: threads)
        make(run, "--batch", "2", "-o", f"{threads}.h5")
    np.testing.assert_allclose(read("1.h5").vectors, read("4.h5").vectors, atol=1e-5)
    assert torch.get_num_threads() == before


def test_what_is_there_is_not_made_again(here: Path, run: Run) -> None:
    make(run)
    before = Path("image-features.h5").read_bytes()
    out, _ = make(run)
    assert "up to date" in out
    assert Path("image-features.h5").read_bytes() == before
    assert "up to date" not in make(run, "--force")[0]
    assert Path("image-features.h5").read_bytes() == before
    os.utime("image-features.h5", (1, 1))
    make(run)
    assert Path("image-features.h5").stat().st_mtime > 1


def test_another_image_costs_one_image(here: Path, run: Run) -> None:
    make(run)
    shutil.copy("set/train/cat/00.png", "set/train/dog/copy.png")  # the same content, another label
    Image.new("RGB", (50, 44), (200, 30, 20)).save("set/train/dog/new.png")
    summary = json.loads(make(run, "--json")[0])
    assert (summary["computed"], summary["kept"], summary["images"]) == (1, 13, 14)
    file = read()
    rows = [file.images.paths.index(f"train/{name}.png") for name in ("cat/00", "dog/copy")]
    np.testing.assert_array_equal(file.vectors[rows[0]], file.vectors[rows[1]])
    assert file.labels[rows].tolist() == [[1, -1], [-1, 1]]
    assert json.loads(make(run, "--side", "46", "--json")[0])["kept"] == 0


def test_a_label_alone_costs_nothing(here: Path, run: Run) -> None:
    make(run)
    Path("set/train/cat").rename("set/train/fox")
    summary = json.loads(make(run, "--json")[0])
    assert (summary["computed"], summary["kept"], summary["classes"]) == (0, 12, ["cat", "dog", "fox"])
    assert not summary["up_to_date"]


def test_an_interrupted_run_goes_on(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make(run, "-o", "whole.h5")
    real = features.WholeImageReader.__call__
    calls = 0

    def stops(self: object, images: Sequence[np.ndarray]) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return real(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "_VECTORS_A_PART", 2)
    monkeypatch.setattr(features, "cpu_threads", lambda: 1)  # so that the batches before the seventh are all done
    arguments = ("features", "set", "--weights", "net.safetensors", "--precision", "fp32", "--side", "45")
    with monkeypatch.context() as patch:
        patch.setattr(features.WholeImageReader, "__call__", stops)
        assert run(*arguments, "--batch", "1")[0] == 130
    assert not Path("image-features.h5").exists()
    summary = json.loads(make(run, "--batch", "1", "--json")[0])
    assert summary["kept"] == 4  # one call asks for the length; five images were done, two a part
    assert np.abs(read().vectors - read("whole.h5").vectors).max() < 1e-5
    assert not Path("image-features.h5.parts").exists()


def test_damaged_images_are_skipped_named_and_listed(here: Path, run: Run) -> None:
    for name in ("bad", "same"):
        Path(f"set/train/cat/{name}.png").write_bytes(b"no image")
    _, err = make(run)
    assert "bad.png" in err
    file = read()
    assert len(file.images) == 12
    assert sorted(item.name for item in file.images.skipped) == ["train/cat/bad.png", "train/cat/same.png"]
    code, _, err = run("features", "set", "--weights", "net.safetensors", "--force", "--strict")
    assert code == 3
    assert "bad.png" in err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["nowhere"], 3, "there is no file or folder"),
        (["set", "--side", "0"], 2, "--side"),
        (["set", "--layer", "fc7"], 2, "has no layer fc7; it has pool5, fc6"),
        (["set", "--layer", "fc6", "--pyramid", "3,1"], 2, "reads a pyramid of 4,2,1"),
        (["set", "--views", "ten"], 2, "ten"),
        (["set", "--weights", "none.safetensors"], 3, "no such weights file"),
        (["set", "-o", "no/such/folder.h5"], 3, "does not exist"),
        ([], 2, "SOURCE"),
    ],
)
def test_complaints(here: Path, run: Run, arguments: list[str], exit_code: int, words: str) -> None:
    code, _, err = run("features", "--weights", "net.safetensors", *arguments)
    assert (code, words in err) == (exit_code, True), err


def test_a_side_too_small_for_the_network(here: Path, run: Run, tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), "squeeze.pth")
    arguments = ("features", "set", "--backbone", "squeezenet1_0", "--weights", "squeeze.pth", "--side")
    code, _, err = run(*arguments, "4")
    assert code == 2, err
    assert "--side 4 leaves nothing of the image after squeezenet1_0's layers" in err
    assert run(*arguments, "32")[0] == 0


def test_info_describes_the_file(here: Path, run: Run) -> None:
    make(run)
    code, out, err = run("info", "image-features.h5")
    assert code == 0, err
    said = {" ".join(line.split()) for line in out.splitlines()}
    assert {"images 12", "features 504", "splits train 6, test 6", "classes cat, dog"} <= said


def test_batches_hold_each_item_once_and_one_shape() -> None:
    rng = np.random.default_rng(0)
    items = [(int(kind), number) for number, kind in enumerate(rng.integers(0, 9, 300))]
    batches = list(same_shape(items, lambda item: item[0], lambda kind: kind + 1, 12))
    assert sorted(item for batch in batches for item in batch) == sorted(items)
    for batch in batches:
        kinds = {kind for kind, _ in batch}
        assert len(kinds) == 1
        assert len(batch) <= kinds.pop() + 1
    for kind in range(9):
        assert [item for batch in batches for item in batch if item[0] == kind] == [i for i in items if i[0] == kind]


def test_batches_do_not_wait_for_ever() -> None:
    taken = 0

    def items() -> object:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number % 10

    batches = same_shape(items(), lambda kind: kind, lambda _: 50, 20)  # type: ignore[arg-type, var-annotated]
    next(batches)
    assert taken == 21


def test_heavy_items_do_not_wait_together() -> None:
    """Waiting weights stay below the bound: 3 + 3 + 4 + 1 is too much, and the heaviest shape goes."""
    items = [("a", 3), ("a", 3), ("b", 4), ("c", 1), ("b", 5), ("d", 20), ("c", 2)]
    batches = same_shape(items, lambda item: item[0], lambda _: 50, 10, lambda item: item[1])
    assert [[weight for _, weight in batch] for batch in batches] == [[3, 3], [20], [4, 5], [1, 2]]


def test_the_centre_square() -> None:
    image = np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3)
    np.testing.assert_array_equal(centre_square(image), image[:, 1:6])
    np.testing.assert_array_equal(centre_square(image.transpose(1, 0, 2)), image.transpose(1, 0, 2)[1:6])
