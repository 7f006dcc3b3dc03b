"""The verb from end to end, with scorers of which the right figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import CurationError
from pipeline.probes import run
from pipeline.probes.subject import Named
from tests import commands
from tests.pipeline.probing import toys
from tests.pipeline.probing.toys import HERE, SMALL, write

ALL = [*run.DRAWN]


@pytest.fixture
def asked(tmp_path: Path):
    """Asks a toy about drawn probes and gives its record."""

    def ask(toy: str, *names: str, out: str = "out", limit: int = SMALL, more: str = "") -> Any:
        for name in names:
            toys.drawn(name, limit)
        listed = ", ".join(names)
        path = write(tmp_path / "probes.yaml", f"drawn: [{listed}]\nlimit: {limit}\n{more}")
        scorer = toy if ":" in toy or toy.islower() else f"{HERE}:{toy}"
        run.probe_score(Named(scorer), str(path), str(tmp_path / out))
        return json.loads((tmp_path / out / "probe.json").read_text())

    return ask


def figures(record: Any) -> list[Any]:
    return [figure for probe in record["probes"] for figure in probe["figures"]]


def figure(record: Any, label: str) -> Any:
    return next(one for one in figures(record) if one["label"] == label)


@pytest.mark.slow
def test_a_constant_gets_nothing(asked):
    record = asked("Constant", *ALL)
    shares = [one for one in figures(record) if not one["is_fault"]]
    assert len(shares) > 30
    assert {one["right"] for one in shares} == {0}
    assert all(one["ties"] == one["n"] > 0 for one in shares)
    assert figure(record, "association bias")["value"] == 0


@pytest.mark.slow
def test_an_oracle_gets_everything(asked):
    record = asked("Oracle", *ALL)
    shares = [one for one in figures(record) if not one["is_fault"]]
    assert {one["value"] for one in shares} == {1.0}
    assert {one["value"] for one in figures(record) if one["is_fault"]} == {0.0}
    assert [probe["wrong"] for probe in record["probes"]] == [[]] * len(ALL)


def test_low_may_be_good(asked):
    record = asked("Oracle", "sizes", more="lowest: true\n")
    assert figure(record, "which is bigger")["right"] == 0


@pytest.mark.parametrize("name", ["colours", "own_colours"])
def test_a_bag_of_concepts_binds_nothing_and_a_binder_all(asked, name):
    bag = asked("Words", name, out="bag")
    assert figure(bag, "association bias")["value"] == 1
    assert figure(bag, "colour of a thing alone")["value"] == 1
    assert figure(bag, "colour of one of two things")["value"] == 0
    binder = asked("Binder", name, out="binder")
    assert figure(binder, "association bias")["value"] == 0
    assert figure(binder, "colour of one of two things")["value"] == 1


def test_a_bag_of_concepts_can_t_tell_orders(asked):
    record = asked("Words", "swapped", "relations", "negation")
    assert figure(record, "group score")["value"] == 0
    assert figure(record, "all")["ties"] == figure(record, "all")["n"]


def test_a_fitted_scorer_learns_from_the_pairs_it_is_asked_about(asked, tmp_path):
    toys.Fitted.learnt.clear()
    record = asked("Fitted", "things", "colours")
    assert record["fitted"] == {"probed": 10}
    (learnt,) = toys.Fitted.learnt
    pairs = [pair for name in ("things", "colours") for pair in pairs_of_drawn(name)]
    assert set(learnt) <= {text for _, text in pairs}
    assert {score for question in wrong(record) for score in question["scores"]} == {10.0}
    page = (tmp_path / "out" / "probe.html").read_text()
    assert "it was fitted on 10 of the pairs of this probe" in page
    before = (tmp_path / "out" / "probe.json").read_bytes()
    asked("Fitted", "things", "colours")
    assert (tmp_path / "out" / "probe.json").read_bytes() == before
    assert not (tmp_path / "out" / "work").exists()
    assert asked("Constant", "things", out="other")["fitted"] == {}


def pairs_of_drawn(name: str) -> list[Any]:
    return [pair for question in toys.drawn(name).questions for pair in question.pairs]


def wrong(record: Any) -> list[Any]:
    return [one for probe in record["probes"] for one in probe["wrong"]]


@pytest.mark.slow
def test_it_may_learn_from_what_scorers_above_it_write(asked):
    record = asked("FittedOverVectors", "things")
    pairs = {(picture.name, text) for picture, text in pairs_of_drawn("things")}
    assert record["fitted"] == {"probed": len(pairs)}
    assert all(one["unanswered"] == 0 for one in figures(record))


def test_a_scorer_that_can_t_learn_from_so_few_is_an_error(tmp_path):
    path = write(tmp_path / "probes.yaml", f"drawn: [things]\nlimit: {SMALL}\n")
    named = Named(f"{HERE}:Fitted", parameters="fewest: 1000")
    with pytest.raises(CurationError, match="fitted on 10 rows: needs 1000 rows"):
        run.probe_score(named, str(path), str(tmp_path / "out"))


def test_what_fails_is_counted_apart_with_its_reason(asked):
    record = asked("Spoilt", "things", limit=15)
    colour, shape = figures(record)
    assert (colour["n"], colour["unanswered"]) == (0, 15)
    assert 0 < shape["n"] < 15
    assert (shape["n"] + shape["unanswered"], shape["right"]) == (15, shape["n"])
    assert {*record["no_value"]} == {"RuntimeError", "ValueError", "bad value"}


@pytest.mark.slow
def test_the_same_questions_give_the_same_bytes(asked, tmp_path):
    first = asked("Dual", "things", "languages", out="a")
    again = asked("Dual", "things", "languages", out="b")
    assert first == again
    for name in ("probe.json", "probe.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_nothing_but_page_and_record_stays(asked, tmp_path):
    asked("Constant", "sizes")
    left = {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert left == {"probe.json", "probe.html", ".lock"}


@pytest.mark.slow
def test_vectors_and_pairs_say_the_same(asked, monkeypatch):
    toys.Dual.asked.clear()
    fast = asked("Dual", "things", "swapped", "languages", out="fast", limit=2)
    by_vectors = sum(toys.Dual.asked)
    monkeypatch.setattr("pipeline.probes.subject._VECTORS", {"nobody_has_this": True})
    slow = asked("Dual", "things", "swapped", "languages", out="slow", limit=2)
    assert (fast["scored_by"], slow["scored_by"]) == ("vectors", "pairs")
    assert by_vectors < sum(toys.Dual.asked) - by_vectors
    assert figures(fast) == figures(slow)


@pytest.mark.slow
def test_a_score_that_is_no_cosine_is_asked_by_pairs(asked, tmp_path):
    path = write(tmp_path / "p.yaml", f"drawn: [things]\nlimit: {SMALL}\n")
    named = Named(f"{HERE}:Dual", "factor: -1.0")
    run.probe_score(named, str(path), str(tmp_path / "out"))
    record = json.loads((tmp_path / "out" / "probe.json").read_text())
    turned = asked("Dual", "things", out="turned", more="lowest: true\n")
    assert (record["scored_by"], turned["scored_by"]) == ("pairs", "vectors")
    assert figures(record) == figures(turned)
    assert figures(record) != figures(asked("Dual", "things", out="plain"))


@pytest.mark.slow
def test_the_embedded_encoder_and_a_scorer_of_its_vectors_agree(asked):
    clip = asked("clip", "things", out="clip", limit=2)
    over = asked("OverVectors", "things", out="over", limit=2)
    assert (clip["scored_by"], over["scored_by"]) == ("vectors", "pairs")
    assert [one["name"] for one in over["scorer"]["after"]] == ["clip"]
    assert figures(clip) == figures(over)


def test_the_verb_prints_a_table_and_where_the_page_is(tmp_path):
    path = write(tmp_path / "p.yaml", "drawn: [numbers]\nlimit: 10\n")
    toys.drawn("numbers", 10)
    text = commands.done("probe", f"{HERE}:Oracle", "--out", tmp_path / "o", "--probes", path)
    assert "Numbers" in text
    assert "100.0 % (72.2 to 100.0)  chance  10.0 %  above chance" in text
    assert f"page: {tmp_path}/o/probe.html" in text


def test_a_scorer_that_can_t_be_loaded_is_told(tmp_path):
    path = write(tmp_path / "p.yaml", "drawn: [sizes]\nlimit: 2\n")
    scorer = f"{HERE}:Unloadable"
    code, text = commands.pairmill("probe", scorer, "--out", tmp_path / "o", "--probes", path)
    assert code == 1
    assert "FileNotFoundError: weights.bin is not there" in text
    assert not (tmp_path / "o" / "probe.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drawn: [size]\n", "did you mean 'sizes'?"),
        ("drawn: []\n", "nothing is asked"),
        ("limit: 0\n", "expected at least 1"),
        ("winogrond: {folder: x}\n", "did you mean 'winoground'?"),
        ("winoground: {folder: none}\n", "there is no such folder"),
        ("svo: {file: none.csv, images: .}\n", "there is no such file"),
        ("pairs: {aro: {file: probes.yaml, images: none}}\n", "there is no such folder"),
        ("[1]\n", "expected a mapping"),
    ],
)
def test_a_bad_file_of_questions_is_refused_with_its_place(tmp_path, text, said):
    path = write(tmp_path / "probes.yaml", text)
    code, told = commands.pairmill("probe", "clip", "--out", tmp_path / "o", "--probes", path)
    assert code == 2
    assert said in told
    assert "probes.yaml:1:" in told
    assert not (tmp_path / "o").exists()
