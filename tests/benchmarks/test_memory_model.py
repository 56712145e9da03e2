"""The memory model's table: that it runs, and says what it should."""

from benchmarks import memory_model


def test_a_row_says_how_far_the_model_is_off(capsys):
    memory_model.main(["--size", "64", "--together", "1", "--precision", "float32", "--recipe", "default"])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert cells[:4] == ["default", "float32", "64x48", "1"]
    foretold, measured = float(cells[4]), float(cells[5])
    # What is rounded here is not there.
    assert abs(int(cells[6].rstrip("%")) - 100 * (foretold / measured - 1)) < 1
    assert 200 < measured < 1000
