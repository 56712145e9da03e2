"""Gram matrices and their products, both ways of computing them, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import gluon_nst.gram
from gluon_nst.backend import FLOAT_TYPES, as_float32, autograd, nd, to_ndarray
from gluon_nst.bfloat16 import bfloat16_kernels
from gluon_nst.gram import gram_matrix, gram_product
from tests.core.narrow import relative

# Around the two thresholds: 256 channels, 256 positions.
SHAPES = [
    (1, 64, 16, 16),
    (1, 64, 15, 17),
    (1, 64, 40, 41),
    (1, 128, 12, 21),
    (1, 128, 13, 20),
    (1, 255, 16, 17),
    (1, 256, 16, 17),
    (1, 256, 5, 3),
    (1, 512, 17, 16),
    (1, 512, 2, 2),
    (1, 512, 1, 1),
    (2, 64, 16, 16),
    (3, 8, 4, 5),
    (3, 8, 20, 30),
]

WAYS = {"convolution": (10**9, 0), "product": (0, 10**9)}
"""Way -> channels from which, and positions below which, the matrix product is taken."""


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Force one way of computing whatever the shape."""
    widest, smallest = WAYS[request.param]
    monkeypatch.setattr(gluon_nst.gram, "_PRODUCT_FROM", widest)
    monkeypatch.setattr(gluon_nst.gram, "_SMALLEST_MAP", smallest)
    return request.param


def features_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return positive maps with a mean, as a ReLU gives them: Gram matrices are far from diagonal."""
    return np.abs(np.random.default_rng(seed).normal(1, 1, shape)).astype(np.float32)


def symmetric(count: int, channels: int, seed: int = 1) -> np.ndarray:
    square = np.random.default_rng(seed).normal(size=(count, channels, channels)).astype(np.float32)
    return square + square.transpose(0, 2, 1)


def numpy_gram(features: np.ndarray) -> np.ndarray:
    return np.einsum("nchw,ndhw->ncd", features.astype(float), features.astype(float), optimize=True)


def numpy_product(matrices: np.ndarray, features: np.ndarray) -> np.ndarray:
    return np.einsum("ncd,ndhw->nchw", matrices.astype(float), features.astype(float), optimize=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gram_matrix(shape):
    features = features_of(shape)
    found = gram_matrix(to_ndarray(features))
    assert found.shape == (shape[0], shape[1], shape[1])
    assert found.dtype == np.float32
    assert relative(found.asnumpy(), numpy_gram(features)) < 1e-6


@pytest.mark.skipif(not bfloat16_kernels(), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("amx", [False, True], ids=["product", "convolution"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gram_matrix_in_bfloat16(monkeypatch, shape, amx):
    monkeypatch.setattr(gluon_nst.gram, "_has_amx", lambda: amx)
    rounded = nd.amp_cast(to_ndarray(features_of(shape)), dtype=FLOAT_TYPES["bfloat16"])
    found = gram_matrix(rounded)
    assert found.shape == (shape[0], shape[1], shape[1])
    assert found.dtype == np.float32
    # Sums in float32, rounded once to 8 bits.
    assert relative(found.asnumpy(), numpy_gram(as_float32(rounded).asnumpy())) < 2**-8


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gram_product(shape):
    features, matrices = features_of(shape), symmetric(*shape[:2])
    found = gram_product(to_ndarray(matrices), to_ndarray(features))
    assert found.shape == shape
    assert relative(found.asnumpy(), numpy_product(matrices, features)) < 1e-6


@pytest.mark.parametrize("shape", [(1, 64, 16, 20), (2, 96, 9, 30), (1, 256, 16, 16)], ids=str)
def test_both_ways_give_the_same(way, shape):
    features, matrices = features_of(shape), symmetric(*shape[:2])
    assert relative(gram_matrix(to_ndarray(features)).asnumpy(), numpy_gram(features)) < 1e-6
    product = gram_product(to_ndarray(matrices), to_ndarray(features))
    assert relative(product.asnumpy(), numpy_product(matrices, features)) < 1e-6


def test_the_gram_matrix_is_symmetric_with_squares_on_its_diagonal(way):
    features = features_of((1, 32, 20, 20))
    gram = gram_matrix(to_ndarray(features)).asnumpy()[0]
    np.testing.assert_allclose(gram, gram.T, rtol=1e-6)
    np.testing.assert_allclose(np.diag(gram), (features[0].astype(float) ** 2).sum((1, 2)), rtol=1e-5)


def test_ones_give_the_number_of_positions(way):
    assert (gram_matrix(nd.ones((2, 5, 18, 20))).asnumpy() == 18 * 20).all()


def test_zeros_give_zeros(way):
    assert not gram_matrix(nd.zeros((1, 5, 18, 20))).asnumpy().any()
    assert not gram_product(nd.zeros((1, 5, 5)), nd.ones((1, 5, 18, 20))).asnumpy().any()


def test_the_identity_gives_the_features_back(way):
    features = features_of((2, 6, 18, 20))
    identity = to_ndarray(np.broadcast_to(np.eye(6, dtype=np.float32), (2, 6, 6)))
    np.testing.assert_allclose(gram_product(identity, to_ndarray(features)).asnumpy(), features, rtol=1e-6)


def test_each_image_has_its_own_matrix(way):
    features, matrices = features_of((3, 6, 17, 19)), symmetric(3, 6)
    grams = gram_matrix(to_ndarray(features)).asnumpy()
    products = gram_product(to_ndarray(matrices), to_ndarray(features)).asnumpy()
    for n in range(3):
        one = features[n : n + 1]
        assert relative(grams[n : n + 1], numpy_gram(one)) < 1e-6
        assert relative(products[n : n + 1], numpy_product(matrices[n : n + 1], one)) < 1e-6


def test_the_product_is_half_the_gradient():
    features, matrices = features_of((2, 7, 20, 21)), symmetric(2, 7)
    variable = to_ndarray(features)
    variable.attach_grad()
    with autograd.record():
        flat = variable.reshape((2, 7, -1))
        weighted = (to_ndarray(matrices) * nd.batch_dot(flat, flat, transpose_b=True)).sum()
    weighted.backward()
    product = gram_product(to_ndarray(matrices), to_ndarray(features)).asnumpy()
    assert relative(2 * product, variable.grad.asnumpy()) < 1e-6


def test_the_mode_of_the_caller_does_not_matter():
    features, matrices = features_of((1, 16, 32, 32)), symmetric(1, 16)
    with autograd.predict_mode():
        gram = gram_matrix(to_ndarray(features)).asnumpy()
        product = gram_product(to_ndarray(matrices), to_ndarray(features)).asnumpy()
    assert relative(gram, numpy_gram(features)) < 1e-6
    assert relative(product, numpy_product(matrices, features)) < 1e-6


def test_the_features_stay_as_they_are():
    features = features_of((1, 16, 32, 32))
    given = to_ndarray(features)
    gram_matrix(given)
    gram_product(to_ndarray(symmetric(1, 16)), given)
    np.testing.assert_array_equal(given.asnumpy(), features)
