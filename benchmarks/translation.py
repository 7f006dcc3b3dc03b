"""Translators against people's translations of captions, and what flags see of planted faults.

    python -m benchmarks.translation --data DIR [engines|speed|flags]

`DIR` is that of `benchmarks.embedded`, with the captions of tuxpaint-stamps-default. `engines`
gives chrF per direction, `speed` captions a second of Apertium beside the same programs fed by
`cat`, `flags` how often each flag speaks of people's translations, and of those made wrong. Limits
of `round_trip` and `similar` are set on one half of the captions, by their picture's name, for a
stated share of false positives; the other half is what is told.
"""

import argparse
import hashlib
import os
import re
import resource
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.measure import table
from filters import embedded
from recaption import translation_flags
from recaption.apertium import Apertium, _sent, installed
from recaption.chrf import chrf, corpus_chrf
from recaption.engines import Engine, Translation
from recaption.languages import language
from recaption.shipped_translator import Shipped
from recaption.translation_flags import CHECKS, Pair

STAMPS = "deb/tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
CODES = {
    "es": "es",
    "ca": "ca",
    "pt-BR": "pt_BR",
    "de": "de",
    "fr": "fr",
    "it": "it",
    "zh": "zh_CN",
}
DIRECTIONS: tuple[tuple[str, str, Callable[[], Engine]], ...] = (
    ("en", "es", Apertium),
    ("en", "ca", Apertium),
    ("es", "en", Apertium),
    ("ca", "en", Apertium),
    ("en", "pt-BR", Shipped),
    ("pt-BR", "en", Shipped),
)
FALSE_POSITIVES = 0.05
ROUNDS = 5


class Stamp(NamedTuple):
    """A picture's caption by language, and the half of the captions that it is in."""

    name: str
    captions: dict[str, str]

    @property
    def is_test(self) -> bool:
        return hashlib.blake2b(self.name.encode()).digest()[0] % 2 == 1


def read_stamps(data: Path) -> list[Stamp]:
    """The captions, each once in English."""
    found: dict[str, Stamp] = {}
    for path in sorted((data / STAMPS).rglob("*.txt")):
        lines = path.read_text("utf-8", "replace").splitlines()
        if not lines or not lines[0].strip():
            continue
        told = dict(line.split(".utf8=", 1) for line in lines[1:] if ".utf8=" in line)
        captions = {tag: told[code].strip() for tag, code in CODES.items() if told.get(code)}
        captions["en"] = lines[0].strip()
        found.setdefault(captions["en"], Stamp(path.stem, captions))
    return list(found.values())


def translate(engine: Engine, texts: Sequence[str], source: str, target: str) -> list[str]:
    found = engine.translate(texts, language(source), language(target))
    return [one.text if isinstance(one, Translation) else "" for one in found]


# Engines


def engines(stamps: Sequence[Stamp]) -> None:
    """chrF of each direction, that of the source itself beside it, and the cost."""
    rows = []
    for source, target, make in DIRECTIONS:
        pairs = [
            (s.captions[source], s.captions[target])
            for s in stamps
            if {source, target} <= s.captions.keys()
        ]
        texts, wanted = map(list, zip(*pairs, strict=True))
        engine = make()
        translate(engine, texts[:50], source, target)  # programs start, models load
        before = _cpu_s()
        found = translate(engine, texts, source, target)
        if isinstance(engine, Apertium):
            engine.close()  # a child's time is known when it has ended
        cost = (_cpu_s() - before) / len(texts) * 1000
        exact = sum(f.casefold() == w.casefold() for f, w in zip(found, wanted, strict=True))
        rows.append(
            (
                f"{source} to {target}, {type(engine).__name__.lower()}",
                f"{len(texts)}",
                f"{corpus_chrf(texts, wanted):.1f}",
                f"{corpus_chrf(found, wanted):.1f}",
                f"{exact / len(texts):.0%}",
                f"{cost:.2f}",
            )
        )
    print(table(("direction", "captions", "chrF, copied", "chrF", "equal", "CPU ms"), rows))


def _cpu_s() -> float:
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


# Speed


def speed(stamps: Sequence[Stamp]) -> None:
    """Captions a second, and the ratio to the programs alone; the best of some rounds of each."""
    rows = []
    for source, target in (("en", "es"), ("en", "ca"), ("es", "en")):
        texts = [s.captions[source] for s in stamps if source in s.captions] * 5
        engine = Apertium()
        translate(engine, texts, source, target)
        mode = f"{language(source).apertium}-{language(target).apertium}"
        data = b"".join(_sent(text) + b"\0" for text in texts)
        ours, bare = [], []
        for _ in range(ROUNDS):
            ours.append(_wall_s(partial(translate, engine, texts, source, target)))
            bare.append(_wall_s(partial(_bare, mode, data)))
        engine.close()
        rates = len(texts) / min(ours), len(texts) / min(bare)
        rows.append((mode, *(f"{rate:.0f}" for rate in rates), f"{rates[0] / rates[1]:.2f}"))
    print(f"load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores\n")
    print(table(("pair", "captions/s", "bare pipe", "ratio"), rows))


def _wall_s(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _bare(mode: str, data: bytes) -> None:
    """The mode's own line of programs, text in and out."""
    parts = installed()[mode].read_text().replace("$1", "-g").replace("$2", "").split("|")
    words = [shlex.split(part) for part in parts if part.strip()]
    line = " | ".join(shlex.join([one[0], "-z", *one[1:]]) for one in words)
    subprocess.run(["sh", "-c", line], input=data, stdout=subprocess.DEVNULL, check=True)


# Flags


FAULTS = ("negation", "number", "copy", "sense", "dropped word")
_NOT = re.compile(
    r"\b(no|sin|não|sem|sense|ohne|nicht|kein\w*|pas|sans|non|senza)\b ?|n'(?=\w)", re.I
)


def faulty(fault: str, pair: Pair, other: Pair) -> str | None:
    """The translation with a fault; None where the text has nothing to make it of."""
    text = pair.target
    if fault == "copy":
        return pair.source
    if fault == "sense":  # of another picture, as a model that has lost the thread
        return other.target
    if fault == "dropped word":
        words = text.split()
        longest = max(words, key=len, default="")
        return " ".join(w for w in words if w != longest) if len(words) > 2 else None
    if fault == "negation":
        found = _NOT.sub("", text, count=1)
        return found if found != text else None
    digits = re.search(r"\d", text)
    if digits is None:
        return None
    return f"{text[: digits.start()]}{(int(digits[0]) + 3) % 10}{text[digits.end() :]}"


SAID = (
    ("There are no dogs in the park.", "No hay perros en el parque.", "Não há cães no parque."),
    ("A street without cars.", "Una calle sin coches.", "Uma rua sem carros."),
    ("The door is not open.", "La puerta no está abierta.", "A porta não está aberta."),
    ("A man with no hat.", "Un hombre sin sombrero.", "Um homem sem chapéu."),
    ("The bridge isn't finished.", "El puente no está terminado.", "A ponte não está terminada."),
    ("Nobody is on the beach.", "No hay nadie en la playa.", "Não há ninguém na praia."),
    ("The dog does not run.", "El perro no corre.", "O cachorro não corre."),
    (
        "A tree without leaves in winter.",
        "Un árbol sin hojas en invierno.",
        "Uma árvore sem folhas no inverno.",
    ),
    ("A coffee without sugar.", "Un café sin azúcar.", "Um café sem açúcar."),
    ("This is not a pipe.", "Esto no es una pipa.", "Isto não é um cachimbo."),
    ("Opened in 1984.", "Inaugurado en 1984.", "Inaugurado em 1984."),
    ("Room 12 of the hotel.", "Habitación 12 del hotel.", "Quarto 12 do hotel."),
    ("A plane at 3,000 metres.", "Un avión a 3.000 metros.", "Um avião a 3.000 metros."),
    ("Bus line 45 at night.", "La línea 45 del autobús de noche.", "A linha 45 do ônibus à noite."),
    (
        "The temple was built in 1350.",
        "El templo fue construido en 1350.",
        "O templo foi construído em 1350.",
    ),
    ("A 5 euro note.", "Un billete de 5 euros.", "Uma nota de 5 euros."),
    ("Highway 66 in the desert.", "La carretera 66 en el desierto.", "A estrada 66 no deserto."),
    ("Player number 10.", "El jugador número 10.", "O jogador número 10."),
    ("A 19th century house.", "Una casa del siglo 19.", "Uma casa do século 19."),
    ("Photo 7 of 20.", "Foto 7 de 20.", "Foto 7 de 20."),
)
"""Captions with negations and numbers, of which the stamps have few; translated by hand."""


def human(stamps: Sequence[Stamp], tag: str, is_test: bool) -> Iterator[Pair]:
    en, other = language("en"), language(tag)
    for stamp in stamps:
        if tag in stamp.captions and stamp.is_test == is_test:
            yield Pair(stamp.captions["en"], stamp.captions[tag], en, other)
    place = {"es": 1, "pt-BR": 2}.get(tag)
    for number, said in enumerate(SAID):
        if place is not None and number % 2 == is_test:
            yield Pair(said[0], said[place], en, other)


def alarms(stamps: Sequence[Stamp]) -> None:
    """How many of people's translations each flag speaks of, by language."""
    names = [*CHECKS, "any"]
    rows = []
    for tag in CODES:
        pairs = list(human(stamps, tag, True))
        found = [translation_flags.flags(pair) for pair in pairs]
        counts = [sum(name in flags for flags in found) for name in CHECKS]
        counts.append(sum(map(bool, found)))
        rows.append((tag, f"{len(pairs)}", *(f"{c / len(pairs):.1%}" for c in counts)))
    print("Flags of people's translations from English\n")
    print(table(("language", "captions", *names), rows))


def planted(stamps: Sequence[Stamp], tag: str, engine: Engine) -> None:
    """What each flag sees of each fault, and AUC of the two that are numbers."""
    learnt, tested = (list(human(stamps, tag, is_test)) for is_test in (False, True))
    scores = {"round_trip": _round_trip(engine, tag), "dissimilar": _similarity}
    limits, good = {}, {}
    for name, score in scores.items():
        known = sorted(score(learnt))
        limits[name] = known[int(FALSE_POSITIVES * len(known))]
        good[name] = score(tested)
    rows = []
    for fault in FAULTS:
        made = [
            (pair, pair._replace(target=wrong))
            for place, pair in enumerate(tested)
            if (wrong := faulty(fault, pair, tested[(place + 7) % len(tested)])) is not None
            and wrong != pair.target
        ]
        bad = [wrong for _, wrong in made]
        by_rule = [translation_flags.flags(pair) for pair in bad]
        best = {name for flags in by_rule for name in flags}
        seen = {n: sum(n in flags for flags in by_rule) / len(bad) for n in sorted(best)}
        told = ", ".join(f"{n} {share:.0%}" for n, share in seen.items() if share >= 0.05)
        cells = [fault, f"{len(bad)}", told or "none"]
        for name, score in scores.items():
            values = score(bad)
            recall = sum(value < limits[name] for value in values) / len(bad)
            cells.append(f"{_auc(values, good[name]):.2f} / {recall:.0%}")
        rows.append(cells)
    told = ", ".join(
        f"{n} below {limits[n]:.2f}: {sum(v < limits[n] for v in good[n]) / len(good[n]):.1%}"
        for n in scores
    )
    print(f"\nFaults in en to {tag} by people; false positives on the other half: {told}\n")
    head = (
        "fault",
        "captions",
        "recall of rules",
        "round trip AUC / recall",
        "cosine AUC / recall",
    )
    print(table(head, rows))


def _round_trip(engine: Engine, tag: str) -> Callable[[Sequence[Pair]], list[float]]:
    def score(pairs: Sequence[Pair]) -> list[float]:
        back = translate(engine, [pair.target for pair in pairs], tag, "en")
        return [chrf(found, pair.source) for found, pair in zip(back, pairs, strict=True)]

    return score


def _similarity(pairs: Sequence[Pair]) -> list[float]:
    one = embedded.sentence_features([pair.source for pair in pairs])
    other = embedded.sentence_features([pair.target for pair in pairs])
    return [float(value) for value in (one * other).sum(axis=1)]


def _auc(bad: Sequence[float], good: Sequence[float]) -> float:
    """How often a good one has more than a bad one; a tie is half."""
    wins = sum((g > b) + 0.5 * (g == b) for b in bad for g in good)
    return wins / (len(bad) * len(good))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("part", nargs="?", choices=("engines", "speed", "flags"))
    options = parser.parse_args()
    stamps = read_stamps(options.data)
    if options.part in (None, "engines"):
        engines(stamps)
    if options.part in (None, "speed"):
        speed(stamps)
    if options.part in (None, "flags"):
        alarms(stamps)
        planted(stamps, "es", Apertium())
        planted(stamps, "pt-BR", Shipped())


if __name__ == "__main__":
    main()
