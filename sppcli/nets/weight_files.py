"""Reads files of weights as tensors by name: safetensors, and whatever ``torch.save`` wrote.

No file's code is ever run: torch's are read with ``weights_only=True``. A training's checkpoint often holds more than
tensors and plain values (its options as an ``argparse.Namespace``, NumPy numbers, paths, the whole module); objects of
such classes become empty placeholders, and neither their classes nor their modules are imported. A file that calls one
of Python's own functions is refused.
"""

from __future__ import annotations

import builtins
import errno
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sppcli.errors import BadArtefact, BadInput
from sppcli.runtime.files import replacing
from sppcli.runtime.inputs import check_regular, open_regular
from sppcli.runtime.tensor_files import checksum, finish, read_metadata, with_checksums

Tensors = dict[str, torch.Tensor]

SUFFIXES = (".pth", ".pt", ".th", ".bin", ".ckpt", ".tar", ".pkl", ".pickle", ".model", ".weights")
"""Endings of the files that ``torch.save`` writes; .tar stands for .pth.tar. Files with others are opened to see."""

WRITTEN_BY = (
    "make it again with the command that wrote it (spp train-net, spp finetune, spp train-detector or spp import-caffe)"
)
"""What errors advise about a damaged network."""

_MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")
_UNKNOWN_GLOBAL = re.compile(r"Unsupported global: GLOBAL (\S+) was not")
# What stands between a module and its parameters in a pickled module, and what wrappers put into every name.
_NO_NAMES = {"_modules", "_parameters", "_buffers", "module", "_orig_mod"}
_NO_NAMES |= {"_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_DEPTH = 40


def read_weights(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return every tensor in the file, and the metadata of a safetensors file.

    Names are the keys that lead to a tensor, joined by dots, as ``state_dict.features.0.weight``; the names that
    DataParallel, torch.compile and other wrappers add (``module``, ``_orig_mod``) are left out wherever they stand.
    Floating-point numbers of any precision are converted to float32.

    Raises:
        BadInput: the file cannot be read, holds no tensors by name, or calls functions.
    """
    kind = _kind(path)
    if kind == "safetensors":
        found, metadata = read_tensors(path)
        named: Iterator[tuple[str, torch.Tensor]] = iter(found.items())
    else:
        metadata = {}
        named = ((".".join(keys), tensor) for keys, tensor in _tensors_in(_read_torch(path), ()))
    tensors: Tensors = {}
    for name, value in named:
        if name:
            plain = ".".join(part for part in name.split(".") if part not in _NO_NAMES)
            tensors.setdefault(plain or name, _float32(value))
    if not tensors:
        raise BadInput(f"{path}: holds no table of tensors; save the network's state_dict()")
    return tensors, metadata


def read_tensors(path: Path, again: str = WRITTEN_BY, ours: bool = False) -> tuple[Tensors, dict[str, str]]:
    """Return tensors and metadata of a safetensors file of any name; every byte of one that spp wrote is checked.

    Args:
        again: the end of an error's sentence, which says how a damaged file is made again.
        ours: whether a file without checksums is refused, as all that spp writes have them.

    Raises:
        BadInput: the file cannot be read, or is damaged; names the tensor.
    """
    try:
        metadata = read_metadata(path)
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except BadArtefact as error:
        raise BadInput(f"{error}; {again}") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path}: not a readable weights file ({reason(error)}); make or fetch it again") from None
    if ours and not metadata.checked:
        raise BadInput(f"{path}: has no checksums, as all files of spp have; {again}")
    return tensors, metadata.values


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write ``tensors`` as one whole safetensors file with checksums, or none; equal tensors make equal files.

    The file is read again and compared with ``tensors`` before it gets its name.

    Raises:
        OSError: it could not be written, as on a full disk.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    sums = {name: checksum(value.reshape(-1).view(torch.uint8).numpy()) for name, value in plain.items()}
    with replacing(path, needed=sum(value.nbytes for value in plain.values())) as temporary:
        try:
            save_file(plain, temporary, metadata=with_checksums(metadata, sums))
        except SafetensorError as error:
            raise _system_error(error, temporary) from None
        finish(temporary)
        try:
            read_metadata(temporary)
        except BadArtefact:
            raise OSError(errno.EIO, "what was written reads back otherwise", str(temporary)) from None


def _system_error(error: SafetensorError, path: Path) -> OSError:
    """Return the system's error, of which the library gives the text alone."""
    found = re.search(r"os error (\d+)", str(error))
    code = int(found[1]) if found else errno.EIO
    return OSError(code, os.strerror(code), str(path))


def reason(error: Exception) -> str:
    """Return the first line of what ``error`` says, shortened."""
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _kind(path: Path) -> str:
    """Tell which reader the file needs by its first bytes, or by its ending where those say nothing."""
    suffix = path.suffix.lower()
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except OSError:
        start = b""
    if start.startswith(_MAGIC):
        return "torch"
    # A safetensors file begins with its header's length in eight bytes; JSON follows.
    if suffix == ".safetensors" or (start[8:9] == b"{" and start[5:8] == b"\0\0\0"):
        return "safetensors"
    if suffix in SUFFIXES:
        return "torch"
    raise BadInput(
        f"{path}: weights are read from .safetensors or .pth files, or others that torch.save wrote "
        f"({', '.join(SUFFIXES[1:])})"
    )


def _float32(value: torch.Tensor) -> torch.Tensor:
    value = value.detach()
    if value.is_quantized:
        value = value.dequantize()
    return value.float() if value.is_floating_point() else value


def _tensors_in(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    """Yield each tensor in nested tables and lists, with the keys that lead to it."""
    if isinstance(value, torch.Tensor):
        yield keys, value
    elif len(keys) < _DEPTH and isinstance(value, dict):
        # A placeholder is an ordered dictionary whose attributes are those of the object.
        for name, inner in (*value.items(), *getattr(value, "__dict__", {}).items()):
            yield from _tensors_in(inner, (*keys, str(name)))
    elif len(keys) < _DEPTH and isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _tensors_in(inner, (*keys, str(number)))


class _Nothing:
    """The result of calling a foreign function or class, which is not really called."""

    def __setstate__(self, state: object) -> None:
        """Keep nothing."""


class _Foreign:
    """Stands for a class or function that a file names: a call gives `_Nothing`, a new object is an empty table."""

    def __init__(self) -> None:
        # The unpickler asks a class for its __new__; state then goes to the table's attributes.
        self.__dict__["__new__"] = lambda *arguments: OrderedDict()

    def __call__(self, *arguments: object) -> _Nothing:
        return _Nothing()


def _harmless(name: str) -> bool:
    """Whether objects of the class or function ``name`` may be left out: all but the functions of Python itself."""
    module, _, last = name.rpartition(".")
    return module not in ("", "builtins", "__builtin__") or isinstance(getattr(builtins, last, None), type)


def _read_torch(path: Path) -> Any:
    try:
        check_regular(path)
    except OSError as error:
        raise BadInput(f"{path}: not a readable weights file ({error.strerror}); make or fetch it again") from None
    foreign: dict[str, _Foreign] = {}
    while True:
        allowed: list[Any] = [(value, name) for name, value in foreign.items()]
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals([*allowed, _Nothing]):
                # torch remarks on odd pickle protocols; what matters is whether tensors come out.
                warnings.simplefilter("ignore")
                if not foreign:
                    for name in _foreign_names(path):
                        foreign[name] = _Foreign()
                    if foreign:
                        continue
                return torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError) as error:
            raise BadInput(f"{path}: not a readable weights file ({reason(error)}); make or fetch it again") from None
        except Exception as error:
            # The unpickler meets arbitrary bytes: it raises UnpicklingError, KeyError, UnicodeDecodeError and more.
            named = _UNKNOWN_GLOBAL.search(str(error))
            if named and _harmless(named[1]) and named[1] not in foreign:
                foreign[named[1]] = _Foreign()
                continue
            # What it says helps nobody, and advises reading the file without the restriction, which would run its code.
            raise BadInput(
                f"{path}: not a weights file, a damaged one, or one that holds more than tensors; save the network's "
                "state_dict()"
            ) from None


def _foreign_names(path: Path) -> list[str]:
    """List the harmless classes and functions that a file names, as far as can be told without reading it."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:
        # An older form of file, or none: reading it says more.
        return []
    return [name for name in names if _harmless(name)]
