from pathlib import Path

import pytest

from pipeline import faults, report
from pipeline.build import Build
from pipeline.errors import CurationError, RecipeError
from pipeline.faults import Outcome, Planted, fault_table, read_faults
from pipeline.record import open_record
from tests.conftest import SCORED, MakeBuild

RECIPE = (
    SCORED
    + """\
select:
  - readable:  {where: width is not null}
  - described: {where: caption_words >= 2}
  - unique:    {one_per: image_sha256, best: caption_words}
ingest: {rows_per_shard: 5}
"""
)
TABLE = """\
file,fault,of,expect,step,note
00.jpg,none,,keep,,
01.jpg,none,,keep,,
02.jpg,none,,keep,,
03.jpg,mistaken,,drop,described,nothing is wrong with it
20_cut.jpg,broken,,drop,readable,
21_html.jpg,broken,,drop,readable,
22_mute.jpg,mute,,drop,described,
23_same_pair.jpg,copy,01.jpg,drop,unique,
24_same_image.jpg,copy,02.jpg,drop,unique,
lost.jpg,broken,,drop,readable,
"""


@pytest.fixture
def build(make_build: MakeBuild) -> Build:
    return make_build(RECIPE, after="select")


def written(build: Build, text: str) -> str:
    path = Path(build.out).parent / "faults.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def by_name(rows: list[dict[str, object]], name: str) -> dict[str, dict[str, object]]:
    return {str(row[name]): row for row in rows}


def test_fault_table_counts_what_was_found(build: Build) -> None:
    table = fault_table(open_record(build.out), written(build, TABLE))
    kinds = by_name(table["kinds"], "fault")
    found = {name: (kind["planted"], kind["right"]) for name, kind in kinds.items()}
    assert found == {"none": (3, 3), "mistaken": (1, 0), "broken": (2, 2), "mute": (1, 1),
                     "copy": (2, 2)}  # fmt: skip
    assert kinds["broken"]["by"] == {"readable": 1, "failed: not_an_image": 1}
    assert kinds["broken"]["not_in_pool"] == 1
    assert kinds["mistaken"]["wrong"] == ["03.jpg"]
    assert (kinds["none"]["expect"], kinds["copy"]["expect"]) == ("keep", "drop")


def test_steps_have_precision_and_recall(build: Build) -> None:
    table = fault_table(open_record(build.out), written(build, TABLE))
    steps = by_name(table["steps"], "step")
    assert list(steps) == ["failed: duplicate_key", "failed: not_an_image", "readable",
                           "described", "unique"]  # fmt: skip
    counts = ("dropped", "planted", "meant", "found", "elsewhere")
    assert [steps["readable"][name] for name in counts] == [1, 1, 2, 1, 1]
    assert [steps["unique"][name] for name in counts] == [1, 1, 2, 1, 1]
    assert [steps["described"][name] for name in counts] == [1, 1, 2, 1, 0]
    assert table["clean"] == {"rows": 11, "kept": 11, "lost": {}}


def test_a_good_row_that_is_dropped_is_no_find(build: Build) -> None:
    text = "file,fault\n03.jpg,odd\n"  # the other columns are optional
    table = fault_table(open_record(build.out), written(build, text))
    steps = by_name(table["steps"], "step")
    assert (steps["readable"]["dropped"], steps["readable"]["planted"]) == (1, 0)
    lost = table["clean"]["lost"]
    assert lost == {"readable": 1, "described": 1, "unique": 1, "failed: duplicate_key": 1,
                    "failed: not_an_image": 1}  # fmt: skip


def test_a_copy_and_its_original_may_change_places() -> None:
    kept, unique, top = Outcome("kept"), Outcome("unique"), Outcome("top")
    planted = [Planted("copy", "copy", "original", (), False)]

    def stands(own: Outcome, original: Outcome) -> dict[str, str]:
        outcomes = {"copy": own, "original": original}
        return faults._changed_places(planted, outcomes, {"unique"})

    swapped = {"copy": "original", "original": "copy"}
    assert stands(kept, unique) == stands(top, unique) == swapped
    assert stands(unique, kept) == stands(kept, top) == stands(unique, unique) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,fault\n1.jpg,x\n", "no column 'file'; found name, fault"),
        ("", "no column 'file'; found none"),
        ("file,fault\n", "no row has a file and a fault"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "faults.csv"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_faults(str(path))


def test_a_table_of_another_pool_is_refused(build: Build) -> None:
    path = written(build, "file,fault\nelsewhere.jpg,x\n")
    with pytest.raises(CurationError, match="none of its 1 files is in the pool"):
        fault_table(open_record(build.out), path)


def test_show_faults_prints_and_adds_to_the_report(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    report.show_faults(written(build, TABLE), build.out)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fault", "planted", "found", "recall", "by", "slipped", "through"]
    assert next(line for line in lines if line.startswith("mistaken")).split() == [
        "mistaken", "1", "0", "0", "%", "03.jpg",
    ]  # fmt: skip
    assert "11 of 11 rows without a fault were kept, 100 %" in lines
    page = Path(build.out, "report.html").read_text("utf-8")
    assert "Planted faults" in page
    assert "slipped through: 03.jpg" in page
    assert "1 row of the table without a row in the pool" in page


def test_faults_of_an_earlier_selection_are_not_shown(build: Build, make_build: MakeBuild) -> None:
    faults.write_table(build.out, fault_table(open_record(build.out), written(build, TABLE)))
    other = make_build(RECIPE.replace(">= 2", ">= 1"))
    other.select()
    page = report.make_page(other.out)
    assert "was checked against an earlier selection" in page
    assert "slipped through" not in page
