"""The recipe: every setting that changes a pixel, as one frozen, validated record.

Field names follow jcjohnson/neural-style where the meaning is the same. Values live in TOML files (package
folder ``recipes``), each with its source beside it; this module has no defaults of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from gluon_nst.errors import RecipeError, did_you_mean
from gluon_nst.schedule import SCHEDULES
from gluon_nst.vgg_layers import NETWORKS, check_layer

__all__ = [
    "CHOICES",
    "LayerWeights",
    "Recipe",
    "field_names",
    "make_recipe",
    "recipe_digest",
    "recipe_mapping",
    "used_layers",
]

LayerWeights = tuple[tuple[str, float], ...]
"""Pairs (layer name, weight), in the order of the recipe."""

CHOICES: dict[str, tuple[str, ...]] = {
    "network": NETWORKS,
    "pooling": ("max", "average"),
    "padding": ("zero", "replicate"),
    "activations": ("as-is", "caffe"),
    "content_loss": ("mean", "sum", "relative"),
    "gram": ("raw", "hw", "chw"),
    "style_loss": ("mean", "relative", "layer-size", "image-size"),
    "tv_loss": ("absolute", "squared", "power"),
    "pixel_units": ("imagenet", "unit", "caffe"),
    "content_colors": ("own", "style"),
    "init": ("content", "uniform", "normal", "image"),
    "optimizer": ("adam", "lbfgs", "normalized-gd"),
    "schedule": SCHEDULES,
    "style_fit": ("aspect", "stretch"),
}
"""The words that each field of words may have."""

# Smallest and largest allowed number; the open end of a range is infinity.
_RANGES: dict[str, tuple[float, float]] = {
    "content_weight": (0, math.inf),
    "style_weight": (0, math.inf),
    "tv_weight": (0, math.inf),
    "seed": (0, 2**32 - 1),
    "learning_rate": (1e-12, math.inf),
    "beta1": (0, 0.999999),
    "beta2": (0, 0.9999999),
    "epsilon": (0, math.inf),
    "decay_every": (1, math.inf),
    "coarse_decay_every": (1, math.inf),
    "decay_factor": (0, 1),
    "average": (0, 0.9999),
    "lbfgs_round": (1, math.inf),
    "lbfgs_history": (1, 1000),
    "size": (0, 65_500),
    "scales": (0, 16),
    "min_size": (16, 65_500),
    "scale_factor": (1.05, 16),
    "steps": (1, 1_000_000),
    "coarse_steps": (0, 1_000_000),
    "stop_below": (0, 0.5),
    "stop_window": (1, 1_000_000),
    "style_scale": (0.05, 20),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Every setting that changes a pixel of the result. Build one with `make_recipe` or `load_recipe`.

    Attributes
    ----------
    name, description
        For people; no part of the digest.
    network, pooling, padding
        "vgg19" or "vgg16"; "max" or "average" pooling; "zero" or "replicate" padding of the first layer.
    activations
        "as-is", or "caffe": bring the feature maps to the scale of the original Caffe network, for loss
        weights that were tuned on it. What that takes is known by the parameters.
    content_weight, content_layers, content_loss
        Weight of the term; layers with their weights; "sum" of squared differences, their "mean", or
        "relative": the mean over the mean square of the target.
    style_weight, style_layers, gram, style_loss
        Likewise for Gram matrices, which are "raw" (F F^T), divided by "hw" or by "chw". The squared
        differences are averaged ("mean", "relative") or summed and divided by 4 (c h w)^2 of the layer
        ("layer-size") or by 4 (3 H W)^2 of the image ("image-size").
    tv_weight, tv_loss
        Total variation: "absolute" half the mean absolute differences, "squared" mean squares, "power"
        sum of (dx^2 + dy^2)^1.25; in the recipe's pixel units.
    pixel_units
        What the optimised numbers are: "imagenet" (RGB/255 less mean, over deviation), "unit" (RGB/255),
        "caffe" (0..255 less the mean color).
    init, init_range, seed
        Start: "content", "image" (given by the caller), "uniform" in [a, b) or "normal" with mean a and
        deviation b, in pixel units; seed of the noise.
    optimizer, learning_rate, beta1, beta2, epsilon
        "adam", "lbfgs" (SciPy) or "normalized-gd"; the rate is in pixel units.
    schedule, decay_every, coarse_decay_every, decay_factor
        See `gluon_nst.schedule.learning_rate`.
    clip
        Clip the image to the range of real pixels after every step.
    average
        Decay of the running average of the iterates that becomes the result; 0 takes the last iterate.
    lbfgs_round, lbfgs_history
        Function evaluations after which L-BFGS starts afresh; number of corrections kept.
    size, shape
        Longer side in pixels (0: the content's own), or a fixed (height, width) that the content is
        stretched to; an empty shape keeps the aspect.
    scales, min_size, scale_factor, steps, coarse_steps, carry_moments
        The pyramid, see `gluon_nst.pyramid.pyramid`; whether Adam's moments move up with the image.
    restore_detail, match_colors
        What is done to the image between two scales, see `gluon_nst.starts.revise`: add the detail of the content that
        the smaller one had no pixels for; bring its colors to the distribution of the styles'.
    stop_below, stop_window
        A scale ends early once the loss over `stop_window` steps is less than the fraction `stop_below` under
        that of the window before; 0 takes all steps, and so does L-BFGS always.
    style_fit, style_scale
        "aspect": the style image's longer side is `style_scale` times the content's; "stretch": it takes
        the content's shape.
    content_colors
        "own", or "style": bring the content's colors to the mean and covariance of the style's before all else.
    original_colors
        Keep the content's colors: only the luminance is stylized.
    """

    name: str
    description: str
    network: str
    pooling: str
    padding: str
    activations: str
    content_weight: float
    content_layers: LayerWeights
    content_loss: str
    style_weight: float
    style_layers: LayerWeights
    gram: str
    style_loss: str
    tv_weight: float
    tv_loss: str
    pixel_units: str
    init: str
    init_range: tuple[float, ...]
    seed: int
    optimizer: str
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    schedule: str
    decay_every: int
    coarse_decay_every: int
    decay_factor: float
    clip: bool
    average: float
    lbfgs_round: int
    lbfgs_history: int
    size: int
    shape: tuple[int, ...]
    scales: int
    min_size: int
    scale_factor: float
    steps: int
    coarse_steps: int
    stop_below: float
    stop_window: int
    carry_moments: bool
    restore_detail: bool
    match_colors: bool
    style_fit: str
    style_scale: float
    content_colors: str
    original_colors: bool

    def replace(self, **changes: object) -> Recipe:
        """Return a copy with some fields changed, validated again."""
        return make_recipe({**recipe_mapping(self), **changes})


def used_layers(recipe: Recipe) -> tuple[str, ...]:
    """Return the layers behind a loss that counts."""
    return tuple(layer for layer, weight in (*recipe.content_layers, *recipe.style_layers) if weight)


_TYPES: dict[str, str] = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}


def field_names() -> tuple[str, ...]:
    """Return the names of all fields, in order."""
    return tuple(_TYPES)


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Return a validated recipe from plain values (as TOML or JSON gives them).

    Raises
    ------
    RecipeError
        On an unknown or missing field, a wrong type, a value out of its range, an unknown word or layer.
    """
    for name in values:
        check_field(name)
    missing = [name for name in _TYPES if name not in values]
    if missing:
        raise RecipeError(
            f"the recipe lacks {', '.join(missing)}. `gluon-nst recipes default` prints a whole one."
        )
    recipe = Recipe(**{name: _coerce(name, values[name]) for name in _TYPES})
    _check_together(recipe)
    return recipe


def check_field(name: str) -> str:
    """Return `name` if a recipe has such a field, else raise RecipeError with a suggestion."""
    if name not in _TYPES:
        raise RecipeError(
            f"a recipe has no field {name!r}.{did_you_mean(name, _TYPES)} See `gluon-nst recipes default`."
        )
    return name


def recipe_mapping(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values: what `make_recipe` takes, and what TOML and JSON can hold."""
    values = {name: getattr(recipe, name) for name in _TYPES}
    for name, kind in _TYPES.items():
        if kind == "LayerWeights":
            values[name] = dict(values[name])
        elif kind.startswith("tuple"):
            values[name] = list(values[name])
    return values


@functools.lru_cache(maxsize=64)  # asked for every job of a collection, which has one recipe or a few
def recipe_digest(recipe: Recipe) -> str:
    """Return the sha256, in hex, of everything in the recipe that can change a pixel."""
    values = recipe_mapping(recipe)
    del values["name"], values["description"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _coerce(name: str, value: Any) -> Any:
    """Return `value` as the type of the field, checked against its range or words."""
    kind = _TYPES[name]
    if kind == "LayerWeights":
        return _layer_weights(name, value)
    if kind.startswith("tuple"):
        return tuple(_number(name, item, whole="int" in kind) for item in _as_list(name, value))
    if kind == "bool":
        return _typed(name, value, bool, "true or false")
    if kind == "str":
        return _word(name, _typed(name, value, str, "text"))
    return _number(name, value, whole=kind == "int")


def _typed(name: str, value: Any, kind: type, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise RecipeError(f"{name} is {value!r}; it takes {wanted}.")
    return value


def _word(name: str, value: str) -> str:
    allowed = CHOICES.get(name)
    if allowed is not None and value not in allowed:
        raise RecipeError(
            f"{name} is {value!r}; it takes {', '.join(allowed)}.{did_you_mean(value, allowed)}"
        )
    return value


def _number(name: str, value: Any, *, whole: bool) -> float | int:
    wanted = "a whole number" if whole else "a number"
    fractional = whole and isinstance(value, float) and not value.is_integer()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or fractional:
        raise RecipeError(f"{name} is {value!r}; it takes {wanted}.")
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    if not (low <= value <= high and abs(value) <= sys.float_info.max):
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"
        raise RecipeError(f"{name} is {value!r}; it takes {wanted} {bounds}.")
    return int(value) if whole else float(value)


def _as_list(name: str, value: Any) -> Iterable[Any]:
    if not isinstance(value, (list, tuple)):
        raise RecipeError(
            f"{name} is {value!r}; it takes a list of numbers, such as [300, 450], or [] for none."
        )
    return value


def _layer_weights(name: str, value: Any) -> LayerWeights:
    if isinstance(value, tuple):
        value = dict(value)
    if not isinstance(value, Mapping):
        raise RecipeError(f"{name} is {value!r}; it takes layers with weights, such as {{relu4_2 = 1.0}}.")
    return tuple((layer, _number(f"{name}.{layer}", weight, whole=False)) for layer, weight in value.items())


def _check_together(recipe: Recipe) -> None:
    """Check what one field alone cannot tell."""
    for layer, weight in (*recipe.content_layers, *recipe.style_layers):
        check_layer(recipe.network, layer)
        if weight < 0:
            raise RecipeError(f"the weight of layer {layer} is {weight:g}; it takes a number of 0 or more.")
    if not recipe.content_layers and not recipe.style_layers:
        raise RecipeError("content_layers and style_layers are both empty; name at least one layer.")
    if not any(weight for _, weight in (*recipe.content_layers, *recipe.style_layers)):
        raise RecipeError(
            "every layer of content_layers and style_layers has the weight 0; raise one of them."
        )
    if recipe.shape and (len(recipe.shape) != 2 or min(recipe.shape) < 16):
        raise RecipeError(f"shape is {list(recipe.shape)}; it takes [height, width] of 16 or more, or [].")
    if recipe.init in ("uniform", "normal") and len(recipe.init_range) != 2:
        raise RecipeError(
            f"init_range is {list(recipe.init_range)}; init = {recipe.init!r} takes two numbers."
        )
    if recipe.init == "normal" and recipe.init_range[1] < 0:
        raise RecipeError(f"init_range is {list(recipe.init_range)}; a deviation cannot be below 0.")
    if recipe.gram == "raw" and recipe.style_fit != "stretch":
        raise RecipeError(
            'gram = "raw" sums over pixels, so the style image must have the content\'s shape: '
            'set style_fit = "stretch", or gram = "hw".'
        )
