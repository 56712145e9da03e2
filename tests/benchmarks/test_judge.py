"""The judge of pictures: distances are 0 to oneself, grow with the harm done, and LPIPS is LPIPS."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import judge
from benchmarks.house_recipe import DATA, cost
from gluon_nst.images.read import read_image
from gluon_nst.pyramid import Scale


def sample(folder: str, name: str, width: int = 96, height: int = 64) -> np.ndarray:
    with Image.open(DATA / folder / f"{name}.jpg") as image:
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


CONTENT, STYLE = sample("photos", "temple"), sample("styles", "night_lanterns")


def grainy(picture: np.ndarray, deviation: float) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def figures(picture: np.ndarray, content: np.ndarray = CONTENT) -> dict[str, float]:
    return judge.Judge(content, STYLE, picture.shape[:2]).figures(picture)


def test_the_style_is_at_no_distance_from_itself():
    found = figures(STYLE)
    assert [found[name] for name in ("S1", "S2", "S4", "SWF", "SWP")] == pytest.approx([0] * 5, abs=1e-6)
    assert found["C1"] > 0.5


def test_the_content_is_at_no_distance_from_itself():
    found = figures(CONTENT)
    assert found["C1"] == found["C2"] == 0
    assert found["LPIPS"] == 0 or np.isnan(found["LPIPS"])
    assert min(found[name] for name in ("S1", "S2", "S4", "SWF", "SWP")) > 0.1


def test_figures_grow_with_grain():
    little, much = (figures(grainy(CONTENT, deviation)) for deviation in (3, 12))
    for name in ("C1", "C2", "noise", "flat"):
        assert 0 < little[name] < much[name]


def test_figures_come_back_the_same():
    assert repr(figures(grainy(STYLE, 5))) == repr(figures(grainy(STYLE, 5)))


def test_the_sliced_distance_sees_what_is_missing():
    rng = np.random.default_rng(0)
    target = rng.normal(0, 1, (4, 6000)).astype(np.float32)
    shifted = target[:, ::-1] + np.float32(0.5)
    distance, share = judge.sliced_distance(judge.sample(shifted), judge.sample(target))
    # Along a unit direction u, a shift by s moves every quantile by |u . s|.
    assert 0.3 < distance < 0.6
    assert share == pytest.approx(distance / np.abs(rng.normal(0, 1, 10**6)).mean(), rel=0.05)


@pytest.mark.parametrize(("made", "wanted"), [(300, 300), (20000, 300), (300, 20000)])
def test_the_number_of_vectors_hardly_matters(made, wanted):
    rng = np.random.default_rng(0)
    few, many = (rng.uniform(0, 1, (3, count)).astype(np.float32) for count in (made, wanted))
    assert judge.sliced_distance(judge.sample(few), judge.sample(many))[0] < 0.06


def test_noise_is_looked_for_where_the_content_is_flat():
    content = np.full((48, 96, 3), 120, np.uint8)
    content[:, 48:] = np.random.default_rng(0).integers(0, 256, (48, 48, 3))
    noisy = grainy(content[:, :48], 20)
    everywhere, flat = judge.fine_noise(np.hstack([noisy, content[:, :48]]), content)
    assert flat > 1.5 * everywhere  # the quiet half of the picture is where the content is busy


def test_the_box_is_a_mean():
    plane = np.random.default_rng(0).uniform(size=(7, 9))
    around = np.pad(plane, 1, mode="reflect")
    expected = [[around[y : y + 3, x : x + 3].mean() for x in range(9)] for y in range(7)]
    np.testing.assert_allclose(judge.box(plane, 3), expected)


def test_lpips_by_hand(monkeypatch):
    weights = [np.arange(channels) / channels for channels in (64, 128, 256, 512, 512)]
    monkeypatch.setattr(judge, "lpips_weights", lambda: weights)
    made, wanted = (judge.features(picture) for picture in (CONTENT, grainy(CONTENT, 30)))
    expected = 0.0
    for layer, weight in zip(judge.LAYERS, weights, strict=True):
        one, other = (
            maps[layer] / np.sqrt((maps[layer] ** 2).sum(0, keepdims=True)) for maps in (made, wanted)
        )
        expected += ((one - other) ** 2 * weight[:, None, None]).sum(0).mean()
    assert judge.lpips(made, wanted) == pytest.approx(expected, rel=1e-4)


def test_lpips_equals_the_package():
    # What the package `lpips` 0.1.4 itself said of these two pictures, with the same VGG16: 0.337374.
    if judge.lpips_weights() is None:
        pytest.skip("the weights of the package lpips are not installed")
    picture = judge.resize(read_image(DATA / "photos" / "temple.jpg").pixels, 171, 256)
    grain = np.random.default_rng(1).normal(0, 20, picture.shape)
    noisy = (picture.astype(int) + grain).clip(0, 255).astype(np.uint8)
    found = judge.lpips(judge.features(noisy), judge.features(picture))
    assert found == pytest.approx(0.337374, rel=1e-4)


def test_cost_counts_steps_of_the_full_size():
    scales = [Scale(25, 50, 9, 1), Scale(50, 100, 9, 1)]
    assert cost(scales, [8, 10]) == 12
    assert cost(scales, [8]) == 2


def test_a_table_of_settings(tmp_path):
    command = [
        sys.executable, "-m", "benchmarks.house_recipe", "cat/woodblock_waves", "-o", str(tmp_path),
        "--settings", "size=96 scales=1 steps=4", "size=96 min_size=48 steps=2 coarse_steps=4", "--at", "2",
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    rows = [line for line in said.splitlines() if line.startswith("| ") and "`" in line]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(rows) == len(figures) == 4
    assert [round(row["cost"], 1) for row in figures] == [2, 4, 3, 3]
    assert {row["pixels"] for row in figures} == {path.name for path in tmp_path.glob("*.png")}
    # The last step's own picture, kept on the way and at the end.
    last = [np.asarray(Image.open(tmp_path / row["pixels"])) for row in figures[2:]]
    np.testing.assert_array_equal(*last)
