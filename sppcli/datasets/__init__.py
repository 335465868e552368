"""Data sets: the only place that knows a format. `formats` lists them; ``open_dataset`` decides which one it is."""

from sppcli.datasets.base import ALL, IMAGE_EXTENSIONS, Dataset
from sppcli.datasets.formats import open_dataset

__all__ = ["ALL", "IMAGE_EXTENSIONS", "Dataset", "open_dataset"]
