"""One evaluation of the real network at many shapes; meant to be called in a process of its own."""

from __future__ import annotations

import numpy as np

from gluon_nst.backend import context, nd, to_ndarray
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.objective import style_targets
from gluon_nst.parameters import load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS
from gluon_nst.recipe_files import load_recipe
from gluon_nst.tiled_objective import make_objective


def gradients(shapes: list[list[int]], precision: str) -> list[list[float]]:
    """Return, for images of each [height, width], the norms of the gradient's halves left and right."""
    recipe = load_recipe("default")
    layers = [layer for layer, weight in (*recipe.content_layers, *recipe.style_layers) if weight]
    network = VGGFeatures(
        load_parameters("bundled").arrays, layers, network="vgg19", pooling=recipe.pooling,
        padding=recipe.padding, units=PIXEL_UNITS["unit"], context=context("cpu"), precision=precision,
    )  # fmt: skip
    found = []
    for height, width in shapes:
        generator = np.random.default_rng(height * 10_000 + width)
        content, image = (
            to_ndarray(generator.uniform(0, 1, (1, 3, height, width)).astype(np.float32)) for _ in range(2)
        )
        objective = make_objective(
            network, recipe, content, style_targets(network, recipe, image[:, :, ::-1]), None
        )
        gradient = objective(GeneratedImage(image)).gradient
        halves = (nd.slice_axis(gradient, axis=3, begin=0, end=width // 2), gradient)
        found.append([float(half.norm().asscalar()) for half in halves])
    return found
