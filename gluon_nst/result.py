"""The result of one stylization, with everything that belongs to it."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gluon_nst.images.write import JPEG_QUALITY, encode_image, write_image
from gluon_nst.progress import TERMS, LossPoint

__all__ = ["Result"]


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A stylized image. In a notebook it shows itself.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8, sRGB.
    alpha, exif
        Carried over from the content image: (H, W) uint8 or None; EXIF bytes or None.
    losses
        Losses every few steps, scale after scale.
    steps, seconds, stop_reason
        Steps over all scales; wall time of the optimisation; why it ended.
    provenance
        Where the picture came from: program, recipe, parameters, inputs. It is written into the file.
    notes
        What was done to the inputs, such as "first frame of 12".
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    exif: bytes | None
    losses: tuple[LossPoint, ...]
    steps: int
    seconds: float
    stop_reason: str
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def image(self) -> Image.Image:
        """The picture as a Pillow image, RGB, or RGBA where the content had alpha."""
        if self.alpha is None:
            return Image.fromarray(self.pixels)
        return Image.fromarray(np.dstack([self.pixels, self.alpha]))

    def encode(self, suffix: str, *, quality: int = JPEG_QUALITY) -> bytes:
        """Return the picture as the bytes of a file of this kind, with its provenance.

        Raises
        ------
        OutputError
            If the format is unknown, or cannot hold the picture.
        """
        return encode_image(
            self.pixels, suffix, alpha=self.alpha, exif=self.exif, provenance=self.provenance, quality=quality
        )

    def save(self, path: str | os.PathLike[str], *, quality: int = JPEG_QUALITY) -> None:
        """Write the picture with its provenance, complete or not at all; the suffix tells the format.

        Raises
        ------
        OutputError
            If the format is unknown or the place cannot be written.
        """
        write_image(
            path, self.pixels, alpha=self.alpha, exif=self.exif, provenance=self.provenance, quality=quality
        )

    def last_losses(self) -> dict[str, float]:
        """Return term -> value as last read."""
        return {term: getattr(self.losses[-1], term) for term in TERMS} if self.losses else {}

    def summary(self) -> dict[str, Any]:
        """Return what can be written as JSON: everything but the pixels and the course of the losses."""
        return {
            "width": self.pixels.shape[1],
            "height": self.pixels.shape[0],
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "stop_reason": self.stop_reason,
            "losses": self.last_losses(),
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()
