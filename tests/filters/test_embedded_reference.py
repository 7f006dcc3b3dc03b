"""The split of an earlier experiment: what is tested was not learnt, and the draw never changes."""

from pathlib import Path
from typing import Any

from benchmarks.embedded import clipart, pairs

GOLDEN = (1, 4, 5, 14, 26, 30, 31, 36, 37, 43, 53)


def stamp(data: Path, caption: str, *keywords: str, **translations: str) -> pairs.Pair:
    words = data / f"{caption}.txt"
    words.write_text(f"{caption}.\nde.utf8=x\n", "utf-8")
    picture = words.with_suffix(".png").name
    name = pairs.concept(caption)
    return pairs.Pair("stamps", "x", picture, caption, name, translations, keywords)


def drawing(folder: str, name: str, title: str = "a title") -> pairs.Pair:
    path = clipart.PICTURES / folder / f"{name}.png"
    return pairs.Pair("clipart", folder, str(path), title, pairs.concept(title), filed=name)


def emoji(code: str, caption: str, group: str) -> pairs.Pair:
    return pairs.Pair("emoji", group, f"img/{code}.png", caption, pairs.concept(caption))


def split(data: Path, rows: list[pairs.Pair], seed: int) -> Any:
    """The split of these rows; what makes it brings torch along."""
    from benchmarks.embedded import reference

    return reference.split(data, rows, seed)


def held_stamps(data: Path, seed: int, count: int = 60) -> list[str]:
    rows = [stamp(data, f"word{i}") for i in range(count)]
    return [rows[row].caption for row in split(data, rows, seed).tests["stamps"]]


def test_the_draw_never_changes(tmp_path: Path) -> None:
    assert held_stamps(tmp_path, 0) == [f"word{i}" for i in GOLDEN]
    assert held_stamps(tmp_path, 1) != held_stamps(tmp_path, 0)
    assert 15 < len(held_stamps(tmp_path, 2, 200)) < 45


def test_a_caption_learnt_in_any_source_is_not_tested(tmp_path: Path) -> None:
    held = held_stamps(tmp_path, 0)[0]
    alone = [stamp(tmp_path, held)]
    assert split(tmp_path, alone, 0).tests["stamps"] == [0]
    seen = next(
        folder
        for folder in map(str, range(50))
        if split(tmp_path, [drawing(folder, held)], 0).lessons
    )
    both = split(tmp_path, [*alone, drawing(seen, held.upper())], 0)
    assert both.tests["stamps"] == []
    assert [lesson.row for lesson in both.lessons] == [1]


def test_lessons_name_nothing_that_is_tested(tmp_path: Path) -> None:
    held = held_stamps(tmp_path, 0)[0]
    seen = next(w for w in (f"word{i}" for i in range(60)) if w not in held_stamps(tmp_path, 0))
    rows = [stamp(tmp_path, held), stamp(tmp_path, seen, held.upper(), "kept", de=held, fr="mot")]
    (lesson,) = split(tmp_path, rows, 0).lessons
    assert (lesson.row, lesson.keywords, lesson.translations) == (1, ("kept",), ("mot",))


def test_clip_art_is_called_by_the_name_of_its_file(tmp_path: Path) -> None:
    rows = [drawing("animals", f"bee {i}") for i in range(60)]
    found = split(tmp_path, rows, 0)
    assert {lesson.caption for lesson in found.lessons} <= {row.filed for row in rows}
    assert len(found.lessons) + len(found.tests["clip art"]) == 60
    assert split(tmp_path, [drawing("animals", "b2")], 0).lessons == []


def test_people_of_one_symbol_stay_together_and_flags_are_not_tested(tmp_path: Path) -> None:
    tones = ("1f468", "1f468-200d-1f33e", "1f468-200d-1f373")
    for seed in range(30):
        rows = [emoji(code, f"man {code}", "People & Body") for code in tones]
        assert len(split(tmp_path, rows, seed).lessons) in (0, 3)
        flag = split(tmp_path, [emoji("1f1e6", "angola flag", "Flags")], seed)
        assert not any(flag.tests.values())
