"""--svd: fc layers truncated in the training, at test time, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.models import read_bbox, read_svm
from sppcli.detection.networks import load_head, window_reader
from sppcli.detection.split import open_split
from sppcli.nets import compression
from sppcli.nets.backbones import FcHead
from sppcli.nets.weight_files import save_tensors
from sppcli.nets.weights import load_network
from tests.stages.conftest import Run, Work, write_network

FC = ("--layer", "fc6", "-q", "--precision", "fp32")


def test_trained_on_truncated_layers(work: Work, run: Run) -> None:
    assert run("train-svm", *FC, "-o", "whole.h5")[0] == 0
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    whole, model = read_svm(Path("whole.h5")), read_svm(Path("svm.h5"))
    assert (whole.record.svd, model.record.svd) == ((), (8,))
    assert model.record.head_digest != whole.record.head_digest
    assert "up to date" in run("train-svm", *FC, "--svd", "8")[1]
    assert "up to date" not in run("train-svm", *FC, "--svd", "9")[1]
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    # The features are those of the network whose weight has been replaced by its best approximation.
    weight, bias = load_network("net.safetensors").head.layers["fc6"]
    left, values, right = np.linalg.svd(weight.numpy())
    best = (left[:, :8] * values[:8]) @ right[:8]
    with open_split(Path("proposals.h5"), Path("features.h5"), "test") as data:
        row = data.images[0]
        head, digest = load_head(data.features, "fc6", None, (8,))
        assert digest == model.record.head_digest
        boxes = data.windows(row)
        features = window_reader(data.features.scales, model.record, head).features(data.maps(row), boxes)
        pool5 = window_reader(data.features.scales, read_svm_of_pool5(run).record, None)
        pooled = pool5.features(data.maps(row), boxes)
    np.testing.assert_allclose(features, np.maximum(pooled @ best.T + bias.numpy(), 0), rtol=1e-3, atol=1e-3)


def read_svm_of_pool5(run: Run):
    assert run("train-svm", "-q", "-o", "pool5.h5")[0] == 0
    return read_svm(Path("pool5.h5"))


def test_detection_and_new_images_use_the_same_layers(work: Work, run: Run) -> None:
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    assert run("train-bbox", *FC, "--svd", "8")[0] == 0
    assert read_bbox(Path("bbox.h5")).record.svd == (8,)
    assert run("detect", "-q")[0] == 0
    test = work.voc.splits["test"]
    images = [str(work.voc.image(name)) for name in test]
    code, _, err = run("detect", "-q", *images, "-o", "new.h5", "--min-score", "-1.1", "-j", "1")
    assert code == 0, err
    stored, new = (read_detections(Path(name)).detections for name in ("detections.h5", "new.h5"))
    for label in range(3):
        ours, theirs = (np.sort(one.scores[one.label == label])[::-1][:5] for one in (stored, new))
        np.testing.assert_allclose(ours, theirs, atol=2e-2)
    # A box regressor of other layers is another reader, not an error: each is used as it was trained.
    assert run("train-bbox", *FC)[0] == 0
    assert run("detect", "-q", "-o", "mixed.h5")[0] == 0


def test_truncated_at_test_time(work: Work, run: Run) -> None:
    assert run("train-svm", *FC)[0] == 0
    assert run("train-bbox", *FC)[0] == 0
    assert run("detect", "-q", "-o", "whole.h5")[0] == 0
    scores = []
    for rank in ("31", "2"):
        assert run("detect", "-q", "--svd", rank, "-o", "d.h5")[0] == 0
        assert "up to date" in run("detect", "-q", "--svd", rank, "-o", "d.h5")[1]
        scores.append(np.sort(read_detections(Path("d.h5")).detections.scores)[-20:])
    assert "up to date" not in run("detect", "-q", "-o", "d.h5")[1]
    whole = np.sort(read_detections(Path("whole.h5")).detections.scores)[-20:]
    near, far = (np.abs(one - whole).max() for one in scores)
    assert 0 < near < far
    image = str(work.voc.image(work.voc.splits["test"][0]))
    lines = [run("detect", "-q", image, "-j", "1", *more)[1] for more in ((), ("--svd", "2"))]
    assert lines[0] != lines[1]


def test_factors_are_computed_once_for_a_model(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("train-svm", *FC)[0] == 0
    assert run("train-bbox", *FC)[0] == 0
    plain = compression.compressed
    ranks: list[tuple[int, ...]] = []

    def counting(head: FcHead, layer: str, wanted: tuple[int, ...]) -> FcHead:
        ranks.append(wanted)
        return plain(head, layer, wanted)

    monkeypatch.setattr(compression, "compressed", counting)
    kept, image = Path("svm.h5.svd-8.safetensors"), str(work.voc.image(work.voc.splits["test"][0]))

    def detect(rank: str) -> tuple[str, str]:
        code, out, err = run("detect", "-q", image, "-j", "1", "--svd", rank)
        assert code == 0, err
        return out, err

    first = detect("8")
    assert ranks == [(8,)]  # for SVMs and box regressors
    assert detect("8") == first
    assert run("detect", "-q", "--svd", "8", "-o", "d.h5")[0] == 0
    assert ranks == [(8,)]
    detect("6")
    assert ranks == [(8,), (6,)]
    # Damaged in its bytes, or in what it holds, it is made again and says so.
    whole = kept.read_bytes()
    # Copies: what safetensors gives lies in the file, which is overwritten below.
    tensors = {name: tensor.clone() for name, tensor in load_file(kept).items()}
    with safe_open(kept, "pt") as file:
        metadata = file.metadata()
    save_tensors(Path("wrong.safetensors"), {"fc6.left": tensors["fc6.left"][:, :7].contiguous()}, metadata)
    for wrong in (whole[:40], Path("wrong.safetensors").read_bytes()):
        ranks.clear()
        kept.write_bytes(wrong)
        out, err = detect("8")
        assert out == first[0]
        assert "svm.h5.svd-8.safetensors" in err
        assert "truncated anew" in err
        assert ranks == [(8,)]
        assert kept.read_bytes() == whole
    # Factors of other fc layers are not taken.
    save_tensors(kept, tensors, {"digest": "another"})
    assert detect("8") == first
    assert kept.read_bytes() == whole


def test_factors_that_cannot_be_kept_are_told_of(work: Work, run: Run) -> None:
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    Path("svm.h5.svd-8.safetensors").mkdir()
    code, out, err = run("detect", "--no-bbox", str(work.voc.image(work.voc.splits["test"][0])), "-j", "1", "-q")
    assert code == 0, err
    assert out
    assert "svm.h5.svd-8.safetensors cannot be written (Is a directory)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-svm", "--svd", "8"], "pool5 has none"),
        (["train-bbox", "--svd", "8"], "pool5 has none"),
        (["train-svm", "--layer", "fc6", "--svd", "32"], "--svd 32: fc6 has rank 32 already; give one below 32"),
        (["train-svm", "--layer", "fc6", "--svd", "8,8"], "fc6 is reached through fc6; give 1 rank"),
        (["train-svm", "--layer", "fc6", "--svd", "0"], "'0' is not a list of whole numbers above zero"),
        (["detect", "--svd", "8"], "svm.h5 reads none from conv maps; leave it out"),
    ],
)
def test_ranks_that_do_not_fit(work: Work, run: Run, arguments: list[str], message: str) -> None:
    code, _, err = run(*arguments, "-q")
    assert code == 2
    assert message in " ".join(err.split())


def test_truncated_twice(work: Work, run: Run) -> None:
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    code, _, err = run("detect", "-q", "--no-bbox", "--svd", "4")
    assert code == 2
    assert "svm.h5 was trained with --svd 8 and is used with it; leave out --svd" in err


def test_features_of_windows_have_been_through_their_layers(work: Work, run: Run) -> None:
    assert (
        run("extract", "--method", "rcnn", "--weights", "net.safetensors", "-o", "features.h5", "--force", "-q")[0] == 0
    )
    code, _, err = run("train-svm", "-q", "--svd", "8")
    assert code == 2
    assert "leave out --layer, --pyramid, --svd and --weights" in err


def test_other_fc_layers_are_refused(work: Work, run: Run) -> None:
    """Same trunk, other fc6."""
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    other = write_network(Path("other.safetensors"), seed=0)
    with safe_open(other, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(other)
    tensors["fc.fc6.weight"] *= 2
    save_tensors(other, tensors, metadata)
    image = str(work.voc.image(work.voc.splits["test"][0]))
    code, _, err = run("detect", "-q", "--no-bbox", image, "--weights", "other.safetensors")
    assert code == 4
    assert "svm.h5 was trained on other fc layers than" in err


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_on_a_device(work: Work, run: Run, place: str) -> None:
    """Pooled by torchvision and through fc6 on the device: the features of the compiled way."""
    if place == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    assert run("train-svm", *FC, "--svd", "8")[0] == 0
    record = read_svm(Path("svm.h5")).record
    with open_split(Path("proposals.h5"), Path("features.h5"), "test") as data:
        head, _ = load_head(data.features, "fc6", None, (8,))
        row = data.images[0]
        maps, boxes, scales = data.maps(row), data.windows(row), data.features.scales
        plain = window_reader(scales, record, head).features(maps, boxes)
        there = window_reader(scales, record, head, torch.device(place)).features(maps, boxes)
    tolerance = 0 if place == "cpu" else 1e-4
    np.testing.assert_allclose(there, plain, rtol=tolerance, atol=tolerance)


def test_bfloat16_is_recorded_and_used(work: Work, run: Run) -> None:
    assert run("train-svm", "--layer", "fc6", "-q", "--precision", "bf16")[0] == 0
    record = read_svm(Path("svm.h5")).record
    assert record.precision == "bf16"
    with open_split(Path("proposals.h5"), Path("features.h5"), "test") as data:
        head, _ = load_head(data.features, "fc6")
        row = data.images[0]
        near = window_reader(data.features.scales, record, head).features(data.maps(row), data.windows(row))
    # Eight significant bits, so that the lower 16 of float32 are zero.
    assert not (near.view(np.uint32) & 0xFFFF).any()
    assert run("detect", "-q", "--no-bbox")[0] == 0
    assert run("train-svm", "-q", "--precision", "bf16")[0] == 0
    assert read_svm(Path("svm.h5")).record.precision == "fp32"  # pool5 has no fc layers
