"""On a machine with a GPU: that it is seen, computes rightly, or is refused with the right reason.

Nothing here has run yet: no machine with a GPU was at hand. `pytest -m gpu` runs these and the other ones so marked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gluon_nst.backend import autograd, gpu_count, mx, nd, release_memory, to_ndarray
from gluon_nst.doctor import examine
from gluon_nst.doctor.gpu_diagnosis import wheel_has_code
from gluon_nst.gpu_driver import Gpu, driver_from
from gluon_nst.mxnet_builds import cuda_wheel, installed_builds
from gluon_nst.probe import call_apart

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpus() -> tuple[Gpu, ...]:
    description = call_apart("gluon_nst.gpu_driver:describe_driver").answer
    if not description or not description["gpus"]:
        pytest.skip("no NVIDIA GPU")
    if not mx.runtime.Features().is_enabled("CUDA"):
        pytest.skip("this MXNet is built for the CPU alone")
    return driver_from(description).gpus


@pytest.fixture
def card(gpus: tuple[Gpu, ...]) -> Any:
    """Return the context of the first GPU, which the installed MXNet has code for."""
    if refused(gpus[0]):
        pytest.skip("the wheel has no code for this GPU")
    return mx.gpu(0)


def refused(gpu: Gpu) -> bool:
    return bool(cuda_wheel(installed_builds())) and not wheel_has_code(gpu)


def test_the_libraries_load_and_mxnet_sees_what_the_driver_sees(gpus: tuple[Gpu, ...]) -> None:
    assert gpu_count() == len(gpus)
    if cuda_wheel(installed_builds()):
        assert call_apart("gluon_nst.cuda_libraries:missing_libraries").answer == {}


def test_the_doctor_proves_each_chip_or_refuses_it(gpus: tuple[Gpu, ...]) -> None:
    findings = [finding for finding in examine(["vgg16"]) if finding.topic == "GPU"]
    text, states = " ".join(finding.text for finding in findings), {finding.state for finding in findings}
    if any(refused(gpu) for gpu in gpus):
        assert "problem" in states
        assert "no MXNet wheel has code for it" in text and "MXNet does not compute on it" in text
        assert any("container" in finding.remedy for finding in findings)
    else:
        assert states == {"ok"} and "MXNet computes on" in text


def convolve(ctx: Any, image: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a convolution's output, and the gradient of half its sum of squares to the image."""
    x, w = to_ndarray(image, ctx=ctx), to_ndarray(kernel, ctx=ctx)
    x.attach_grad()
    with autograd.record():
        y = nd.Convolution(
            x, w, nd.zeros(len(kernel), ctx), kernel=(3, 3), pad=(1, 1), num_filter=len(kernel)
        )
    y.backward(y)
    return y.asnumpy(), x.grad.asnumpy()


def test_a_convolution_and_its_gradient_agree_with_the_cpu(card: Any) -> None:
    random = np.random.default_rng(0)
    image, kernel = (random.normal(size=size).astype("float32") for size in ((1, 64, 48, 64), (64, 64, 3, 3)))
    for here, there in zip(convolve(card, image, kernel), convolve(mx.cpu(), image, kernel), strict=True):
        # cuDNN takes TF32 on Ampere and later: factors of 11 bits, each wrong by up to 2^-12.
        assert np.abs(here - there).max() <= 2e-3 * np.abs(there).max()


def test_memory_that_is_given_back_is_free_again(card: Any) -> None:
    (nd.ones((2**26,), card) + 1).wait_to_read()  # 256 MB, twice
    kept, _ = mx.context.gpu_memory_info(0)
    release_memory(card)
    assert mx.context.gpu_memory_info(0)[0] >= kept + 2**28
