"""Patches of a picture and words of a text as unit vectors of one space, for fine-grained scores.

Native ViTs of open_clip, and the embedded encoder. It refuses towers that have no such tokens.
Of weights trained for one vector of each, as CLIP's are, neither patches nor words but the last
token were taught to agree: what they say is a hint for a person, and no more. Weights trained
token by token (as in FILIP, or on regions) are another matter.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from filters import caption, clip_weights, embedded
from filters.clip import EMBEDDED, ClipScore, Floats, Pixels
from filters.clip_text import TEXT_LENGTH, beginnings, tokenized
from filters.clip_weights import Loaded, Source, prepared
from filters.shared_images import once
from filters.threads import one_thread

MOST_WORDS = 64
"""Words of a text that the embedded encoder is asked about, the first ones."""
# Of English; of German, French, Spanish, Italian, Dutch, Portuguese and Polish those that are no
# words of English.
_FUNCTION = """
a an the this that these those some any each every all both no not such same other another of on in
at to from by with without within into onto over under above below behind between beside near next
through across along around about against among during before after up down off out as than like
for and or but nor so if while when where which who whom whose what how why there here then very
too also just only more most much many few is are was were be been being am has have had do does
did will would can could may might must shall should its it he she they them him his her hers their
theirs we us our you your i me my one s t ll ve re d m
der das dem den des ein eine einer einem einen und oder mit auf von vom im zum zur aus bei ist le
la les un une du de et ou avec dans sur au aux en est el los las y o con del al una por para il lo
gli di da nel nella della sul e het een van op voor um uma com na os dos w z oraz
"""
_FUNCTION_WORDS = frozenset(_FUNCTION.split())


class Words(NamedTuple):
    """What is read of a text: unit vectors [m, d] of its tokens, and the words they make.

    `last` is the place of a word's last token, the one that has read the whole word where tokens
    see no further than themselves. Start, end, padding and marks are no tokens here.
    """

    vectors: Floats
    names: list[str]
    last: list[int]

    @property
    def content(self) -> list[int]:
        """Places in `names` of words that may be seen in a picture; without any, all places."""
        found = [i for i, name in enumerate(self.names) if is_content(name)]
        return found or list(range(len(self.names)))


def is_content(word: str) -> bool:
    """Whether it is no function word, as far as a short list of them goes."""
    return word.casefold().strip("'’") not in _FUNCTION_WORDS


def check(model: str) -> None:
    """Raises ValueError for a model without patch and word tokens in one space; needs no torch."""
    if model == EMBEDDED:
        return
    parts = clip_weights.config(Source(model))
    vision, text = parts["vision_cfg"], parts["text_cfg"]
    reason = None
    if "timm_model_name" in vision:
        reason = "its image tower is one of timm, which projects no patches"
    elif "multimodal_cfg" in parts or vision.get("attentional_pool"):
        reason = "its image tokens are what attention has pooled, not patches"
    elif isinstance(vision.get("layers"), list | tuple):
        reason = "its image tower is a ResNet, which has no patches"
    elif text.get("hf_model_name") or text.get("hf_tokenizer_name") or text.get("embed_cls"):
        reason = "which tokens of its text tower make a word is not known"
    if reason is not None:
        raise ValueError(
            f"model {model!r} has no patches and words in one space: {reason}; take a ViT of"
            f" open_clip's own with its own text tower, or {EMBEDDED!r}"
        )


def patches(clip: ClipScore, images: Sequence[Pixels]) -> Iterator[Floats]:
    """Unit vectors [n, d] of the patches of each picture, row by row.

    The embedded encoder gives the cells of its map that show the picture, 7 x 7 at most. A picture
    that is there several times is looked at once, and has one array each time.
    """
    distinct, which = once(images)
    last = {number: place for place, number in enumerate(which)}
    new, known = _patches(clip, distinct), dict[int, Floats]()
    for place, number in enumerate(which):
        if number not in known:  # they come in the order of their first places
            known[number] = next(new)
        yield known.pop(number) if last[number] == place else known[number]


def _patches(clip: ClipScore, images: Sequence[Pixels]) -> Iterator[Floats]:
    """The patches of pictures that differ."""
    if clip.model == EMBEDDED:
        found = embedded.encode_cells(list(images))
        for image, cells in zip(images, found, strict=True):
            yield cells[embedded.cells_of(image)]
        return
    loaded = load(clip)
    for start in range(0, len(images), clip.batch_size):
        batch = [prepared(loaded, image) for image in images[start : start + clip.batch_size]]
        yield from _unit(_patch_tokens(loaded, batch, clip.batch_size))


def words(clip: ClipScore, texts: Sequence[str]) -> Iterator[Words]:
    """What is read of each text; nothing of one without words."""
    if clip.model == EMBEDDED:
        yield from (_embedded_words(text) for text in texts)
        return
    loaded = load(clip)
    for start in range(0, len(texts), clip.batch_size):
        ids = tokenized(loaded, beginnings(texts[start : start + clip.batch_size]))
        vectors = _unit(_text_tokens(loaded, ids, clip.batch_size))
        pairs = zip(ids.tolist(), vectors, strict=True)
        yield from (_words_of(loaded.tokenize, row, found) for row, found in pairs)


def are_cut(clip: ClipScore, texts: Sequence[str]) -> list[bool]:
    """Whether there is more of a text than `words` reads of it."""
    cut = clip.are_cut(list(texts))
    if clip.model != EMBEDDED:
        return cut
    pairs = zip(texts, cut, strict=True)
    return [is_cut or len(_embedded_names(text)) > MOST_WORDS for text, is_cut in pairs]


def load(clip: ClipScore) -> Loaded:
    """The model that a `clip` of open_clip means, once per process."""
    source = Source(clip.model, clip.pretrained, clip.preprocess_tag, clip.sha256, clip.precision)
    return clip_weights.load(source._replace(device=clip.device))


def _embedded_words(text: str) -> Words:
    """Words by white space, each encoded by itself; function words only where there are no others.

    The sentence encoder makes something of any word, and of "the" nothing of use.
    """
    names = _embedded_names(text)[:MOST_WORDS]
    vectors = [_word_vector(name) for name in names]
    empty = np.zeros((0, embedded.dimension()), np.float32)
    return Words(np.stack(vectors) if vectors else empty, names, list(range(len(names))))


def _embedded_names(text: str) -> list[str]:
    """The words of a text that are asked about, were there no limit to their number."""
    found = (_stripped(word) for word in caption.words(text[:TEXT_LENGTH]))
    names = [name for name in found if name]
    return [name for name in names if is_content(name)] or names


def _stripped(word: str) -> str:
    """A word without the marks around it."""
    kept = [i for i, character in enumerate(word) if character.isalnum()]
    return word[kept[0] : kept[-1] + 1] if kept else ""


@lru_cache(maxsize=8192)
def _word_vector(word: str) -> Floats:
    vector: Floats = embedded.encode_texts([word])[0]
    vector.setflags(write=False)
    return vector


def _patch_tokens(loaded: Loaded, batch: list[Any], size: int) -> Floats:
    """Projected patches [b, n, d], as the last block leaves them, of a batch filled up to `size`.

    The class token is not among them.
    """
    import torch

    count = len(batch)
    pixels = torch.stack(batch)
    pixels = torch.cat([pixels, pixels.new_zeros((size - count, *pixels.shape[1:]))])
    with torch.inference_mode(), one_thread():
        found = loaded.model.forward_intermediates(
            image=pixels.to(loaded.device, loaded.dtype),
            image_indices=1,
            normalize_intermediates=True,
            intermediates_only=True,
            image_output_fmt="NLC",
        )["image_intermediates"][-1]
        tokens: Floats = (found @ loaded.model.visual.proj)[:count].float().cpu().numpy()
    return tokens


def _text_tokens(loaded: Loaded, ids: Any, size: int) -> Floats:
    """Projected tokens [b, context, d] of texts, of a batch filled up to `size`."""
    import torch

    count = len(ids)
    ids = torch.cat([ids, ids[-1:].expand(size - count, -1)])
    with torch.inference_mode(), one_thread():
        found = loaded.model.forward_intermediates(
            text=ids.to(loaded.device),
            text_indices=1,
            normalize_intermediates=True,
            intermediates_only=True,
        )["text_intermediates"][-1]
        project = getattr(loaded.model, "text", loaded.model).text_projection
        if project is not None:
            found = project(found) if isinstance(project, torch.nn.Linear) else found @ project
        tokens: Floats = found[:count].float().cpu().numpy()
    return tokens


def _words_of(tokenize: Any, ids: list[int], vectors: Floats) -> Words:
    """The tokens between start and end that belong to words; a word that is cut has no name."""
    end = ids.index(tokenize.eot_token_id)
    kept: list[int] = []
    names: list[str] = []
    last: list[int] = []
    open_: list[int] = []  # places of the tokens of a word that has not ended
    for place in range(1, end):
        open_.append(place)
        piece = tokenize.decoder[ids[place]]
        if piece.endswith("</w>"):
            name = tokenize.decode([ids[p] for p in open_]).strip()
            if any(map(str.isalnum, name)):
                kept += open_
                names.append(name)
                last.append(len(kept) - 1)
            open_ = []
    return Words(vectors[kept + open_], names, last)


def _unit(tokens: Floats) -> Floats:
    """Tokens of length 1. Raises ValueError for NaN, infinity and zeros."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
    if not np.isfinite(unit).all():
        raise ValueError("what the model says is NaN or infinite")
    return unit
