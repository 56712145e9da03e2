"""Content, style and total-variation losses: value and gradient in closed form.

Every loss is a function of the running numbers and a target that gives, per image, its value (N,) and its
gradient with respect to those numbers. Autograd then differentiates the network alone, with these gradients
as head gradients. A loss does not know its layer.

Feature maps may be float32 or bfloat16; values, targets and all that is small are float32. A weight is put into
what is small, a divisor or a Gram matrix, since a pass over a feature map costs more than it seems to.
"""

from __future__ import annotations

from typing import Any

from gluon_nst.backend import as_float32, nd
from gluon_nst.gram import gram_matrix, gram_product

__all__ = [
    "content_divisor",
    "content_loss",
    "gram_divisor",
    "match_gram",
    "normalized_gram",
    "style_divisor",
    "style_loss",
    "total_variation",
]

_FLOOR = 1e-12  # keeps a relative loss finite on a target of zeros (a black image has such feature maps)


def content_divisor(target: Any, kind: str) -> Any:
    """Return what the sum of squared differences to a target (N, C, h, w) is divided by, (N,).

    Parameters
    ----------
    kind
        "sum": 1. "mean": the number of entries. "relative": the sum of squares of the target, so that the loss
        depends neither on the size of the map nor on the scale of the parameters.
    """
    if kind == "relative":
        return _sum(target * target) + _FLOOR
    count = target.size // target.shape[0] if kind == "mean" else 1
    return nd.full(target.shape[0], count, ctx=target.context)


def content_loss(features: Any, target: Any, divisor: Any, weight: float = 1.0) -> tuple[Any, Any]:
    """Compare feature maps (Gatys, Ecker and Bethge 2016, equation 1, without its factor 1/2).

    Parameters
    ----------
    features
        (N, C, h, w).
    target
        (N, C, h, w) float32.
    divisor
        `content_divisor` of the target, (N,).
    weight
        What value and gradient are multiplied by.

    Returns
    -------
    value, gradient : NDArray
        (N,) and (N, C, h, w), float32.
    """
    difference = as_float32(features) - target
    factor = weight / divisor
    return _sum(difference * difference) * factor, nd.broadcast_mul(difference, _column(2 * factor))


def gram_divisor(kind: str, channels: int, positions: int) -> float:
    """Return what a Gram matrix is divided by: 1 ("raw"), h*w ("hw") or c*h*w ("chw")."""
    return {"raw": 1.0, "hw": float(positions), "chw": float(channels) * positions}[kind]


def normalized_gram(features: Any, kind: str) -> Any:
    """Return Gram matrices (N, C, C) of feature maps (N, C, h, w), divided as `gram_divisor` says.

    The same function makes the target from the style image and the running value from the generated one.
    """
    _, channels, height, width = features.shape
    return gram_matrix(features) / gram_divisor(kind, channels, height * width)


def style_divisor(kind: str, target: Any, positions: int, pixels: int) -> Any:
    """Return what the sum of squared differences of Gram matrices is divided by, (1,) or (N,).

    Parameters
    ----------
    kind
        "mean": the number of entries. "relative": the sum of squares of the target, so that the loss is 1 for
        a Gram matrix of zeros whatever the layer. "layer-size": 4 (c h w)^2 of the layer (Gatys, Ecker and
        Bethge 2016, equation 4, with their N_l M_l). "image-size": 4 (3 H W)^2 of the image (the Keras
        example's way).
    target
        Target Gram matrices, (N, C, C) or (1, C, C).
    positions, pixels
        h*w of the layer; H*W of the image.
    """
    channels = target.shape[1]
    if kind == "relative":
        return _sum(target * target) + _FLOOR
    number = {
        "mean": float(channels) ** 2,
        "layer-size": 4.0 * (float(channels) * positions) ** 2,
        "image-size": 4.0 * (3.0 * pixels) ** 2,
    }[kind]
    return nd.full(1, number, ctx=target.context)


def match_gram(
    gram: Any, target: Any, kind: str, divided: float, positions: int, pixels: int, weight: float = 1.0
) -> tuple[Any, Any]:
    """Compare Gram matrices (Gatys, Ecker and Bethge 2016, equations 4 and 6).

    With ``G = F F^T / g`` and ``L = w sum((G - T)^2) / d``, the gradient is ``dL/dF = D F`` where
    ``D = 4 w / (d g) (G - T)``; so the feature maps are needed for G and for the product only.

    Parameters
    ----------
    gram, target
        G, (N, C, C), and T, (N, C, C) or (1, C, C) for one that serves all images; divided in the same way.
    kind
        See `style_divisor`.
    divided
        g, the `gram_divisor` of both.
    positions, pixels
        h*w of the layer; H*W of the image.
    weight
        w.

    Returns
    -------
    value, matrix : NDArray
        L, (N,), and D, (N, C, C).
    """
    # Divided before squared: raw Gram entries of large maps square beyond what float32 holds.
    root = style_divisor(kind, target, positions, pixels).sqrt().reshape((-1, 1, 1))
    scaled = nd.broadcast_div(nd.broadcast_sub(gram, target), root)
    return weight * _sum(scaled * scaled), nd.broadcast_mul(scaled, 4 * weight / (root * divided))


def style_loss(
    features: Any, target: Any, kind: str, gram: str, pixels: int, weight: float = 1.0
) -> tuple[Any, Any]:
    """Compare the Gram matrices of feature maps with target ones; see `match_gram`.

    Parameters
    ----------
    features : NDArray
        (N, C, h, w).
    target : NDArray
        Gram matrices divided as `gram` says, (N, C, C), or (1, C, C) for one that serves all images.
    kind, gram
        See `style_divisor` and `gram_divisor`.
    pixels
        H*W of the image.
    weight
        What value and gradient are multiplied by.

    Returns
    -------
    value, gradient : NDArray
        (N,), float32, and (N, C, h, w), of the type of the features.
    """
    _, channels, height, width = features.shape
    positions = height * width
    divided = gram_divisor(gram, channels, positions)
    found = normalized_gram(features, gram)
    value, matrix = match_gram(found, target, kind, divided, positions, pixels, weight)
    return value, gram_product(matrix, features)


def total_variation(image: Any, kind: str) -> tuple[Any, Any]:
    """Measure how much neighboring pixels differ (Mahendran and Vedaldi 2015, section 3, and relatives).

    Parameters
    ----------
    image : NDArray
        (N, 3, H, W) in the recipe's pixel units.
    kind
        "absolute": half the mean absolute difference of rows plus that of columns (the Gluon chapter).
        "squared": mean squared difference of rows plus that of columns. "power": sum of
        (dx^2 + dy^2)^1.25 over the top-left (H-1) x (W-1) pixels (the Keras example).

    Returns
    -------
    value, gradient : NDArray
        (N,) and (N, 3, H, W).
    """
    down = nd.slice_axis(image, axis=2, begin=1, end=None) - nd.slice_axis(image, axis=2, begin=0, end=-1)
    right = nd.slice_axis(image, axis=3, begin=1, end=None) - nd.slice_axis(image, axis=3, begin=0, end=-1)
    if kind == "power":
        return _power_variation(down, right)
    rows, columns = down.size // down.shape[0], right.size // right.shape[0]
    if kind == "absolute":
        value = _sum(down.abs()) * (0.5 / rows) + _sum(right.abs()) * (0.5 / columns)
        return value, _spread(down.sign() * (0.5 / rows), right.sign() * (0.5 / columns))
    value = _sum(down * down) / rows + _sum(right * right) / columns
    return value, _spread(down * (2 / rows), right * (2 / columns))


def _power_variation(down: Any, right: Any) -> tuple[Any, Any]:
    down = nd.slice_axis(down, axis=3, begin=0, end=-1)
    right = nd.slice_axis(right, axis=2, begin=0, end=-1)
    square = down * down + right * right
    slope = 2.5 * square**0.25
    padding = (0, 0, 0, 0)
    gradient_down = nd.pad(slope * down, mode="constant", pad_width=(*padding, 0, 0, 0, 1))
    gradient_right = nd.pad(slope * right, mode="constant", pad_width=(*padding, 0, 1, 0, 0))
    return _sum(square**1.25), _spread(gradient_down, gradient_right)


def _spread(down: Any, right: Any) -> Any:
    """Return the gradient to the image from those to its differences: each pulls two pixels apart."""
    none = (0, 0, 0, 0)
    rows = nd.pad(down, mode="constant", pad_width=(*none, 1, 0, 0, 0))
    rows = rows - nd.pad(down, mode="constant", pad_width=(*none, 0, 1, 0, 0))
    columns = nd.pad(right, mode="constant", pad_width=(*none, 0, 0, 1, 0))
    return rows + columns - nd.pad(right, mode="constant", pad_width=(*none, 0, 0, 0, 1))


def _sum(array: Any) -> Any:
    """Sum over all axes but the first; the last one by a matrix product.

    MXNet's own sum takes ten times as long (2.6 against 0.27 ms for an image of 512x384). A step is 0.95 times as long
    as with it at 256x192 in bfloat16 and 0.96 at 512x384, in float32 0.96 and 0.97.
    """
    length = array.shape[-1]
    lines = nd.dot(array.reshape((-1, length)), nd.ones(length, ctx=array.context))
    return lines.reshape((array.shape[0], -1)).sum(axis=1)


def _column(array: Any) -> Any:
    """(N,) as (N, 1, 1, 1)."""
    return array.reshape((-1, 1, 1, 1))
