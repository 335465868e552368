"""Finds a backbone's tensors in a file, under whatever table, prefix or numbering they were saved.

Wanted are the trunk up to the cut and the backbone's fc layers. Last layers of other sizes, optimisers and averages
are left out; `Fit.left_out` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sppcli.errors import BadInput

Shapes = Mapping[str, tuple[int, ...]]
_COUNTER = "num_batches_tracked"
# Of two copies of a network in one file, one with such a name is an average or an older state of the other.
_AVERAGES = ("ema", "teacher", "target", "encoder_k", "momentum", "swa", "avg", "average", "averaged", "shadow")


@dataclass(frozen=True)
class Wanted:
    """Tensors of a backbone: shapes by name of the ``trunk``'s and of ``all``; ``children``: its modules by name;
    ``other_names``: see `backbones.BackboneSpec`."""

    trunk: Shapes
    all: Shapes
    children: tuple[str, ...]
    other_names: tuple[Callable[[str], str], ...] = ()

    @classmethod
    def of(cls, model: nn.Module, trunk: nn.Module, other_names: tuple[Callable[[str], str], ...] = ()) -> Wanted:
        """List what ``trunk``, cut out of ``model``, needs; counts of batches are not part of it."""

        needed = {k: tuple(v.shape) for k, v in trunk.state_dict().items() if not k.endswith(_COUNTER)}
        everything = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        return cls(needed, everything, tuple(name for name, _ in model.named_children()), other_names)


@dataclass(frozen=True)
class Fit:
    """``tensors`` of a file by the backbone's names; ``prefix``: what stands before them in the file (``state_dict.``).

    ``problem``: why they are not this backbone's weights, or ""; ``matched``: how many of the trunk's are there.
    ``left_out``: a summary of what else the file holds. ``plain``: the file holds the backbone's tensors alone, under
    their own names.
    """

    tensors: Mapping[str, torch.Tensor]
    prefix: str
    problem: str
    matched: int
    left_out: tuple[str, ...] = ()
    plain: bool = True

    @property
    def where_from(self) -> str:
        """What a sentence on the file goes on with: the table that was read, and what was left out."""
        table, names = self.prefix.rstrip("."), self.left_out
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        without = f"; left out: {', '.join(names[:6])}{more}" if names else ""
        return f"{f', from {table}' if table else ''}{without}"


def fit(wanted: Wanted, found: Mapping[str, torch.Tensor], where: str) -> Fit:
    """Return the best reading of ``found`` as the tensors ``wanted``.

    Raises:
        BadInput: the file holds several copies of the network that differ; the text names them and the file ``where``.
    """
    readings: list[Fit] = []
    for naming in _namings(wanted):
        some = [_reading(wanted, found, naming, prefix) for prefix in _prefixes(wanted, found, naming.rename)]
        whole = [reading for reading in some if not reading.problem]
        if whole:
            return _one_of(whole, wanted, where)
        readings += some
    if not readings:
        name, shape = next(iter(wanted.trunk.items()))
        return Fit({}, "", f"{name} {shape} is missing", 0)
    return max(readings, key=lambda reading: reading.matched)


Rename = Callable[[str], str | None]


@dataclass(frozen=True)
class _Naming:
    """``rename``: a tensor's name in such a file, None for one that it cannot have; ``own``: it is the backbone's own.

    ``numbers``: every number that a name begins with is a layer of the trunk.
    """

    rename: Rename
    own: bool = False
    numbers: bool = False


def _namings(wanted: Wanted) -> list[_Naming]:
    """List the names under which files hold a backbone: its own; those of other programs; those of ``features`` saved
    by itself; children by number, as ``nn.Sequential(*model.children())`` has them."""
    number = {name: str(position) for position, name in enumerate(wanted.children)}

    def numbered(name: str) -> str | None:
        first, _, rest = name.partition(".")
        return f"{number[first]}.{rest}" if first in number and rest else None

    def bare(name: str) -> str | None:
        return name.removeprefix("features.") if name.startswith("features.") else None

    namings = [_Naming(lambda name: name, own=True), *map(_Naming, wanted.other_names), _Naming(numbered)]
    if all(name.startswith("features.") for name in wanted.trunk):
        namings.append(_Naming(bare, numbers=True))
    return namings


def _prefixes(wanted: Wanted, found: Mapping[str, torch.Tensor], rename: Rename) -> list[str]:
    """List what may stand before the names: all that stands before the trunk's first, middle or last tensor."""
    names = list(wanted.trunk)
    ends = {rename(name) for name in (names[0], names[len(names) // 2], names[-1])}
    prefixes = {
        name[: -len(end)]: None for name in found for end in ends if end and (name == end or name.endswith(f".{end}"))
    }
    return list(prefixes)


def _reading(wanted: Wanted, found: Mapping[str, torch.Tensor], naming: _Naming, prefix: str) -> Fit:
    place = {name: f"{prefix}{other}" for name in wanted.all if (other := naming.rename(name)) is not None}
    tensors = {
        name: found[there]
        for name, there in place.items()
        if there in found and tuple(found[there].shape) == wanted.all[name]
    }
    known = set(place.values())
    others = [name for name in found if name not in known and not name.endswith(_COUNTER)]
    inside = {place[name].removeprefix(prefix).split(".")[0] for name in wanted.trunk}

    def of_the_trunk(name: str) -> bool:
        first = name.removeprefix(prefix).split(".")[0]
        return name.startswith(prefix) and (first in inside or (naming.numbers and first.isdecimal()))

    problem = _problem(wanted, found, place) or next(
        (f"{name} {tuple(found[name].shape)} is not a tensor of it" for name in others if of_the_trunk(name)), ""
    )
    resized = [there for name, there in place.items() if there in found and name not in tensors]
    return Fit(
        tensors,
        prefix,
        problem,
        sum(name in tensors for name in wanted.trunk),
        _groups([*resized, *others], prefix),
        naming.own and not (prefix or resized or others),
    )


def _problem(wanted: Wanted, found: Mapping[str, torch.Tensor], place: Mapping[str, str]) -> str:
    """Name the first tensor of the trunk that is missing or of another shape; "" if all are there."""
    missing = [f"{place[name]} {shape} is missing" for name, shape in wanted.trunk.items() if place[name] not in found]
    shapes = {name: tuple(found[place[name]].shape) for name in wanted.trunk if place[name] in found}
    other = [
        f"{place[name]} has shape {shape}, not {wanted.trunk[name]}"
        for name, shape in shapes.items()
        if shape != wanted.trunk[name]
    ]
    numbers = [
        f"{place[name]} holds {str(found[place[name]].dtype).removeprefix('torch.')}, not floating-point numbers"
        for name in shapes
        if not found[place[name]].is_floating_point()
    ]
    return next(iter((*missing, *other, *numbers)), "")


def _groups(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    """Summarise ``names``: the parts of the network besides the trunk, and the other tables of the file."""
    groups: dict[str, None] = {}
    for name in names:
        inner = name.removeprefix(prefix)
        parts = inner.split(".")
        if name.startswith(prefix):
            groups[".".join(parts[:-1][:2]) if len(parts) > 1 else parts[0]] = None
        else:
            # Up to where it parts from the table that is read: state_dict.teacher beside state_dict.student.
            same = next(i for i, (a, b) in enumerate(zip(parts, [*prefix.split("."), ""], strict=False)) if a != b)
            groups[".".join(parts[: same + 1])] = None
    return tuple(groups)


def _one_of(whole: Sequence[Fit], wanted: Wanted, where: str) -> Fit:
    """Choose among several copies of the network in a file: the one that is no average, or any of equal ones."""
    first = whole[0]
    different = [other for other in whole[1:] if not _same(first, other, wanted)]
    if not different:
        return first
    own = [reading for reading in whole if not _is_average(reading.prefix)]
    if own and all(_same(own[0], other, wanted) for other in own[1:]):
        return own[0]
    names = ", ".join(reading.prefix.rstrip(".") or "the file itself" for reading in whole)
    raise BadInput(f"{where}: holds {len(whole)} copies of the network that differ ({names}); save one of them alone")


def _same(one: Fit, other: Fit, wanted: Wanted) -> bool:
    return all(
        one.tensors[name] is other.tensors[name] or torch.equal(one.tensors[name], other.tensors[name])
        for name in wanted.trunk
    )


def _is_average(prefix: str) -> bool:
    words = prefix.replace("_", ".").split(".")
    return any(word in words or word in prefix.split(".") for word in _AVERAGES)
