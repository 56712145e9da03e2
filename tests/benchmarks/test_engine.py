"""The benchmark of the engine runs, and its tables say what they claim."""

import json

import pytest

from benchmarks import engine


def row(name, seconds, **others):
    return {"name": name, "together": 1, "height": 3, "width": 4, "seconds": seconds, "flops": 8e9 / seconds,
            "peak_memory": 5e8, "rounds": [seconds], **others}  # fmt: skip


def cells(table, name):
    line = next(line for line in table.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_ratios_are_of_the_chapter_and_of_the_best_rival():
    rows = [
        row("chapter", 6.0),
        row("PyTorch float32", 2.0),
        row("PyTorch bfloat16", 1.5),
        row("gluon_nst float32", 1.0),
        row("roofline float32", 0.8, flops=1e10),
    ]
    table = engine.steps_table(rows)
    assert cells(table, "gluon_nst float32") == ["1.000", "6.00", "1.50", "8", "80%", "500"]
    assert cells(table, "PyTorch float32") == ["2.000", "3.00", "0.75", "4", "40%", "500"]
    assert cells(table, "roofline float32")[1:3] == ["", ""]


def test_a_contestant_that_cannot_run_leaves_the_others_their_figures():
    failed = {"name": "nobody", "together": 1, "height": 3, "width": 4, "failure": "nobody: it said nothing"}
    rows = [failed, row("gluon_nst float32", 1.0)]
    for table in (engine.steps_table(rows), engine.together_table(rows), engine.memory_table(rows)):
        assert "no figures: nobody: it said nothing" in table
        assert cells(table, "gluon_nst float32")


def test_pictures_together_are_compared_with_one_by_one():
    table = engine.together_table([row("gluon_nst float32", 1.0), row("gluon_nst float32", 0.8, together=4)])
    assert "| gluon_nst float32 | 4 | 0.800 | 1.25 |" in table


@pytest.mark.parametrize(
    "parts", [["steps"], pytest.param(["steps", "together", "memory"], marks=pytest.mark.full)]
)
def test_it_runs(tmp_path, capsys, parts):
    file = tmp_path / "engine.json"
    engine.main([*parts, "--quick", "--who", "chapter", "gluon_nst float32", "--json", str(file)])
    tables = capsys.readouterr().out
    assert "no figures" not in tables and tables.count("| gluon_nst float32 |") >= len(parts)
    found = json.loads(file.read_text())
    assert [table["part"] for table in found["tables"]] == parts
    assert found["machine"]["cores"] >= 1
    for each in found["tables"][0]["rows"]:
        assert len(each["rounds"]) == 2 and each["seconds"] > 0 and each["flops"] > 0


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        engine.main(["stpes"])
    assert "stpes" in capsys.readouterr().err
