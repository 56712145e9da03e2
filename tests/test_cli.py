"""The command line: what it prints, what it writes, how it ends."""

import io
import json
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gluon_nst import read_provenance
from gluon_nst.cli import _run
from gluon_nst.recipe_files import load_recipe, recipe_names

DATA = Path(__file__).parent.parent / "data"
PHOTO = str(DATA / "photos" / "temple.jpg")
STYLE = str(DATA / "styles" / "woodblock_waves.jpg")
QUICK = ["--size", "48", "--steps", "2"]


@pytest.fixture
def stylize(tmp_path, capsys):
    """Run `stylize` and give (exit code, output, errors)."""

    def run(content=PHOTO, style=STYLE, *options, output="out.png"):
        code = _run(["stylize", str(content), str(style), "-o", str(tmp_path / output), *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def size_of(path):
    with Image.open(path) as image:
        return image.size


def one_line(text):
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


def test_stylize_writes_a_picture_of_the_size_asked_for(stylize, tmp_path):
    code, out, _ = stylize(PHOTO, STYLE, *QUICK)
    assert code == 0
    assert size_of(tmp_path / "out.png") == (48, 32)
    assert "48x32" in out


def test_the_same_command_twice_gives_the_same_bytes(stylize, tmp_path):
    stylize(PHOTO, STYLE, *QUICK, output="a.jpg")
    stylize(PHOTO, STYLE, *QUICK, output="b.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_size_original_restores_the_photographs_own(stylize, tmp_path):
    small = tmp_path / "small.png"
    Image.open(PHOTO).resize((61, 43)).save(small)
    assert stylize(small, STYLE, "--size", "original", "--steps", 1)[0] == 0
    assert size_of(tmp_path / "out.png") == (61, 43)


def test_json_says_what_was_done_and_nothing_else(stylize, tmp_path):
    code, out, err = stylize(PHOTO, STYLE, *QUICK, "--json")
    said = json.loads(out)
    assert code == 0 and err == ""
    assert said["width"] == 48 and said["stop_reason"] == "steps"
    assert said["losses"]["total"] == pytest.approx(
        sum(said["losses"][term] for term in ("content", "style", "tv"))
    )
    assert said["provenance"] == read_provenance(tmp_path / "out.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_provenance_is_read_back_from_every_format(stylize, tmp_path, capsys, suffix):
    stylize(PHOTO, STYLE, *QUICK, output=f"out{suffix}")
    assert _run(["provenance", str(tmp_path / f"out{suffix}")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["content"]["name"] == "temple.jpg"
    assert found["parameters"]["source"] == "bundled:vgg19-normalised"
    assert len(found["parameters"]["sha256"]) == 64


def test_provenance_of_a_photograph_is_none(capsys):
    assert _run(["provenance", PHOTO]) == 1
    assert one_line(capsys.readouterr().err)


def test_previews_and_plot(stylize, tmp_path):
    code, _, _ = stylize(PHOTO, STYLE, "--size", 48, "--steps", 4, "--preview-every", 2, tmp_path / "p", "--plot",
                         tmp_path / "loss.png")  # fmt: skip
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["step_000002.png", "step_000004.png"]
    assert size_of(tmp_path / "loss.png")[0] > 300


def test_several_styles_are_blended(stylize, tmp_path):
    other = str(DATA / "styles" / "night_lanterns.jpg")

    def blended(weights, name):
        code, _, _ = stylize(
            PHOTO, STYLE, other, "--blend", weights, *QUICK, "--set", "init=content", output=name
        )
        assert code == 0
        return np.asarray(Image.open(tmp_path / name)).astype(int)

    first, both, second = (blended(w, f"{n}.png") for n, w in enumerate(("1,0", "1,1", "0,1")))
    assert np.abs(first - second).mean() > np.abs(first - both).mean() > 0
    assert read_provenance(tmp_path / "1.png")["styles"][1]["name"] == "night_lanterns.jpg"


def test_a_start_image_is_where_it_starts(stylize, tmp_path):
    red = tmp_path / "red.png"
    Image.new("RGB", (30, 20), (250, 0, 0)).save(red)
    code, _, _ = stylize(PHOTO, STYLE, "--size", 48, "--steps", 1, "--set", "average=0", "--init-image", red)
    assert code == 0
    picture = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    assert np.abs(picture - (250, 0, 0)).max() < 20


def bomb():
    """A PNG of a few hundred bytes that claims to be 40000x40000 pixels; its header is checked before its body."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png(size):
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    return buffer.getvalue()


BROKEN = {
    "empty.jpg": b"",
    "truncated.jpg": Path(PHOTO).read_bytes()[:40_000],
    "text.jpg": b"not a picture\n" * 20,
    "one.png": png((1, 1)),
    "line.png": png((20_000, 1)),
    "bomb.png": bomb(),
}


@pytest.mark.parametrize("name", [*BROKEN, "folder.jpg", "missing.jpg"])
@pytest.mark.parametrize("place", ["content", "style"])
def test_a_bad_picture_ends_in_one_clear_line(stylize, tmp_path, name, place):
    bad = tmp_path / name
    if name in BROKEN:
        bad.write_bytes(BROKEN[name])
    elif name == "folder.jpg":
        bad.mkdir()
    code, out, err = stylize(*((bad, STYLE) if place == "content" else (PHOTO, bad)), *QUICK)
    assert code == 1 and out == ""
    assert one_line(err) and name in err, err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--recipe", "defualt"], "Did you mean 'default'"),
        (["--recipe", "nowhere.toml"], "nowhere.toml"),
        (["--set", "style_wieght=2"], "Did you mean 'style_weight'"),
        (["--set", "style_layers.relu6_1=1"], "relu"),
        (["--set", "content_layers=relu4_5"], "Did you mean 'relu4_"),
        (["--set", "optimizer=adm"], "Did you mean 'adam'"),
        (["--set", "steps=0"], "steps"),
        (["--set", "seed=1.5"], "whole number"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--size", "huge"], "original"),
        (["--size", "-3"], "size"),
        (["--size", "8"], "size"),
        (["--steps", "0"], "steps"),
        (["--blend", "1,2,3"], "blend"),
        (["--device", "gpu:7"], "gpu:7"),
        (["--device", "tpu"], "auto, cpu"),
        (["--precision", "float8"], "float32"),
        (["--weights", "nowhere.params"], "nowhere.params"),
        (["--preview-every", "0", "x"], "preview"),
    ],
)
def test_a_bad_setting_ends_in_one_clear_line(stylize, tmp_path, options, hint):
    code, out, err = stylize(PHOTO, STYLE, *options)
    assert code == (1 if options[0] == "--weights" or options == ["--size", "8"] else 2), err
    assert out == "" and hint in err
    assert one_line(err), err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("output", ["out.xyz", "out", "file/out.png"])
def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path, capsys, output):
    (tmp_path / "file").write_text("no folder")
    began = time.perf_counter()
    assert _run(["stylize", PHOTO, STYLE, "-o", str(tmp_path / output)]) == 1
    assert one_line(capsys.readouterr().err)
    assert time.perf_counter() - began < 10  # the work would take minutes
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parameters_of_another_network_are_refused(stylize, tmp_path):
    import gluon_nst

    vgg16 = Path(gluon_nst.__file__).parent / "weights" / "vgg16-torchvision.params"
    code, _, err = stylize(PHOTO, STYLE, "--weights", vgg16)
    assert code == 1 and one_line(err)
    assert "vgg16" in err and "vgg19" in err


def test_recipes_lists_and_prints(capsys, tmp_path):
    assert _run(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in recipe_names())
    assert _run(["recipes", "d2l"]) == 0
    mine = tmp_path / "mine.toml"
    mine.write_text(capsys.readouterr().out)
    assert load_recipe(mine) == load_recipe("d2l")
    assert _run(["recipes", "d2l", "--set", "style_weight=7"]) == 0
    mine.write_text(capsys.readouterr().out)
    assert load_recipe(mine).style_weight == 7


def test_weights_list_verify(capsys):
    assert _run(["weights", "list"]) == 0
    assert "vgg16" in capsys.readouterr().out
    assert _run(["weights", "verify"]) == 0
    assert capsys.readouterr().out.count(": ok") == 2


def test_weights_import_round_trip(capsys, tmp_path):
    from gluon_nst.parameters import load_parameters

    arrays = load_parameters("bundled", "vgg16").arrays
    np.savez(tmp_path / "own.npz", **{name: array.astype(np.float16) for name, array in arrays.items()})
    target = str(tmp_path / "own.params")
    assert _run(["weights", "import", str(tmp_path / "own.npz"), "-o", target, "--dtype", "float16"]) == 0
    assert "vgg16" in capsys.readouterr().out
    again = load_parameters(target, "vgg16").arrays
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)


def test_features_draws_a_grid(tmp_path):
    grid = tmp_path / "grid.png"
    assert _run(["features", PHOTO, "-o", str(grid), "--layers", "relu1_1,relu3_1", "--maps", "3"]) == 0
    assert min(size_of(grid)) > 100


def test_doctor_says_this_machine_will_do(capsys):
    assert _run(["doctor", "--json"]) == 0
    assert "mxnet" in capsys.readouterr().out.lower()


def run_process(*arguments, **options):
    command = [sys.executable, "-m", "gluon_nst", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_help_and_import_load_neither_mxnet_nor_dask():
    code = (
        "import sys, gluon_nst; from gluon_nst.cli import _run; _run(['--help']); _run(['stylize', '--help']); "
        "_run(['batch', '--help']); _run(['bench', '--help']); "
        "bad = {'mxnet', 'distributed', 'dask', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "command", [[], ["stylize"], ["batch"], ["recipes"], ["features"], ["weights", "import"], ["bench"]]
)
def test_help_shows_commands_to_paste_on_lines_of_their_own(command, capsys):
    assert _run([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "\\b" not in shown and "\b" not in shown
    assert any(line.strip().startswith("gluon-nst ") for line in shown.splitlines())


def test_usage_errors_exit_2_and_version_0():
    assert run_process("stylize").returncode == 2
    assert run_process("no-such-command").returncode == 2
    assert run_process("--version").stdout.startswith("gluon-nst")


def test_interrupting_leaves_no_file_and_exits_130(tmp_path):
    import signal

    command = [sys.executable, "-m", "gluon_nst", "stylize", PHOTO, STYLE, "-o", str(tmp_path / "out.png"), "-q",
               "--size", "128", "--steps", "5000", "--preview-every", "1", str(tmp_path / "previews")]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 100
        while not list(tmp_path.glob("previews/*.png")):  # it is at work
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert one_line(err)
    assert [path.name for path in tmp_path.iterdir()] == ["previews"]
    assert all(path.name.startswith("step_") for path in (tmp_path / "previews").iterdir())
