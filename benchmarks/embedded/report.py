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
from filters import embedded

_LOG = logging.getLogger(__name__)
Floats = npt.NDArray[np.float32]

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_PHOTOS = ("photos", "samples")
_PER_CAPTION = 5  # one caption, "star", has 1,377 drawings
# Captions in the pools of an earlier experiment with these sources, for comparable figures.
_POOLS = {"emoji without flags": 256, "stamps": 82, "clip art": 490}


class Bench:
    """Pairs and backbone outputs in memory, so that several heads can be measured quickly."""

    def __init__(self, data: Path) -> None:
        self.pairs = read_pairs(data)
        self.names = heads.class_names()
        self.features, self.logits = picture_features(data, self.pairs)
        texts = [t for p in self.pairs for t in (p.caption, *p.translations.values(), *p.keywords)]
        self.sentences = text_features(data, texts + [n for own in self.names for n in own])

    def trained(self, settings: heads.Settings) -> dict[str, Floats]:
        """All arrays of the shipped file but `share`."""
        chosen = heads.lessons(self.pairs, settings.sources)
        _LOG.info("%d of %d pairs are learnt from", len(chosen), len(self.pairs))
        material = heads.Material(
            chosen, self.features, self.sentences, self.names, heads.classifier_rows()
        )
        classes = heads.class_table(self.sentences, self.names)
        return heads.train(material, settings) | {"classes": classes}

    def figures(
        self, arrays: dict[str, Floats], rows: list[int], language: str = "en", size: int = 0
    ) -> Retrieval:
        """Retrieval over the captions of these rows, in pools of `size` captions if given."""
        rows = [row for row in rows if self._caption(row, language)]
        captions = [self._caption(row, language) for row in rows]
        images = embedded.embed_features(self.features[rows], self.logits[rows], arrays)
        names = sorted(set(captions))
        vectors = embedded.embed_sentences(np.stack([self.sentences[n] for n in names]), arrays)
        table = dict(zip(names, vectors, strict=True))
        return pooled(images, captions, table, size) if size else retrieval(images, captions, table)

    def _caption(self, row: int, language: str) -> str:
        pair = self.pairs[row]
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
        return {
            "emoji": [row for row, p in kept if p.source == "emoji"],
            "emoji without flags": [
                row for row, p in kept if p.source == "emoji" and p.group != "Flags"
            ],
            "stamps": [row for row, p in kept if p.source == "stamps"],
            "clip art": [row for row, p in kept if p.source == "clipart"],
        }

    def photos(self, test: bool | None = None) -> dict[str, list[int]]:
        """Rows of photographs by group, all or by whether their caption is in the test part."""
        rows = [row for row, p in enumerate(self.pairs) if p.source in _PHOTOS]
        if test is not None:
            rows = [row for row in rows if (part(self.pairs[row].caption) == "test") == test]
        groups = sorted({self.pairs[row].group for row in rows})
        return {g: [row for row in rows if self.pairs[row].group == g] for g in groups}


def train(data: Path, path: Path, settings: heads.Settings) -> None:
    """Trains, chooses the share of the trained part on what is not test, writes the heads file."""
    bench = Bench(data)
    arrays = bench.trained(settings)
    scores = {share: _validation(bench, _with_share(arrays, share)) for share in SHARES}
    share = max(SHARES, key=lambda s: scores[s])
    _LOG.info("share: %s", ", ".join(f"{s} scores {scores[s]:.4f}" for s in SHARES))
    heads.write(path, _with_share(arrays, share))
    _LOG.info("%s: share %.1f, %d bytes", path, share, path.stat().st_size)


def _validation(bench: Bench, arrays: dict[str, Floats]) -> float:
    """Mean of R@1, R@5 and AUC over validation drawings and animal photos outside the test part."""
    drawn = bench.drawings("validation")
    seen = bench.photos(test=False)
    sets = [drawn["emoji without flags"], drawn["stamps"], drawn["clip art"], seen["animals"]]
    found = [bench.figures(arrays, rows) for rows in sets]
    return float(np.mean([(f.at_1 + f.at_5 + f.auc) / 3 for f in found]))


def _with_share(arrays: dict[str, Floats], share: float) -> dict[str, Floats]:
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
            if kind == "shipped" or language == "en":
                lines.append(_line(name, kind, bench.figures(held, rows, language, size)))
    return "\n".join(lines)


def _sets(bench: Bench) -> Iterable[tuple[str, list[int], str, int]]:
    drawn = bench.drawings("test")
    for name, rows in drawn.items():
        yield name, rows, "en", 0
    for name, size in _POOLS.items():
        yield f"{name}, pools of {size}", drawn[name], "en", size
    for group, rows in bench.photos().items():
        yield f"photos: {group}", rows, "en", 0
    unseen = [row for rows in bench.photos(test=True).values() for row in rows]
    yield "photos: all with test captions", unseen, "en", 0
    for language in LANGUAGES:
        yield f"emoji without flags, {language}", drawn["emoji without flags"], language, 0


def _line(name: str, kind: str, found: Retrieval) -> str:
    figures = f"{found.at_1:.3f} | {found.at_5:.3f} | {found.auc:.3f}"
    return f"| {name} | {kind} | {found.images} | {found.captions} | {figures} |"
