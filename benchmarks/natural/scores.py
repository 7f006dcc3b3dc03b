"""What each offline score says of the labelled pairs, high for pairs to keep.

Scores that learn from a pool learn from the whole pool of the draw, without labels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.embedded.features import load
from benchmarks.natural.drawing import key_of, pool_features
from benchmarks.natural.pages import Pair
from filters import embedded
from filters.agreement import Agreement
from filters.caption import CaptionStats
from filters.clip import ClipScore
from filters.likelihood import CaptionLikelihood
from filters.mlm_filter import MlmFilter
from filters.neg_clip import NegClip
from filters.noise import Noise
from filters.reward import RewardScore
from filters.tokenwise import TokenWise
from filters.unime import UniMe
from filters.vqa_score import VqaScore

Array = np.ndarray[Any, Any]
AGREEMENTS = {  # mean ranks of what; the second is the quickstart's
    "mean rank, cosine": ("cosine", "FILIP", "likelihood"),
    "mean rank, reward": ("reward", "FILIP", "likelihood"),
}
BLIND = ("vqa_score", "mlm_detail", "mlm_understanding")  # of `judged`, which also read the text
TEXT_ONLY = ("caption_words", "no file name, no boilerplate")


def scores(
    data: Path, pool: list[Pair], sample: list[Pair], reward: str | None
) -> dict[str, Array]:
    """Each score [n] of the sample, -inf where there is none; the last two see the text alone.

    `blind` ones see each text beside the picture of another pair.
    """
    texts = [pair.text for pair in sample]
    places = {pair: place for place, pair in enumerate(pool)}
    vectors = _vectors(data, pool)
    own = {name: [rows[places[pair]] for pair in sample] for name, rows in vectors.items()}
    one, other = (np.stack(rows).astype(np.float64) for rows in own.values())
    found = {"cosine": np.einsum("nd,nd->n", one, other)}
    found |= _of_pool(pool, vectors, own)
    pictures = [load(data / "deb" / pair.path) for pair in sample]
    found |= _of_pictures(pictures, texts)
    for name, of in AGREEMENTS.items():
        found[name] = _agreement({one: found[one] for one in of})
    if reward:
        found["own reward"] = _rewarded(reward, own)
    half = len(sample) // 2  # the order of the sheets is one by chance
    found["blind cosine"] = np.einsum("nd,nd->n", np.roll(one, half, axis=0), other)
    batch = {"image": [*pictures[-half:], *pictures[:-half]], "caption": texts}
    found["blind FILIP"], found["blind reward"] = _filip(batch), _reward(batch)
    blind = judged(batch)
    found |= {f"blind {name}": blind[name] for name in BLIND}
    return found | text_only(texts)


def text_only(texts: list[str]) -> dict[str, Array]:
    """What the scorer `caption` says: the number of words, and whether it is free of bad signs."""
    told = CaptionStats()({"caption": texts})
    signs = zip(told["is_filename"], told["is_boilerplate"], strict=True)
    values = (numbers(told["caption_words"]), np.array([-1.0 * (f or b) for f, b in signs]))
    return dict(zip(TEXT_ONLY, values, strict=True))


def numbers(values: list[Any]) -> Array:
    """A column with -inf for NULL or a reason, which pass no condition."""
    is_none = [value is None or isinstance(value, Exception) for value in values]
    found = [-np.inf if none else value for value, none in zip(values, is_none, strict=True)]
    return np.array(found, np.float64)


def _rewarded(weights: str, own: dict[str, list[Array]]) -> Array:
    """Raises ValueError for weights that were learnt with another encoder."""
    scorer, encoder = RewardScore(weights=weights), ClipScore(embeddings=True)
    scorer.check_inputs(dict.fromkeys(own, encoder))
    return numbers(scorer(own)["reward"])


def _vectors(data: Path, pool: list[Pair]) -> dict[str, Array]:
    """Vectors of pictures and texts as `clip: {embeddings: true}` stores them."""
    images = embedded.embed_features(*pool_features(data, pool), embedded.read_heads())
    texts = embedded.encode_texts([pair.text for pair in pool])
    return {"clip_image": images.astype(np.float16), "clip_text": texts.astype(np.float16)}


def _of_pool(
    pool: list[Pair], vectors: dict[str, Array], own: dict[str, list[Array]]
) -> dict[str, Array]:
    table = pa.table({"key": pa.array([key_of(pair) for pair in pool], pa.binary(16))})
    for name, rows in vectors.items():
        table = table.append_column(name, pa.array(list(rows), pa.large_list(pa.float16())))
    table = table.sort_by("key")
    neg, noise = NegClip(temperature=0.05), Noise()
    return {
        "negCLIPLoss": numbers(neg(own, neg.fit(table))["neg_clip_score"]),
        "noise": -_high(noise(own, noise.fit(table))["noise_probability"]),
    }


def _high(values: list[Any]) -> Array:
    return -numbers([None if value is None else -value for value in values])


def _of_pictures(pictures: list[Array], texts: list[str]) -> dict[str, Array]:
    batch: dict[str, list[Any]] = {"image": pictures, "caption": texts}
    likely = CaptionLikelihood()(batch)
    return {
        "FILIP": _filip(batch),
        "likelihood": numbers(likely["caption_logp"]),
        "likelihood, gain": numbers(likely["caption_gain"]),
        "reward": _reward(batch),
        **judged(batch),
    }


def judged(batch: dict[str, list[Any]]) -> dict[str, Array]:
    """What the judges say that have a model of their own where there is one, here offline."""
    found = {}
    for scorer in (VqaScore(), MlmFilter(), UniMe()):
        columns = scorer(batch)
        told = [n for n in scorer.writes.names if not n.endswith(("_mass", "_truncated"))]
        found |= {name: numbers(columns[name]) for name in told}
    return found


def _filip(batch: dict[str, list[Any]]) -> Array:
    nothing = {"words": np.zeros((0, 1), np.float32)}  # only single words are compared with it
    return numbers(TokenWise()(batch, nothing)["filip_score"])


def _reward(batch: dict[str, list[Any]]) -> Array:
    """That of the head that ships."""
    return numbers(RewardScore()(batch)["reward"])


def _agreement(columns: dict[str, Array]) -> Array:
    """The mean rank among the labelled pairs that have every score."""
    whole = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    scorer = Agreement(of=tuple(columns))
    own = {name: values[whole].tolist() for name, values in columns.items()}
    mean = np.full(len(whole), -np.inf)
    mean[whole] = scorer(own, scorer.fit(pa.table(own)))["agreement_mean"]
    return mean
