"""The losses of a reference system and the gradient of their total.

The networks take the preprocessing of the Gluon model zoo: RGB / 255, minus mean, over std.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tests.reference.systems import SYSTEMS, ZOO_MEAN, ZOO_STD, System, pixels_from_image
from tests.reference.terms import Term, gram, gram_error, squared_error
from tests.reference.vgg import Arrays, FloatArray, backward, forward

PARTS = ("content", "style", "tv")
ActivationScale = Mapping[str, "float | FloatArray"]


class Reference(NamedTuple):
    """Weighted contributions (total is their sum), and the gradient of the total, (3, H, W)."""

    content: float
    style: float
    tv: float
    total: float
    gradient: FloatArray


def losses_and_gradient(
    name: str,
    image: FloatArray,
    content: FloatArray,
    style: FloatArray,
    arrays: Arrays,
    activation_scale: ActivationScale | None = None,
    *,
    parts: tuple[str, ...] = PARTS,
    image_pixels: int | None = None,
) -> Reference:
    """Return the losses of system `name` at `image`, and the gradient of their total.

    Parameters
    ----------
    name
        A key of `SYSTEMS`.
    image
        (3, H, W), RGB, in the system's own pixel units; no side below 16.
    content, style
        (h, w, 3), RGB, 0..255, at the working size: `content` of the shape of `image`, `style` of any shape
        unless the system stretches it.
    arrays
        "convB_I.weight" and "convB_I.bias", for zoo preprocessing.
    activation_scale
        A factor, or one per channel, (c,), for named feature maps, before the losses (targets included).
    parts
        Which terms take part; the others are reported as 0 and leave no trace in the gradient.
    image_pixels
        The number of pixels in the style weights of the systems that have one there; None: the system's own.
    """
    _check_shapes(name, image, content, style)
    system, scale = SYSTEMS[name], activation_scale or {}
    targets = {"content": _maps(system, _to_zoo(content), arrays, (system.content_layer,), scale)[1]}
    targets["style"] = _maps(system, _to_zoo(style), arrays, system.style_layers, scale)[1]
    used = (*system.style_layers, system.content_layer)
    seen, scaled = _maps(system, _to_zoo(pixels_from_image(name, image)), arrays, used, scale)
    pixels = image_pixels or system.image_pixels or image.shape[1] * image.shape[2]
    values, by_map = _feature_terms(system, scaled, targets, parts, pixels)
    values["tv"], gradient = system.tv(image, system.tv_factor if "tv" in parts else 0.0)
    by_map = {layer: g * _factor(scale, layer) for layer, g in by_map.items()}
    if by_map:
        gradient = gradient + backward(system.network, arrays, seen, by_map) * _zoo_slope(system)
    return Reference(**values, total=sum(values.values()), gradient=gradient)


def _check_shapes(name: str, image: FloatArray, content: FloatArray, style: FloatArray) -> None:
    """Raise ValueError where the shapes cannot be meant."""
    if content.shape != (*image.shape[1:], image.shape[0]) or min(image.shape[1:]) < 16:
        raise ValueError(f"image {image.shape} and content {content.shape} must agree, sides 16 or more")
    if SYSTEMS[name].same_shape and style.shape != content.shape:
        raise ValueError(f"{name} stretches the style to {content.shape}; it was given as {style.shape}")


def _to_zoo(pixels: FloatArray) -> FloatArray:
    """Return the network's input (3, H, W) for a picture (H, W, 3)."""
    return np.asarray((pixels.transpose(2, 0, 1) / 255 - ZOO_MEAN) / ZOO_STD)


def _zoo_slope(system: System) -> FloatArray:
    """Return the derivative of the network's input with respect to the image, (3, 1, 1)."""
    return np.asarray(system.pixel_scale / 255 / ZOO_STD)


def _factor(scale: ActivationScale, layer: str) -> FloatArray:
    """Return the factor of a layer, to be multiplied with (c, h, w)."""
    return np.asarray(scale.get(layer, 1.0), dtype=np.float64).reshape(-1, 1, 1)


def _maps(
    system: System, x: FloatArray, arrays: Arrays, layers: tuple[str, ...], scale: ActivationScale
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return all feature maps as the network has them, and `layers` as the losses see them."""
    seen = forward(system.network, arrays, x, list(layers))
    return seen, {layer: seen[layer] * _factor(scale, layer) for layer in layers}


def _feature_terms(
    system: System,
    maps: Mapping[str, FloatArray],
    targets: Mapping[str, Mapping[str, FloatArray]],
    parts: tuple[str, ...],
    pixels: int,
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Return the content and style values, and the gradient by feature map."""
    values = {"content": 0.0, "style": 0.0}
    by_map: dict[str, FloatArray] = {}
    for part in (p for p in ("content", "style") if p in parts):
        term = content_term if part == "content" else style_term
        layers = (system.content_layer,) if part == "content" else system.style_layers
        for layer in layers:
            value, gradient = term(system, layer, maps[layer], targets[part][layer], pixels)
            values[part] += value
            by_map[layer] = by_map.get(layer, 0.0) + gradient
    return values, by_map


def content_term(system: System, layer: str, features: FloatArray, target: FloatArray, pixels: int) -> Term:
    """Return the weighted content loss of one layer, given both feature maps (c, h, w)."""
    return squared_error(features, target, system.content_factor(features.shape))


def style_term(system: System, layer: str, features: FloatArray, target: FloatArray, pixels: int) -> Term:
    """Return the weighted style loss of one layer, given both feature maps, (c, h, w) and (c, h', w')."""
    factor = system.style_factor(system.style_layers.index(layer), features.shape, pixels)
    target_gram = gram(target, system.gram_divisor(target.shape))
    return gram_error(features, target_gram, system.gram_divisor(features.shape), factor)
