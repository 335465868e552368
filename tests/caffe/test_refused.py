"""Caffe networks that ours cannot express, and weights that do not fit: one sentence, naming the layer and the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sppcli.errors import BadInput, UsageProblem
from tests.caffe.test_network import of_golden, read, same
from tests.golden_convention import GOLDEN


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('type: "LRN"', 'type: "BatchNorm"', "layer norm1 is of type BatchNorm, which spp's networks cannot express"),
        ("alpha: 0.0001", "alpha: 0.0001 k: 2", "layer norm1 normalises with k = 2"),
        ("beta: 0.75", "beta: 0.75 norm_region: WITHIN", "layer norm1 has a norm_region of WITHIN; it can be ACROSS_"),
        ("local_size: 5", "local_size: 4", "layer norm1 has an even local_size of 4"),
        ("pool: MAX", "pool: AVE", "layer pool1 pools by AVE"),
        ("pool: MAX kernel_size: 3 stride: 2", "global_pooling: true", "layer pool1 is a second of its kind"),
        ("kernel_size: 3 stride: 2 }", "kernel_size: 2 stride: 3 }", "layer pool1 has a stride larger than its window"),
        ("kernel_size: 3 stride: 2 }", "kernel_size: 3 stride: 2 pad: 2 }", "layer pool1 pads by more than half"),
        (
            "kernel_size: 11",
            "kernel_h: 11 kernel_w: 7",
            "layer conv1 has a kernel that is not the same along both axes",
        ),
        ("kernel_size: 11", "", "layer conv1 has no kernel_size"),
        ("stride: 4", "stride: 0", "layer conv1 has a stride of 0"),
        ("num_output: 6", "", "layer conv1 has no num_output"),
        ("num_output: 6", "num_output: six", "num_output after line 3 should be a whole number, not 'six'"),
        ("stride: 4", "stride: 4 dilation: 2", "layer conv1 is a dilated convolution"),
        ("group: 2", "group: 5", "layer conv2 has 8 outputs in 5 groups"),
        ('bottom: "norm1"', 'bottom: "nothing"', "layer pool1 reads 'nothing', which no layer before it makes"),
        ('name: "relu1" type: "ReLU"', 'name: "relu1" type: "Dropout"', "layer norm1 reads conv1 without a ReLU"),
        ('name: "relu6" type: "ReLU"', 'name: "relu6" type: "Dropout"', "layer fc7 reads fc6 without a ReLU"),
        ('name: "relu1" type: "ReLU"', 'name: "relu1" type: "PReLU"', "layer relu1 is of type PReLU"),
        ('type: "ReLU"', 'type: "ReLU" relu_param { negative_slope: 0.1 }', "layer relu1 is a ReLU with a slope below"),
        ('bottom: "fc8"', 'bottom: "conv1"', None),  # the Softmax: ignored
        ('name: "fc8" type: "InnerProduct"', 'name: "fc8" type: "Softmax"', "ends with the ReLU of fc7"),
        ("dim: 103 dim: 103", "dim: 103 dim: 90", "the input is (3, 103, 90)"),
        ("dim: 3", "dim: 1", "the input is (1, 103, 103)"),
        ("dim: 103 dim: 103", "dim: 20 dim: 20", "an input of 20 pixels is too small for layer pool2"),
        ("num_output: 12 }", "num_output: 12 transpose: true }", "layer fc7 has its weights or axes in another order"),
    ],
)
def test_what_cannot_be_expressed(tmp_path: Path, old: str, new: str, what: str | None) -> None:
    path = tmp_path / "net.prototxt"
    text = (GOLDEN / "caffe-alexnet.prototxt").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    if what is None:
        assert same(read(path, GOLDEN / "caffe-alexnet.caffemodel").model, of_golden("alexnet").model)
        return
    with pytest.raises(BadInput) as caught:
        read(path, GOLDEN / "caffe-alexnet.caffemodel")
    assert str(caught.value).startswith(f"{path}: {what}")
    assert "\n" not in str(caught.value)


OTHER_FC = 'name: "box" type: "InnerProduct" inner_product_param { num_output: 2 }'


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"Concat"', '"Eltwise"', "layer joined is of type Eltwise"),
        ('bottom: "flat6"', 'bottom: "conv5"', "layer joined is a Concat of other things than flattened poolings"),
        ('"spm1" type: "Pooling" bottom: "conv5"', '"spm1" type: "Pooling" bottom: "pool2"', "joins other things"),
        ('"Concat"', '"Concat" concat_param { axis: 2 }', "layer joined is a Concat along axis 2"),
        ('name: "prob" type: "Softmax"', OTHER_FC, "layer box reads fc8 without"),
        ('name: "prob" type: "Softmax" bottom: "fc8"', f'{OTHER_FC} bottom: "fc7"', "has two outputs, "),
    ],
)
def test_joined_layers_that_cannot_be_expressed(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = tmp_path / "net.prototxt"
    text = re.sub(
        r"layers \{ (.*?) (name: \S+ )type: (\w+)",
        lambda m: f'layer {{ {m[2]}type: "{m[3].title().replace("_", "")}" {m[1]}'.replace(
            "Innerproduct", "InnerProduct"
        ),
        (GOLDEN / "caffe-zf5.prototxt").read_text(),
    )
    path.write_text(text)
    assert same(read(path, GOLDEN / "caffe-zf5.caffemodel", "caffe-128").model, of_golden("zf5").model)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        read(path, GOLDEN / "caffe-zf5.caffemodel")
    assert str(caught.value).startswith(f"{path}: {what}")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('name: "conv3"', 'name: "conv3x"', r"no weights of layer conv3x of .*; there are those of conv1, conv2"),
        ("kernel_size: 11", "kernel_size: 9", r"layer conv1 has weights of shape \(6, 3, 11, 11\), not \(6, 3, 9, 9\)"),
        ("group: 2", "group: 1", r"layer conv2 has weights of shape \(8, 3, 5, 5\), not \(8, 6, 5, 5\) as .*txt says"),
        ("num_output: 12 }", "num_output: 13 }", r"layer fc7 has weights of shape \(12, 16\), not \(13, 16\)"),
        ("group: 1", "group: 1 bias_term: false", r"layer conv1 has 2 arrays, not 1 as .*net.prototxt says"),
        (
            "dim: 103 dim: 103",
            "dim: 139 dim: 139",
            r"\(16, 72\), not \(16, 128\) as 4 x 4 bins of 8 channels in .* need",
        ),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, old: str, new: str, what: str) -> None:
    path, model = tmp_path / "net.prototxt", GOLDEN / "caffe-alexnet.caffemodel"
    text = (GOLDEN / "caffe-alexnet.prototxt").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=what) as caught:
        read(path, model)
    assert str(caught.value).startswith(f"{model}: ")
    assert "\n" not in str(caught.value)


def test_a_blob_whose_numbers_are_fewer_than_its_shape(tmp_path: Path) -> None:
    data = (GOLDEN / "caffe-alexnet.caffemodel").read_bytes()
    # fc8's weights are 5 x 12; the shape of its BlobShape is made 5 x 13.
    shape = b"\x3a\x04\x0a\x02\x05\x0c"
    assert data.count(shape) == 1
    (tmp_path / "net.caffemodel").write_bytes(data.replace(shape, shape[:-1] + b"\x0d"))
    with pytest.raises(BadInput, match=r"layer fc8 has weights of shape \(5, 13\) but 60 numbers"):
        read(GOLDEN / "caffe-alexnet.prototxt", tmp_path / "net.caffemodel")


def test_side_and_classes(tmp_path: Path) -> None:
    text = (GOLDEN / "caffe-alexnet.prototxt").read_text().replace("input_param", "nothing_param")
    (tmp_path / "net.prototxt").write_text(text)
    model = GOLDEN / "caffe-alexnet.caffemodel"
    with pytest.raises(
        UsageProblem, match=r"net.prototxt does not say how large its input is; give --side, such as 227"
    ):
        read(tmp_path / "net.prototxt", model)
    assert same(read(tmp_path / "net.prototxt", model, side=103).model, of_golden("alexnet").model)
    assert of_golden("alexnet", classes=list("abcde")).model.architecture.classes == tuple("abcde")
    with pytest.raises(
        BadInput, match=r"caffe-alexnet.prototxt: layer fc8 has 5 outputs, but --classes names 4 classes"
    ):
        of_golden("alexnet", classes=list("abcd"))
