"""Which engine a recipe means, for the way there and the way back, and which pairs it has.

What is wrong with an engine's parameters, and a pair that it lacks, is told when they are read, as
far as files of this machine tell it.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from filters import clip_weights, foreign, hub_weights, judging
from filters.served import Server
from recaption import ctranslate, languages, seq2seq, served_translator
from recaption.apertium import Apertium
from recaption.engines import Engine
from recaption.glossaries import Glossary
from recaption.languages import Language
from recaption.shipped_translator import Shipped

APERTIUM, SHIPPED, SEQ2SEQ = "apertium", "shipped", "seq2seq"
CTRANSLATE, SERVED = "ctranslate2", "served"
MODELS = (SEQ2SEQ, CTRANSLATE)
"""Engines of a model, which may need another one for the way back."""
_OWN = {  # what only some engines have a use for
    APERTIUM: (),
    SHIPPED: (),
    SEQ2SEQ: ("model", "revision", "precision", "back", "back_revision"),
    CTRANSLATE: ("model", "precision", "back"),
    SERVED: ("server", "json"),
}
_PARAMETERS = ("model", "revision", "precision", "server", "json", "back", "back_revision")
Direction = tuple[Language, Language]


class Chosen(NamedTuple):
    """An engine with the parameters that decide about it."""

    engine: str
    model: str | None
    revision: str | None
    precision: str
    server: Server | None
    json: bool


def settle(scorer: Any) -> None:
    """Check what a scorer says of its engine, and settle what is `auto`. Raises ValueError."""
    name = scorer.engine
    if name not in _OWN:
        raise ValueError(f"engine {name!r}: known are {', '.join(_OWN)}")
    others = [one for one in _PARAMETERS if one not in _OWN[name]]
    foreign.refuse(scorer, others, f"engine {name!r}")
    needed = "server" if name == SERVED else "model"
    if needed in _OWN[name] and getattr(scorer, needed) is None:
        raise ValueError(f"engine {name!r} needs `{needed}`")
    if name == SERVED:
        object.__setattr__(scorer, "server", judging.server_of(scorer.server))
    if name == SEQ2SEQ:
        hub_weights.settle_precision(scorer, clip_weights.best_device())
    if scorer.back_revision is not None and scorer.back is None:
        raise ValueError("back_revision goes with `back`")


def there(scorer: Any, glossary: Glossary) -> Engine:
    """The engine of a settled scorer; a server's is told of the glossary."""
    server = scorer.server if isinstance(scorer.server, Server) else None
    name, model = scorer.engine, scorer.model
    chosen = Chosen(name, model, scorer.revision, scorer.precision, server, scorer.json)
    return _engine_of(chosen, glossary if name == SERVED else ())


def back(scorer: Any, glossary: Glossary) -> Engine:
    """The engine of the way back: the same one, if it isn't given a model of its own."""
    if scorer.back is None:
        return there(scorer, glossary)
    revision = scorer.back_revision
    return _engine_of(
        Chosen(scorer.engine, scorer.back, revision, scorer.precision, None, False), ()
    )


@lru_cache(maxsize=64)
def _engine_of(chosen: Chosen, glossary: Glossary) -> Engine:
    """One per process for equal parameters: programs and models live on."""
    if chosen.engine == APERTIUM:
        return Apertium()
    if chosen.engine == SHIPPED:
        return Shipped()
    if chosen.engine == SERVED:
        assert chosen.server is not None
        return served_translator.ServedTranslator(chosen.server, glossary, chosen.json)
    assert chosen.model is not None
    if chosen.engine == CTRANSLATE:
        return ctranslate.CTranslate.of(chosen.model, chosen.precision)
    return seq2seq.Seq2Seq.of(chosen.model, chosen.revision, chosen.precision)


def is_known(engine: Engine) -> bool:
    """Whether an engine's pairs are known here and now: a hub's model may not be here yet."""
    return bool(getattr(engine, "is_here", True))


def check(name: str, engine: Engine, pairs: Sequence[Direction]) -> None:
    """Raises ValueError for the first pair that an engine lacks."""
    for source, target in pairs:
        if not engine.supports(source, target):
            raise ValueError(lacks(name, engine, source, target))


def check_back(scorer: Any, engine: Engine, pairs: Sequence[Direction]) -> None:
    """Raises ValueError for the first pair that has no way back, and says what would be one."""
    for source, target in pairs:
        if engine.supports(target, source):
            continue
        told = lacks(scorer.engine, engine, target, source)
        if scorer.engine in MODELS:
            what = "is not a model of it" if scorer.back else "needs `back`, the model of it"
            raise ValueError(f"round_trip: the way back {what}: {told}")
        raise ValueError(f"round_trip: there is no way back: {told}")


def check_targets(name: str, engine: Engine, targets: Sequence[Language]) -> None:
    """Raises ValueError for languages into which an engine translates from no other."""
    lacking = [
        target.tag
        for target in targets
        if not any(engine.supports(source, target) for source in languages.known())
    ]
    if lacking:
        raise ValueError(f"{name} has no pair into {', '.join(lacking)}; it has {engine.pairs()}")


def lacks(name: str, engine: Engine, source: Language, target: Language) -> str:
    """That an engine has not a pair, and what it has."""
    return f"{name} has no {source.tag} to {target.tag}; it has {engine.pairs()}"


def digests(engine: Engine, pairs: Sequence[Direction]) -> Mapping[str, None]:
    """What names all that an engine has for these pairs, each once, in order."""
    return dict.fromkeys(sorted(engine.digest(one, other) for one, other in pairs))
