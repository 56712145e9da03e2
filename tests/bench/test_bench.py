"""`gluon-nst bench`: what it counts, what it measures, what it prints, how it ends."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from gluon_nst.backend import mx
from gluon_nst.bench import Case, Figures, bench, cases
from gluon_nst.bench.flops import ROOFLINE_FLOPS, convolution_macs, gram_macs, schedule_steps, step_flops
from gluon_nst.bench.measure import Watch, picture
from gluon_nst.bench.peak import peak_memory
from gluon_nst.bench.roofline import Roofline
from gluon_nst.cli import _run
from gluon_nst.errors import ImageSizeError, UsageError
from gluon_nst.progress import Progress
from gluon_nst.pyramid import Scale, pyramid
from gluon_nst.recipe_files import load_recipe
from gluon_nst.vgg_layers import CONVOLUTIONS

PIXELS = 256 * 256
QUICK = ["--size", "32", "--steps", "1", "--repeats", "1"]


def macs_per_pixel(conv):
    return convolution_macs(conv, 256, 256) / PIXELS


def test_multiply_adds_of_the_layers_by_the_literature_table():
    # 3x3 x inputs x outputs, over the 4^(block-1) by which poolings have made the map smaller
    expected = {
        "conv1_1": 9 * 3 * 64, "conv1_2": 9 * 64 * 64, "conv2_1": 9 * 64 * 128 / 4, "conv2_2": 9 * 128 * 128 / 4,
        "conv3_1": 9 * 128 * 256 / 16, "conv3_2": 9 * 256 * 256 / 16, "conv4_1": 9 * 256 * 512 / 64,
        "conv4_4": 9 * 512 * 512 / 64, "conv5_1": 9 * 512 * 512 / 256,
    }  # fmt: skip
    assert {conv: macs_per_pixel(conv) for conv in expected} == expected
    up_to_5_1 = CONVOLUTIONS["vgg19"][: CONVOLUTIONS["vgg19"].index("conv5_1") + 1]
    assert sum(map(macs_per_pixel, up_to_5_1)) == 361_152


def test_multiply_adds_of_gram_matrices():
    layers = [f"relu{block}_1" for block in range(1, 6)]
    assert [gram_macs(layer, 256, 256) / PIXELS for layer in layers] == [4096, 4096, 4096, 4096, 1024]


def test_a_step_of_the_chapter_is_1514_kiloflop_a_pixel():
    assert step_flops(load_recipe("d2l"), 256, 256) == 4 * (361_152 + 17_408) * PIXELS


def test_only_what_runs_is_counted():
    d2l = load_recipe("d2l")
    shallow = d2l.replace(content_layers={"relu2_2": 1.0, "conv5_4": 0.0}, style_layers={"conv1_1": 1.0})
    expected = sum(map(macs_per_pixel, ("conv1_1", "conv1_2", "conv2_1", "conv2_2"))) + 4096
    assert step_flops(shallow, 256, 256) == 4 * expected * PIXELS


def test_maps_round_down_as_poolings_do():
    assert convolution_macs("conv3_2", 31, 18) == 9 * 256 * 256 * 7 * 4


def test_a_schedule_counts_its_steps_by_their_pixels():
    assert schedule_steps((Scale(16, 24, 100, 1), Scale(32, 48, 60, 1))) == 85
    assert schedule_steps(pyramid(load_recipe("d2l"), 300, 450)) == 300 + 500 / 4


def test_watch_times_whole_repeats_and_leaves_the_first_out():
    calls = []

    def rest():
        calls.append(time.perf_counter())
        time.sleep(0.2)
        return 7.0

    watch = Watch(2, rest)
    for step in range(1, 8):
        time.sleep(0.01)
        if step in (1, 2, 4, 6, 7):  # as the losses are read
            watch(Progress(1, 1, 32, 32, step, 7, step / 7, {}), list)
    assert len(watch.seconds) == 2 and watch.roofline == [7.0, 7.0] and len(calls) == 3
    assert all(0.01 <= seconds < 0.1 for seconds in watch.seconds)  # the pauses are not in it
    assert 10**7 < watch.peak_memory <= peak_memory()


def test_peak_memory_is_that_of_the_process_itself_and_sees_what_was_given_back():
    code = (
        "from gluon_nst.bench.peak import peak_memory\nbefore = peak_memory()\n"
        "block = b'x' * 4 * 10**8\ndel block\nprint(before, peak_memory())"
    )
    weight = np.ones(4 * 10**7)  # 320 MB of this process, which the other one is not to count
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = map(int, said.split())
    assert before < 2 * 10**8 < weight.nbytes
    assert before + 3 * 10**8 < after < before + 5 * 10**8


def test_pictures_differ_by_number_and_repeat():
    assert picture(24, 32, 0).shape == (24, 32, 3)
    assert np.array_equal(picture(24, 32, 0), picture(24, 32, 0))
    assert not np.array_equal(picture(24, 32, 0), picture(24, 32, -1))


def test_the_roofline_computes_what_it_is_counted_as():
    roofline = Roofline("float32", mx.cpu())
    assert ROOFLINE_FLOPS == 4 * 4 * 9 * 256 * 256 * 64 * 64
    assert 1e9 < roofline.measure() < 1e14
    gradient = roofline._image.grad
    assert 0.01 < float(gradient.abs().mean().asscalar()) < 100


def test_cases_are_every_combination():
    found = cases([64, 32], ["auto", "float32"], [1, 4], 2, 3)
    assert len(found) == len(set(found)) == 8
    assert found[1] == Case(64, "auto", 4, 2, 3)


def test_what_cannot_be_is_refused_before_anything_runs():
    with pytest.raises(UsageError, match="one after"):
        bench(load_recipe("keras-lbfgs-vgg19"), cases([32], ["auto"], [2], 1, 1))
    with pytest.raises(ImageSizeError, match="16"):
        bench(load_recipe(), cases([64, 16], ["auto"], [1], 1, 1))


def test_figures_of_several_pictures_together_on_a_fixed_shape_recipe():
    case = Case(48, "float32", 2, 1, 2)
    found = next(iter(bench(load_recipe("d2l"), [case], "cpu")))
    assert found.failure == "" and (found.height, found.width) == (36, 48)
    assert found.device == "cpu" and found.precision == "float32" and found.threads >= 1
    assert len(found.seconds) == 2
    values = found.as_mapping()
    seconds = values["seconds_per_step"]
    assert found.flops == pytest.approx(2 * step_flops(load_recipe("d2l"), 36, 48) / seconds)
    # 500 steps at 18x24, a quarter of the pixels, and 300 more
    assert found.pairs_per_hour == pytest.approx(2 * 3600 / (seconds * 425))
    assert 10**8 < found.peak_memory < 10**10
    assert 0 < found.share == values["share_of_roofline"] < 2
    json.dumps(values)


def test_the_table_goes_on_after_a_case_that_failed_and_says_why(capsys):
    assert _run(["bench", *QUICK, "--precision", "float8,auto"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "cores" in lines[0] and "mxnet" in lines[1] and "default" in lines[2]
    heading, failed, row = lines[4:]
    assert "s/step" in heading and "pairs/h" in heading
    assert failed.startswith("32x24") and "there is no precision 'float8'" in failed
    assert row.startswith("32x24") and "auto (" in row and len(row) == len(heading)


def test_json_describes_machine_and_figures_of_any_optimizer(capsys):
    assert _run(["bench", *QUICK, "--recipe", "keras-lbfgs-vgg16", "--precision", "float32", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"cpu", "instruction_sets", "cores", "memory", "python", "mxnet", "numpy"} <= set(said["machine"])
    assert said["recipe"] == "keras-lbfgs-vgg16"
    (row,) = said["rows"]
    assert row["precision"] == "float32" and row["threads"] >= 1 and row["seconds_per_step"] > 0


@pytest.mark.parametrize(
    ("options", "code", "hint"),
    [
        (["--size", "big"], 2, "256,512"),
        (["--size", "256,"], 2, "256,512"),
        (["--size", "0"], 2, "256,512"),
        (["--together", "-1"], 2, "256,512"),
        (["--steps", "0"], 2, "steps"),
        (["--repeats", "x"], 2, "repeats"),
        (["--recipe", "defualt"], 2, "Did you mean 'default'"),
        (["--size", "16"], 1, "16"),
    ],
)
def test_a_bad_setting_ends_in_one_clear_message(capsys, options, code, hint):
    assert _run(["bench", *options]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and hint in captured.err and "Traceback" not in captured.err


def test_a_case_without_figures_is_json_too():
    values = Figures(Case(64, "auto", 1, 1, 1), 48, 64, failure="killed by SIGKILL").as_mapping()
    assert json.loads(json.dumps(values))["seconds_per_step"] is None
