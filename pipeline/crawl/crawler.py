"""A bounded and polite crawl from start URLs to WARC files: breadth first, the same for the same
answers whenever they come, and going on after a kill with what had been answered.

Everything is asked for through `pipeline.fetch.door`, with its manners, deadlines and safety.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline import storage
from pipeline.crawl import crawl_record
from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.crawl.crawl_record import CrawlStats, PageTable
from pipeline.crawl.frontier import Frontier, Wish, canonical
from pipeline.crawl.outlinks import outlinks
from pipeline.crawl.warc_writer import WarcWriter
from pipeline.errors import CurationError
from pipeline.fetch.door import Door, opened
from pipeline.fetch.engine import Progress
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Outcome
from pipeline.fetch.pace import Past
from pipeline.fetch.resolver import Lookup
from pipeline.fetch.signals import may_follow
from pipeline.fetch.sites import site_of
from pipeline.fetch.spool import Spool

# Why a page that was answered is not kept; the other reasons are those of the fetcher.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "same_page": "redirected to a page that is there already",
        "out_of_bounds": "redirected to a page that the options leave out",
        "http_status": "an answer of another status than 200",
    }
)
_JOURNAL = "answers.spool"
_MOST_TOGETHER = 100  # pages of a site in one call of the door, whose time for a host is limited
_LOGGER = logging.getLogger(__name__)
Tell = Callable[[Progress], None]


def crawl(
    folder: str,
    options: CrawlOptions,
    progress: Tell | None = None,
    *,
    journal: str | None = None,
    lookup: Lookup | None = None,
    past: dict[str, Past] | None = None,
) -> CrawlStats:
    """Crawl into a folder: `pages-*.warc.gz`, `pages.parquet` and at last `done.json`.

    What is done is not done again, and a crawl that was killed goes on: an answer that had been
    stored is not asked for again. With other options than before everything begins anew. Raises
    CurationError when no contact is named for hosts that are not allowed by name, and BusyBuild
    when another process crawls into this folder.

    `journal` is the local file of the answers until all are there, needed for a folder in an object
    store; `lookup` stands in for the system's names; `past` is as for `opened`.
    """
    if journal is None and not storage.is_local(folder):
        raise CurationError(f"{folder}: is no local folder, so a crawl needs a local journal")
    journal = journal or storage.join(storage.local(folder), _JOURNAL)
    with storage.lock(folder):
        storage.sweep(folder)
        stats = crawl_record.finished(folder, options.digest)
        if stats is not None:
            storage.remove(journal)
            return stats
        if crawl_record.begin(folder, options.digest):
            _LOGGER.warning("%s: held a crawl with other options, which begins anew", folder)
        spool = Spool(journal, options.digest)
        try:
            with opened(options.for_pages, lookup, past) as door:
                stats = _crawled(folder, options, _Asking(door, spool, progress))
        finally:
            spool.close()
        crawl_record.finish(folder, options.digest, stats)
        storage.remove(journal)
    _LOGGER.info("%s: %s", folder, stats)
    return stats


def _crawled(folder: str, options: CrawlOptions, asking: "_Asking") -> CrawlStats:
    with PageTable(folder) as table, WarcWriter(folder, options.for_pages.user_agent) as archive:
        run = _Run(options, Frontier(options), table, archive)
        level, depth = run.frontier.start(), 0
        while level:
            following: list[Wish] = []
            for wish, outcome in asking.answers(level):
                following += run.settle(wish, outcome, depth)
            _LOGGER.info("%s: depth %d: %d pages asked for", folder, depth, len(level))
            level, depth = following, depth + 1
    return CrawlStats(
        asked=run.frontier.asked,
        pages=run.pages,
        hosts=len(run.frontier.pages),
        failed=dict(sorted(run.failed.items())),
        left_out=dict(sorted(run.frontier.cut.items())),
        files=archive.files,
    )


@dataclass(slots=True)
class _Asking:
    """Gets answers, from the journal or else the web; not frozen, because it counts them."""

    door: Door
    spool: Spool
    progress: Tell | None
    answered: int = 0

    def answers(self, level: Sequence[Wish]) -> Iterator[tuple[Wish, Outcome]]:
        """The outcome of every page of a level, in its order.

        An answer is stored as soon as it comes, and nothing else is done meanwhile.
        """
        missing = [wish.url for wish in level if wish.url not in self.spool]
        total, at = self.answered + len(level), 0
        self.answered += len(level) - len(missing)
        for urls in together(missing, self.door.web.options):
            for number, outcome in self.door.fetched(urls, self._tell(total)):
                self.spool.put(urls[number], outcome)
            self.answered += len(urls)
            while at < len(level) and (known := self.spool.get(level[at].url)) is not None:
                yield level[at], known
                at += 1
        for wish in level[at:]:
            known = self.spool.get(wish.url)
            assert known is not None, wish.url
            yield wish, known

    def _tell(self, total: int) -> Tell | None:
        tell, before = self.progress, self.answered
        if tell is None:
            return None
        return lambda now: tell(Progress(before + now.done, total, now.waiting))


def together(urls: Sequence[str], web: FetchOptions) -> Iterator[list[str]]:
    """URLs in calls of the door, in order: of a site no more than there surely is time for."""
    most = max(1, min(_MOST_TOGETHER, int(web.shard_s * web.per_host_per_second / 2)))
    counts: Counter[str] = Counter()
    calls: list[list[str]] = []
    for url in urls:
        site = site_of(canonical(url, web).host)
        number = counts[site] // most
        counts[site] += 1
        if number == len(calls):
            calls.append([])
        calls[number].append(url)
    yield from calls


@dataclass(slots=True)
class _Run:
    """Settles pages one after the other; not frozen, because what is known of them grows."""

    options: CrawlOptions
    frontier: Frontier
    table: PageTable
    archive: WarcWriter
    pages: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    _here: set[str] = field(default_factory=set)  # final URLs of pages that are kept

    def settle(self, wish: Wish, outcome: Outcome, depth: int) -> list[Wish]:
        """Write down what became of a page, and give those of its links that are to be asked."""
        refused = self._refusal(wish, outcome)
        file, offset, links = None, None, None
        following: list[Wish] = []
        if refused is None:
            assert outcome.final_url is not None
            file, offset = self.archive.write(outcome)
            self.pages += 1
            if may_follow(outcome.signals, self.options.for_pages):
                links = _links(outcome)
                page = outcome.final_url
                following = list(self.frontier.follow(links, page, depth + 1))
        else:
            self.failed[refused[0]] += 1
        failed, detail, retriable = refused or (None, None, None)
        self.table.add(
            **wish._asdict(),
            final_url=outcome.final_url,
            depth=depth,
            status=outcome.status,
            failed=failed,
            detail=detail,
            retriable=retriable,
            file=file,
            offset=offset,
            links=None if links is None else len(links),
            signals=crawl_record.signals_json(outcome.signals),
            fetched_at=outcome.date,
        )
        return following

    def _refusal(self, wish: Wish, outcome: Outcome) -> tuple[str, str | None, bool | None] | None:
        """Why an outcome gives no page: reason, detail, whether to try again; None if it does."""
        if outcome.data is None:
            assert outcome.failed is not None
            return outcome.failed, outcome.detail, outcome.retriable
        if outcome.status != 200:
            return "http_status", f"status {outcome.status}", False
        assert outcome.final_url is not None
        target = canonical(outcome.final_url, self.options.for_pages)
        self.frontier.know(outcome.redirects)
        why = self.frontier.arrived(wish, target)
        if why is not None:
            return "out_of_bounds", f"{why}: {target.url}", False
        if target.url in self._here:
            return "same_page", target.url, False
        self._here.add(target.url)
        return None


def _links(outcome: Outcome) -> list[str]:
    named = {name.lower(): value for name, value in outcome.headers}
    return outlinks(
        outcome.data or b"", outcome.final_url or "", outcome.content_type, named.get("refresh")
    )
