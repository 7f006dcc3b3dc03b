"""Recipes of published data sets: for each rule a row on either side of its comparison.

The rows come from a table in place of the web, with what models would say of them beside it, so
that a row is dropped for the one thing it was made for. Nothing is fetched.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from filters.hashes import Hashes
from pipeline.decoding import decode
from tests.conftest import built
from tests.paper_rows import Case, check, of_size, over, passes, texts, verdicts, with_offered
from tests.recaption.recipes import exchanged, recipe

LONGEST = "a dog on the quiet beach of an uninhabited island " * 25


def unlike(count: int) -> str:
    """An English text of so many words of which none repeats."""
    from filters.vocabulary import things_and_properties

    words = [word for word in things_and_properties() if " " not in word]
    return " ".join(["the", *words[: count - 1]])


ENGLISH = [
    Case("english", "ein brauner Hund läuft am sonnigen Strand entlang"),
    Case("english", "42 17 99", meta={"page_language": "de-AT"}),
    Case("kept", "42 17 98", meta={"page_language": "EN-us"}),
    Case("kept", "42 17 97"),
    Case("kept", meta={"page_language": "de"}),  # the text itself counts first
]
UNSAFE = [Case("safe", scores={"nsfw_score": 0.5001}), Case("kept", scores={"nsfw_score": 0.5})]


@pytest.mark.slow
def test_align(tmp_path: Path) -> None:
    cases = [
        *ENGLISH,
        *UNSAFE,
        of_size("large", 200, 300),
        of_size("kept", 201, 300),
        of_size("shaped", 201, 603),  # 3 exactly
        of_size("kept", 602, 201),
        *[Case("known", f"a drawing of thing number {n}", seed=1) for n in range(1001)],
        *[Case("kept", f"a photo of thing number {n}", seed=2) for n in range(1000)],
        *[Case("shared", ("The next  page " if n else "the NEXT page").strip()) for n in range(11)],
        *[Case("kept", "the previous page") for _ in range(10)],
        Case("worded", "two dogs"),
        Case("kept", "three brown dogs"),
        Case("kept", unlike(20)),
        Case("worded", unlike(21)),
    ]
    check(recipe("align"), cases, tmp_path)


@pytest.mark.slow
def test_align_drops_what_has_a_rare_word_or_pair(tmp_path: Path) -> None:
    # the 6, dog 5, the dog 4, cat 2, and seven that occur once
    cases = [
        *[Case("kept", "the dog", seed=n) for n in range(3)],
        Case("common", "the cat"),
        Case("common", "cat dog"),  # the words are frequent, the pair is not
        Case("common", "the dog zyzzyva of the"),
    ]
    text = exchanged(recipe("align"), "100000000", "3")
    check(exchanged(text, "between 3 and 20", "between 2 and 20"), cases, tmp_path)


@pytest.mark.slow
def test_cc12m(tmp_path: Path) -> None:
    cases = [
        Case("jpeg", format="PNG"),
        of_size("large", 400, 500),
        of_size("kept", 401, 401),
        of_size("shaped", 402, 1006),
        of_size("kept", 1005, 402),  # 2.5 exactly
        *UNSAFE,
        *ENGLISH[:2],
        Case("kept", "the 17 98", meta={"page_language": "EN-us"}),
        Case("worded", "the dog"),
        Case("kept", "the brown dog"),
        Case("kept", unlike(256)),
        Case("worded", unlike(257)),
        Case("determined", "two brown dogs running along sunny beaches"),
        Case("kept", "two brown dogs running along the beaches"),
        Case("kept", "a dog and a cat"),  # one of five repeats
        Case("varied", "a dog and a dog and cats"),
        Case("decent", "a shitty photo of the beach"),
        Case("said", "the image not found"),
        Case("kept", "Photo of Mr. John Miller and Angela Merkel on the stage"),
    ]
    build = check(recipe("cc12m"), cases, tmp_path)
    assert "Photo of Mr. <PERSON> and <PERSON> on the stage" in texts(build)


@pytest.mark.slow
def test_wukong(tmp_path: Path) -> None:
    cases = [
        of_size("large", 200, 300),
        of_size("large", 300, 200),
        of_size("kept", 201, 603),  # 3 exactly
        of_size("kept", 603, 201),
        of_size("shaped", 201, 604),
        of_size("shaped", 604, 201),
        Case("chinese", "brown dog on a beach"),
        Case("chinese", "かわいいネコ"),
        Case("kept", "brown dog 犬"),
        Case("kept", "㐀"),  # extension A
        Case("kept", "狗" * 31),
        Case("short", "狗" * 32),
        Case("named", "图片_000.jpg"),
        *[Case("rare", "查看源网页" + " " * n) for n in range(11)],
        *[Case("kept", "海滩上的狗") for _ in range(10)],
        Case("decent", "操你妈的狗"),
    ]
    cases = [replace(c, text=c.text or f"第{n}只狗在海滩上奔跑") for n, c in enumerate(cases)]
    check(recipe("wukong"), cases, tmp_path)


@pytest.mark.slow
def test_wukong_with_the_words_that_were_searched_for(tmp_path: Path) -> None:
    cases = [Case("kept", f"第{n}只狗", meta={"query": "狗" if n < 6 else "猫"}) for n in range(9)]
    text = exchanged(recipe("wukong"), "count: 1000", "count: 4")
    build = built(over(with_offered(text), cases, tmp_path))
    found = verdicts(build)
    assert sorted(found[str(n)] for n in range(6)) == ["capped"] * 2 + ["kept"] * 4
    assert [found[str(n)] for n in range(6, 9)] == ["kept"] * 3


GERMAN = {"page_language": "de"}
BY, OWN = "https://creativecommons.org/licenses/by/4.0/", "https://example.com/terms"


@pytest.mark.slow
def test_wit(tmp_path: Path) -> None:
    cases = [
        Case("described", "ab", origin="figcaption"),
        Case("kept", "abc", origin="figcaption"),
        Case("kept", "IMG_2034.jpg", origin="figcaption"),
        Case("told", "IMG_2034.jpg", origin="attribution"),
        Case("told", "image not found"),
        Case("specific", "icon of a red folder"),
        Case("specific", "Cologne cathedral.PNG from the west"),
        Case("kept", "an iconic folder"),
        Case("kept", "icon of a saint", origin="attribution"),
        Case("kept", format="PNG"),
        Case("formats", format="GIF"),
        Case("kept", "a waving flag", format="GIF", origin="figcaption"),
        Case("formats", format="WEBP", origin="figcaption"),
        of_size("large", 99, 500),
        of_size("large", 500, 99),
        of_size("kept", 100, 100),
        Case("licensed", meta={"licences": [OWN]}),
        Case("kept", meta={"licences": [OWN, BY]}),
        Case("kept", meta={"licences": []}),
        *UNSAFE,
        Case("decent", "a shitty photo of the beach"),
    ]
    cases = [replace(case, meta={"page_language": "en", **case.meta}) for case in cases]
    cases += [Case("spoken", "ein Hund", meta=GERMAN, seed=n) for n in range(3)]
    cases += [Case("decent", "ein Arschloch", meta=GERMAN)]  # does not count for its language
    cases += [Case("kept", "un chien", meta={"page_language": "fr"}, seed=n) for n in range(4)]
    cases += [Case("spoken", "nobody knows")]
    check(exchanged(recipe("wit"), ">= 12000", ">= 4"), cases, tmp_path)


@pytest.mark.slow
def test_laion(tmp_path: Path) -> None:
    french = "un chien brun court sur la plage ensoleillée"
    cases = [
        Case("described", "dogs"),
        Case("kept", "a dog"),
        Case("whole", bytes=4999, size=(100, 100)),
        Case("kept", bytes=5000, size=(100, 100)),
        Case("kept", format="PNG"),
        Case("kept", format="WEBP"),
        Case("decoded", format="GIF"),
        Case("aligned", scores={"clip_score": 0.2799}),
        Case("kept", scores={"clip_score": 0.28, "multilingual_score": 0}),
        Case("kept", french, scores={"clip_score": 0, "multilingual_score": 0.26}),
        Case("aligned", french, scores={"multilingual_score": 0.2599}),
        Case("kept", "12 34 56", scores={"clip_score": 0, "multilingual_score": 0.26}),
        Case("aligned", "12 34 57", scores={"multilingual_score": 0.2599}),
        Case("kept", "a brown kid on the beach", scores={"nsfw_score": 0.1999}),
        Case("adult", "a brown kid on the beach today", scores={"nsfw_score": 0.2}),
        Case("adult", "two Babies on the beach", scores={"nsfw_score": 0.9}),
        Case("kept", "a brown kidney on the beach", scores={"nsfw_score": 0.9}),
    ]
    build = check(recipe("laion"), cases, tmp_path)
    pixels = {"width": [89478484, 89478485, 9460], "height": [1, 1, 9459]}
    assert passes(build, "bounded", **pixels) == [True, False, False]  # 89,482,140


@pytest.mark.slow
def test_coyo(tmp_path: Path) -> None:
    short = ["a", "dog", "is", "in", "it"]
    cases = [
        Case("heavy", bytes=4999, size=(200, 200)),
        Case("kept", bytes=5000, size=(200, 200)),
        of_size("shaped", 200, 601),
        of_size("kept", 200, 600),  # 3 exactly
        of_size("large", 199, 300),
        of_size("large", 300, 199),
        *UNSAFE,
        Case("english", "ein brauner Hund läuft am sonnigen Strand entlang"),
        Case("long", "a dog"),
        Case("worded", "a dogs"),  # six characters are enough
        Case("kept", "small brown dog"),
        Case("kept", " ".join(short * 51 + ["dog"])),  # 256 words
        Case("worded", " ".join(short * 51 + ["a", "dog"])),
        Case("kept", LONGEST[:1000]),
        Case("short", LONGEST[:1001]),
        *[Case("rare", "The next page") for _ in range(11)],
        *[Case("kept", "the previous page") for _ in range(10)],
        Case("decent", "a shitty photo of the beach"),
        Case("kept", "one picture of a dog", seed=1),
        Case("kept", "another picture of a dog", seed=1),
    ]
    check(recipe("coyo"), cases, tmp_path)


@pytest.mark.slow
def test_coyo_keeps_one_of_pictures_that_hash_alike_with_one_text(tmp_path: Path) -> None:
    cases = [Case("", "one brown dog", seed=1, bytes=size) for size in (20_000, 30_000)]
    cases += [Case("", "another brown dog", seed=1), Case("", "one brown dog", seed=2)]
    found = verdicts(built(over(recipe("coyo"), cases, tmp_path)))
    assert sorted([found["0"], found["1"]]) == ["kept", "unique"]
    assert found["2"] == found["3"] == "kept"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scorer", "step"),
    [("align", "test_images", "untested"), ("coyo", "public", "unpublished")],
)
def test_pictures_of_other_sets_are_left_out(
    name: str, scorer: str, step: str, tmp_path: Path
) -> None:
    cases = [Case(step, seed=1), Case(step, seed=1, bytes=40_000), Case("kept", seed=2)]
    told = Hashes()({"image": [decode(cases[0].picture(1001))]})
    (tmp_path / "hashes.txt").write_text(f"{told['phash'][0]:016x}\n")
    text = with_offered(recipe(name), scorer, step)
    check(exchanged(text, r"hashes: \w+\.txt", "hashes: hashes.txt"), cases, tmp_path)


@pytest.mark.slow
def test_wit_takes_so_many_of_an_image(tmp_path: Path) -> None:
    cases = [Case("", f"a flag of land {n}", seed=1 if n < 6 else 2) for n in range(8)]
    cases = [replace(case, meta={"page_language": "en"}) for case in cases]
    text = exchanged(recipe("wit"), ">= 12000", ">= 1")
    text = exchanged(with_offered(text), "count: 100", "count: 4")
    found = list(verdicts(built(over(text, cases, tmp_path))).values())
    assert sorted(found[:6]) == ["kept"] * 4 + ["spread"] * 2
    assert found[6:] == ["kept"] * 2
