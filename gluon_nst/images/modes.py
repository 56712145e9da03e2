"""Color modes: whatever a file holds, as 8-bit channels plus alpha. Color itself is not changed here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from gluon_nst.errors import ImageReadError

__all__ = ["Channels", "to_channels"]

_PLAIN = ("L", "RGB", "CMYK", "LAB")


class Channels(NamedTuple):
    """A decoded picture in 8 bits: `color` is of mode L, RGB, CMYK or LAB, `alpha` of mode L or None."""

    color: Image.Image
    alpha: Image.Image | None
    notes: tuple[str, ...]


def to_channels(image: Image.Image, name: str, *, deep: bool = False) -> Channels:
    """Split a decoded picture into 8-bit color and alpha.

    Palettes become RGB; transparent palette entries and single transparent colors become alpha;
    premultiplied alpha is divided out; an alpha that is opaque everywhere is left out; grayscale stays
    grayscale until its profile has been applied.

    Parameters
    ----------
    image : PIL.Image.Image
        Decoded, of any mode.
    name : str
        What to call it in an error.
    deep : bool
        Whether the file holds 16-bit channels (Pillow keeps the high byte of colored ones).

    Returns
    -------
    Channels
        Color, alpha, and what was given up.

    Raises
    ------
    ImageReadError
        If the values have no agreed black and white (float beyond 0..1, integers beyond 16 bits).
    """
    if image.mode == "F":
        return Channels(_gray(_float_levels(image, name)), None, ("float values 0..1 scaled to 8 bits",))
    if image.mode.startswith("I"):
        return _from_integers(image, name)
    notes = ("16-bit channels reduced to 8",) if deep else ()
    if image.has_transparency_data:
        color, alpha = _split_alpha(image)
        return Channels(color, _unless_opaque(alpha), notes)
    return Channels(_without_alpha(image), None, notes)


def _without_alpha(image: Image.Image) -> Image.Image:
    if image.mode in _PLAIN:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    rgba = image.convert("RGBA")
    return rgba.convert("RGB"), rgba.getchannel("A")


def _unless_opaque(alpha: Image.Image) -> Image.Image | None:
    return None if alpha.getextrema()[0] == 255 else alpha


def _from_integers(image: Image.Image, name: str) -> Channels:
    """Scale 16-bit grayscale; Pillow's own conversion would cut everything above 255 to white."""
    values = np.asarray(image).astype(np.int32)
    if values.min() < 0 or values.max() > 65535:
        raise ImageReadError(
            f"{name} holds integers from {values.min()} to {values.max()}; "
            "0 to 65535 can be read. Save it with 8 or 16 bits per channel."
        )
    alpha = None
    if isinstance(image.info.get("transparency"), int):
        alpha = _unless_opaque(_gray(np.where(values == image.info["transparency"], 0, 255)))
    # 65535 = 255 * 257, so this rounds to the nearest level.
    return Channels(_gray((values + 128) // 257), alpha, ("16-bit grayscale reduced to 8 bits",))


def _float_levels(image: Image.Image, name: str) -> npt.NDArray[np.float32]:
    values = np.asarray(image, dtype=np.float32)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise ImageReadError(
            f"{name} holds floating-point values outside 0..1, which have no agreed white; "
            "save it with 8 or 16 bits per channel."
        )
    levels: npt.NDArray[np.float32] = np.rint(values * 255)
    return levels


def _gray(levels: npt.NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8))
