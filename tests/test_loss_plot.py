"""The plot of the losses: what it draws is read back from its pixels."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gluon_nst.errors import UsageError
from gluon_nst.loss_plot import _LINES, plot_losses
from gluon_nst.progress import LossPoint


def course(scale: int, steps: int, start: float, tv: float = 0.004) -> list[LossPoint]:
    """Losses that fall to a tenth every 50 steps."""
    told = [1, *range(5, steps + 1, 5)]
    falling = [start * 10 ** (-step / 50) for step in told]
    return [
        LossPoint(scale, step, 0.02, style, tv, style + 0.02 + tv)
        for step, style in zip(told, falling, strict=True)
    ]


def pixels_of(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def has_color(pixels: NDArray[np.uint8], color: str, region: slice = slice(None)) -> NDArray[np.bool_]:
    """Where (in rows of `region`) a color is met exactly: (h, w)."""
    return (pixels[region] == [int(color[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2)


def test_a_png_of_the_size_promised_without_a_date_or_version() -> None:
    png = plot_losses(course(1, 100, 3.0))
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size) == ("PNG", (960, 540))
    assert not {"Software", "Creation Time"} & set(image.info)


def test_the_same_points_give_the_same_bytes_in_any_order() -> None:
    points = course(1, 60, 3.0) + course(2, 40, 0.9)
    assert plot_losses(points) == plot_losses(points[::-1])


@pytest.mark.parametrize("term", ["content", "style", "tv"])
def test_a_term_that_is_0_throughout_is_left_out(term: str) -> None:
    points = course(1, 100, 3.0)
    without = [dataclasses.replace(point, **{term: 0.0}) for point in points]
    color = _LINES[term][0]
    assert has_color(pixels_of(plot_losses(points)), color).any()
    assert not has_color(pixels_of(plot_losses(without)), color).any()


def test_the_axis_is_logarithmic() -> None:
    # An exponential decay is a straight line on a logarithmic axis: the middle of the line is half way down.
    points = [LossPoint(1, step, 0.0, 0.0, 10 ** (-step / 25), 0.0) for step in range(1, 101)]
    line = has_color(pixels_of(plot_losses(points)), _LINES["tv"][0])
    line[:100, 700:] = False  # the legend
    columns = np.flatnonzero(line.any(axis=0))
    left, right = int(columns[0]), int(columns[-1])
    height = [float(np.flatnonzero(line[:, x]).mean()) for x in (left + 4, (left + right) // 2, right - 4)]
    assert height[2] - height[0] > 300
    assert height[1] == pytest.approx((height[0] + height[2]) / 2, abs=4)


def boundaries(points: list[LossPoint]) -> int:
    """How many columns of the plot hold a gray line from top to bottom."""
    gray = has_color(pixels_of(plot_losses(points)), "#c4c8ce")
    columns = np.flatnonzero(gray.sum(axis=0) > 300)
    return int((np.diff(columns, prepend=-9) > 3).sum())


def test_a_line_stands_between_two_scales() -> None:
    one, two, three = course(1, 60, 3.0), course(2, 40, 0.9), course(3, 30, 0.5)
    assert [boundaries(points) for points in (one, one + two, one + two + three)] == [0, 1, 2]


def test_one_point_and_no_loss_at_all_can_be_drawn() -> None:
    point = LossPoint(1, 1, 0.0, 1.0, 0.0, 1.0)
    assert has_color(pixels_of(plot_losses([point])), _LINES["style"][0]).any()
    nothing = pixels_of(plot_losses([LossPoint(1, 1, 0.0, 0.0, 0.0, 0.0)]))
    assert not any(has_color(nothing, color).any() for color, _ in list(_LINES.values())[1:])


def test_no_points_are_refused() -> None:
    with pytest.raises(UsageError, match="no losses"):
        plot_losses([])


def test_importing_it_loads_neither_matplotlib_nor_mxnet() -> None:
    code = (
        "import sys, gluon_nst.loss_plot; print(*sorted({'matplotlib', 'mxnet', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    code = (
        "import matplotlib, sys; before = matplotlib.rcParams.copy(); "
        "from gluon_nst.loss_plot import plot_losses; from gluon_nst.progress import LossPoint; "
        "plot_losses([LossPoint(1, 1, 1.0, 1.0, 1.0, 3.0)]); "
        "print('matplotlib.pyplot' in sys.modules, before == matplotlib.rcParams.copy())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True"
