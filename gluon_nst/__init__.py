"""Neural style transfer for photo collections, on MXNet Gluon and Dask."""

from gluon_nst._version import __version__

__all__ = ["__version__"]
