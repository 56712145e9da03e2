"""Which versions of what makes a picture are installed, found without loading any of it."""

from __future__ import annotations

import importlib.metadata
import platform
import re

from gluon_nst import _version
from gluon_nst.mxnet_builds import installed_builds

__all__ = ["BESIDE", "DECISIVE", "installed_versions", "same_release"]

DECISIVE = ("gluon_nst", "mxnet", "numpy", "pillow")
"""What pictures depend on: reading, scaling and writing (Pillow), and computing."""
BESIDE = ("python", "dask", "distributed")
"""What only carries them."""


def installed_versions() -> dict[str, str]:
    """Return name -> version of all in `DECISIVE` and `BESIDE` that is installed."""
    found = {"gluon_nst": _version.__version__, "python": platform.python_version()}
    if builds := installed_builds():
        found["mxnet"] = next(iter(builds.values()))
    for name in ("numpy", "pillow", "dask", "distributed"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def same_release(one: str, other: str) -> bool:
    """Return whether two versions are builds of one release, as "1.9.1" and "1.9.1+cu112" are."""
    return _release(one) == _release(other)


def _release(version: str) -> str:
    return re.split(r"\+|\.post", version)[0]
