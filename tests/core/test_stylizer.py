"""The Stylizer on narrow random networks: chunks, styles, starts, colors, memory, progress, kept targets."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

import gluon_nst.stylizer
import gluon_nst.targets
from gluon_nst.backend import mx, nd, to_ndarray
from gluon_nst.errors import DeviceError, DivergedError, ImageSizeError, OutOfMemoryError, UsageError
from gluon_nst.images.color import original_colors
from gluon_nst.images.geometry import resize
from gluon_nst.images.palette import match_palette
from gluon_nst.objective import style_targets
from gluon_nst.optimize import AdamState, Settings, adam_step, optimize
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.progress import TERMS
from gluon_nst.pyramid import Scale
from gluon_nst.recipe import Recipe
from gluon_nst.recipe_files import load_recipe
from gluon_nst.starts import enlarge
from gluon_nst.stylizer import Stylizer
from tests.core.narrow import narrow_features, narrow_parameters, smooth_picture

SHAPE = (32, 40)
STILL = 1e-12
"""A learning rate at which the result is the start."""

SMALL = {
    "size": 40,
    "shape": [],
    "scales": 2,
    "min_size": 16,
    "scale_factor": 2.0,
    "steps": 6,
    "coarse_steps": 7,
    "carry_moments": False,
    "restore_detail": False,
    "match_colors": False,
    "network": "vgg19",
    "pooling": "max",
    "padding": "replicate",
    "content_weight": 0.1,
    "content_loss": "relative",
    "content_layers": {"relu3_1": 1.0},
    "style_weight": 1.0,
    "style_loss": "relative",
    "gram": "hw",
    "style_layers": {"relu1_1": 0.5, "relu2_1": 0.5},
    "tv_weight": 0.0,
    "tv_loss": "squared",
    "pixel_units": "unit",
    "init": "content",
    "schedule": "constant",
    "optimizer": "adam",
    "learning_rate": 0.02,
    "average": 0.0,
    "clip": True,
    "style_fit": "aspect",
    "style_scale": 1.0,
    "content_colors": "own",
    "original_colors": False,
}
"""The house recipe made small; every setting that these tests lean on is fixed here."""


def recipe(**changes: object) -> Recipe:
    return load_recipe("default", **{**SMALL, **changes})


def stylizer(**changes: object) -> Stylizer:
    return Stylizer(recipe(**changes), narrow_parameters(), device="cpu", precision="float32")


def contents(count: int) -> list[np.ndarray]:
    return [smooth_picture(*SHAPE, seed) for seed in range(count)]


STYLE = smooth_picture(36, 30, seed=100)
OTHER_STYLE = smooth_picture(36, 44, seed=101)


def pixels(results) -> np.ndarray:
    return np.stack([result.pixels for result in results]).astype(int)


# --- what comes back ---


def test_a_result_says_what_was_done():
    (result,) = stylizer().stylize(contents(1), [STYLE])
    assert result.pixels.shape == (*SHAPE, 3)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.flags["C_CONTIGUOUS"]
    assert (result.steps, result.stop_reason) == (6 + 7, "steps")
    assert (result.device, result.precision) == ("cpu", "float32")
    assert result.seconds > 0
    steps = [(point.scale, point.step) for point in result.losses]
    assert steps == [(1, 1), (1, 5), (1, 7), (2, 1), (2, 5), (2, 6)]
    for point in result.losses:
        assert point.total == pytest.approx(point.content + point.style + point.tv, rel=1e-5)


def test_the_loss_falls():
    (result,) = stylizer(scales=1, steps=40).stylize(contents(1), [STYLE])
    assert result.losses[-1].total < 0.5 * result.losses[0].total


def test_the_longer_side_becomes_the_size_whatever_the_photo():
    (result,) = stylizer(scales=1, steps=1).stylize([smooth_picture(90, 60, 0)], [STYLE])
    assert result.pixels.shape == (40, 27, 3)


def test_the_pictures_given_are_left_as_they_are():
    content, style = contents(1)[0], STYLE.copy()
    before = content.copy()
    stylizer(original_colors=True).stylize([content], [style])
    np.testing.assert_array_equal(content, before)
    np.testing.assert_array_equal(style, STYLE)


# --- determinism and chunks ---


def test_the_same_call_gives_the_same_bytes():
    once, again, elsewhere = (
        worker.stylize(contents(2), [STYLE, OTHER_STYLE])
        for worker in [stylizer(init="normal", init_range=[0.5, 0.2])] * 2
        + [stylizer(init="normal", init_range=[0.5, 0.2])]
    )
    np.testing.assert_array_equal(pixels(once), pixels(again))
    np.testing.assert_array_equal(pixels(once), pixels(elsewhere))
    assert [result.losses for result in once] == [result.losses for result in again]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"init": "uniform", "init_range": [0.3, 0.7]},
        {"carry_moments": True, "average": 0.8},
        {"optimizer": "normalized-gd"},
        {"optimizer": "lbfgs"},
        {"original_colors": True},
        {"content_colors": "style", "optimizer": "lbfgs"},
        {"restore_detail": True, "match_colors": True},
    ],
    ids=["plain", "noise", "moments", "normalized-gd", "lbfgs", "colors", "palette", "revised"],
)
def test_a_chunk_gives_what_each_picture_alone_gives(changes):
    worker = stylizer(**changes)
    together = worker.stylize(contents(3), [STYLE])
    alone = [worker.stylize([content], [STYLE])[0] for content in contents(3)]
    np.testing.assert_array_equal(pixels(together), pixels(alone))
    for one, other in zip(together, alone, strict=True):
        assert [point.total for point in one.losses] == [point.total for point in other.losses]
    assert np.abs(pixels(together)[0] - pixels(together)[1]).mean() > 5


def test_contents_of_one_call_have_one_shape():
    with pytest.raises(
        ImageSizeError, match=r"must have one shape; these have \[\(32, 40, 3\), \(40, 32, 3\)\]"
    ):
        stylizer().stylize([smooth_picture(32, 40, 0), smooth_picture(40, 32, 0)], [STYLE])


def test_no_content_is_refused():
    with pytest.raises(ImageSizeError):
        stylizer().stylize([], [STYLE])


def test_a_content_that_is_too_narrow_is_refused():
    with pytest.raises(ImageSizeError, match="200x10 pixels, which becomes 40x2"):
        stylizer().stylize([smooth_picture(10, 200, 0)], [STYLE])


def test_a_style_that_is_too_narrow_is_refused():
    with pytest.raises(ImageSizeError, match="20x1 pixels"):
        stylizer().stylize(contents(1), [smooth_picture(10, 200, 0)])


@pytest.mark.parametrize("shape", [(32, 40), (32, 40, 4)])
def test_pictures_that_are_not_rgb_are_refused(shape):
    with pytest.raises((UsageError, ImageSizeError)):
        stylizer().stylize([np.zeros(shape, np.uint8)], [STYLE])


# --- styles ---


def first_style_loss(worker: Stylizer, styles, blend=None) -> float:
    return worker.stylize(contents(1), styles, blend=blend)[0].losses[0].style


def test_a_blend_aims_at_the_blend_of_the_gram_matrices():
    given = recipe(scales=1, style_weight=3.0)
    worker = Stylizer(given, narrow_parameters(), device="cpu", precision="float32")
    network = narrow_features(
        ["relu1_1", "relu2_1"], padding=given.padding, pooling=given.pooling, units=given.pixel_units
    )

    def grams(picture):
        image = preprocess([picture], PIXEL_UNITS[given.pixel_units], mx.cpu())
        return {layer: gram.asnumpy()[0] for layer, gram in style_targets(network, given, image).items()}

    of_content = grams(contents(1)[0])
    of_styles = [
        grams(resize(style, *shape)) for style, shape in ((STYLE, (40, 33)), (OTHER_STYLE, (33, 40)))
    ]
    expected = 0.0
    for layer, weight in given.style_layers:
        target = 0.25 * of_styles[0][layer] + 0.75 * of_styles[1][layer]
        expected += 3.0 * weight * ((of_content[layer] - target) ** 2).mean() / (target**2).mean()
    assert first_style_loss(worker, [STYLE, OTHER_STYLE], [1, 3]) == pytest.approx(expected, rel=1e-4)


def test_blend_weights_count_by_their_ratio():
    worker = stylizer()
    evenly = worker.stylize(contents(1), [STYLE, OTHER_STYLE])
    np.testing.assert_array_equal(
        pixels(evenly), pixels(worker.stylize(contents(1), [STYLE, OTHER_STYLE], blend=[7, 7]))
    )


def test_a_style_of_no_weight_counts_for_nothing():
    worker = stylizer()
    alone = worker.stylize(contents(1), [STYLE])
    blended = worker.stylize(contents(1), [STYLE, OTHER_STYLE], blend=[2, 0])
    np.testing.assert_array_equal(pixels(alone), pixels(blended))
    other = worker.stylize(contents(1), [OTHER_STYLE])
    assert np.abs(pixels(alone) - pixels(other)).mean() > 2


def test_a_style_blended_with_itself_is_that_style():
    worker = stylizer()
    once = first_style_loss(worker, [STYLE])
    assert first_style_loss(worker, [STYLE, STYLE]) == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize(
    ("styles", "blend"),
    [(0, None), (1, [1, 2]), (2, [1]), (2, [0, 0]), (2, [2, -1]), (1, []), (0, [])],
)
def test_wrong_blends_are_refused(styles, blend):
    with pytest.raises(UsageError, match="style images came with the blend weights"):
        stylizer().stylize(contents(1), [STYLE] * styles, blend=blend)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"style_fit": "stretch"}, [(16, 20), (32, 40)]),
        ({"style_fit": "aspect"}, [(20, 17), (40, 33)]),
        ({"style_fit": "aspect", "style_scale": 1.5}, [(30, 25), (60, 50)]),
    ],
    ids=["stretch", "aspect", "larger"],
)
def test_the_style_is_seen_at_the_size_that_the_recipe_says(changes, expected, seen_styles):
    stylizer(**changes).stylize(contents(1), [STYLE])
    assert seen_styles == expected


@pytest.fixture
def seen_styles(monkeypatch):
    """Note the shape of every style picture that the network is shown."""
    shapes = []

    def watched(network, given, style):
        shapes.append(style.shape[2:])
        return style_targets(network, given, style)

    monkeypatch.setattr(gluon_nst.targets, "style_targets", watched)
    return shapes


def test_style_targets_are_computed_once_per_style_and_scale(seen_styles):
    worker = stylizer()
    first = worker.stylize(contents(2), [STYLE])
    assert len(seen_styles) == 2
    second = worker.stylize(contents(2), [STYLE.copy()])
    assert len(seen_styles) == 2
    np.testing.assert_array_equal(pixels(first), pixels(second))
    worker.stylize(contents(1), [STYLE, OTHER_STYLE])
    assert len(seen_styles) == 4


def test_a_style_of_the_same_shape_is_not_taken_for_another(seen_styles):
    worker = stylizer(scales=1, style_fit="stretch")
    worker.stylize(contents(1), [STYLE])
    changed = STYLE.copy()
    changed[0, 0, 0] ^= 1
    worker.stylize(contents(1), [changed])
    # The same numbers in another shape.
    worker.stylize(contents(1), [STYLE.reshape(30, 36, 3)])
    assert len(seen_styles) == 3


def test_kept_targets_are_not_worn_by_use():
    worker = stylizer(scales=1)
    before = pixels(worker.stylize(contents(1), [STYLE]))
    worker.stylize(contents(1), [STYLE, OTHER_STYLE], blend=[1, 5])
    np.testing.assert_array_equal(pixels(worker.stylize(contents(1), [STYLE])), before)


def test_the_targets_longest_unused_are_let_go(seen_styles, monkeypatch):
    monkeypatch.setattr(gluon_nst.targets, "_KEPT", 2)
    worker = stylizer(scales=1, steps=1)
    third = smooth_picture(30, 30, seed=102)
    for style in (STYLE, OTHER_STYLE, STYLE, third, STYLE):
        worker.stylize(contents(1), [style])
    assert len(seen_styles) == 3
    worker.stylize(contents(1), [OTHER_STYLE])
    assert len(seen_styles) == 4


# --- starts ---


def still(**changes: object) -> Stylizer:
    return stylizer(**{"learning_rate": STILL, "scales": 1, "steps": 1, **changes})


def test_it_starts_from_the_content():
    results = still().stylize(contents(2), [STYLE])
    np.testing.assert_array_equal(pixels(results), contents(2))


def test_it_starts_from_the_picture_given():
    starts = [smooth_picture(*SHAPE, 50), smooth_picture(20, 70, 51)]
    results = still(init="image").stylize(contents(2), [STYLE], starts=starts)
    np.testing.assert_array_equal(results[0].pixels, starts[0])
    np.testing.assert_array_equal(results[1].pixels, resize(starts[1], *SHAPE))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_start_and_its_setting_go_together(optimizer):
    for init, starts in (("image", None), ("content", contents(1))):
        with pytest.raises(UsageError, match='a start image and init = "image" go together'):
            still(init=init, optimizer=optimizer).stylize(contents(1), [STYLE], starts=starts)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_there_is_one_start_for_each_content(count, optimizer):
    with pytest.raises(UsageError):
        still(init="image", optimizer=optimizer).stylize(contents(2), [STYLE], starts=contents(count))


def noise_of(given: list[np.ndarray], **changes: object) -> np.ndarray:
    return pixels(still(init="uniform", init_range=[0.1, 0.9], **changes).stylize(given, [STYLE]))


def test_noise_depends_on_the_content_and_not_on_its_place():
    first, second, third = contents(3)
    together = noise_of([first, second, third])
    np.testing.assert_array_equal(together[1:], noise_of([second, third]))
    np.testing.assert_array_equal(together[2:], noise_of([third]))
    assert np.abs(together[0] - together[1]).mean() > 30


def test_noise_depends_on_the_seed():
    zero, again, one = (noise_of(contents(1), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(zero, again)
    assert np.abs(zero - one).mean() > 30


def test_noise_is_the_same_for_equal_pixels_however_they_lie():
    content = contents(1)[0]
    turned = np.asfortranarray(content)
    np.testing.assert_array_equal(noise_of([content]), noise_of([turned]))


# --- from scale to scale ---


def test_each_scale_starts_where_the_last_one_ended():
    stays = stylizer(learning_rate=STILL)
    (result,) = stays.stylize(contents(1), [STYLE])
    small = resize(contents(1)[0], 16, 20)
    # Up again: soft, but the same picture.
    up = resize(small, *SHAPE).astype(int)
    assert np.abs(result.pixels - up).mean() < 6
    assert np.abs(result.pixels - up).mean() < np.abs(result.pixels - contents(1)[0].astype(int)).mean()


def test_the_detail_of_the_content_comes_back_with_each_scale():
    # Three scales, in pixels that no scale before the last could hold.
    content = (contents(1)[0] + np.random.default_rng(0).integers(-20, 21, (*SHAPE, 3))).clip(0, 255)
    content = content.astype(np.uint8)
    given = {"learning_rate": STILL, "scales": 3, "scale_factor": 1.5}
    (plain,) = stylizer(**given).stylize([content], [STYLE])
    (restored,) = stylizer(**given, restore_detail=True).stylize([content], [STYLE])
    assert np.abs(plain.pixels - content.astype(int)).mean() > 8
    assert np.abs(restored.pixels - content.astype(int)).mean() < 1


def test_the_detail_is_that_of_what_the_content_loss_sees():
    given = {"learning_rate": STILL, "content_colors": "style", "restore_detail": True}
    (result,) = stylizer(**given).stylize(contents(1), [STYLE])
    recolored = match_palette(contents(1)[0], [STYLE], [1.0])
    assert np.abs(result.pixels - recolored.astype(int)).mean() < 2
    assert np.abs(result.pixels - contents(1)[0].astype(int)).mean() > 5


def test_colors_are_matched_between_scales_by_the_weights_of_the_styles():
    dark, light = (np.full((40, 40, 3), level, np.uint8) for level in (40, 210))
    for share in (0.3, 1.0):
        (result,) = stylizer(learning_rate=STILL, match_colors=True).stylize(
            contents(1), [dark, light], blend=[1 - share, share]
        )
        assert (result.pixels > 125).mean() == pytest.approx(share, abs=0.06)


def test_one_scale_has_nothing_to_revise():
    given = {"scales": 1, "learning_rate": STILL}
    (result,) = stylizer(**given, restore_detail=True, match_colors=True).stylize(contents(1), [STYLE])
    np.testing.assert_array_equal(result.pixels, contents(1)[0])


@pytest.mark.parametrize("carry", [True, False])
def test_moments_move_up_where_the_recipe_says_so(carry, monkeypatch):
    states = []

    def watched(objective, start, settings, *, state, **options):
        states.append(None if state is None else (state.step, state.mean.shape))
        return optimize(objective, start, settings, state=state, **options)

    monkeypatch.setattr(gluon_nst.stylizer, "optimize", watched)
    stylizer(carry_moments=carry).stylize(contents(2), [STYLE])
    assert states == [None, (7, (2, 3, *SHAPE)) if carry else None]


def test_each_scale_runs_its_own_settings(monkeypatch):
    seen = []

    def watched(objective, start, settings, **options):
        seen.append((start.shape, settings))
        return optimize(objective, start, settings, **options)

    monkeypatch.setattr(gluon_nst.stylizer, "optimize", watched)
    given = recipe(
        schedule="step", coarse_decay_every=3, decay_every=2, decay_factor=0.5, average=0.25, epsilon=1e-3
    )
    Stylizer(given, narrow_parameters(), device="cpu", precision="float32").stylize(contents(1), [STYLE])
    (small_shape, small), (large_shape, large) = seen
    assert (small_shape, large_shape) == ((1, 3, 16, 20), (1, 3, *SHAPE))
    assert (small.steps, small.decay_every, large.steps, large.decay_every) == (7, 3, 6, 2)
    for settings in (small, large):
        shared = set(Settings.__dataclass_fields__) - {"steps", "decay_every", "bounds"}
        for field in shared:
            assert getattr(settings, field) == getattr(given, field), field
        low, high = settings.bounds
        assert (low.asnumpy() == 0).all()
        assert (high.asnumpy() == 1).all()


def bounds():
    return tuple(bound.as_in_context(mx.cpu()) for bound in PIXEL_UNITS["unit"].bounds())


def test_enlarging_keeps_one_color_and_clips_to_real_pixels():
    image = to_ndarray(
        np.array([0.25, -3, 7], np.float32).reshape(1, 3, 1, 1) * np.ones((2, 3, 8, 10), np.float32)
    )
    larger, state = enlarge(image, None, bounds(), Scale(16, 20, 1, 1))
    assert larger.shape == (2, 3, 16, 20)
    assert state is None
    for channel, expected in enumerate((0.25, 0, 1)):
        np.testing.assert_allclose(larger.asnumpy()[:, channel], expected, atol=1e-6)


def test_enlarging_carries_moments_and_keeps_the_second_one_positive():
    rng = np.random.default_rng(0)
    image, mean = (to_ndarray(rng.uniform(size=(2, 3, 8, 10))) for _ in range(2))
    spikes = np.zeros((2, 3, 8, 10), np.float32)
    spikes[:, :, ::3, ::3] = 5
    _, state = enlarge(image, AdamState(7, mean, to_ndarray(spikes)), bounds(), Scale(17, 21, 1, 1))
    share = 8 * 10 / (17 * 21)
    assert state.step == 7
    assert state.mean.shape == state.variance.shape == (2, 3, 17, 21)
    assert state.variance.asnumpy().min() >= 0
    assert state.variance.asnumpy().max() > share**2
    assert state.mean.asnumpy().mean() == pytest.approx(share * mean.asnumpy().mean(), rel=0.05)


def test_adam_goes_on_with_steps_as_long_as_before_where_the_loss_is_a_mean():
    settings = stylizer()._settings(Scale(8, 8, 1, 1))

    def steps(image, state, count):
        """Descend (image - 1)^2 averaged over all values; return the state and how far each step went."""
        lengths = []
        for _ in range(count):
            before = image.copy()
            state = adam_step(image, 2 * (image - 1) / image.size, state, 1e-4, settings)
            lengths.append(float((image - before).mean().asscalar()))
        return state, lengths

    image = nd.full((1, 3, 8, 8), 0.2)
    state, before = steps(image, AdamState.fresh(image), 60)
    larger, carried = enlarge(image, state, bounds(), Scale(16, 16, 1, 1))
    _, after = steps(larger, carried, 3)
    assert after == pytest.approx([before[-1]] * 3, rel=0.01)


def test_images_of_a_chunk_stay_apart_when_enlarged():
    image = to_ndarray(np.stack([np.full((3, 8, 8), 0.2), np.full((3, 8, 8), 0.8)]))
    larger, _ = enlarge(image, None, bounds(), Scale(16, 16, 1, 1))
    np.testing.assert_allclose(larger.asnumpy().mean((1, 2, 3)), [0.2, 0.8], atol=1e-6)


# --- colors ---


def test_original_colors_keep_the_chroma_of_the_content():
    (result,) = stylizer(original_colors=True).stylize(contents(1), [STYLE])
    (free,) = stylizer().stylize(contents(1), [STYLE])
    luma = np.array([0.299, 0.587, 0.114])

    def chroma(picture):
        return picture - (picture @ luma)[..., None]

    found, wanted = result.pixels.astype(float), contents(1)[0].astype(float)
    inside = ((result.pixels > 0) & (result.pixels < 255)).all(axis=2)
    assert inside.mean() > 0.5
    # Rounding of three channels to whole levels: less than one level.
    assert np.abs(chroma(found) - chroma(wanted))[inside].max() < 1
    assert np.abs(chroma(free.pixels.astype(float)) - chroma(wanted)).mean() > 2
    # The luma is that of the picture with free colors.
    assert np.abs((found - free.pixels) @ luma)[inside].max() < 1


def test_content_colors_of_the_style_are_taken_on_before_all_else():
    styles, blend = [STYLE, OTHER_STYLE], [0.25, 0.75]
    results = still(content_colors="style").stylize(contents(2), styles, blend=[1, 3])
    for result, content in zip(results, contents(2), strict=True):
        np.testing.assert_array_equal(result.pixels, match_palette(content, styles, blend))
        assert np.abs(result.pixels.mean((0, 1)) - content.mean((0, 1))).max() > 5


def test_original_colors_are_those_of_the_photograph_whatever_was_taken_on():
    (result,) = still(content_colors="style", original_colors=True).stylize(contents(1), [STYLE])
    expected = original_colors(match_palette(contents(1)[0], [STYLE], [1.0]), contents(1)[0])
    np.testing.assert_array_equal(result.pixels, expected)


def test_noise_does_not_depend_on_the_style_even_where_the_content_takes_its_colors():
    worker = still(init="uniform", init_range=[0.1, 0.9], content_colors="style")
    first, second = (pixels(worker.stylize(contents(1), [style])) for style in (STYLE, OTHER_STYLE))
    np.testing.assert_array_equal(first, second)


# --- memory ---


def test_a_size_that_cannot_fit_is_refused_before_anything_is_allocated():
    worker = stylizer(size=65_500, scales=1)
    resident, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(
        OutOfMemoryError, match=r"1 image of 65500x52400 pixels would take about .*GB.*smallest tiles.*--size"
    ):
        worker.stylize(contents(1), [STYLE])
    assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 50_000


# --- progress ---


def watched(worker: Stylizer, count: int = 1, **options):
    seen = []
    results = worker.stylize(
        contents(count), [STYLE], observe=lambda progress, show: seen.append((progress, show())), **options
    )
    return seen, results


def test_fractions_grow_and_end_at_one():
    seen, _ = watched(stylizer())
    fractions = [progress.fraction for progress, _ in seen]
    assert fractions == sorted(set(fractions))
    assert fractions[-1] == 1.0
    # Seven steps at a quarter of the pixels, six at all of them.
    whole = 7 / 4 + 6
    expected = [1 / 4, 5 / 4, 7 / 4, 7 / 4 + 1, 7 / 4 + 5, whole]
    assert fractions == pytest.approx([part / whole for part in expected])


def test_progress_says_where_it_is():
    seen, (result,) = watched(stylizer())
    places = [(p.scale, p.scales, p.height, p.width, p.step, p.steps) for p, _ in seen]
    small, large = (1, 2, 16, 20), (2, 2, 32, 40)
    assert places == [
        (*small, 1, 7),
        (*small, 5, 7),
        (*small, 7, 7),
        (*large, 1, 6),
        (*large, 5, 6),
        (*large, 6, 6),
    ]
    for (progress, _), point in zip(seen, result.losses, strict=True):
        assert progress.losses == {term: getattr(point, term) for term in TERMS}


def test_the_pictures_shown_are_those_of_the_moment():
    seen, _ = watched(stylizer(learning_rate=STILL), count=2)
    for progress, pictures in seen:
        assert len(pictures) == 2
        for picture in pictures:
            assert picture.shape == (progress.height, progress.width, 3)
            assert picture.dtype == np.uint8
    small = [resize(content, 16, 20) for content in contents(2)]
    np.testing.assert_array_equal(seen[0][1], small)


def test_progress_averages_the_losses_of_a_chunk():
    seen, results = watched(stylizer(), count=3)
    for k, (progress, _) in enumerate(seen):
        mean = np.mean([result.losses[k].total for result in results])
        assert progress.losses["total"] == pytest.approx(mean)


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (4, [1, 4, 6]), (100, [1, 6])])
def test_reports_come_as_often_as_asked(every, expected):
    seen, _ = watched(stylizer(scales=1), every=every)
    assert [progress.step for progress, _ in seen] == expected


def test_reports_do_not_change_the_result():
    (quiet,) = stylizer().stylize(contents(1), [STYLE])
    _, (told,) = watched(stylizer(), every=1)
    np.testing.assert_array_equal(quiet.pixels, told.pixels)


def test_fractions_grow_and_end_at_one_under_lbfgs_too():
    seen, _ = watched(stylizer(optimizer="lbfgs"), count=2)
    fractions = [progress.fraction for progress, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_an_observer_may_stop_the_work():
    class Enough(Exception):  # noqa: N818
        pass

    def stop(progress, show):
        raise Enough

    worker = stylizer()
    with pytest.raises(Enough):
        worker.stylize(contents(1), [STYLE], observe=stop)
    # The next call is not the worse for it.
    after, fresh = (pixels(each.stylize(contents(1), [STYLE])) for each in (worker, stylizer()))
    np.testing.assert_array_equal(after, fresh)


# --- what is refused ---


@pytest.mark.parametrize(
    "changes",
    [
        {"tv_weight": 1.0},
        {"style_layers": {"conv1_1": 1.0}},
        {},
    ],
    ids=["variation", "a first convolution", "activations only"],
)
def test_divergence_reaches_the_caller(changes):
    worker = stylizer(learning_rate=1e30, clip=False, steps=20, **changes)
    with pytest.raises(DivergedError, match="diverged"):
        worker.stylize(contents(1), [STYLE])


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("gpu:99", "MXNet sees"),
        ("cuda", "there is no device 'cuda'"),
        ("cpu:0", "there is no device 'cpu:0'"),
        ("gpu:x", "there is no device 'gpu:x'"),
        ("gpu:", "there is no device 'gpu:'"),
        ("atuo", "Did you mean 'auto'"),
        ("", "there is no device ''"),
    ],
)
def test_a_device_that_is_none_is_refused(device, words):
    with pytest.raises(DeviceError, match=words):
        Stylizer(recipe(), narrow_parameters(), device=device)


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(UsageError, match=r"no precision 'flaot32' on .*\. Did you mean 'float32'\?"):
        Stylizer(recipe(), narrow_parameters(), precision="flaot32")


def test_a_recipe_without_any_weight_is_refused():
    with pytest.raises(UsageError):
        stylizer(content_layers={"relu3_1": 0}, style_layers={"relu1_1": 0})
