"""The text format: what protobuf's own writer writes is read back, as are the liberties that people's files take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from sppcli.caffe.prototxt import Block, parse_prototxt, read_prototxt
from sppcli.errors import BadInput, MissingInput
from tests.caffe.proto import message

PATH = Path("net.prototxt")


def parse(text: str) -> Block:
    return parse_prototxt(text, PATH)


strings = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)
layers = st.lists(
    st.tuples(strings, st.lists(strings, max_size=3), st.lists(st.integers(0, 2**31 - 1), max_size=3)), max_size=4
)


@given(strings, layers, st.booleans())
def test_what_protobuf_writes_is_read(name: str, drawn: list, one_line: bool) -> None:
    net = message("NetParameter", name=name, input_dim=[1, 3, 227, 227])
    for layer_name, bottoms, sizes in drawn:
        layer = net.layer.add(name=layer_name, bottom=bottoms, loss_weight=[0.5, 1e-7])
        layer.convolution_param.kernel_size.extend(sizes)
    block = parse(text_format.MessageToString(net, as_one_line=one_line))
    assert block.text("name") == name
    assert block.integers("input_dim") == [1, 3, 227, 227]
    assert len(block.blocks("layer")) == len(drawn)
    for found, (layer_name, bottoms, sizes) in zip(block.blocks("layer"), drawn, strict=True):
        assert (found.text("name"), found.texts("bottom")) == (layer_name, bottoms)
        assert found.numbers("loss_weight") == [0.5, 1e-7]
        assert found.blocks("convolution_param")[0].integers("kernel_size") == sizes


def test_liberties() -> None:
    block = parse(
        """# a comment { with braces "and quotes
        name: 'single' "joined" # another
        layer: { type: "a # b" } layer < dim: [1, 2,3] ; scale: .5f, flag: true; ip:0x10 >
        layer {} lr: 1. lr:-2e-3 pool: MAX"""
    )
    assert block.text("name") == "singlejoined"
    first, second, third = block.blocks("layer")
    assert (first.text("type"), third.values) == ("a # b", {})
    assert (second.integers("dim"), second.number("scale", 0), second.integer("ip", 0)) == ([1, 2, 3], 0.5, 16)
    assert second.flag("flag", False)
    assert block.numbers("lr") == [1.0, -2e-3]
    assert (block.text("pool"), block.text("absent", "default")) == ("MAX", "default")
    assert parse("a: 1 a: 2").integer("a", 0) == 2
    assert parse("").values == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("layer {\n name: 'a'\n", "line 3: a field's name or '}' expected, but there is the end of the file"),
        ("a: 1\n}", "line 2: a field's name expected, but there is '}'"),
        ("a 1", "line 1: ':' or '{' after a expected, but there is '1'"),
        ("a:", "line 1: a value expected, but there is the end of the file"),
        ("a: [1 2]", "',' or ']' expected, but there is '2'"),
        ("a: 1\nb: @", "not a prototxt file at line 2: '@'"),
        ('a: "open\nb: 1', "not a prototxt file at line 1"),
        ("a {" * 60, "more than 50 blocks inside one another"),
        ("a: " + "[" * 60, "more than 50 lists inside one another"),
        ("a < b: 1 }", "a field's name or '>' expected"),
    ],
)
def test_what_is_no_prototxt(text: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert str(caught.value).startswith("net.prototxt: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_of_another_kind() -> None:
    block = parse("a: 1.5 b: x c: maybe")
    with pytest.raises(BadInput, match=r"net.prototxt: a after line 1 should be a whole number, not '1.5'"):
        block.integer("a", 0)
    with pytest.raises(BadInput, match="b after line 1 should be a number, not 'x'"):
        block.number("b", 0)
    with pytest.raises(BadInput, match="c after line 1 should be true or false, not 'maybe'"):
        block.flag("c", True)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadInput):  # and no other error
        parse(text)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="there is no such prototxt file"):
        read_prototxt(tmp_path / "none")
    with pytest.raises(BadInput, match="not readable"):
        read_prototxt(tmp_path)
    (tmp_path / "net").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BadInput, match=r"not a text file; give the network's .prototxt, not its weights"):
        read_prototxt(tmp_path / "net")
