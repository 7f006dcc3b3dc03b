"""What a crawl costs: CPU milliseconds per page and peak memory, by the number of pages.

    python -m benchmarks.crawling [--pages 1000 20000] [--data FOLDER]

Crawls a made site from a server on this machine, which is not counted: pages of some 16 KB with 45
images each, every one linked to ten below it and to twenty that all pages name. At 1000 requests
a second the pace is no limit to speak of. What a process needs before its first page is taken off
the CPU time, not off the memory.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Cost, machine, measure, python, table

SERVER = """
import asyncio
from benchmarks.pages import made_page
HEAD = "HTTP/1.1 200 OK\\r\\nContent-Type: text/html\\r\\nContent-Length: %d\\r\\n\\r\\n"
MADE = [made_page(n).replace(b'"/part/', b'"/p/') for n in range(50)]
MADE = [page.replace(b'"/item/', b'"/f.pdf?') for page in MADE]
async def talk(reader, writer):
    try:
        while True:
            asked = (await reader.readuntil(b"\\r\\n\\r\\n")).split(b" ", 2)[1].decode()
            if not asked.startswith("/p/"):
                writer.write(b"HTTP/1.1 404 None\\r\\nContent-Length: 0\\r\\n\\r\\n")
                continue
            number = int(asked[3:])
            below = "".join(f'<a href="/p/{10 * number + n}">x</a>' for n in range(1, 11))
            body = MADE[number % 50] + f"<p>{number}{below}".encode()
            writer.write((HEAD % len(body)).encode() + body)
    except (OSError, asyncio.IncompleteReadError):
        writer.close()
async def main():
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
CRAWL = """
import sys
from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.crawl.crawler import crawl
from pipeline.fetch.options import FetchOptions
web = FetchOptions(
    per_host_per_second=1000, per_host_at_once=16, allow_hosts=frozenset({"127.0.0.1"})
)
options = CrawlOptions(start=(sys.argv[2],), depth=99, max_pages=int(sys.argv[3]), web=web)
print(crawl(sys.argv[1], options))
"""


@contextmanager
def serving() -> Iterator[int]:
    """The made site on loopback, in a process of its own; yields its port."""
    process = subprocess.Popen([python(), "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def crawled(folder: Path, port: int, count: int) -> Cost:
    url = f"http://127.0.0.1:{port}/p/0"
    cost = measure([python(), "-c", CRAWL, str(folder), url, str(count)])
    if f"{count} pages of {count} asked for" not in cost.output:
        raise RuntimeError(cost.output)
    return cost


def rows(data: Path, counts: Sequence[int]) -> Iterator[list[str]]:
    with serving() as port:
        base = crawled(data / "one", port, 1)
        for count in counts:
            cost = crawled(data / str(count), port, count)
            size = sum(path.stat().st_size for path in (data / str(count)).glob("*.warc.gz"))
            yield [
                f"{count:,}",
                f"{1000 * (cost.cpu_s - base.cpu_s) / count:.2f}",
                f"{count / (cost.wall_s - base.wall_s):.0f}",
                f"{cost.peak_bytes / 1e6:.0f}",
                f"{size / 1e6:.1f}",
            ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--data", type=Path, help="where crawls go; by default nothing is left")
    options = parser.parse_args()
    print(machine(), "\n")
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder)
        head = ["pages", "CPU ms per page", "pages per s", "peak MB", "WARC MB"]
        print(table(head, list(rows(data, options.pages))))


if __name__ == "__main__":
    main()
