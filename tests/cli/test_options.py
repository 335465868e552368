"""Shared option types: what they take, and what they say otherwise."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
import pytest

from sppcli.cli import options
from sppcli.cli.main import COMMANDS
from sppcli.images import INPUTS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (options.IntList(), "480,576, 688", (480, 576, 688)),
        (options.IntList(), "7", (7,)),
        (options.NameList("a,b"), "000005, a b,000005", ("000005", "a b")),
        (options.Fraction(), "0", 0.0),
        (options.Fraction(), "1", 1.0),
        (options.Fraction(), ".3", 0.3),
        (options.PositiveFloat(), "1e-3", 0.001),
        (options.Number(), "-0.5", -0.5),
        (options.Device(), "cuda:1", "cuda:1"),
    ],
)
def test_taken(kind: Any, text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "part"),
    [
        (options.IntList("6,3,2,1"), "6,0", "such as 6,3,2,1"),
        (options.IntList("6,3,2,1"), "", "such as 6,3,2,1"),
        (options.IntList("6,3,2,1"), "6,,1", "such as 6,3,2,1"),
        (options.IntList("6,3,2,1"), "6;3", "'6;3' is not a list of whole numbers above zero"),
        (options.IntList(), "-480", "whole numbers above zero"),
        (options.IntList(), "4.5", "whole numbers above zero"),
        (options.IntList(), "480,576,480", "480 stands twice"),
        (options.NameList("000005,000007"), "a,,b", "such as 000005,000007"),
        (options.Fraction(0.3), "1.01", "from 0 to 1, such as 0.3"),
        (options.Fraction(), "-0.1", "from 0 to 1"),
        (options.Fraction(), "nan", "from 0 to 1"),
        (options.Fraction(), "half", "from 0 to 1"),
        (options.PositiveFloat(0.001), "0", "above zero, such as 0.001"),
        (options.PositiveFloat(), "inf", "above zero"),
        (options.Number(), "nan", "is not a number"),
        (options.Device(), "gpu", "auto, cpu, cuda"),
        (options.Device(), "cuda:", "auto, cpu, cuda"),
    ],
)
def test_refused(kind: Any, text: str, part: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert part in caught.value.message


def test_int_list_text_is_its_own_inverse() -> None:
    assert options.IntList().convert(options.IntList.text((6, 3, 2, 1)), None, None) == (6, 3, 2, 1)


@pytest.mark.parametrize("command", ["extract", "features", "train-net"])
def test_every_way_to_read_pixels_can_be_named(command: str) -> None:
    parameters = import_module(COMMANDS[command]).command.params
    (kind,) = [item.type for item in parameters if item.name == "normalisation"]
    assert isinstance(kind, click.Choice)
    assert set(kind.choices) == set(INPUTS)
