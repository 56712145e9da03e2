"""The comparison of one batch with many processes runs, and counts what it did."""

import pytest

from benchmarks import batch_speed


@pytest.mark.full
def test_apart_compares_photographs_per_hour(capsys):
    batch_speed.main(["apart", "--jobs", "2", "--steps", "1", "--size", "32"])
    heading, _, alone, batch = capsys.readouterr().out.splitlines()
    assert "2 photographs at 32 px, 1 steps" in heading
    for line in (alone, batch):
        seconds, hourly, _ = (float(cell) for cell in line.strip("|").split("|")[1:])
        assert hourly == pytest.approx(2 * 3600 / seconds, rel=0.02)
    assert alone.endswith("| 1.00 |")
