"""SPP-net (He et al. 2014, spatial pyramid pooling) as a toolkit of separate, cached stages.

``Detector`` is what `spp detect` uses for new images. It is imported when it is asked for, and torch with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sppcli.detection.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detector", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Detector":
        from sppcli.detection.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
