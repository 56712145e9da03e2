"""Settings of the tests of the core."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # mxnet.nd.array() looks at scipy.sparse.csr at every call; see test_backend.py.
    config.addinivalue_line("filterwarnings", "ignore:Please import `csr_matrix`:DeprecationWarning")
