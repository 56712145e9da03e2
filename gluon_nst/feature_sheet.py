"""Drawing feature maps as one labelled picture: a row per layer, a column of maps per picture.

Arrays in, an array out; Pillow draws, and nothing is known of networks here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gluon_nst.images.geometry import fit_longer_side, resize

__all__ = ["Column", "color_map", "draw_sheet"]

Picture = NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Nine colors, evenly spaced, of the "viridis" map by Nathaniel Smith and Stefan van der Walt (2015, CC0),
# whose lightness grows evenly; what lies between is interpolated.
_VIRIDIS = (0x440154, 0x472D7B, 0x3B528B, 0x2C728E, 0x21918C, 0x28AE80, 0x5EC962, 0xADDC30, 0xFDE725)
_PAPER, _INK, _FAINT, _RULE, _FLAT = "#ffffff", "#20242c", "#70767f", "#dfe2e6", 208
_MARGIN = 20
_GAP = 4  # between two maps, and two rows of one block
_BLOCK_GAP = 18  # between two blocks of the network, with a rule in it
_COLUMN_GAP = 28  # between two pictures
_LINE = 17  # pixels from one line of text to the next
_TITLE_SIZE, _TEXT_SIZE = 17, 13
_CAPTION = 150  # least room for the text beside a picture
_HEADER = 112  # least height of the header: the title, a line below it, and the legend
_LEGEND = ("least", "most", "gray: all the same")


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One picture, and what was made of it.

    Attributes
    ----------
    label, notes
        What to call it; lines of small print.
    picture
        (H, W, 3) uint8.
    features
        Layer -> feature maps (maps, h, w); every column has the same layers, in the same order.
    """

    label: str
    notes: Sequence[str]
    picture: Picture
    features: Mapping[str, NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Where things stand: the left edge of each column, how wide each is, and the whole, in pixels."""

    edges: Sequence[int]
    widths: Sequence[int]
    width: int


def draw_sheet(columns: Sequence[Column], title: str, notes: Sequence[str], cell: int) -> Picture:
    """Draw all columns side by side.

    Parameters
    ----------
    columns
        What to draw.
    title, notes
        A large line for the upper left corner, and small ones below it.
    cell
        Longer side of a map as drawn, in pixels.

    Returns
    -------
    ndarray
        (h, w, 3) uint8.
    """
    layers = tuple(columns[0].features)
    texts = [_layer_text(layer, columns) for layer in layers]
    strips = [[_strip(column, layer, cell) for column in columns] for layer in layers]
    thumbnails = [_fit(column.picture, cell * 3 // 2) for column in columns]
    lines = [_text_width(line) for line in (*notes, *_LEGEND, *(line for text in texts for line in text))]
    frame = _frame(max(*lines, _text_width(title, _TITLE_SIZE)), strips, thumbnails)
    bands = [_header(frame, columns, thumbnails, title, notes)]
    for index, (text, row) in enumerate(zip(texts, strips, strict=True)):
        new_block = index > 0 and layers[index][4] != layers[index - 1][4]
        bands.append(_space(frame, rule=True) if new_block or not index else _paper(frame, _GAP))
        bands.append(_row(frame, text, row))
    sheet: Picture = np.concatenate([np.asarray(band) for band in (*bands, _paper(frame, _MARGIN))])
    return sheet


def color_map(levels: NDArray[np.uint8]) -> Picture:
    """Return levels (h, w) as colors (h, w, 3), from dark violet (0) over green to yellow (255)."""
    stops = np.array([[color >> shift & 255 for shift in (16, 8, 0)] for color in _VIRIDIS])
    positions = np.linspace(0, 255, len(stops))
    table = np.stack([np.interp(np.arange(256), positions, channel) for channel in stops.T], axis=1)
    colors: Picture = np.rint(table).astype(np.uint8)[levels]
    return colors


def _tile(feature: NDArray[np.float32], height: int, width: int) -> Picture:
    """Return one map (h, w) at a size, its least value dark and its greatest bright; gray if it has but one."""
    low, high = float(feature.min()), float(feature.max())
    if low == high:
        return np.full((height, width, 3), _FLAT, np.uint8)
    levels = np.rint((feature - low) / (high - low) * 255).astype(np.uint8)
    # The box filter averages when it shrinks and shows the pixels as they are when it enlarges.
    shown = Image.fromarray(levels).resize((width, height), Image.Resampling.BOX)
    return color_map(np.asarray(shown))


def _strip(column: Column, layer: str, cell: int) -> Picture:
    """Return the maps of a layer side by side."""
    height, width = fit_longer_side(column.picture.shape[0], column.picture.shape[1], cell)
    features = column.features[layer]
    strip = np.full((height, len(features) * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for index, feature in enumerate(features):
        start = index * (width + _GAP)
        strip[:, start : start + width] = _tile(feature, height, width)
    return strip


def _layer_text(layer: str, columns: Sequence[Column]) -> list[str]:
    """Return a layer's name and the sizes of its maps, each once."""
    shapes = [column.features[layer].shape for column in columns]
    return [layer, *dict.fromkeys(f"{width}x{height}" for _, height, width in shapes)]


@functools.cache
def _font(size: int = _TEXT_SIZE) -> Font:
    return ImageFont.load_default(size=size)


def _text_width(text: str, size: int = _TEXT_SIZE) -> int:
    return round(_font(size).getlength(text))


def _shortened(text: str, room: int) -> str:
    """Return text of one line that is at most `room` pixels wide, with an ellipsis if it had to be cut."""
    line = " ".join(text.split())
    if _text_width(line) <= room:
        return line
    while line and _text_width(f"{line}...") > room:
        line = line[:-1]
    return f"{line.rstrip()}..."


def _fit(picture: Picture, size: int) -> Picture:
    return resize(picture, *fit_longer_side(picture.shape[0], picture.shape[1], size))


def _frame(text_width: int, strips: Sequence[Sequence[Picture]], thumbnails: Sequence[Picture]) -> _Frame:
    """Place the columns, each as wide as its widest strip, or as its thumbnail with a caption."""
    widths = [
        max(*(row[index].shape[1] for row in strips), thumbnail.shape[1] + _CAPTION)
        for index, thumbnail in enumerate(thumbnails)
    ]
    edges = [_MARGIN + text_width + _MARGIN]
    for width in widths[:-1]:
        edges.append(edges[-1] + width + _COLUMN_GAP)
    return _Frame(edges, widths, edges[-1] + widths[-1] + _MARGIN)


def _paper(frame: _Frame, height: int) -> Image.Image:
    return Image.new("RGB", (frame.width, height), _PAPER)


def _space(frame: _Frame, *, rule: bool) -> Image.Image:
    """Return the space between two blocks of the network."""
    band = _paper(frame, _BLOCK_GAP)
    middle = _BLOCK_GAP // 2
    if rule:
        ImageDraw.Draw(band).line((_MARGIN, middle, frame.width - _MARGIN, middle), fill=_RULE)
    return band


def _header(
    frame: _Frame, columns: Sequence[Column], thumbnails: Sequence[Picture], title: str, notes: Sequence[str]
) -> Image.Image:
    """Return the title with the legend, and each picture with its caption."""
    band = _paper(frame, _MARGIN + max(_HEADER, *(thumbnail.shape[0] for thumbnail in thumbnails)))
    draw = ImageDraw.Draw(band)
    draw.text((_MARGIN, _MARGIN - 4), title, _INK, _font(_TITLE_SIZE))
    _write(draw, (_MARGIN, _MARGIN + 20), [], notes)
    _draw_legend(band, _MARGIN + 20 + _LINE * len(notes) + 10, frame.edges[0] - 2 * _MARGIN)
    for column, thumbnail, edge, width in zip(columns, thumbnails, frame.edges, frame.widths, strict=True):
        band.paste(Image.fromarray(thumbnail), (edge, _MARGIN))
        left = edge + thumbnail.shape[1] + 12
        _write(draw, (left, _MARGIN), [_shortened(column.label, edge + width - left)], column.notes)
    return band


def _draw_legend(band: Image.Image, top: int, width: int) -> None:
    """Draw the colors from least to most, with what they mean below."""
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    band.paste(Image.fromarray(color_map(np.tile(ramp, (10, 1)))), (_MARGIN, top))
    draw = ImageDraw.Draw(band)
    _write(draw, (_MARGIN, top + 13), [], _LEGEND[:1])
    _write(draw, (_MARGIN + width - _text_width(_LEGEND[1]), top + 13), [], _LEGEND[1:2])
    _write(draw, (_MARGIN, top + 13 + _LINE), [], _LEGEND[2:])


def _row(frame: _Frame, text: Sequence[str], strips: Sequence[Picture]) -> Image.Image:
    """Return one layer: its name and sizes, and the maps of each picture."""
    band = _paper(frame, max(_LINE * len(text), *(strip.shape[0] for strip in strips)))
    _write(ImageDraw.Draw(band), (_MARGIN, 0), text[:1], text[1:])
    for strip, edge in zip(strips, frame.edges, strict=True):
        band.paste(Image.fromarray(strip), (edge, 0))
    return band


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], strong: Sequence[str], faint: Sequence[str]
) -> None:
    """Write lines of text below each other, (left, top) being where the first begins."""
    left, top = place
    for index, line in enumerate((*strong, *faint)):
        draw.text((left, top + index * _LINE), line, _INK if index < len(strong) else _FAINT, _font())
