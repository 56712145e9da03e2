"""The memory is settled once, after the first evaluation of a shape; and never by a GPU."""

import numpy as np
import pytest

from gluon_nst import allocator, backend, settling_objective
from gluon_nst.backend import nd
from gluon_nst.descent import Evaluation
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.settling_objective import SettlingObjective


class Events(list):
    """Stands where malloc is set, and keeps what is asked of it, between the evaluations."""

    def objective(self, generated):
        self.append("evaluate")
        image = generated.image.data()
        return Evaluation({"total": image.sum().reshape(1)}, image * 2)


@pytest.fixture
def events(monkeypatch):
    found = Events()
    monkeypatch.setattr(backend, "keep_large_blocks", lambda: found.append("keep"))
    monkeypatch.setattr(backend, "map_large_blocks", lambda: found.append("map"))
    return found


def test_the_first_evaluation_settles_the_memory(events):
    generated = GeneratedImage(nd.ones((1, 3, 2, 2)))
    objective = SettlingObjective(events.objective)
    backend.expect_new_shape(generated.image.data().context)
    evaluations = [objective(generated) for _ in range(3)]
    assert events == ["map", "evaluate", "keep", "evaluate", "evaluate"]
    for evaluation in evaluations:
        assert evaluation.losses["total"].asscalar() == 12
        np.testing.assert_array_equal(evaluation.gradient.asnumpy(), np.full((1, 3, 2, 2), 2.0))


def test_a_gpu_has_a_pool_of_its_own(events):
    card = backend.mx.gpu(0)  # a name: nothing is asked of it
    backend.expect_new_shape(card)
    backend.settle_memory(card)
    assert events == []


def test_the_real_ones_are_called():
    assert backend.keep_large_blocks is allocator.keep_large_blocks
    assert settling_objective.settle_memory is backend.settle_memory
