"""SPP-net (He et al. 2014, spatial pyramid pooling) as a toolkit of separate, cached stages."""

__version__ = "0.1.0"
