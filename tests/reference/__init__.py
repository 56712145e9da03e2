"""A slow, independent float64 implementation of the five reference systems: the oracle of the tests.

NumPy alone, every derivative written by hand, nothing taken from the package under test.
"""

from tests.reference.losses import Reference, losses_and_gradient
from tests.reference.systems import START_IMAGES, SYSTEMS, image_from_pixels, pixels_from_image
from tests.reference.updates import (
    AdamState,
    adam_start,
    adam_step,
    d2l_learning_rate,
    normalised_gradient_step,
    tf2_adam_step,
)

__all__ = [
    "START_IMAGES",
    "SYSTEMS",
    "AdamState",
    "Reference",
    "adam_start",
    "adam_step",
    "d2l_learning_rate",
    "image_from_pixels",
    "losses_and_gradient",
    "normalised_gradient_step",
    "pixels_from_image",
    "tf2_adam_step",
]
