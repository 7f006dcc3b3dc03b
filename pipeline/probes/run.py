"""`pairmill probe`: find the score, ask every question, write `probe.json` and `probe.html`.

Files of data sets are read before the scorer is asked for anything. The same scorer and questions
give the same bytes of `probe.json`.
"""

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pipeline import storage
from pipeline.manifest import versions
from pipeline.probes.classes import BabelFiles, babel_probe, classification_probe
from pipeline.probes.config import Babel, ProbesConfig, load_probes
from pipeline.probes.drawn import DRAWN
from pipeline.probes.fitted import pairs_of
from pipeline.probes.judge import Judge
from pipeline.probes.measuring import Outcome, ask, everything
from pipeline.probes.page import probe_page
from pipeline.probes.probe import Probe
from pipeline.probes.published import pairs_probe, sugarcrepe_probe, svo_probe, winoground_probe
from pipeline.probes.subject import Named, Subject, find_subject
from pipeline.probes.summary import notices

_LOG = logging.getLogger(__name__)
VERSION = 1  # of the questions; raise it when drawn pictures or captions change
PAGE, RECORD = "probe.html", "probe.json"
Ready = Callable[[], Probe]


def probe_score(named: Named, questions: str | None, out: str) -> tuple[Subject, list[Outcome]]:
    """Ask a score what a file of questions says, and write page and record to `out`."""
    config = load_probes(questions)
    root = storage.join(out, "work", "probe")
    subject = find_subject(named, root)
    ready = [*_drawn(config), *_published(config)]
    with storage.lock(out):
        probes = [make() for make in ready]
        judge = Judge(subject, root, lowest=config.lowest)
        try:
            judge.fit(pairs_of(probes))
            judge.learn(*everything(probes))
            outcomes = [_asked(probe, judge) for probe in probes]
        finally:
            judge.clear()
        record = _record(subject, config, judge, outcomes)
        storage.write_json(storage.join(out, RECORD), record)
        page = probe_page(record, outcomes, notices(record, outcomes))
        storage.write_atomic(storage.join(out, PAGE), page.encode())
    return subject, outcomes


def _asked(probe: Probe, judge: Judge) -> Outcome:
    outcome = ask(probe, judge)
    _LOG.info("%s: %s questions", probe.name, f"{outcome.asked:,}")
    return outcome


def _record(
    subject: Subject, config: ProbesConfig, judge: Judge, outcomes: list[Outcome]
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "scorer": subject.identity(),
        "better": "low" if config.lowest else "high",
        "scored_by": judge.way,
        "fitted": judge.fitted,
        "limit": config.limit,
        "no_value": judge.reasons,
        "versions": versions(),
        "probes": [outcome.json() for outcome in outcomes],
    }


def _drawn(config: ProbesConfig) -> Iterator[Ready]:
    for name, make in DRAWN.items():
        if config.drawn is None or name in config.drawn:
            yield partial(make, config.limit)


def _published(config: ProbesConfig) -> Iterator[Ready]:
    """The probes over data sets; a path that is not there is an error of the configuration."""

    def there(section: str, key: str, path: str, *names: str, is_file: bool = False) -> str:
        found = config.resolve(path)
        if not (os.path.isfile(found) if is_file else os.path.isdir(found)):
            what = "file" if is_file else "folder"
            raise config.error(f"{found}: there is no such {what}", section, *names, key)
        return found

    few = config.limit
    if (wino := config.winoground) is not None:
        folder = there("winoground", "folder", wino.folder)
        images = wino.images if wino.images is not None else os.path.join(folder, "images")
        yield partial(winoground_probe, folder, there("winoground", "images", images), few)
    if (crepe := config.sugarcrepe) is not None:
        folder = there("sugarcrepe", "folder", crepe.folder)
        yield partial(sugarcrepe_probe, folder, there("sugarcrepe", "images", crepe.images), few)
    if (svo := config.svo) is not None:
        file = there("svo", "file", svo.file, is_file=True)
        yield partial(svo_probe, file, there("svo", "images", svo.images), few)
    for name, one in config.pairs.items():
        file = there("pairs", "file", one.file, name, is_file=True)
        yield partial(pairs_probe, name, file, there("pairs", "images", one.images, name), few)
    if (babel := config.babel_imagenet) is not None:
        yield partial(babel_probe, _babel_files(babel, there), few)
    for name, own in config.classification.items():
        folder = there("classification", "folder", own.folder, name)
        yield partial(classification_probe, name, folder, own.split, few)


def _babel_files(babel: Babel, there: Callable[..., str]) -> BabelFiles:
    def optional(key: str, path: str | None) -> str | None:
        return None if path is None else there("babel_imagenet", key, path, is_file=True)

    return BabelFiles(
        labels=there("babel_imagenet", "labels", babel.labels, is_file=True),
        images=there("babel_imagenet", "images", babel.images),
        classes=optional("classes", babel.classes),
        prompts=optional("prompts", babel.prompts),
        languages=babel.languages,
        images_per_class=babel.images_per_class,
    )
