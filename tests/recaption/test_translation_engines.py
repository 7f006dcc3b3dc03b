import pytest

from recaption import apertium, translating
from recaption.languages import language
from recaption.translate import Translate
from recaption.translation_tokens import read_tokens
from tests.recaption.made_up_pairs import made_up_pairs
from tests.recaption.tiny_translators import save_translator

PAIRS = [
    ("en", "de"),
    ("en", "es"),
    ("en", "pt-BR"),
    ("en", "zh-Hant"),
    ("de", "en"),
    ("en", "fi"),
    ("en", "la"),
    ("zh", "he"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("translators")


@pytest.fixture(scope="module")
def model(folder):
    made = {}

    def of(family):
        if family not in made:
            made[family] = save_translator(folder / family, family)
        return made[family]

    return of


@pytest.fixture(autouse=True)
def no_store():
    yield
    translating._Kept.path = None


@pytest.mark.slow
@pytest.mark.parametrize("family", ["marian", "many", "m2m100", "nllb", "t5"])
def test_files_tell_what_the_tokenizer_tells(model, family):
    from transformers import AutoTokenizer

    from recaption import translation_codes

    folder = model(family).removeprefix("local-dir:")
    tokens, tokenizer = read_tokens(folder), AutoTokenizer.from_pretrained(folder)
    kind = translation_codes.family(tokenizer, "marian" if family in ("marian", "many") else None)
    assert tokens.family == kind
    told = set()
    for one, other in PAIRS:
        pair = language(one), language(other)
        wanted = translation_codes.codes(tokenizer, kind, *pair)
        assert tokens.codes(*pair) == wanted
        told.add(wanted is None)
    assert told == {True, False} or family == "nllb"


@pytest.mark.parametrize(
    ("family", "given", "told"),
    [
        ("nllb", {"to": "la"}, "seq2seq has no en to la; it has only what"),
        ("nllb", {"to": ["de", "la"], "source": "language"}, "no pair into la"),
        ("nllb", {"to": "de", "back": "x"}, "back goes with `round_trip: true`"),
        ("nllb", {"to": "de", "round_trip": True, "back_revision": "x"}, "goes with `back`"),
    ],
)
def test_a_pair_that_a_model_has_not_is_refused_before_it_is_loaded(model, family, given, told):
    with pytest.raises(ValueError, match=told):
        Translate(engine="seq2seq", model=model(family), **given)


@pytest.mark.slow
def test_marians_of_one_direction_need_a_model_for_the_way_back(model, monkeypatch):
    one_way = model("marian")
    with pytest.raises(ValueError, match="the way back needs `back`, the model of it: seq2seq has"):
        Translate(to="de", engine="seq2seq", model=one_way, round_trip=True)
    with pytest.raises(ValueError, match="the way back is not a model of it: seq2seq has no de to"):
        Translate(to="de", engine="seq2seq", model=one_way, round_trip=True, back=one_way)
    scorer = Translate(
        to="de", engine="seq2seq", model=one_way, round_trip=True, back=model("nllb")
    )
    asked = []
    whole = translating.translated

    def translated(way, texts, *pair):
        asked.append((way.engine.source.model, *(one.tag for one in pair)))
        return whole(way, texts, *pair)

    monkeypatch.setattr(translating, "translated", translated)
    [found] = scorer({"caption": ["a dog"]})["captions"]
    assert found[0]["language"] == "de"
    assert asked == [(one_way, "en", "de"), (model("nllb"), "de", "en")]
    other = Translate(to="de", engine="seq2seq", model=one_way)
    assert scorer.weights_digest != other.weights_digest


@pytest.mark.slow
def test_a_converted_models_pairs_are_known_too(model, tmp_path):
    library = pytest.importorskip("ctranslate2")
    source = model("nllb").removeprefix("local-dir:")
    copied = ["tokenizer.json", "tokenizer_config.json"]
    library.converters.TransformersConverter(source, copy_files=copied).convert(
        str(tmp_path / "ct2")
    )
    with pytest.raises(ValueError, match="ctranslate2 has no en to la"):
        Translate(to="la", engine="ctranslate2", model=f"local-dir:{tmp_path / 'ct2'}")


def test_a_model_of_a_hub_that_is_not_here_is_no_error_yet():
    name = {"model": "nobody/nothing-like-this", "revision": "0" * 40}
    scorer = Translate(to="de", engine="seq2seq", round_trip=True, **name)
    assert scorer.identity["to"] == ["de"]


def test_the_recipe_says_where_a_pair_is_lacking(model, make_build):
    from pipeline.errors import RecipeError

    text = "sources: {a: {folder: photos/}}\nscore:\n  es:\n    {scorer: translate,"
    text += f" engine: seq2seq, model: '{model('nllb')}', to: la}}\n"
    with pytest.raises(RecipeError, match=r"recipe.yaml:\d+:\d+: .*seq2seq has no en to la"):
        make_build(text).check()


def test_an_engine_that_fails_for_one_language_leaves_the_others(tmp_path, monkeypatch):
    made_up_pairs(tmp_path, monkeypatch, {"eng-spa": {"dog": "perro"}, "eng-cat": {"dog": "bomb"}})
    failing_pair = tmp_path / "eng-cat-proc"
    failing_pair.write_text(failing_pair.read_text().replace('"bomb" in said', '"dog" in said'))
    apertium.pair.cache_clear()
    [found] = Translate(to=["es", "ca"])({"caption": ["A dog"]})["captions"]
    assert str(found).startswith("EngineFailed: ca: apertium: ")
    assert [c["text"] for c in found.kept["captions"]] == ["A perro"]
    apertium.pair.cache_clear()
