"""The two long steps: train and write the heads; measure them on what they never saw."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.embedded import heads
from benchmarks.embedded.evaluate import Retrieval, pooled, retrieval
from benchmarks.embedded.features import picture_features, text_features
from benchmarks.embedded.pairs import LANGUAGES, Pair, read_pairs
from benchmarks.embedded.splits import Part, canonical, part
from benchmarks.quickstart_pack.originals import read_items
from filters import embedded

_LOG = logging.getLogger(__name__)
Floats = npt.NDArray[np.float32]

LEARNT: tuple[Part, ...] = ("train", "validation")
FILED = "names of files"
SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 1.0)
_PHOTOS = ("photos", "samples")
_PER_CAPTION = 5  # one caption, "star", has 1,377 drawings
# Captions in the pools of an earlier experiment with these sources, for comparable figures.
_POOLS = {"emoji without flags": 256, "stamps": 82, "clip art": 490, "clip art without flags": 400}


class Bench:
    """Pairs and backbone outputs in memory, so that several heads can be measured quickly."""

    def __init__(self, data: Path) -> None:
        self.pairs = read_pairs(data)
        self.names = heads.class_names()
        self.features, self.logits = picture_features(data, self.pairs)
        texts = [t for p in self.pairs for t in (p.caption, *p.translations.values(), *p.keywords)]
        texts += [p.filed for p in self.pairs if p.filed]
        self.sentences = text_features(data, texts + [n for own in self.names for n in own])

    def lessons(self, sources: tuple[str, ...], parts: tuple[Part, ...]) -> list[heads.Lesson]:
        """What may be learnt; ValueError if a picture of the quickstart pack were among it."""
        pack = {canonical(item.concept) for item in read_items() if item.concept}
        names = [{canonical(t) for t in (p.caption, *p.other_names)} for p in self.pairs]
        packed = {row for row, own in enumerate(names) if own & pack}
        kept_out = frozenset(self.pairs[row].caption for row in packed)
        chosen = heads.lessons(self.pairs, sources, parts, kept_out)
        wrong = [self.pairs[lesson.row].path for lesson in chosen if lesson.row in packed]
        if wrong:
            raise ValueError(f"{wrong[0]}: in the quickstart pack, yet to be learnt from")
        return chosen

    def trained(self, settings: heads.Settings, parts: tuple[Part, ...]) -> dict[str, Floats]:
        """All arrays of the shipped file but `share`."""
        chosen = self.lessons(settings.sources, parts)
        _LOG.info("%d of %d pairs are learnt from", len(chosen), len(self.pairs))
        names = [[n for n in own if part(n) in parts] for own in self.names]
        return self.taught(chosen, names, settings)

    def taught(
        self, chosen: list[heads.Lesson], names: list[list[str]], settings: heads.Settings
    ) -> dict[str, Floats]:
        """The same arrays for any lessons, and for those names of classes that may be learnt."""
        rows = heads.classifier_rows()
        material = heads.Material(chosen, self.features, self.sentences, names, rows)
        classes = heads.class_table(self.sentences, self.names)
        return heads.train(material, settings) | {"classes": classes}

    def figures(
        self, arrays: dict[str, Floats], rows: list[int], language: str = "en", size: int = 0
    ) -> Retrieval:
        """Retrieval over the captions of these rows, in pools of `size` captions if given.

        `language` FILED takes the captions of an earlier experiment in place of ours.
        """
        rows = [row for row in rows if self._caption(row, language)]
        captions = [self._caption(row, language) for row in rows]
        images = embedded.embed_features(self.features[rows], self.logits[rows], arrays)
        names = sorted(set(captions))
        vectors = embedded.embed_sentences(np.stack([self.sentences[n] for n in names]), arrays)
        table = dict(zip(names, vectors, strict=True))
        return pooled(images, captions, table, size) if size else retrieval(images, captions, table)

    def _caption(self, row: int, language: str) -> str:
        pair = self.pairs[row]
        if language == FILED:
            return pair.filed
        return pair.caption if language == "en" else pair.translations.get(language, "")

    def drawings(self, where: Part) -> dict[str, list[int]]:
        """Rows of the three drawn sources in one part, at most five pictures of one caption."""
        seen: Counter[tuple[str, str]] = Counter()
        kept: list[tuple[int, Pair]] = []
        for row, pair in enumerate(self.pairs):
            name = pair.source, canonical(pair.caption)
            seen[name] += 1
            if part(pair.caption) == where and seen[name] <= _PER_CAPTION:
                kept.append((row, pair))
        clipart = [(row, p) for row, p in kept if p.source == "clipart"]
        return {
            "emoji": [row for row, p in kept if p.source == "emoji"],
            "emoji without flags": [
                row for row, p in kept if p.source == "emoji" and p.group != "Flags"
            ],
            "stamps": [row for row, p in kept if p.source == "stamps"],
            "clip art": [row for row, p in clipart if p.group != "Themes"],
            "clip art without flags": [
                row for row, p in clipart if p.group not in ("Themes", "Flags")
            ],
            "clip art and icons of themes": [row for row, _ in clipart],
        }

    def unlearnt_files(self, rows: list[int], settings: heads.Settings) -> list[int]:
        """Those of the rows whose `filed` caption is, in that spelling, no text that was learnt."""
        learnt = {
            text.lower()
            for lesson in self.lessons(settings.sources, LEARNT)
            for text in (lesson.caption, *lesson.keywords)
        }
        return [row for row in rows if self.pairs[row].filed not in learnt]

    def photos(self, test: bool | None = None) -> dict[str, list[int]]:
        """Rows of photographs by group, all or by whether their caption is in the test part."""
        rows = [row for row, p in enumerate(self.pairs) if p.source in _PHOTOS]
        if test is not None:
            rows = [row for row in rows if (part(self.pairs[row].caption) == "test") == test]
        groups = sorted({self.pairs[row].group for row in rows})
        return {g: [row for row in rows if self.pairs[row].group == g] for g in groups}


def train(data: Path, path: Path, settings: heads.Settings) -> None:
    """Writes the heads file, learnt from train and validation captions."""
    arrays = Bench(data).trained(settings, LEARNT)
    heads.write(path, with_share(arrays, settings.share))
    _LOG.info("%s: %d bytes", path, path.stat().st_size)


def validate(data: Path, settings: heads.Settings) -> str:
    """A score per share of the trained part, for heads that learnt from train captions alone."""
    bench = Bench(data)
    arrays = bench.trained(settings, ("train",))
    scores = {share: _validation(bench, with_share(arrays, share)) for share in SHARES}
    return "\n".join(f"share {share}: {score:.4f}" for share, score in scores.items())


def _validation(bench: Bench, arrays: dict[str, Floats]) -> float:
    """Mean of R@1, R@5 and AUC over validation drawings and animal photos outside the test part."""
    drawn = bench.drawings("validation")
    seen = bench.photos(test=False)
    sets = [drawn["emoji without flags"], drawn["stamps"], drawn["clip art"], seen["animals"]]
    found = [bench.figures(arrays, rows) for rows in sets]
    return float(np.mean([(f.at_1 + f.at_5 + f.auc) / 3 for f in found]))


def with_share(arrays: dict[str, Floats], share: float) -> dict[str, Floats]:
    """As the file will hold them: rounded to half precision."""
    rounded = {n: a.astype(np.float16).astype(np.float32) for n, a in arrays.items()}
    return rounded | {"share": np.array([share], np.float32)}


def evaluate(data: Path, path: Path) -> str:
    """A Markdown table of the held-out figures of a heads file, beside its two halves alone."""
    bench, arrays = Bench(data), embedded.read_heads(path)
    variants = {
        "shipped": arrays,
        "heads alone": arrays | {"share": np.ones(1, np.float32)},
        "ConSE alone": arrays | {"share": np.zeros(1, np.float32)},
    }
    lines = ["| set | weights | pictures | captions | R@1 | R@5 | AUC |", "|" + "---|" * 7]
    for name, rows, language, size in _sets(bench):
        for kind, held in variants.items():
            if kind == "shipped" or language not in LANGUAGES:
                lines.append(_line(name, kind, bench.figures(held, rows, language, size)))
    return "\n".join(lines)


def _sets(bench: Bench) -> Iterable[tuple[str, list[int], str, int]]:
    drawn = bench.drawings("test")
    for name, rows in drawn.items():
        yield name, rows, "en", 0
    for name, size in _POOLS.items():
        yield f"{name}, pools of {size}", drawn[name], "en", size
    filed = bench.unlearnt_files(drawn["clip art and icons of themes"], heads.Settings())
    yield "clip art captioned with names of files, pools of 490", filed, FILED, 490
    for group, rows in bench.photos().items():
        yield f"photos: {group}", rows, "en", 0
    unseen = [row for rows in bench.photos(test=True).values() for row in rows]
    yield "photos: all with test captions", unseen, "en", 0
    for language in LANGUAGES:
        yield f"emoji without flags, {language}", drawn["emoji without flags"], language, 0


def _line(name: str, kind: str, found: Retrieval) -> str:
    figures = f"{found.at_1:.3f} | {found.at_5:.3f} | {found.auc:.3f}"
    return f"| {name} | {kind} | {found.images} | {found.captions} | {figures} |"
