"""The Python interface."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gluon_nst
from gluon_nst.errors import GluonNSTError, ImageReadError, RecipeError, UsageError
from gluon_nst.images.geometry import resize
from gluon_nst.images.read import read_image

DATA = Path(__file__).parent.parent / "data"
PHOTO, STYLE = DATA / "photos" / "astronaut.jpg", DATA / "styles" / "stained_glass.jpg"


@pytest.fixture(scope="module")
def result():
    return gluon_nst.stylize(PHOTO, STYLE, size=64, steps=12, average=0.0)


def test_the_result_tells_its_story(result):
    assert result.pixels.shape == (64, 48, 3) and result.pixels.dtype == np.uint8  # upright: EXIF was applied
    assert (result.steps, result.stop_reason) == (12, "steps")
    assert [point.step for point in result.losses] == [1, 5, 10, 12]
    for point in result.losses:
        assert point.total == pytest.approx(point.content + point.style + point.tv, rel=1e-5)
    assert result.losses[-1].total < 0.7 * result.losses[0].total
    assert result.provenance["recipe"]["size"] == 64


def test_it_shows_itself_in_a_notebook(result):
    assert result._repr_png_().startswith(b"\x89PNG")
    assert result.image.size == (48, 64)


def test_it_saves_what_it_says(result, tmp_path):
    result.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as saved:
        assert np.array_equal(np.asarray(saved), result.pixels)
    assert gluon_nst.read_provenance(tmp_path / "out.png") == result.provenance


def test_arrays_pillow_images_and_paths_give_the_same_picture():
    pixels = read_image(PHOTO).pixels
    ways = [PHOTO, str(PHOTO), pixels, Image.fromarray(pixels)]
    made = [gluon_nst.stylize(way, STYLE, size=32, steps=2).pixels for way in ways]
    assert all(np.array_equal(made[0], other) for other in made[1:])


def test_alpha_is_kept(tmp_path):
    picture = Image.open(PHOTO).convert("RGB").resize((40, 40))
    picture.putalpha(Image.linear_gradient("L").resize((40, 40)))
    picture.save(tmp_path / "alpha.png")
    made = gluon_nst.stylize(tmp_path / "alpha.png", STYLE, size=32, steps=1)
    assert made.image.mode == "RGBA"
    assert made.alpha[0].mean() < 10 and made.alpha[-1].mean() > 245


def test_original_colors_keep_the_photographs_chroma():
    def chroma(picture):
        return np.asarray(picture.convert("YCbCr")).astype(int)[..., 1:]

    photograph = Image.fromarray(resize(read_image(PHOTO).pixels, 48, 36))
    distance = []
    for kept in (False, True):
        made = gluon_nst.stylize(PHOTO, STYLE, size=48, steps=10, original_colors=kept).image
        distance.append(np.abs(chroma(made) - chroma(photograph)).mean())
    assert distance[1] < distance[0] / 3


def test_the_observer_sees_progress_and_pictures():
    seen = []
    gluon_nst.stylize(
        PHOTO, STYLE, size=64, steps=4, min_size=32, coarse_steps=4, every=1,
        observe=lambda progress, pictures: seen.append((progress, pictures()[0].shape)),
    )  # fmt: skip
    assert [progress.fraction for progress, _ in seen] == sorted(progress.fraction for progress, _ in seen)
    assert seen[-1][0].fraction == pytest.approx(1.0)
    assert {(progress.scale, shape) for progress, shape in seen} == {(1, (32, 24, 3)), (2, (64, 48, 3))}


def test_every_recipe_runs_by_name():
    for name in gluon_nst.recipe_names():
        recipe = gluon_nst.load_recipe(name)
        made = gluon_nst.stylize(
            PHOTO, STYLE, recipe=recipe.replace(size=40, shape=[], steps=2, coarse_steps=1)
        )
        assert max(made.pixels.shape) == 40 and np.isfinite(made.losses[-1].total)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"content": np.zeros((4, 4))}, ImageReadError),
        ({"content": np.zeros((40, 40, 3))}, ImageReadError),
        ({"recipe": "nowhere"}, RecipeError),
        ({"stylewieght": 1}, RecipeError),
        ({"size": -1}, RecipeError),
        ({"init": "image"}, UsageError),
        ({"start": PHOTO}, UsageError),
        ({"blend": [1, 2]}, UsageError),
        ({"style": []}, UsageError),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, error):
    given = {"content": PHOTO, "style": STYLE, "size": 32, "steps": 1, **arguments}
    with pytest.raises(error) as caught:
        gluon_nst.stylize(**given)
    assert isinstance(caught.value, GluonNSTError) and "\n" not in str(caught.value)
