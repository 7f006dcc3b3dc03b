import pytest

from recaption import apertium, captions, translating
from recaption.apertium import EngineFailed
from recaption.captions import Caption
from recaption.languages import language
from recaption.translate import Translate
from tests.conftest import SCORED, built
from tests.filters.model_server import Action, serve
from tests.recaption.made_up_pairs import made_up_pairs

WORDS = {"A": "Un", "dog": "perro", "cat": "gato", "red": "rojo", "not": "ya"}


@pytest.fixture(autouse=True)
def pairs(tmp_path, monkeypatch):
    """English to Spanish and back, and to Catalan; Chinese to English."""
    spanish = {other: one for one, other in WORDS.items()}
    there = {**WORDS, "wet": "mojado", "street": "calle", "house": "camarones fritos con limón"}
    known = {"eng-spa": there, "spa-eng": spanish, "eng-cat": {"dog": "gos"}, "zho-eng": {}}
    made_up_pairs(tmp_path / "pairs", monkeypatch, known)
    yield
    apertium.pair.cache_clear()
    translating._Kept.path = None


def said(scorer, *values, **columns):
    return scorer({scorer.of: list(values), **columns})["captions"]


def test_a_text_becomes_a_caption_in_each_language():
    [found] = said(Translate(to=["es", "ca"]), "A dog")
    assert [(c["text"], c["language"]) for c in found] == [("Un perro", "es"), ("A gos", "ca")]
    assert {(c["origin"], c["kind"]) for c in found} == {("translated", "raw")}
    assert found[0]["model"].startswith("apertium-eng-spa@")
    assert found[0]["flags"] == []


def test_captions_keep_what_they_are():
    given = Caption("A dog", "en", kind="region", box=(0.0, 0.25, 0.5, 1.0), flags=("loop",))
    [found] = said(Translate(to="es", of="long"), captions.rows([given, Caption("A cat")]))
    assert [c["text"] for c in found] == ["Un perro", "Un gato"]
    assert (found[0]["kind"], found[0]["box"]) == ("region", [0.0, 0.25, 0.5, 1.0])
    assert (found[0]["flags"], found[1]["flags"]) == (["loop"], [])


def test_a_caption_in_the_language_asked_for_is_not_translated():
    given = captions.rows([Caption("Un perro", "es-MX"), Caption("A cat", "en")])
    assert [c["text"] for c in said(Translate(to="es", of="long"), given)[0]] == ["Un gato"]
    assert said(Translate(to="es", of="long"), []) == [[]]


def test_the_language_may_be_in_a_column():
    scorer = Translate(to=["es", "en"], source="language")
    assert scorer.reads == ("caption", "language")
    assert scorer.may_lack == ("language",)
    found = said(
        scorer, "A dog", "Un perro", "x", "x", "狗", language=["en", "es", "fi", None, "zh"]
    )
    assert [c["language"] for c in found[0]] == ["es"]
    assert [c["text"] for c in found[1]] == ["A dog"]
    assert "has no fi to es" in str(found[2])
    assert "language is not known" in str(found[3])
    assert str(found[4]).startswith("ValueError: es: apertium has no zh to es; it has")
    assert [c["language"] for c in found[4].kept["captions"]] == ["en"]


def test_sentences_are_translated_one_by_one_and_joined():
    [found] = said(Translate(to="es"), "A dog.  A cat.\nA dog.")
    assert found[0]["text"] == "Un perro. Un gato. Un perro."
    [whole] = said(Translate(to="es", sentences=False), "A dog.  A cat.")
    assert whole[0]["text"] == "Un perro.  Un gato."


def test_chinese_is_split_and_joined_without_spaces():
    way = Translate(to="en", source="zh")._way
    assert translating._parts(way, "一只狗。一只猫。", language("zh")) == [
        "一只狗。",
        "一只猫。",
    ]
    found = translating._joined([translating.Translation(t) for t in ("狗。", "猫。")], "")
    assert found.text == "狗。猫。"


def test_equal_texts_are_translated_once():
    asked = []

    class Engine:
        def translate(self, texts, source, target):
            asked.append(list(texts))
            return [translating.Translation(text.upper()) for text in texts]

    way = translating.Way(Engine(), (), True, False, False)
    en, es = language("en"), language("es")
    found = translating.translated(way, ["A dog. A cat.", "A dog.", "A dog."], en, es)
    assert asked == [["A dog.", "A cat."]]
    assert found["A dog. A cat."].text == "A DOG. A CAT."


def test_a_text_that_kills_the_engine_is_the_reason_of_its_row():
    found = said(Translate(to=["es", "ca"]), "A dog", "A bomb", "A cat")
    assert [len(found[n]) for n in (0, 2)] == [2, 2]
    assert isinstance(found[1], EngineFailed)


def test_the_glossary_keeps_terms_and_gives_words():
    scorer = Translate(to="es", glossary={"Red Dog": None, "cat": "minino"})
    [found] = said(scorer, "A red dog not cat")
    assert found[0]["text"] == "Un red dog ya minino"
    assert "placeholder" not in found[0]["flags"]


def test_a_term_that_an_engine_loses_is_flagged(tmp_path, monkeypatch):
    made_up_pairs(tmp_path / "more", monkeypatch, {"eng-spa": {**WORDS, "QXAQ": "", "Tux": "Tuy"}})
    [found] = said(Translate(to="es", glossary={"Tux": None}), "A dog Tux")
    assert found[0]["text"] == "Un perro Tuy"
    assert {"placeholder", "glossary"} <= set(found[0]["flags"])


def test_the_way_back_is_compared():
    """ "mojado calle" comes back as it is, for the pair back does not know the words."""
    good, bad = said(Translate(to="es", round_trip=True), "A red dog", "wet street")
    assert good[0]["flags"] == []
    assert bad[0]["text"] == "mojado calle"
    assert bad[0]["flags"] == ["round_trip"]
    assert said(Translate(to="es"), "wet street")[0][0]["flags"] == []
    lax = Translate(to="es", round_trip=True, round_trip_limit=0)
    assert said(lax, "wet street")[0][0]["flags"] == []


def test_the_way_back_must_be_there():
    with pytest.raises(ValueError, match="has no ca to en; it has eng-cat"):
        Translate(to="ca", round_trip=True)


def test_dissimilar_texts_are_flagged():
    scorer = Translate(to="es", similar=True)
    good, bad = said(scorer, "A red dog", "A house")
    assert good[0]["flags"] == []
    assert bad[0]["flags"] == ["dissimilar"]
    assert Translate(to="es", similar=True, similar_limit=-1).identity != scorer.identity
    catalan = Translate(to="ca", similar=True, similar_limit=1)  # which the encoder does not know
    assert "dissimilar" not in said(catalan, "A dog")[0][0]["flags"]


def test_chinese_and_back():
    answers = {"Two dogs.": "两只狗。", "A cat sleeps.": "一只猫在睡觉。"}
    back = {"两只狗。": "Two dogs.", "一只猫在睡觉。": "A cat sleeps."}
    actions = {prompt: Action(answer) for prompt, answer in (answers | back).items()}
    with serve(Action("x"), by_prompt=actions) as server:
        given = {"endpoints": [server.url], "model": "tiny"}
        there = Translate(to="zh", engine="served", server=given, round_trip=True)
        [found] = said(there, "Two dogs. A cat sleeps.")
        assert (found[0]["text"], found[0]["language"]) == ("两只狗。一只猫在睡觉。", "zh")
        assert found[0]["flags"] == []
        home = Translate(to="en", of="zh", engine="served", server=given)
        [again] = said(home, [found[0]])
    assert (again[0]["text"], again[0]["flags"]) == ("Two dogs. A cat sleeps.", [])


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"to": "fi"}, "apertium has no en to fi; it has eng-cat, eng-spa"),
        ({"to": "xx"}, "'xx' is not known"),
        ({"to": []}, "name a language"),
        ({"to": None}, "name a language at least, got None"),
        ({"to": "de", "source": "language"}, "apertium has no pair into de"),
        ({"to": "es", "engine": "babel"}, "engine 'babel': known are apertium"),
        ({"to": "es", "engine": "seq2seq"}, "needs `model`"),
        ({"to": "es", "engine": "served"}, "needs `server`"),
        ({"to": "es", "model": "x"}, "engine 'apertium' takes no `model`"),
        ({"to": "es", "round_trip_limit": 101}, "round_trip_limit must be"),
        ({"to": "es", "batch_size": 0}, "batch_size must be"),
        ({"to": "es", "engine": "shipped"}, "shipped has no en to es; it has en-pt, pt-en"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_runs(parameters, told):
    with pytest.raises(ValueError, match=told):
        Translate(**parameters)


def test_identity_follows_what_decides(tmp_path):
    one = Translate(to="es")
    assert one.identity == Translate(to=["es"], batch_size=3).identity
    assert one.identity != Translate(to="es", glossary={"a": "b"}).identity
    assert one.weights_digest == Translate(to=["es"]).weights_digest
    assert one.weights_digest != Translate(to="ca").weights_digest
    (tmp_path / "g.json").write_text('{"a": "b"}')
    by_file = Translate(to="es", glossary=str(tmp_path / "g.json"))
    assert by_file.identity == Translate(to="es", glossary={"a": "b"}).identity


class Counting:
    """An engine that counts what it is asked."""

    def __init__(self):
        self.asked = []

    def name(self, source, target):
        return "counting@1"

    def digest(self, source, target):
        return "counting 1"

    def translate(self, texts, source, target):
        self.asked += texts
        told = [translating.Translation(t.upper(), ("cut",), 3) for t in texts]
        return [OSError("no") if "bad" in t.text.lower() else t for t in told]


def test_dear_translations_are_kept_and_failures_are_not(tmp_path):
    translating.keep_in(str(tmp_path))
    engine = Counting()
    way = translating.Way(engine, (), True, True, False)
    en, es = language("en"), language("es")
    first = translating.translated(way, ["a dog", "bad"], en, es)
    again = translating.translated(way, ["bad", "a dog"], en, es)
    assert engine.asked == ["a dog", "bad", "bad"]
    assert first["a dog"] == again["a dog"] == translating.Translation("A DOG", ("cut",), 3)
    assert isinstance(again["bad"], OSError)
    translating.translated(way, ["a dog"], en, language("ca"))
    assert engine.asked[3:] == ["a dog"]


def test_a_server_is_asked_with_the_glossary_and_what_it_says_is_taken():
    with serve(Action("Un perro rojo")) as server:
        given = {"endpoints": [server.url], "model": "tiny"}
        scorer = Translate(to="es", engine="served", server=given, glossary={"dog": "can"})
        [found] = said(scorer, "A red dog")
    assert found[0]["text"] == "Un perro rojo"
    assert (found[0]["model"], found[0]["prompt"]) == ("tiny", "translate/1")
    assert found[0]["flags"] == ["glossary"]
    system = server.asked[0]["messages"][0]["content"]
    assert "from English into Spanish" in system
    assert '"dog" is "can"' in system
    assert "QX" not in str(server.asked)


def test_a_server_may_be_asked_for_json():
    with serve(Action('{"translation": "Um cachorro"}')) as server:
        given = {"endpoints": [server.url], "model": "tiny", "kind": "openai"}
        scorer = Translate(to="pt-BR", engine="served", server=given, json=True)
        [found] = said(scorer, "A dog")
    assert (found[0]["text"], found[0]["language"]) == ("Um cachorro", "pt-BR")
    assert "Portuguese (BR)" in server.asked[0]["messages"][0]["content"]
    assert server.asked[0]["response_format"]["type"] == "json_schema"


def test_a_server_that_says_nothing_or_is_cut_off():
    actions = {"A dog.": Action(" "), "A cat.": Action("Un ga", finish="length")}
    with serve(Action("x"), by_prompt=actions) as server:
        given = {"endpoints": [server.url], "model": "tiny"}
        found = said(Translate(to="es", engine="served", server=given), "A dog.", "A cat.")
    assert isinstance(found[0], Exception)
    assert "cut" in found[1][0]["flags"]


@pytest.mark.slow
def test_in_a_build(make_build):
    recipe = f"{SCORED}  es: {{scorer: 'recaption.translate:Translate', to: [es, ca]}}\n"
    recipe += "  back: {scorer: 'recaption.translate:Translate', of: es, to: en}\n"
    recipe += "select:\n  - some: {where: \"len(es) = 2 and es[1].language = 'es'\"}\n"
    build = built(make_build(recipe), "score")
    shard = build.open_pool().shards[0]
    resolved, _ = build.resolve(build.open_pool())
    tables = {i.name: i.columns.read(shard).to_pydict() for i in resolved.instances}
    assert [c["language"] for c in tables["es"]["es"][0]] == ["es", "ca"]
    assert [c["language"] for c in tables["back"]["back"][0]] == ["en"]
    assert build.select().summary["kept"] > 0


def test_what_has_no_letter_is_its_own_translation(monkeypatch):
    asked = []
    scorer = Translate(to="es", glossary={"66": "67"})
    whole = type(scorer._way.engine).translate

    def translate(self, texts, *pair):
        asked.extend(texts)
        return whole(self, texts, *pair)

    monkeypatch.setattr(type(scorer._way.engine), "translate", translate)
    texts = ["12:30!  7?\n5", "🐈", "66", "A dog. 3!"]
    found = [row[0]["text"] for row in said(scorer, *texts)]
    assert found == ["12:30!  7?\n5", "🐈", "67", "Un perro. 3!"]
    assert asked == ["A dog."]


@pytest.mark.parametrize("to", ["en", ["en-GB", "english"]])
def test_a_translation_into_the_same_language_is_refused(to):
    with pytest.raises(ValueError, match="all is in en already; say in `source`"):
        Translate(to=to, source="en")
