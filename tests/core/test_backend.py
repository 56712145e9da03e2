"""MXNet's traps: what is set before it is loaded, what is mended, and the sizes that killed a process.

Whatever could take the test process with it, or must see a fresh one, runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from gluon_nst.backend import (
    context,
    device_name,
    gpu_count,
    mx,
    nd,
    to_ndarray,
    translate_errors,
    version,
)
from gluon_nst.errors import BackendError, DeviceError, OutOfMemoryError
from gluon_nst.machine import cpu_cores, cpu_quota, usable_cores

ROOT = Path(__file__).parents[2]

SECONDS = 60
"""What a process of the tests may take before it counts as hung; it takes about five."""


def python(code: str, **environment: str | None) -> list[str]:
    """Run code in a fresh interpreter and return the lines it printed; None removes a variable."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.splitlines()


# --- before MXNet is loaded ---

WATCHED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "MXNET_CPU_TEMP_COPY",
    "MXNET_CUDNN_LIB_CHECKING",
    "MXNET_CUDNN_AUTOTUNE_DEFAULT",
    "MXNET_GPU_MEM_POOL_TYPE",
)

LOADING = f"""
import os, sys
import numpy
names = ("bool", "int", "float", "object", "str", "complex")
before = {{name for name in names if name in numpy.__dict__}}
def watch(event, arguments):
    if event == "import" and arguments[0] == "mxnet" and not seen:
        seen.append([os.environ.get(name, "absent") for name in {WATCHED!r}])
seen = []
sys.addaudithook(watch)
import gluon_nst
assert "mxnet" not in sys.modules
import gluon_nst.backend
print(*seen[0])
print(before == {{name for name in names if name in numpy.__dict__}})
print(*(hasattr(numpy, name) for name in names if name not in before))
"""


def has_avx2() -> bool:
    return " avx2" in Path("/proc/cpuinfo").read_text()


def test_what_is_not_set_is_set_before_mxnet_is_loaded():
    seen, aliases_as_before, still_there = python(LOADING, **dict.fromkeys(WATCHED))
    threads, core, workspaces, *gpu = seen.split()
    assert int(threads) == usable_cores(cpu_cores(), cpu_quota())
    assert 1 <= int(threads) <= len(os.sched_getaffinity(0))
    assert core == ("Haswell" if has_avx2() else "absent")
    assert workspaces == "1"
    assert gpu == ["0", "0", "Round"]
    # The names that numpy has dropped are lent to MXNet for its import alone.
    assert aliases_as_before == "True"
    assert "True" not in still_there


def test_what_is_set_is_kept():
    own = dict(zip(WATCHED, ("3", "Prescott", "4", "1", "2", "Naive"), strict=True))
    assert python(LOADING, **own)[0].split() == list(own.values())


def test_making_an_array_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = to_ndarray(np.arange(6.0).reshape(2, 3))
    assert isinstance(made, nd.NDArray)
    assert made.dtype == np.float32
    assert made.asnumpy().tolist() == [[0, 1, 2], [3, 4, 5]]


# --- errors ---


def not_positive():
    """Return an array whose computation fails in the engine, after the call has returned."""
    return nd.linalg.potrf(to_ndarray([[-1.0]]))


def test_an_error_is_translated_and_the_next_operation_works():
    with pytest.raises(BackendError, match=r"MXNet failed: .*potrf failed") as caught, translate_errors():
        not_positive().asnumpy()
    assert not isinstance(caught.value, OutOfMemoryError)
    assert isinstance(caught.value.__cause__, mx.base.MXNetError)
    assert "\n" not in str(caught.value)
    assert nd.ones(3).sum().asscalar() == 3


def test_errors_left_in_the_engine_do_not_come_up_later():
    several = [not_positive() for _ in range(3)]
    with pytest.raises(mx.base.MXNetError):
        several[1].asnumpy()
    with pytest.raises(mx.base.MXNetError):
        nd.waitall()  # so it is without translate_errors
    with pytest.raises(BackendError), translate_errors():
        several = [not_positive() for _ in range(3)]
        several[1].asnumpy()
    nd.waitall()
    assert nd.ones(3).sum().asscalar() == 3


def test_errors_of_the_call_itself_are_translated():
    with pytest.raises(BackendError, match="dot shape error"), translate_errors():
        nd.dot(nd.ones((2, 3)), nd.ones((4, 5)))


def test_errors_of_others_pass():
    with pytest.raises(ZeroDivisionError), translate_errors():
        1 / 0  # noqa: B018


def test_a_chip_without_code_is_named_as_such():
    told = "Check failed: e == cudaSuccess: CUDA: no kernel image is available for execution on the device"
    with (
        pytest.raises(DeviceError, match=r"no code for this machine's GPU.*--device cpu"),
        translate_errors(),
    ):
        raise mx.base.MXNetError(told)


def test_asking_for_a_terabyte_is_out_of_memory():
    with pytest.raises(OutOfMemoryError, match=r"no memory left.*--size"), translate_errors():
        nd.zeros((2**20, 2**18)).wait_to_read()
    assert nd.ones(3).sum().asscalar() == 3


OUT_OF_MEMORY = """
import resource
from pathlib import Path
from gluon_nst.backend import nd, translate_errors
from gluon_nst.errors import OutOfMemoryError
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, size + 2**29))
try:
    with translate_errors():
        nd.zeros(2**29).wait_to_read()
except OutOfMemoryError as error:
    print(error)
nd.waitall()
print(nd.ones(3).sum().asscalar())
"""


def test_a_failed_allocation_is_out_of_memory_and_the_process_goes_on():
    message, after = python(OUT_OF_MEMORY)
    assert "Failed to allocate CPU Memory" in message
    assert after == "3.0"


# --- sizes and modes that killed or slowed ---

# 1x1 convolutions at exactly 1024x1024 divide by zero in inference mode (oneDNN 2.4.4).
THOUSAND_AND_24 = """
from gluon_nst.backend import nd, autograd
from gluon_nst.gram import gram_matrix, gram_product
features = nd.ones((1, 64, 1024, 1024))
with autograd.predict_mode():
    product = gram_product(nd.ones((1, 64, 64)), features)
    print(product.min().asscalar(), product.max().asscalar())
    gram = gram_matrix(features)
    print(gram.min().asscalar(), gram.max().asscalar())
"""


def test_a_megapixel_square_does_not_end_the_process():
    product, gram = python(THOUSAND_AND_24)
    assert product.split() == ["64.0", "64.0"]
    assert gram.split() == ["1048576.0", "1048576.0"]


# 1x1 convolutions over very small maps write beyond their memory, which malloc notices when it checks.
TINY_MAPS = """
from gluon_nst.backend import nd
from gluon_nst.gram import gram_matrix, gram_product
for positions in range(1, 61):
    for channels in (64, 512):
        features = nd.ones((1, channels, 1, positions))
        gram = gram_matrix(features)
        product = gram_product(gram, features)
        assert (gram.asnumpy() == positions).all(), positions
        assert (product.asnumpy() == positions * channels).all(), positions
print("done")
"""


def checking_malloc() -> str:
    """Return the library that checks, which glibc 2.34 and later keep apart, or nothing."""
    found = sorted(Path("/lib").glob("*-linux-gnu/libc_malloc_debug.so.0")) + sorted(
        Path("/lib64").glob("libc_malloc_debug.so.0")
    )
    return str(found[0]) if found else ""


def test_tiny_maps_write_where_they_may():
    assert python(TINY_MAPS, MALLOC_CHECK_="3", LD_PRELOAD=checking_malloc()) == ["done"]


# oneDNN names every primitive that it runs.
ONE_STEP = """
from tests.core.test_features import gradient_of, narrow_features, random_heads, random_image
network, image = narrow_features(["relu2_1", "relu3_1"]), random_image()
gradient_of(network, image, random_heads(network, image))
"""


def test_no_gradient_of_a_weight_is_computed():
    told = [line.split(",") for line in python(ONE_STEP, DNNL_VERBOSE="1")]
    convolutions = [line[5] for line in told if line[0] == "dnnl_verbose" and line[3:4] == ["convolution"]]
    assert convolutions.count("backward_data") == 5
    assert convolutions.count("forward_training") == 10  # once for the heads' shapes, once recorded
    assert "backward_weights" not in convolutions
    assert set(convolutions) == {"backward_data", "forward_training"}


# --- what the machine is said to have ---


def test_devices():
    assert device_name("cpu") == "cpu"
    assert device_name("auto") == ("gpu:0" if gpu_count() else "cpu")
    assert context("cpu") == mx.cpu()


def test_the_version_is_the_one_that_the_package_asks_for():
    assert version() == "1.9.1"
