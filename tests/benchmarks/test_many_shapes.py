"""The table of what many shapes leave behind: that it runs, and says what it should."""

from benchmarks import many_shapes


def test_a_row_says_what_is_kept_and_what_is_let_go_of(capsys):
    many_shapes.main(["--size", "96", "--shapes", "3", "--steps", "1", "--precision", "float32"])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert cells[:3] == ["float32", "96", "3"]
    for memory in cells[3:5]:
        first, last = (int(part) for part in memory.split(" to "))
        assert 100 < first <= last + 20 < 1000
    assert float(cells[5]) > 0
