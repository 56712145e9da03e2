"""oneDNN's faults at some sizes stay shut out: many shapes, in processes that may die or hang without harm."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_nst.bfloat16 import bfloat16_kernels, widest_image
from gluon_nst.probe import call_apart

PRECISIONS = ["float32"] + ["bfloat16"] * bool(bfloat16_kernels())

# Maps of few positions in the deep layers, odd sides, long and thin, and what oneDNN 2.4.4 was seen to fail at.
FEW = [[16, 16], [17, 31], [33, 48], [96, 112], [16, 736], [200, 16]]
WIDEST = widest_image(bfloat16_kernels()) or 1500


def many() -> list[list[int]]:
    generator = np.random.default_rng(0)
    drawn = generator.integers(16, 200, (60, 2)).tolist()
    wide = [[20, width] for width in (735, 736, 737, 738, 800, 1023, 1024, 1040, 1500) if width <= WIDEST]
    tall = [[height, 20] for height in (737, 1024, 1500)]
    small = [[16 * rows, 16 * columns] for rows in range(1, 8) for columns in range(1, 9)]
    return drawn + wide + tall + small + [[1024, 1024]]


def check(shapes: list[list[int]], timeout: float) -> None:
    norms = {}
    for precision in PRECISIONS:
        reply = call_apart("tests.core.sweep:gradients", shapes, precision, timeout=timeout)
        assert reply.failure == ""
        norms[precision] = np.array(reply.answer)
        assert np.isfinite(norms[precision]).all() and (norms[precision] > 0).all()
    for found in norms.values():
        np.testing.assert_allclose(found, norms["float32"], rtol=0.1)


def test_a_few_shapes():
    check(FEW, timeout=120)


@pytest.mark.full
@pytest.mark.parametrize("part", range(4))
def test_many_shapes(part):
    check(many()[part::4], timeout=600)
