"""One flipped bit anywhere in any artefact: the stage that reads it refuses it, the one that made it makes it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sppcli.learn.checkpoints import Checkpoints
from tests.stages.conftest import SCALES, Run, Work

Command = tuple[str, ...]

EXTRACT: Command = ("extract", "-q", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32")
CALIBRATE: Command = ("calibrate", "--folds", "2", "-q")
FEATURES: Command = ("features", "shapes", "--weights", "net.safetensors", "--side", "48", "-q")
TRAIN: Command = ("train-net", "crops", "--net", "tiny", "--fc", "8", "--pyramid", "2,1", "--sizes", "24", "-q")
TRAIN = (*TRAIN, "--epochs", "1", "--checkpoint", "0")

# Kind -> its file, what reads it, what makes it and says "up to date" of a whole one.
KINDS: dict[str, tuple[str, Command, Command]] = {
    "proposals": ("proposals.h5", ("evaluate", "--proposals", "-q"), ("propose", "shapes", "-q", "-j", "1")),
    "features": ("features.h5", ("train-bbox", "--force", "-q"), EXTRACT),
    "svm": ("svm.h5", ("detect", "--force", "-q"), ("train-svm", "-q")),
    "bbox": ("bbox.h5", ("detect", "--force", "-q"), ("train-bbox", "-q")),
    "calibration": ("calibration.h5", ("evaluate", "-q", "--calibration", "calibration.h5"), CALIBRATE),
    "detections": ("detections.h5", ("evaluate", "-q"), ("detect", "-q")),
    "image-features": ("image-features.h5", ("probe", "-q"), FEATURES),
    "network": ("network.safetensors", ("classify", "crops/a/0.png", "--network", "network.safetensors"), TRAIN),
}
FLIPS = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7))


def flipped(data: bytes, where: float, bit: int) -> bytes:
    changed = bytearray(data)
    changed[int(where * len(data))] ^= 1 << bit
    return bytes(changed)


def law(check: Callable[[float, int], None], examples: int, more: Sequence[tuple[float, int]] = ()) -> None:
    """``check`` at random places, and at those where a header or a footer begins and ends."""
    function = given(FLIPS)(lambda flip: check(*flip))
    for flip in ((0.0, 0), (0.9999999, 7), *more):
        function = example(flip)(function)
    settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )(function)()


@pytest.fixture
def whole(work: Work, run: Run) -> Path:
    for name in ("a", "b"):
        (work.folder / "crops" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(work.folder / "crops" / name / f"{number}.png")
    for command in (("detect", "-q"), CALIBRATE, FEATURES, (*TRAIN, "-o", "network.safetensors")):
        code, _, err = run(*command)
        assert code == 0, err
    return work.folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_reads_it_refuses_it(whole: Path, run: Run, kind: str) -> None:
    name, reads, _ = KINDS[kind]
    path = Path(name)
    good = path.read_bytes()

    def check(where: float, bit: int) -> None:
        path.write_bytes(flipped(good, where, bit))
        code, _, err = run(*reads)
        assert code == 3, (where, bit, err)
        assert name in err
        assert "Traceback" not in err
        for how in ((), ("--verify",)):
            code, _, err = run("info", name, *how)
            assert "Traceback" not in err
            assert code == 3 or not how, (where, bit)

    law(check, 25, [(8 / len(good), 3), (100 / len(good), 5)])
    path.write_bytes(good)
    assert run(*reads)[0] == 0
    assert run("info", name, "--verify")[0] == 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "network"])
def test_what_made_it_makes_it_again(whole: Path, run: Run, kind: str) -> None:
    name, _, makes = KINDS[kind]
    path = Path(name)
    assert run(*makes, "--force")[0] == 0  # in this folder: a file says where its images were
    good = path.read_bytes()

    def check(where: float, bit: int) -> None:
        path.write_bytes(flipped(good, where, bit))
        code, out, err = run(*makes)
        assert code == 0, (where, bit, err)
        assert "up to date" not in out
        assert path.read_bytes() == good

    law(check, 3)
    assert "up to date" in run(*makes)[1]


def test_a_network_is_made_again(whole: Path, run: Run) -> None:
    path = Path("network.safetensors")
    good = path.read_bytes()

    def check(where: float, bit: int) -> None:
        path.write_bytes(flipped(good, where, bit))
        code, out, err = run(*TRAIN)
        assert code == 0, err
        assert "up to date" not in out
        assert run("info", "network.safetensors", "--verify")[0] == 0

    law(check, 2)


def test_a_checkpoint_is_refused(whole: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that would go on from it ends, and says how to begin anew."""
    monkeypatch.setattr(Checkpoints, "discard", lambda self: None)
    arguments = (*TRAIN, "-o", "again.safetensors")
    assert run(*arguments)[0] == 0
    kept, output = Path("again.safetensors.checkpoint"), Path("again.safetensors")
    good = kept.read_bytes()

    def check(where: float, bit: int) -> None:
        output.unlink(missing_ok=True)
        kept.write_bytes(flipped(good, where, bit))
        code, _, err = run(*arguments)
        assert code == 3, (where, bit, err)
        assert "again.safetensors.checkpoint" in err
        assert "Traceback" not in err
        assert not output.exists()

    law(check, 25)
    kept.write_bytes(good)
    assert run(*arguments)[0] == 0


def test_a_description_without_checksums_is_refused(whole: Path, run: Run) -> None:
    """A network of spp always has them; weights of others never."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open("network.safetensors", "numpy") as file:
        metadata = {name: text for name, text in file.metadata().items() if "checksum" not in name}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dict)
    save_file(tensors, "network.safetensors", metadata)
    code, _, err = run("classify", "crops/a/0.png", "--network", "network.safetensors")
    assert code == 3
    assert "network.safetensors: has no checksums" in err
    assert "spp train-net" in err
