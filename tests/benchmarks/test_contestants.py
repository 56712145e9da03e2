"""The contestants of the benchmarks do the same work: losses and gradient agree with ours."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.contestants import CONTESTANTS, Contestant, Pair
from gluon_nst.stylizer import Stylizer
from tests.core.narrow import relative

HEIGHT, WIDTH = 48, 64

# Its optimizer moves the image by the gradient over its root mean square, which is the way to it from outside.
BARE = {
    "optimizer": "normalized-gd", "learning_rate": 1.0, "epsilon": 1e-12, "schedule": "constant", "clip": False,
    "average": 0.0, "init": "image", "steps": 1,
}  # fmt: skip


class Ours:
    """Losses and normalized gradient of the start picture, as our engine has them in float32."""

    def __init__(self, pair):
        stylizer = Stylizer(pair.recipe.replace(**BARE), device="cpu", precision="float32")
        taken = []
        made = stylizer.stylize(
            [pair.content], [pair.style], starts=[pair.start], every=1, tick=lambda _, take: taken.append(take())
        )[0]  # fmt: skip
        self.losses = {term: getattr(made.losses[0], term) for term in ("content", "style", "tv", "total")}
        self._image = taken[-1].snapshot.image

    def gradient(self, start):
        return start - self._image


def normalized(gradient):
    return gradient / np.sqrt(np.mean(np.square(gradient)))


@pytest.fixture(scope="module", params=["d2l", "default"])
def pair(request):
    return Pair(request.param, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def ours(pair):
    return Ours(pair)


def close(found, expected, tolerance):
    assert {term: value.item() for term, value in found.items()} == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("pair", ["d2l"], indirect=True)
def test_the_chapters_loop(pair, ours):
    from benchmarks.chapter_loop import ChapterLoop, autograd

    loop = ChapterLoop(pair.arrays(), pair.content, pair.style, pair.start)
    start = loop.generated.weight.data().asnumpy()
    with autograd.record():
        losses = loop.losses()
    losses["total"].backward()
    close({term: value.asnumpy() for term, value in losses.items()}, ours.losses, 1e-4)
    assert relative(normalized(loop.generated.weight.grad().asnumpy()), ours.gradient(start)) < 1e-3
    assert [each.grad_req for each in loop.net.collect_params().values()] == 26 * ["write"]


@pytest.mark.parametrize("pair", ["d2l"], indirect=True)
def test_the_chapters_loop_goes_down(pair):
    from benchmarks.chapter_loop import ChapterLoop

    loop = ChapterLoop(pair.arrays(), pair.content, pair.style, pair.content)
    before = loop.losses()["total"].asscalar()
    for _ in range(3):
        loop.step()
    assert loop.losses()["total"].asscalar() < 0.9 * before


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("dtype", "losses", "gradient"), [("float32", 1e-4, 1e-3), ("bfloat16", 0.03, 0.2)])
def test_pytorch(pair, ours, dtype, losses, gradient, channels_last):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_nst import TorchTransfer

    transfer = TorchTransfer(
        pair.arrays(), pair.recipe, pair.content, pair.style, pair.start,
        dtype=getattr(torch, dtype), channels_last=channels_last,
    )  # fmt: skip
    start = transfer.image.detach().numpy().copy()
    found = transfer.losses()
    found["total"].backward()
    close(found, ours.losses, losses)
    assert relative(normalized(transfer.image.grad.numpy()), ours.gradient(start)) < gradient


def test_pytorch_makes_the_steps_that_we_make(pair):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_nst import TorchTransfer

    transfer = TorchTransfer(pair.arrays(), pair.recipe, pair.content, pair.style, pair.content)
    for _ in range(3):
        transfer.step()
    stylizer = Stylizer(pair.recipe.replace(steps=4), device="cpu", precision="float32")
    made = stylizer.stylize([pair.content], [pair.style], every=1)[0]
    with torch.no_grad():
        assert float(transfer.losses()["total"]) == pytest.approx(made.losses[3].total, rel=0.01)


@pytest.mark.parametrize("name", ["PyTorch float32, channels last", "roofline float32"])
def test_contestants_answer_when_it_is_their_turn(name):
    if name.startswith("PyTorch"):
        pytest.importorskip("torch")
    with Contestant(name, 24, 32, every=2) as contestant:
        first, second = contestant.ready(), contestant.go()
    assert 0 < second["seconds"] < 60
    # The kernel's own count is off by some pages for each thread.
    assert 5e7 < first["peak_memory"] <= 1.01 * second["peak_memory"]


def test_contestants_inherit_no_number_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    with Contestant("gluon_nst float32", 24, 32) as contestant:
        contestant.ready()
        environment = Path(f"/proc/{contestant._process.pid}/environ").read_text()
    assert "nonsense" not in environment and os.environ["OMP_NUM_THREADS"] == "nonsense"


def test_a_contestant_that_cannot_run_says_why(monkeypatch):
    monkeypatch.setitem(CONTESTANTS, "nobody", (None, {}, {}))
    with (
        Contestant("nobody", 24, 32) as contestant,
        pytest.raises(RuntimeError, match=r"nobody: .*invalid choice"),
    ):
        contestant.ready()
