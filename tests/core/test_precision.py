"""Precision: what is chosen, what is refused, and that bfloat16 comes to float32's pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from gluon_nst import load_recipe, precision
from gluon_nst.backend import nd
from gluon_nst.bfloat16 import allow_amx, bfloat16_kernels, is_fast, widest_image
from gluon_nst.errors import DeviceError, ImageSizeError, UsageError
from gluon_nst.images.read import read_image
from gluon_nst.precision import bfloat16_fault, choose_precision
from gluon_nst.probe import Reply
from gluon_nst.stylizer import Stylizer

ROOT = Path(__file__).parents[2]
SAMPLES = ("photos/temple.jpg", "styles/night_lanterns.jpg")

KERNELS = bfloat16_kernels()
needs_bfloat16 = pytest.mark.skipif(not KERNELS, reason="this CPU has no bfloat16")


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Nothing is remembered yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bfloat16_fault.cache_clear()
    yield tmp_path
    bfloat16_fault.cache_clear()


# --- which kernels ---


@pytest.mark.parametrize(
    ("flags", "limit", "expected"),
    [
        ({"avx512_bf16"}, None, "avx512"),
        ({"avx512_bf16"}, "AVX512_CORE", ""),
        ({"avx512_bf16", "amx_bf16"}, "AVX512_CORE_AMX", "amx"),
        ({"avx512_bf16", "amx_bf16"}, "AVX512_CORE_BF16", "avx512"),
        ({"avx512_bf16", "amx_bf16"}, None, "avx512"),
        ({"avx2"}, None, ""),
        ({"avx2"}, "AVX512_CORE_AMX", ""),
    ],
)
def test_kernels_by_flags_and_limit(flags, limit, expected):
    environment = {} if limit is None else {"DNNL_MAX_CPU_ISA": limit}
    assert bfloat16_kernels(flags, environment) == expected


def test_what_is_fast():
    assert is_fast("amx", "GenuineIntel")
    assert is_fast("avx512", "AuthenticAMD")
    assert not is_fast("avx512", "GenuineIntel")
    assert not is_fast("", "AuthenticAMD")


@needs_bfloat16
def test_wide_images_go_in_tiles_with_amx(monkeypatch):
    # AMX hangs from 737 on; the width is set lower here, to be quick.
    assert (widest_image("amx"), widest_image("avx512")) == (736, None)
    recipe = load_recipe("default").replace(
        size=320,
        scales=1,
        steps=2,
        content_layers={"relu2_1": 1.0},
        style_layers={"relu1_1": 0.5, "relu3_1": 0.5},
    )
    content, style = (read_image(ROOT / "data" / name).pixels for name in SAMPLES)

    def made():
        return Stylizer(recipe, device="cpu", precision="bfloat16").stylize([content], [style])[0]

    whole = made()
    monkeypatch.setattr("gluon_nst.features.widest_image", lambda kernels: 160)
    tiled = made()
    assert tiled.losses[-1].total == pytest.approx(whole.losses[-1].total, rel=1e-3)
    assert np.abs(tiled.pixels.astype(int) - whole.pixels).mean() < 0.5
    with pytest.raises(ImageSizeError, match="no more than 160"):
        Stylizer(recipe, device="cpu", precision="bfloat16")._network.extract(nd.zeros((1, 3, 16, 161)))


def test_amx_is_allowed_only_with_the_kernels_grant(monkeypatch):
    monkeypatch.setattr("gluon_nst.bfloat16.cpu_flags", lambda: {"amx_tile", "amx_bf16"})
    for granted, expected in ((True, "AVX512_CORE_AMX"), (False, "AVX512_CORE_BF16")):
        monkeypatch.setattr("gluon_nst.bfloat16._granted", lambda granted=granted: granted)
        for before in ({}, {"DNNL_MAX_CPU_ISA": "AVX512_CORE_AMX"}):
            allow_amx(before)
            assert before == {"DNNL_MAX_CPU_ISA": expected}
    chosen = {"DNNL_MAX_CPU_ISA": "AVX2"}
    allow_amx(chosen)
    assert chosen == {"DNNL_MAX_CPU_ISA": "AVX2"}


def test_without_amx_nothing_is_set(monkeypatch):
    monkeypatch.setattr("gluon_nst.bfloat16.cpu_flags", lambda: {"avx512_bf16"})
    environment = {}
    allow_amx(environment)
    assert environment == {}


# --- what is chosen ---


def test_auto_is_float32_where_nothing_else_is_fast(monkeypatch):
    monkeypatch.setattr(precision, "bfloat16_kernels", lambda: "")
    assert choose_precision("auto", "cpu").name == "float32"
    with pytest.raises(DeviceError, match=r"neither amx_bf16 nor avx512_bf16.*--precision float32"):
        choose_precision("bfloat16", "cpu")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(None, "killed by SIGILL (Illegal instruction)"), "killed by SIGILL"),
        (Reply(None, "no answer within 90 seconds"), "no answer within 90 seconds"),
        (Reply({"features": 0.3, "gram": 0.001, "gradient": 0.01}), "float32 in features by 0.3"),
        (Reply({"features": 0.001, "gram": float("nan"), "gradient": 0.01}), "float32 in gram by nan"),
    ],
    ids=["dies", "hangs", "differs", "no number"],
)
def test_a_failed_check_means_float32_and_says_so(fresh, monkeypatch, reply, said):
    monkeypatch.setattr(precision, "bfloat16_kernels", lambda: "amx")
    monkeypatch.setattr(precision, "call_apart", lambda target, timeout: reply)
    chosen = choose_precision("auto", "cpu")
    assert chosen.name == "float32" and said in chosen.note
    with pytest.raises(DeviceError, match="--precision float32"):
        choose_precision("bfloat16", "cpu")


def test_a_verdict_is_remembered_but_not_that_a_check_did_not_come_back(fresh, monkeypatch):
    asked = []

    def answer(target, timeout):
        asked.append(target)
        return replies.pop()

    replies = [Reply({"features": 0.9, "gram": 0, "gradient": 0}), Reply(None, "no answer")]
    monkeypatch.setattr(precision, "call_apart", answer)
    for expected in ("no answer", "features by 0.9", "features by 0.9"):
        bfloat16_fault.cache_clear()
        assert expected in bfloat16_fault("amx")
    assert len(asked) == 2
    (file,) = fresh.rglob("*.json")
    assert json.loads(file.read_text())["errors"]["features"] == 0.9


@needs_bfloat16
def test_the_check_agrees_on_this_machine(fresh):
    assert bfloat16_fault(KERNELS) == ""
    (file,) = fresh.rglob("*.json")
    errors = json.loads(file.read_text())["errors"]
    assert all(0 < error < 0.05 for error in errors.values())


@pytest.mark.parametrize(("asked", "device"), [("bfloat16", "gpu:0"), ("tf32", "cpu"), ("float16", "cpu")])
def test_a_precision_of_another_device_is_refused(asked, device):
    with pytest.raises(UsageError, match=rf"no precision '{asked}' on {device}"):
        choose_precision(asked, device)


def test_a_gpu_takes_tf32_from_ampere_on(monkeypatch):
    for capability, expected in (((7, 5), "float32"), ((8, 0), "tf32"), ((0, 0), "float32")):
        monkeypatch.setattr(precision, "_capability", lambda device, known=capability: known)
        assert choose_precision("auto", "gpu:0").name == expected
    with pytest.raises(DeviceError, match="Ampere"):
        choose_precision("tf32", "gpu:0")


# --- pictures ---


@needs_bfloat16
def test_bfloat16_follows_float32():
    # Few steps: later on the descents part, as they do when the photograph changes by one level in few places.
    recipe = load_recipe("default").replace(size=96, scales=1, steps=8)
    content, style = (read_image(ROOT / "data" / name).pixels for name in SAMPLES)
    low, right = (
        Stylizer(recipe, device="cpu", precision=name).stylize([content], [style])[0]
        for name in ("bfloat16", "float32")
    )
    assert (low.precision, right.precision) == ("bfloat16", "float32")
    assert low.losses[-1].total == pytest.approx(right.losses[-1].total, rel=0.03)
    assert np.abs(low.pixels.astype(int) - right.pixels).mean() < 4


@needs_bfloat16
def test_bfloat16_is_the_same_bit_for_bit_again():
    recipe = load_recipe("default").replace(size=64, scales=1, steps=4)
    content, style = (read_image(ROOT / "data" / name).pixels for name in SAMPLES)
    once, again = (
        Stylizer(recipe, device="cpu", precision="bfloat16").stylize([content], [style])[0].pixels
        for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
