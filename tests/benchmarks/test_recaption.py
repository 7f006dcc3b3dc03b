"""The benchmark of captions: damage, arms, translations by people, and runs that are kept."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest

from benchmarks.embedded.pairs import Pair
from benchmarks.proof import learner
from benchmarks.recaption import arms, longer, names, people, runs, synthetic, translating
from benchmarks.recaption.__main__ import cells
from benchmarks.recaption.arms import Material, Sample
from benchmarks.recaption.damage import CLEAN, KINDS, damage, flagged
from filters import embedded
from pipeline.reward.bootstrap import Captioned
from recaption import concepts

COUNT = 240


def key(name):
    return hashlib.blake2b(str(name).encode(), digest_size=16).digest()


def rows(count=COUNT):
    return [Captioned(key(n), f"thing number {n}") for n in range(count)]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_damage_has_the_share_that_is_asked_for_and_a_third_of_each_kind(share):
    found = damage(rows(), share, 0)
    counts = Counter(found.kinds)
    assert counts[CLEAN] == COUNT - found.is_bad.sum() == COUNT - share * COUNT
    assert {counts[kind] for kind in KINDS} == {share * COUNT / 3}
    for row, text, kind in zip(rows(), found.texts, found.kinds, strict=True):
        assert (text == row.caption) == (kind == CLEAN)


def test_damage_is_drawn_by_key_not_by_place():
    there = damage(rows(), 0.5, 0)
    back = damage(rows()[::-1], 0.5, 0)
    assert there.texts == back.texts[::-1]
    assert there.kinds == back.kinds[::-1]
    assert there.texts != damage(rows(), 0.5, 1).texts


def test_rules_find_names_of_files_and_boilerplate_and_leave_captions_alone():
    texts = ["IMG_0012.jpg", "Click to enlarge", "a red cat", "Follow us for more pictures"]
    assert flagged(texts).tolist() == [True, True, False, False]


def material(is_flagged=None):
    human = tuple(row.caption for row in rows())
    found = damage(rows(), 0.5, 0)
    # the captioner says nothing of every fourth picture
    short = [f"A drawing of a {n}." if n % 4 else None for n in range(COUNT)]
    return Material(
        keys=tuple(row.key for row in rows()),
        human=human,
        raw=found.texts,
        is_bad=found.is_bad,
        is_flagged=flagged(found.texts) if is_flagged is None else is_flagged,
        short=tuple(short),
        tags=tuple(one and f"thing, {n}" for n, one in enumerate(short)),
        classes=tuple("ab"[n % 2] for n in range(COUNT)),
    )


def made(name, seed=0, own=None):
    return {**arms.ARMS, **arms.MORE}[name](own or material(), seed)


def test_arms_that_drop_keep_raw_captions_of_all_others():
    own = material()
    for name, is_out in (
        ("drop the bad", own.is_flagged),
        ("drop the bad, oracle", own.is_bad),
    ):
        found = made(name)
        assert [one.row for one in found] == np.flatnonzero(~is_out).tolist()
        assert all(own.raw[one.row] == one.text for one in found)
    assert {one.text for one in made("drop the bad, oracle")} <= set(own.human)


def test_rules_that_are_never_wrong_drop_what_the_oracle_drops():
    own = material(is_flagged=material().is_bad)
    assert made("drop the bad", own=own) == made("drop the bad, oracle", own=own)


def test_filling_is_dropping_and_synthetic_captions_of_what_was_dropped():
    own = material()
    kept = set(made("drop the bad"))
    filled = set(made("fill the bad"))
    assert kept < filled
    assert filled - kept == {
        Sample(n, own.short[n]) for n in np.flatnonzero(own.is_flagged) if own.short[n]
    }


def test_mixes_are_nested_have_their_share_and_leave_nobody_without_a_caption():
    own = material()
    taken = []
    for name, share in (("mix .25", 0.25), ("mix .50", 0.5), ("mix .75", 0.75)):
        found = made(name)
        assert [one.row for one in found] == list(range(COUNT))
        synthetic_rows = {one.row for one in found if one.text == own.short[one.row]}
        assert len(synthetic_rows) / (COUNT * 0.75) == pytest.approx(share, abs=0.08)
        assert all(o.text == own.raw[o.row] for o in found if o.row not in synthetic_rows)
        taken.append(synthetic_rows)
    assert taken[0] < taken[1] < taken[2]
    assert made("mix .50", 0) == made("mix .50", 3)  # by key alone: the same for all seeds


def test_dealt_captions_stay_in_their_class_and_meet_another_picture():
    own = material()
    plain, found = made("replace all"), made("shuffled in class")
    assert [one.row for one in plain] == [one.row for one in found]
    for name in "ab":
        texts = [
            Counter(o.text for o in side if own.classes[o.row] == name) for side in (plain, found)
        ]
        assert texts[0] == texts[1]
    assert not set(plain) & set(found)
    assert found == made("shuffled in class") != made("shuffled in class", 1)


def test_the_oracle_has_every_caption_by_people():
    assert made("oracle") == [Sample(n, text) for n, text in enumerate(material().human)]


def translated():
    tags = translating.TARGETS
    flags = {
        t: tuple(("copy",) if n % (3 + i) == 0 else () for n in range(COUNT))
        for i, t in enumerate(tags)
    }
    return translating.Material(
        keys=tuple(map(key, range(COUNT))),
        english=tuple(f"en {n}" for n in range(COUNT)),
        people={tag: tuple(f"{tag} by people {n}" for n in range(COUNT)) for tag in tags},
        machine={tag: tuple(f"{tag} {n}" for n in range(COUNT)) for tag in tags},
        flags=flags,
    )


def by_language(samples):
    return Counter(sample.text.split()[0] for sample in samples)


def test_translations_are_as_many_in_arms_that_are_compared():
    own = translated()
    every = {**translating.ARMS, **translating.MORE}
    found = {name: make(own, 0) for name, make in every.items()}
    english = found["English only"]
    assert all(samples[:COUNT] == english for samples in found.values())
    same = [by_language(found[name]) for name in ("people", "machine", "shuffled")]
    assert same[0] == same[1] == same[2]
    assert by_language(found["unflagged"]) == by_language(found["random"])
    assert by_language(found["unflagged"])["es"] == COUNT - COUNT // 3
    assert set(found["random"]) < set(found["machine"]) > set(found["unflagged"])


def test_shuffled_translations_keep_their_language_and_leave_their_picture():
    own = translated()
    found = translating.MORE["shuffled"](own, 0)[COUNT:]
    assert Counter(o.text for o in found) == Counter(
        text for texts in own.machine.values() for text in texts
    )
    assert not any(one.text == f"{one.text.split()[0]} {one.row}" for one in found)
    assert translating.MORE["random"](own, 0) != translating.MORE["random"](own, 1)


def test_people_name_stamps_beside_the_picture_and_emoji_in_cldr(tmp_path):
    (tmp_path / "dog.txt").write_text("A dog.\nes.utf8=Un perro.\nca.utf8=\npt_BR.utf8=Um cão.\n")
    stamp = Pair("stamps", "animals", "dog.png", "A dog", "dog")
    assert people.translations(tmp_path, stamp) == {"es": "Un perro", "pt-BR": "Um cão"}
    for code, name in {"es": "corazón", "ca": "cor", "pt": "coração", "de": None}.items():
        folder = tmp_path / "npm/cldr-annotations-full/package/annotations" / code
        folder.mkdir(parents=True)
        told = {"default": ["x"]} if name is None else {"tts": [name]}
        text = json.dumps({"annotations": {"annotations": {"\u2764": told}}})
        (folder / "annotations.json").write_text(text)
    emoji = Pair("emoji", "Symbols", "img/2764-fe0f.png", "red heart", "red heart")
    assert people.translations(tmp_path, emoji) == {
        "es": "corazón",
        "ca": "cor",
        "pt-BR": "coração",
    }


def test_concepts_of_one_name_in_a_language_are_one_concept():
    texts = ["estrella", "sol", "estrella", "astro", "astro", "luna"]
    found = translating.joined(texts, np.array([5, 4, 3, 3, 2, 9]))
    assert found.tolist() == [2, 4, 2, 2, 2, 9]


def bed():
    dice = np.random.default_rng(0)
    pixels = dice.integers(0, 256, (8, learner.SIDE, learner.SIDE, 3), dtype=np.uint8)
    reading = runs.Reading(np.array([1, 3]), ["one", "two"], np.array([0, 1]))
    return runs.Bed(pixels, pixels[:4], {"en": reading})


def test_a_finished_run_is_read_and_other_samples_are_another_run(tmp_path):
    kept = runs.Kept(tmp_path, learner.Settings(steps=1, batch=4))
    samples = [Sample(n % 8, f"text {n}") for n in range(12)]
    cell = runs.Cell("recaption", "drop the bad", 0)
    found = kept.found(cell, samples, bed())
    assert sorted(found) == ["en at_5", "en auc"]
    assert found["en auc"].shape == (2,)
    (path,) = tmp_path.iterdir()
    np.savez(path, marked=np.ones(1))
    assert list(kept.found(cell, samples, bed())) == ["marked"]
    assert kept.path(cell, samples[1:]) != path
    assert kept.path(cell._replace(seed=1), samples) != path
    (tmp_path / "half.tmp.npz").write_bytes(b"killed while it was written")
    path.unlink()
    again = kept.found(cell, samples, bed())
    assert all((again[name] == found[name]).all() for name in found)


def test_all_runs_are_listed_once_and_main_arms_have_all_seeds():
    listed = list(cells(5, 3))
    assert len(set(listed)) == len(listed)
    counts = Counter((one.part, one.arm) for one in listed)
    assert {counts["recaption", arm] for arm in arms.ARMS} == {5}
    assert {counts["translation", arm] for arm in translating.ARMS} == {5}
    assert {counts["recaption", arm] for arm in arms.MORE} == {3}
    assert {counts["translation", arm] for arm in translating.MORE} == {3}
    assert {counts["long", arm] for arm in longer.ARMS} == {5}
    assert {counts["long", arm] for arm in longer.MORE} == {3}


def described(count=30):
    words = [["bike", "cycle", "ride", "spin"], ["bird", "animal", "farm"]]
    long = tuple(longer.long_caption(f"thing {n}", words[n % 2]) for n in range(count))
    cut = tuple(tuple(f"{part}." for part in text[:-1].split(". ")) for text in long)
    keys, named = tuple(key(n) for n in range(count)), tuple(f"thing {n}" for n in range(count))
    return longer.Material(keys, named, long, cut)


def test_a_long_caption_has_the_name_and_three_keywords_a_sentence():
    assert longer.long_caption("bicycle", ["bike", "cycle", "ride", "spin"]) == (
        "Bicycle. Bike, cycle, ride. Spin."
    )


def test_every_picture_has_as_many_sentences_and_all_of_its_own_first():
    material = described()
    for seed in (0, 1):
        found = longer.drawn(material, seed)
        for row, own in enumerate(material.sentences):
            texts = [sample.text for sample in found if sample.row == row]
            assert len(texts) == longer.DRAWS
            assert set(texts[: len(own)]) == set(own)
    assert longer.drawn(material, 0) != longer.drawn(material, 1)


def test_the_name_is_learnt_as_often_as_all_sentences_together():
    material = described()
    found = Counter(sample.text for sample in longer.with_name(material, 0))
    assert found["thing 3"] == longer.DRAWS
    assert found.total() == 2 * longer.DRAWS * len(material.keys)


def test_sentences_that_are_dealt_out_stay_together_and_belong_to_other_pictures():
    material = described()
    own, dealt = longer.drawn(material, 0), longer.dealt_out(material, 0)
    assert Counter(one.text for one in own) == Counter(one.text for one in dealt)
    moved = {(a.row, b.row) for a, b in zip(own, dealt, strict=True)}
    assert len(moved) == len(material.keys)
    assert sum(a != b for a, b in moved) > len(material.keys) / 2


def test_keywords_are_those_of_the_symbol_and_pictures_of_others_have_none(tmp_path):
    folder = tmp_path / "npm/cldr-annotations-full/package/annotations/en"
    folder.mkdir(parents=True)
    told = {"\u2615": {"tts": ["hot beverage"], "default": ["coffee", "tea"]}}
    listed = {"annotations": {"annotations": told}}
    (folder / "annotations.json").write_text(json.dumps(listed))
    assert people.keywords(tmp_path, "x/2615-fe0f.png") == ["coffee", "tea"]
    assert people.keywords(tmp_path, "x/2614.png") == []
    assert people.keywords(tmp_path, "stamps/cat.png") == []


def test_a_gain_is_over_the_seeds_that_both_arms_have():
    own = [{"en auc": np.full(4, value)} for value in (0.6, 0.6, 0.9)]
    other = [{"en auc": np.full(4, 0.5)}] * 2
    assert runs.gain(own, other, "en auc", np.arange(4)).startswith("+0.1000 (+0.1000")
    assert runs.gain(other, own, "en auc", np.arange(4)).startswith("-0.1000")


def test_the_captioner_has_its_own_heads_again_afterwards():
    before = concepts._heads, embedded._heads
    with synthetic._taught({"share": np.ones(1)}):
        assert concepts._heads() is embedded._heads()
        assert concepts._heads()["share"] == 1
    assert (concepts._heads, embedded._heads) == before
    assert concepts._vectors.cache_info().currsize == 0


def test_names_are_what_the_source_says_and_count_when_they_are_whole():
    match = names._PAINTING.search('x: qsTr("Leonardo da Vinci, Mona Lisa - 1503-19")')
    assert match.groupdict() == {
        "painter": "Leonardo da Vinci",
        "title": "Mona Lisa",
        "year": "1503-19",
    }
    listed = [
        names.Named({"name": "Mona Lisa"}, "Visitors before the Mona Lisa", "A painting."),
        names.Named({"name": "Petra"}, "nothing of it", "A rock."),
    ]
    told = names.retention("pictures", listed).splitlines()
    assert told[0] == "| 2 pictures | name (2) |"
    assert "| synthetic alone | 0% |" in told
    assert "| as it stands | 50% |" in told
