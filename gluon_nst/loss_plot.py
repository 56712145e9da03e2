"""The course of the losses as a picture. Needs matplotlib, which is loaded when a plot is drawn."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gluon_nst.errors import UsageError
from gluon_nst.progress import LossPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_losses"]

# Term -> color and width of its line. The colors can be told apart with all common kinds of color vision
# (Okabe and Ito 2008, "Color Universal Design").
_LINES = {
    "total": ("#000000", 2.4),
    "style": ("#d55e00", 1.4),
    "content": ("#0072b2", 1.4),
    "tv": ("#009e73", 1.4),
}
_SIZE_IN_INCHES, _DOTS_PER_INCH = (8.0, 4.5), 120
# With fewer points than this each is marked; more would run into one another.
_MARKED_POINTS = 40
# More scales than this have room for their numbers only.
_NAMED_SCALES = 6


def plot_losses(points: Sequence[LossPoint]) -> bytes:
    """Draw the losses over the steps of all scales, one behind the other.

    Parameters
    ----------
    points
        The losses of one image, as `Stylized.losses` holds them: steps count from 1 within each scale.

    Returns
    -------
    bytes
        A PNG, 960x540 pixels: total, style, content and total variation, each as it counts in the total, on a
        logarithmic axis. A term that is 0 throughout is left out. Scales are set apart by vertical lines,
        across which losses cannot be compared. The same points give the same bytes.

    Raises
    ------
    UsageError
        If there are no points.
    """
    if not points:
        raise UsageError(
            "there are no losses to plot; give the losses of an image that took at least one step."
        )
    from matplotlib.figure import Figure  # slow to load

    figure = Figure(figsize=_SIZE_IN_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    scales = [
        list(group) for _, group in itertools.groupby(sorted(points, key=_place), lambda point: point.scale)
    ]
    starts = list(itertools.accumulate((scale[-1].step for scale in scales), initial=0))
    for term in _LINES:
        _draw_term(axes, term, scales, starts)
    _draw_scales(axes, [scale[0].scale for scale in scales], starts)
    _finish(axes, starts[-1])
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})  # without matplotlib's version
    return png.getvalue()


def _place(point: LossPoint) -> tuple[int, int]:
    return point.scale, point.step


def _draw_term(axes: Axes, term: str, scales: Sequence[Sequence[LossPoint]], starts: Sequence[int]) -> None:
    """Draw one term, with a gap between two scales; nothing if it is never above 0."""
    xs, ys = zip(*_course(term, scales, starts), strict=True)
    if all(math.isnan(y) for y in ys):
        return
    color, width = _LINES[term]
    marker = "o" if sum(len(scale) for scale in scales) < _MARKED_POINTS else ""
    axes.plot(xs, ys, color=color, linewidth=width, marker=marker, markersize=3.5, label=term)


def _course(
    term: str, scales: Sequence[Sequence[LossPoint]], starts: Sequence[int]
) -> Iterator[tuple[float, float]]:
    """Yield steps counted over all scales, and the term's values; NaN where a logarithmic axis has no place."""
    for scale, start in zip(scales, starts, strict=False):
        for point in scale:
            value = float(getattr(point, term))
            yield start + point.step, value if value > 0 else math.nan
        yield start + scale[-1].step, math.nan


def _draw_scales(axes: Axes, numbers: Sequence[int], starts: Sequence[int]) -> None:
    """Draw a line where a scale begins, and its name above; nothing if there is but one."""
    if len(numbers) == 1:
        return
    for number, start, end in zip(numbers, starts, starts[1:], strict=False):
        if start:
            axes.axvline(start, color="#c4c8ce", linewidth=1.2, zorder=0)
        name = f"scale {number}" if len(numbers) <= _NAMED_SCALES else str(number)
        axes.text(
            (start + end) / 2, 1.015, name,
            transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=9, color="#70767f",
        )  # fmt: skip


def _finish(axes: Axes, last: int) -> None:
    """Name the axes, and the lines if there are any."""
    axes.set_xlim(0, last * 1.01)  # the last marker is not cut off
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, weights included")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_plain_numbers())
        axes.yaxis.set_minor_formatter(_plain_numbers())
        axes.grid(axis="y", color="#eceef1", linewidth=0.8)
        axes.legend(frameon=False)
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "all losses are 0", transform=axes.transAxes, ha="center")


def _plain_numbers() -> Any:
    """Return a formatter that writes 0.6 where matplotlib's own would write 6 times a power of ten."""
    from matplotlib.ticker import LogFormatter

    class PlainNumbers(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""  # it leaves out what would crowd the axis

    return PlainNumbers()
