"""spp train-net and spp classify through the command line, on drawn stripes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from sppcli.artefacts.networks import recorded_training
from sppcli.cli.main import main

SMALL = ("--net", "tiny", "--fc", "32", "--pyramid", "2,1", "--epochs", "3", "--batch", "16", "-q")


def draw_folder(root: Path, splits: dict[str, int], seed: int = 0) -> Path:
    """Pictures with a bright bar across or down; ``splits``: name ("" for none) -> pictures a class."""
    rng = np.random.default_rng(seed)
    for split, count in splits.items():
        for label, name in enumerate(("across", "down")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(40, 90, size=(40, 40 + 4 * (i % 3), 3)).astype(np.uint8)
                at = int(rng.integers(14, 22))
                view = pixels if label == 0 else pixels.transpose(1, 0, 2)
                view[at : at + 4] = 220
                Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return root


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("stripes") / "stripes", {"train": 40, "val": 10, "test": 12})


@pytest.fixture(scope="module")
def networks(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    more = ("--dropout", "0.2", "--schedule", "steps", "--epochs", "8")
    for name, options in (("one", ("--seed", "1")), ("two", ("--seed", "2")), ("base", ("--no-spp", "--sizes", "32"))):
        output = str(folder / f"{name}.safetensors")
        assert main(["train-net", str(stripes), *SMALL, "--sizes", "26,32", *more, *options, "-o", output]) == 0
    return folder


def run_json(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def same(one: Path, other: Path) -> bool:
    mine, theirs = load_file(one), load_file(other)
    return set(mine) == set(theirs) and all(np.array_equal(mine[name], theirs[name]) for name in mine)


# --- training ---


def test_it_learns_and_leaves_curves(networks: Path, stripes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (networks / "one.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["size"] for row in rows] == ["32", "26"] * 4
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
    assert float(rows[-1]["validation_error"]) < 0.2
    with Image.open(networks / "one.png") as picture:
        assert picture.size[0] > 400
    training = recorded_training(networks / "one.safetensors")
    assert [str(epoch["loss"]) for epoch in training["history"]] == [row["loss"] for row in rows]
    summary = run_json(capsys, ["classify", str(stripes), "--network", str(networks / "one.safetensors"), "-q"])
    assert summary["labelled"]
    assert summary["images"] == 20
    assert summary["results"][0]["top1_error"] < 0.2


def test_again_it_is_up_to_date(networks: Path, stripes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train-net", str(stripes), *SMALL, "--sizes", "26,32", "--dropout", "0.2", "--schedule", "steps"]
    arguments += ["--epochs", "8", "--seed", "1", "-o", str(networks / "one.safetensors")]
    before = (networks / "one.safetensors").stat().st_mtime_ns
    assert run_json(capsys, arguments)["up_to_date"]
    assert (networks / "one.safetensors").stat().st_mtime_ns == before


def start(arguments: Sequence[str], launcher: Sequence[str] = ()) -> subprocess.Popen[str]:
    """spp in a process of its own, on one thread so that sums have one order."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *launcher, "-m", "sppcli", *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str]) -> str:
    """Its standard output, once it has ended well."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_weights(stripes: Path, tmp_path: Path) -> None:
    options = [str(stripes), *SMALL, "--epochs", "6", "--batch", "4", "--sizes", "26,32"]
    undisturbed, killed = tmp_path / "undisturbed.safetensors", tmp_path / "killed.safetensors"
    finish(start(["train-net", *options, "-o", str(undisturbed)]))
    again = ["train-net", *options, "-o", str(killed), "--checkpoint", "0"]
    process = start(again)
    checkpoint = Path(f"{killed}.checkpoint")
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert checkpoint.exists()
    assert not killed.exists()
    finish(start(again))
    assert same(undisturbed, killed)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(
        f"{name}.{end}" for name in ("undisturbed", "killed") for end in ("csv", "png", "safetensors")
    )


def test_two_processes_train_as_one(stripes: Path, tmp_path: Path) -> None:
    # 81 images in batches of 16: the last has one image, and one process none of its own.
    shutil.copy(stripes / "train" / "down" / "000.png", stripes / "train" / "down" / "extra.png")
    options = [str(stripes), *SMALL, "--sizes", "26,32"]
    try:
        assert main(["train-net", *options, "-o", str(tmp_path / "one.safetensors")]) == 0
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        process = start(["train-net", *options, "-o", str(tmp_path / "two.safetensors")], launcher)
        output = finish(process)
    finally:
        (stripes / "train" / "down" / "extra.png").unlink()
    assert output.count("two.safetensors: tiny") == 1  # the first process speaks, the other is silent
    one, two = (recorded_training(tmp_path / f"{name}.safetensors")["history"] for name in ("one", "two"))
    assert len(one) == 3
    for mine, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert theirs["validation_error"] == pytest.approx(mine["validation_error"], abs=0.051)


def test_a_folder_of_classes_is_divided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = draw_folder(tmp_path / "flat", {"": 20})
    arguments = ["train-net", str(flat), *SMALL, "--epochs", "1", "-o", str(tmp_path / "net.safetensors")]
    summary = run_json(capsys, [*arguments, "--held-out", "0.25", "--sizes", "32"])
    assert (summary["images"], summary["validation_images"]) == (30, 10)
    summary = run_json(capsys, [*arguments, "--held-out", "0", "--sizes", "26-32"])
    assert (summary["images"], summary["validation_images"], summary["validation_error"]) == (40, 0, None)


def test_starting_from_other_weights(
    networks: Path, stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = networks / "one.safetensors"
    arguments = ["train-net", str(stripes), *SMALL, "--sizes", "32", "--epochs", "1", "--rate", "1e-30"]
    arguments += ["--weight-decay", "0", "--init", str(first), "-o", str(tmp_path / "net.safetensors")]
    assert run_json(capsys, arguments)["taken"] == len(load_file(first))
    assert same(first, tmp_path / "net.safetensors")
    # Other widths: what does not fit starts at random.
    assert run_json(capsys, [*arguments, "--fc", "8"])["taken"] == 8
    assert main([*arguments, "--net", "zf5", "--fc", "16", "--sizes", "64"]) == 3
    assert "no tensor in it fits zf5" in capsys.readouterr().err
    assert main([*arguments, "--init", "imagenet"]) == 2
    assert "there are no ImageNet weights of tiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--net", "zf6"], 2, "unknown network 'zf6'; choose one of zf5, convnet5"),
        (["--no-spp"], 2, "tiny without a pyramid takes one input size, as --sizes 32"),
        (["--sizes", "4"], 2, "nothing is left of inputs of 4 pixels; give larger --sizes"),
        (["--sizes", "32-26"], 2, "not a range from a smaller to a larger size"),
        (["--sizes", "big"], 2, "'big' is not a list of whole numbers above zero, such as 224 or 180,224"),
        (["--side", "20"], 2, "images of 20 pixels cannot be cropped to 32; raise --side"),
        (["--init", "gone.safetensors"], 3, "gone.safetensors: there is no such weights file to start from"),
        (["--cut", "conv2"], 2, "--cut is for torchvision's networks"),
        (["-o", "nowhere/net.safetensors"], 3, "the folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_trained(
    options: list[str], code: int, message: str, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["train-net", str(stripes), *SMALL, "--sizes", "26,32", *options]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_checkpoint_of_other_options_is_not_gone_on_with(
    stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "net.safetensors"
    arguments = ["train-net", str(stripes), *SMALL, "--sizes", "26,32", "--checkpoint", "0", "-o", str(output)]
    process = start([*arguments, "--epochs", "500"])
    checkpoint = Path(f"{output}.checkpoint")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert main([*arguments, "--epochs", "2"]) == 2
    assert "belongs to a training with other options or images" in capsys.readouterr().err
    assert checkpoint.exists()
    assert main([*arguments, "--epochs", "2", "--force"]) == 0
    assert not checkpoint.exists()


def test_bad_images_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = draw_folder(tmp_path / "some", {"": 10})
    (folder / "down" / "broken.png").write_bytes(b"no picture")
    arguments = ["train-net", str(folder), *SMALL, "--epochs", "1", "--sizes", "32"]
    arguments += ["-o", str(tmp_path / "net.safetensors")]
    assert main([*arguments, "--strict"]) == 3
    assert "broken.png: not an image" in capsys.readouterr().err
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "warning: left out:" in printed.err
    assert "broken.png" in printed.err
    assert "1 image left out" in printed.out


# --- classifying ---


def test_an_ensemble_is_the_mean(networks: Path, stripes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(networks / f"{name}.safetensors") for name in ("one", "two", "base")]
    arguments = ["classify", str(stripes), "--split", "test", "--views", "ten", "--predictions", "-q"]
    alone = [run_json(capsys, [*arguments, "--network", file]) for file in files]
    together = run_json(capsys, [*arguments, *(part for file in files for part in ("--network", file))])
    assert [result["network"] for result in together["results"]] == [*files, "ensemble"]
    assert [result["source"] for result in together["results"]] == ["maps", "maps", "crops", "both"]
    for i in range(24):
        first = [named(a["predictions"][i]) for a in alone]
        got = together["predictions"][i]
        for name, value in zip(got["classes"], got["probabilities"], strict=True):
            assert value == pytest.approx(np.mean([one[name] for one in first]), abs=1e-5)


def named(prediction: dict) -> dict[str, float]:
    return dict(zip(prediction["classes"], prediction["probabilities"], strict=True))


@pytest.mark.parametrize("views", ["center", "ten", "full", "multi"])
def test_every_protocol(views: str, networks: Path, stripes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = str(networks / "one.safetensors")
    assert main(["classify", str(stripes), "--split", "test", "--views", views, "--network", network]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == ["network", "views", "from", "top-1", "error", "%", "top-5", "error", "%", "images/s"]
    assert "24 images of 2 classes" in printed.err
    error = float(lines[1].split()[3])
    assert error < 25
    assert lines[1].split()[4] == "-"  # no top-5 error of two classes


def test_images_without_classes_are_named(networks: Path, stripes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(stripes / "test" / "down" / "000.png")
    assert main(["classify", picture, "--network", str(networks / "one.safetensors"), "-q"]) == 0
    name, rest = capsys.readouterr().out.strip().split(": ")
    assert name == picture
    first, value, second, other = rest.split()
    assert {first, second} == {"across", "down"}
    assert float(value) + float(other) == pytest.approx(1, abs=2e-3)


def test_what_cannot_be_classified(
    networks: Path, stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, base = str(networks / "one.safetensors"), str(networks / "base.safetensors")
    picture = str(stripes / "test" / "down" / "000.png")

    def refused(arguments: list[str], code: int, message: str) -> None:
        capsys.readouterr()
        assert main(["classify", *arguments]) == code
        assert message in capsys.readouterr().err

    refused([picture, "--network", str(tmp_path / "none.safetensors")], 3, "none.safetensors")
    refused([picture, "--network", base, "--views", "multi"], 2, "its views are center and ten")
    refused([str(stripes), "--split", "tset", "--network", one], 3, "did you mean 'test'?")
    refused([picture, "--split", "test", "--network", one], 2, "leave out --split")
    (tmp_path / "bad.png").write_bytes(b"x")
    refused([str(tmp_path / "bad.png"), "--network", one], 3, "none of the 1 images could be read")
    refused([picture, str(tmp_path / "bad.png"), "--network", one, "--strict"], 3, "bad.png")
    more = draw_folder(tmp_path / "more", {"": 4})
    (more / "down").rename(more / "aslant")
    other = tmp_path / "other.safetensors"
    assert main(["train-net", str(more), *SMALL, "--epochs", "1", "--sizes", "32", "-o", str(other)]) == 0
    refused([picture, "--network", one, "--network", str(other)], 3, "has other classes than")
    refused([str(more), "--network", one], 3, "aslant is not one of the 2 classes")
