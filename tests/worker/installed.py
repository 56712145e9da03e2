"""The stand-in engine in this process, for the length of a test."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator

import pytest

import gluon_nst
from gluon_nst.worker import departure, engine, making, readiness
from tests.batch.stand_in import StandIn

__all__ = ["install", "installed"]


def install(monkeypatch: pytest.MonkeyPatch, make: Callable[..., object] = StandIn) -> None:
    """Let `make` take the place of `make_stylizer` until the test ends."""
    backend = types.SimpleNamespace(version=lambda: "stand-in")
    monkeypatch.setitem(sys.modules, "gluon_nst.backend", backend)
    monkeypatch.setattr(gluon_nst, "backend", backend, raising=False)
    for module in (engine, making, readiness):
        monkeypatch.setattr(module, "make_stylizer", lambda recipe, **options: make(recipe, **options))
    monkeypatch.setattr(departure, "_deadline", None)
    monkeypatch.setattr(departure, "_recalled", {})
    engine._warm.clear()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Install the stand-in, and leave no Stylizer of it behind."""
    install(monkeypatch)
    yield monkeypatch
    engine._warm.clear()
