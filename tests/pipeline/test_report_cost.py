"""What a build cost, also where records of its ledger are damaged."""

import json
import re

import pytest

from pipeline.report_cost import cost, stages

DONE = {"status": "done", "wall_s": 2.0, "cpu_s": 1.5, "peak_memory_bytes": 10}
DONE |= {"stats": {"rows": 4}}
DAMAGED = [
    '{"status": "done", "wal',
    "",
    "[]",
    "{}",
    '{"status": ["done"]}',
    '{"status": "done", "wall_s": "2"}',
    '{"status": "done", "wall_s": NaN}',
    '{"status": "done", "cpu_s": Infinity}',
    '{"status": "done", "peak_memory_bytes": -1}',
    '{"status": "done", "stats": [1]}',
    '{"status": "done", "stats": {"wait_s": -1}}',
    '{"status": "done", "stats": {"rows": {}}}',
    f'{{"status": "done", "wall_s": 1{"0" * 400}}}',
]


@pytest.fixture
def write(tmp_path):
    """Writes a record of the ledger of `survey`."""

    def write(task, text):
        path = tmp_path / "ledger" / "survey" / f"{task}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_tasks_of_a_stage_are_summed_up(write, tmp_path):
    write("1", json.dumps(DONE))
    write("2", json.dumps({"status": "failed", "error": "worker died"}))
    (stage,) = stages(str(tmp_path))
    assert (stage.tasks, stage.failed, stage.rows) == (2, 1, 4)
    assert (stage.wall_s, stage.cpu_s, stage.peak_memory_bytes) == (2.0, 1.5, 10)
    assert "Damaged" not in cost([stage])


def test_loading_and_waiting_are_shown_apart(write, tmp_path):
    write("1", json.dumps(DONE | {"stats": {"rows": 4, "load_s": 3.0, "wait_s": 0.25}}))
    write("2", json.dumps(DONE | {"stats": {"rows": 4, "load_s": 0.0, "wait_s": 0.5}}))
    (stage,) = stages(str(tmp_path))
    assert (stage.load_s, stage.wait_s) == (3.0, 0.75)
    page = str(cost([stage]))
    assert "of it loading" in page
    assert re.search(r"3\.0 s</td>\s*<td[^>]*>0\.8 s", page)


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_is_named_and_costs_the_others_nothing(write, tmp_path, text):
    write("1", json.dumps(DONE))
    path = write("2", text)
    (stage,) = stages(str(tmp_path))
    assert (stage.tasks, stage.rows, stage.wall_s, stage.damaged) == (2, 4, 2.0, [path])
    assert f"Damaged, and not counted: {path}." in cost([stage])


def test_of_many_damaged_records_some_are_named(write, tmp_path):
    for task in range(7):
        write(f"{task}", "")
    assert "4.json and 2 more." in cost(stages(str(tmp_path)))


def test_without_a_ledger_that_is_said(tmp_path):
    assert "There is no ledger" in cost(stages(str(tmp_path)))
