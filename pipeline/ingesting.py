"""The stages that make a pool: crawl where the recipe says so, survey, and write or fetch."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline import ingest, pool, retry_record, storage
from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.fetch.pace import Past
from pipeline.fetch.told import Told
from pipeline.places import crawl_folder, refuse_foreign_pool, requests_folder
from pipeline.pool import Pool
from pipeline.recipe import Recipe
from pipeline.recipe_pages import CrawlSource
from pipeline.sources.of_recipe import (
    all_units,
    check_authorities,
    crawl_options,
    make_sources,
    stores_of,
)

if TYPE_CHECKING:
    from pipeline.build import Build

_LONGEST_PAUSE_S = 60.0  # behind a crawl, whatever a site asks for
_LOGGER = logging.getLogger(__name__)


def make_pool(build: "Build") -> Pool:
    """The pool of a recipe's sources, from what of it is there."""
    root, recipe = build.root, build.recipe
    refuse_foreign_pool(root)
    check_authorities(recipe)
    _crawl(build)
    sources = make_sources(recipe, root)
    units = all_units(recipe, sources)
    sizes = recipe.ingest.rows_per_shard, recipe.ingest.max_pixels
    plan = ingest.plan_digest(build.sources_digest, units, *sizes)
    job = ingest.IngestJob(root, plan, sources, *sizes, stores_of(recipe))
    build.stage(
        "survey",
        partial(ingest.survey_unit, job=job),
        [(f"{number:06d}", (number, unit)) for number, unit in enumerate(units)],
        lambda task: ingest.is_surveyed(job, *task) or build.has_index(),
    )
    writes = ingest.plan_writes(job, units)
    build.stage(
        "ingest",
        partial(ingest.write_task, job=job),
        [(task.label, task) for task in writes],
        lambda task: all(pool.finished_shard(root, n, task.plan) for n in task.shards),
    )
    made = ingest.finish(job, build.sources_digest, writes, ingest.inputs_digest(units))
    pool.pack_base(made)
    return made


def _crawl(build: "Build") -> None:
    """Crawl for the sources that begin with it: in one task, as their sites may be the same."""
    options = _crawls(build.recipe, build.root)
    if options:
        build.stage(
            "crawl",
            partial(crawl_all, root=build.root),
            [("pages", options)],
            lambda jobs: all(_is_crawled(folder, options) for folder, options in jobs),
        )


def _crawls(recipe: Recipe, root: str) -> list[tuple[str, CrawlOptions]]:
    return [
        (crawl_folder(root, name), crawl_options(name, section, recipe))
        for name, section in recipe.sources.items()
        if isinstance(section, CrawlSource)
    ]


def _all_crawled(build: "Build") -> bool:
    return all(_is_crawled(*one) for one in _crawls(build.recipe, build.root))


def _is_crawled(folder: str, options: CrawlOptions) -> bool:
    from pipeline.crawl.crawl_record import finished

    return finished(folder, options.digest) is not None


def crawl_all(jobs: Sequence[tuple[str, CrawlOptions]], root: str) -> dict[str, Any]:
    """Crawl into each folder; returns counts for the ledger."""
    from pipeline.crawl.crawler import crawl
    from pipeline.web_ingest import alone

    asked = pages = 0
    past: dict[str, Past] = {}
    with alone("crawl", root):
        for folder, options in jobs:
            name = folder.rpartition("/")[2]
            local = storage.is_local(root)
            journal = None if local else storage.join(requests_folder(root), f"{name}.spool")
            tell = Told(f"crawl of {name}", "pages").tell
            stats = crawl(folder, options, tell, journal=journal, past=past)
            asked, pages = asked + stats.asked, pages + stats.pages
    # Who fetches the images may be another process, to which these pages count as well.
    until = max((one.until for one in past.values()), default=0.0)
    time.sleep(min(max(until - time.monotonic(), 0.0), _LONGEST_PAUSE_S))
    return {"asked": asked, "pages": pages}


def finish_ready(build: "Build", ready: Pool) -> None:
    """What a kill just behind the index left undone; and a word when the sources have grown."""
    pool.pack_base(ready)
    names = {shard.name for shard in ready.shards}
    if build.part.count == 1 and not retry_record.is_unfinished(build.root, names):
        storage.remove(retry_record.work_folder(build.root))
    if not build.reads_sources or not _all_crawled(build):  # a crawl may have been erased
        return
    units = all_units(build.recipe, make_sources(build.recipe, build.root))
    if ingest.inputs_digest(units) != ready.inputs:
        _LOGGER.warning(
            "the sources have changed since the pool was made; it stays as it is:"
            " give another --out to ingest them anew"
        )
