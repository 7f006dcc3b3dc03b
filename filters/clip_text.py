"""What a model of open_clip reads of a text: its words alone, and whether there are more of them.

Captions are data: a control token that one spells out, such as `<eos>`, is read as letters or not
at all, whichever tokenizer a model has.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Protocol

TEXT_LENGTH = 2000
"""Characters of a text that are tokenised: open_clip takes time by the square of a word's length,
a minute for 50,000 letters, and models read 77 tokens or so."""
_WORDS = 100_000  # that a tokenizer may remember; open_clip's forgets none by itself


class Reader(Protocol):
    """What has a tokenizer of open_clip: a loaded model, or one that is tuned."""

    @property
    def tokenize(self) -> Any: ...


def beginnings(texts: Sequence[str]) -> list[str]:
    """What is tokenised of texts."""
    return [text.strip()[:TEXT_LENGTH] for text in texts]


def tokenized(model: Reader, texts: list[str]) -> Any:
    """Tokens [n, context]; the tokenizer's memory of words is bounded."""
    tokenize = model.tokenize
    if _inner(tokenize) is not None:  # see `guard`
        return tokenize(texts)
    words = getattr(tokenize, "cache", {})
    if len(words) > _WORDS:
        special = {word: parts for word, parts in words.items() if word == parts}
        words.clear()
        words.update(special)
    tokens = tokenize(texts)
    ends = (tokens == tokenize.eot_token_id).sum(dim=1).tolist()
    begins = (tokens == tokenize.sot_token_id).sum(dim=1).tolist()
    for row, text, *marks in zip(tokens, texts, ends, begins, strict=True):
        if marks != [1, 1]:  # a model would read nothing behind the end that a caption names
            _set_words(tokenize, row, text)
    return tokens


def are_blank(model: Any, texts: Sequence[str], tokens: Any) -> list[bool]:
    """Whether the model reads of a text what it reads of none: white space, for some `!!!`."""
    nothing = (tokens == model.empty).all(dim=1).tolist()
    return [n or not text.strip() for n, text in zip(nothing, texts, strict=True)]


def are_cut(model: Reader, texts: Sequence[str], tokens: Any) -> list[bool]:
    """Whether a text is longer than the model reads; one that just fits is not cut.

    `tokens` are those of the `beginnings` of the texts.
    """
    found = _have_more(model.tokenize, beginnings(texts), tokens)
    longer = (len(text.strip()) > TEXT_LENGTH for text in texts)
    return [more or is_long for more, is_long in zip(found, longer, strict=True)]


def _have_more(tokenize: Any, texts: list[str], tokens: Any) -> list[bool]:
    """Whether a text has more tokens than the model reads."""
    context, inner = tokens.shape[1], _inner(tokenize)
    if inner is None:  # open_clip's own: at the last place it has padding or the end of the text
        full = (tokens[:, -1] != 0).tolist()
        return [
            is_full and len(_words_of(tokenize, text)) + 2 > context
            for is_full, text in zip(full, texts, strict=True)
        ]
    if not texts:
        return []
    special, kept = (False, context - 3) if tokenize.tokenizer_mode == "clips" else (True, context)
    cleaned = [tokenize.clean_fn(text) for text in texts]
    found = inner(cleaned, add_special_tokens=special, verbose=False)
    return [len(ids) > kept for ids in found.input_ids]


def _inner(tokenize: Any) -> Any:
    """The tokenizer of transformers that a model has; None for open_clip's own."""
    return getattr(tokenize, "tokenizer", None)


def _words_of(tokenize: Any, text: str) -> list[int]:
    """The tokens of a text for open_clip's own tokenizer, without control tokens it spells out."""
    marks = (tokenize.sot_token_id, tokenize.eot_token_id)
    return [token for token in tokenize.encode(text) if token not in marks]


def _set_words(tokenize: Any, row: Any, text: str) -> None:
    """Make a row of tokens [context] that of a text which holds control tokens."""
    words = _words_of(tokenize, text)[: len(row) - 2]
    row[:] = 0
    line = [tokenize.sot_token_id, *words, tokenize.eot_token_id]
    row[: len(line)] = row.new_tensor(line)


def guard(tokenize: Any) -> None:
    """Have a tokenizer of transformers read control tokens that a text spells out as letters.

    It looks at what the tokenizer would make of the text: with entities resolved, full-width signs
    in their plain form and invisible ones gone, `&lt;eos&gt;` is a control token, too.
    """
    inner = _inner(tokenize)
    known = None if inner is None else _control_tokens(inner)
    if known is None:
        return
    clean = tokenize.clean_fn

    def harmless(text: str) -> str:
        cleaned: str = clean(text)
        plain = unicodedata.normalize("NFKC", cleaned)
        plain = "".join(sign for sign in plain if unicodedata.category(sign)[0] != "C")
        if not (known.search(cleaned) or known.search(plain)):
            return cleaned
        while known.search(plain):  # what is parted may hold a shorter one
            plain = known.sub(lambda found: f"{found[0][0]} {found[0][1:]}", plain)
        return plain

    tokenize.clean_fn = harmless


def _control_tokens(inner: Any) -> re.Pattern[str] | None:
    """Finds the tokens that are more than text, in any capitals; those of one sign are letters."""
    known = {*map(str, inner.get_added_vocab()), *map(str, inner.all_special_tokens)}
    known = {token for token in known if len(token) > 1 and not re.search(r"\s", token)}
    longest_first = sorted(known, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)), re.I) if known else None
