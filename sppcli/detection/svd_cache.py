"""Truncated fc layers, which are computed or read from a file beside the model that uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sppcli.errors import BadInput
from sppcli.runtime.progress import Progress

if TYPE_CHECKING:
    from sppcli.nets.backbones import FcHead

# Fc layers, the last one wanted, ranks, digest of the result -> the truncated layers.
Truncate = Callable[["FcHead", str, tuple[int, ...], str], "FcHead"]


def truncated(head: FcHead, layer: str, ranks: tuple[int, ...], digest: str) -> FcHead:
    """`nets.compression.compressed`, whatever the ``digest``."""
    from sppcli.nets.compression import compressed

    return compressed(head, layer, ranks)


class SvdCache:
    """As `truncated`, but keeps the result for later runs: computing it takes 14 seconds at ZF-5's size.

    ``svm.h5`` has ``svm.h5.svd-1024-256.safetensors`` beside it: the factors of each layer, and the digest of what they
    were made from. A file of another digest is replaced; so is a damaged one, with a warning.
    """

    def __init__(self, model: Path, progress: Progress) -> None:
        self._model = model
        self._progress = progress
        self._known: dict[str, FcHead] = {}

    def path(self, ranks: tuple[int, ...]) -> Path:
        return self._model.with_name(f"{self._model.name}.svd-{'-'.join(map(str, ranks))}.safetensors")

    def __call__(self, head: FcHead, layer: str, ranks: tuple[int, ...], digest: str) -> FcHead:
        """``head`` up to ``layer``, truncated to ``ranks``; ``digest``: of those weights and ranks.

        Raises:
            UsageProblem: ranks that do not fit.
        """
        if digest not in self._known:
            self._known[digest] = self._read(head, layer, ranks, digest) or self._make(head, layer, ranks, digest)
        return self._known[digest]

    def _read(self, head: FcHead, layer: str, ranks: tuple[int, ...], digest: str) -> FcHead | None:
        from sppcli.nets.backbones import FcHead
        from sppcli.nets.weight_files import read_tensors

        path = self.path(ranks)
        if not path.exists():
            return None
        try:
            tensors, metadata = read_tensors(path, "it is made again", ours=True)
        except BadInput as error:
            self._progress.warn(f"{error}; the fc layers are truncated anew")
            return None
        if metadata.get("digest") != digest:
            return None
        names = list(head.layers)[: len(ranks)]
        for name, rank in zip(names, ranks, strict=True):
            rows, columns = head.layers[name][0].shape
            shapes = {f"{name}.left": (rows, rank), f"{name}.right": (rank, columns)}
            if any(key not in tensors or tuple(tensors[key].shape) != shape for key, shape in shapes.items()):
                self._progress.warn(f"{path} does not hold {name} of rank {rank}; the fc layers are truncated anew")
                return None
        layers = {name: (tensors[f"{name}.left"], head.layers[name][1]) for name in names}
        return FcHead(head.levels, layers, {name: tensors[f"{name}.right"] for name in names})

    def _make(self, head: FcHead, layer: str, ranks: tuple[int, ...], digest: str) -> FcHead:
        from sppcli.nets.weight_files import save_tensors

        path = self.path(ranks)
        self._progress.note("truncating fc layers")
        made = truncated(head, layer, ranks, digest)
        tensors = {f"{name}.left": weight for name, (weight, _) in made.layers.items()}
        tensors |= {f"{name}.right": weight for name, weight in made.narrow.items()}
        try:
            save_tensors(path, tensors, {"digest": digest})
        except OSError as error:
            self._progress.warn(
                f"{path} cannot be written ({error.strerror}); fc layers are truncated anew in every run"
            )
        self._progress.note("")
        return made
