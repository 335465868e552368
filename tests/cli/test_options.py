"""Shared option types: what they take, and what they say otherwise."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
import pytest

from sppcli.cli.main import COMMANDS
from sppcli.cli.types import Device, Fraction, IntList, NameList, Number, PositiveFloat
from sppcli.images import INPUTS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (IntList(), "480,576, 688", (480, 576, 688)),
        (IntList(), "7", (7,)),
        (NameList("a,b"), "000005, a b,000005", ("000005", "a b")),
        (Fraction(), "0", 0.0),
        (Fraction(), "1", 1.0),
        (Fraction(), ".3", 0.3),
        (PositiveFloat(), "1e-3", 0.001),
        (Number(), "-0.5", -0.5),
        (Device(), "cuda:1", "cuda:1"),
    ],
)
def test_taken(kind: Any, text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "part"),
    [
        (IntList("6,3,2,1"), "6,0", "such as 6,3,2,1"),
        (IntList("6,3,2,1"), "", "such as 6,3,2,1"),
        (IntList("6,3,2,1"), "6,,1", "such as 6,3,2,1"),
        (IntList("6,3,2,1"), "6;3", "'6;3' is not a list of whole numbers above zero"),
        (IntList(), "-480", "whole numbers above zero"),
        (IntList(), "4.5", "whole numbers above zero"),
        (IntList(), "480,576,480", "480 stands twice"),
        (NameList("000005,000007"), "a,,b", "such as 000005,000007"),
        (Fraction(0.3), "1.01", "from 0 to 1, such as 0.3"),
        (Fraction(), "-0.1", "from 0 to 1"),
        (Fraction(), "nan", "from 0 to 1"),
        (Fraction(), "half", "from 0 to 1"),
        (PositiveFloat(0.001), "0", "above zero, such as 0.001"),
        (PositiveFloat(), "inf", "above zero"),
        (Number(), "nan", "is not a number"),
        (Device(), "gpu", "auto, cpu, cuda"),
        (Device(), "cuda:", "auto, cpu, cuda"),
    ],
)
def test_refused(kind: Any, text: str, part: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert part in caught.value.message


def test_int_list_text_is_its_own_inverse() -> None:
    assert IntList().convert(IntList.text((6, 3, 2, 1)), None, None) == (6, 3, 2, 1)


@pytest.mark.parametrize("command", ["extract", "features", "train-net"])
def test_every_way_to_read_pixels_can_be_named(command: str) -> None:
    parameters = import_module(COMMANDS[command]).command.params
    (kind,) = [item.type for item in parameters if item.name == "normalisation"]
    assert isinstance(kind, click.Choice)
    assert set(kind.choices) == set(INPUTS)
