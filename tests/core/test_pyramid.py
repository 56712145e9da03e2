"""Working shapes and scales."""

from __future__ import annotations

import itertools

import pytest

from gluon_nst.errors import ImageSizeError
from gluon_nst.pyramid import Scale, pyramid, working_shape
from gluon_nst.recipe_files import load_recipe
from gluon_nst.vgg_layers import MIN_SIDE


def default(**changes):
    """Return the house recipe with the sizes that it had first, whatever tuning makes of it."""
    sizes = {"size": 512, "shape": [], "scales": 0, "min_size": 128, "scale_factor": 2.0}
    return load_recipe("default", **{**sizes, **changes})


def shapes(scales):
    return [(scale.height, scale.width) for scale in scales]


def test_d2l_runs_its_two_stages_whatever_the_photo():
    recipe = load_recipe("d2l")
    assert working_shape(recipe, 1000, 20) == (300, 450)
    scales = pyramid(recipe, *working_shape(recipe, 999, 777))
    assert scales == (Scale(150, 225, 500, 200), Scale(300, 450, 300, 100))


@pytest.mark.parametrize(
    ("name", "photo", "expected"),
    [
        ("keras-lbfgs-vgg16", (600, 900), (260, 260, 200)),
        ("keras-lbfgs-vgg19", (600, 900), (267, 400, 200)),
        ("tf2-adam", (900, 600), (512, 341, 1000)),
        ("keras-normalised-gd", (422, 750), (422, 750, 1500)),
    ],
)
def test_the_other_systems_run_one_scale(name, photo, expected):
    recipe = load_recipe(name)
    (scale,) = pyramid(recipe, *working_shape(recipe, *photo))
    assert (scale.height, scale.width, scale.steps) == expected


def test_default_halves_down_to_its_smallest_size():
    recipe = default(coarse_steps=70, steps=30)
    scales = pyramid(recipe, *working_shape(recipe, 3000, 4000))
    assert shapes(scales) == [(96, 128), (192, 256), (384, 512)]
    assert [scale.steps for scale in scales] == [70, 70, 30]
    assert [scale.longer_side for scale in scales] == [128, 256, 512]


@pytest.mark.parametrize(
    ("size", "count"), [(127, 1), (128, 1), (255, 1), (256, 2), (511, 2), (512, 3), (1024, 4), (2048, 5)]
)
def test_as_many_scales_as_stay_at_the_smallest_size_or_more(size, count):
    assert len(pyramid(default(), size, size)) == count


def test_the_house_recipe_is_finished_at_its_size():
    recipe = load_recipe("default")
    scales = pyramid(recipe, *working_shape(recipe, 3000, 4000))
    assert scales[-1].longer_side == recipe.size
    assert min(scale.longer_side for scale in scales) >= recipe.min_size


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_a_fixed_number_of_scales_may_go_below_the_smallest_size(scales):
    assert len(pyramid(default(scales=scales), 256, 256)) == scales


def test_no_scale_has_a_side_that_the_network_cannot_see():
    scales = pyramid(default(scales=16, scale_factor=1.5), 64, 300)
    assert 1 < len(scales) < 16
    assert min(min(shape) for shape in shapes(scales)) >= MIN_SIDE
    smaller = scales[0].height / 1.5
    assert smaller < MIN_SIDE


def test_scales_grow_by_the_factor_and_keep_the_aspect():
    scales = pyramid(default(scales=4, scale_factor=1.5), 400, 600)
    for small, large in itertools.pairwise(scales):
        assert large.longer_side / small.longer_side == pytest.approx(1.5, rel=0.01)
    for scale in scales:
        assert scale.width / scale.height == pytest.approx(1.5, rel=0.01)


def test_the_longer_side_becomes_the_size_and_small_photos_grow():
    assert working_shape(default(size=512), 3000, 4000) == (384, 512)
    assert working_shape(default(size=512), 4000, 3000) == (512, 384)
    assert working_shape(default(size=512), 30, 40) == (384, 512)
    assert working_shape(default(size=512), 512, 512) == (512, 512)


def test_size_zero_keeps_the_photo_as_it_is():
    assert working_shape(default(size=0), 123, 457) == (123, 457)


def test_the_smallest_photo_that_the_network_can_see():
    assert working_shape(default(size=0), 16, 16) == (16, 16)
    assert shapes(pyramid(default(), 16, 16)) == [(16, 16)]
    assert shapes(pyramid(default(scales=16), 16, 4000)) == [(16, 4000)]


@pytest.mark.parametrize(
    ("photo", "size"), [((15, 400), 0), ((400, 15), 0), ((1, 1), 0), ((100, 4000), 512), ((1, 20_000), 512)]
)
def test_what_the_network_cannot_see_is_refused(photo, size):
    with pytest.raises(ImageSizeError, match="no side may be below 16"):
        working_shape(default(size=size), *photo)


def test_the_refusal_says_what_was_given_and_what_it_becomes():
    with pytest.raises(ImageSizeError) as caught:
        working_shape(default(size=512), 1, 20_000)
    message = str(caught.value)
    assert "20000x1 pixels" in message
    assert "512x1" in message
    assert "--size" in message


def test_a_line_of_pixels_is_served_where_the_recipe_stretches_it():
    assert working_shape(load_recipe("d2l"), 1, 20_000) == (300, 450)
