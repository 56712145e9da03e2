"""The errors that gluon_nst raises.

::

    GluonNSTError                 everything below; catch this one
    |-- UsageError                a setting that cannot be meant: fix the call
    |   |-- RecipeError           an unknown or impossible recipe, field or layer
    |   |-- RunHeldError          a run directory that another process works in
    |   |-- RunMismatchError      a run directory that belongs to another run
    |   |-- ManifestError         a manifest with lines that cannot be read or meant
    |   `-- DeviceError           a device that this machine does not have or cannot use
    |-- ImageError                a picture that cannot be used
    |   |-- ImageReadError        missing, not a picture, damaged, of an unknown kind
    |   `-- ImageSizeError        too small for the network, too large for the memory
    |-- OutputError               a result that cannot be written
    |-- ParametersError           pretrained parameters: missing, damaged, of another network
    |-- BackendError              MXNet is missing or will not load or run
    |   `-- OutOfMemoryError      the device has no room for this work
    |-- DivergedError             the loss is no number any more
    |-- SuspiciousResultError     a finished picture that is not to be called good
    |-- Interrupted               the work was told to stop; it can go on from a checkpoint
    `-- ClusterError              the Dask scheduler or its workers are lost

Every message says what was given, what is allowed, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BackendError",
    "ClusterError",
    "DeviceError",
    "DivergedError",
    "GluonNSTError",
    "ImageError",
    "ImageReadError",
    "ImageSizeError",
    "Interrupted",
    "ManifestError",
    "OutOfMemoryError",
    "OutputError",
    "ParametersError",
    "RecipeError",
    "RunHeldError",
    "RunMismatchError",
    "SuspiciousResultError",
    "UsageError",
    "did_you_mean",
]


class GluonNSTError(Exception):
    """Base class of every error that gluon_nst raises on purpose."""


class UsageError(GluonNSTError):
    """A setting that cannot be meant; the call must change."""


class RecipeError(UsageError):
    """An unknown recipe, an unknown field of one, or a value that it cannot have."""


class RunHeldError(UsageError):
    """A run directory in which another process runs a batch."""


class RunMismatchError(UsageError):
    """A run directory that belongs to a run of other inputs or settings."""


class ManifestError(UsageError):
    """A manifest that cannot be read, or lines of it that cannot be meant."""


class DeviceError(UsageError):
    """A device that does not exist here, or that the installed MXNet has no code for."""


class ImageError(GluonNSTError):
    """A picture that cannot be used."""


class ImageReadError(ImageError):
    """A file that is missing, damaged, or no picture of a kind that can be read."""


class ImageSizeError(ImageError):
    """A picture too small for the network or too large for the limit set."""


class OutputError(GluonNSTError):
    """A result that could not be written."""


class ParametersError(GluonNSTError):
    """Pretrained parameters that are missing, damaged, or of another network."""


class BackendError(GluonNSTError):
    """MXNet is missing, cannot be loaded, or failed while it computed."""


class OutOfMemoryError(BackendError):
    """The device has no room for this work."""


class DivergedError(GluonNSTError):
    """The loss became infinite or no number: the settings drive the image away."""


class SuspiciousResultError(GluonNSTError):
    """A picture that was finished but failed its check: black, flat, its own photograph, of a loss that rose.

    Attributes
    ----------
    aside
        Where the picture is kept for a person to look at; empty if nowhere.
    """

    def __init__(self, message: str, aside: str = "") -> None:
        super().__init__(message)
        self.aside = aside


class Interrupted(GluonNSTError):  # noqa: N818 - no error: someone asked for it
    """The work was told to stop between two steps; what was done can be had as a checkpoint."""


class ClusterError(GluonNSTError):
    """The Dask scheduler or all of its workers are lost."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest allowed word, or nothing when none is near."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
