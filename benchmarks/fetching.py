"""CPU, time and memory of ingesting a list of URLs, beside img2dataset called as it is.

    python -m benchmarks.fetching --data FOLDER [--count 20000]

Both fetch the same JPEGs of 700 px from a server on this machine, which is not counted, with 32
threads in one process, keep the bytes as they came with their SHA-256, and write webdataset tars.
Beside that, `pairmill ingest` checks every address, reads the header of every image, gives every
row its key and a base row, and can be killed.
"""

import argparse
import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Cost, machine, measure, python, table
from benchmarks.pictures import make

PICTURES, THREADS, PER_SHARD = 4000, 32, 1000
SERVER = """
import functools, http.server, socketserver, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 256
with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=sys.argv[1])) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""
RIVAL = f"""
import sys
from img2dataset import download
if __name__ == "__main__":
    download(
        url_list=sys.argv[1], input_format="parquet", url_col="url", caption_col="text",
        output_folder=sys.argv[2], output_format="webdataset", processes_count=1,
        thread_count={THREADS}, number_sample_per_shard={PER_SHARD}, resize_mode="no",
        disable_all_reencoding=True, compute_hash="sha256", retries=1, timeout=10,
    )
"""
RECIPE = """\
sources:
  list:
    table: {table}
    url: url
    caption: text
    fetch: {{threads: {threads}, allow_hosts: ["127.0.0.1"]}}
ingest: {{rows_per_shard: {per_shard}}}
"""


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A server of the files of a folder on loopback, in a process of its own; yields its port."""
    process = subprocess.Popen(
        [python(), "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def write_list(path: Path, photos: Path, count: int, port: int) -> None:
    """A table of `count` URLs of the pictures, each picture as often as it takes, and captions."""
    names = sorted(file.name for file in photos.glob("*.jpg"))
    chosen = [(names[n % len(names)], n // len(names)) for n in range(count)]
    urls = [f"http://127.0.0.1:{port}/{name}?copy={copy}" for name, copy in chosen]
    texts = [(photos / name).with_suffix(".txt").read_text() for name, _ in chosen]
    pq.write_table(pa.table({"url": urls, "text": texts}), path)


def run_ours(work: Path, urls: Path, name: str) -> Cost:
    """`pairmill ingest` of the list, in one process."""
    recipe = work / f"{name}.yaml"
    recipe.write_text(RECIPE.format(table=urls, threads=THREADS, per_shard=PER_SHARD))
    command = [python(), "-m", "pipeline", "ingest", str(recipe), "--out", str(work / name)]
    return measure([*command, "--engine", "local"])


def run_rival(work: Path, urls: Path, name: str) -> Cost:
    """img2dataset's own `download`, with one process."""
    script = work / "rival.py"
    script.write_text(RIVAL)
    settings = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    return measure([python(), str(script), str(urls), str(work / name)], env=settings)


def rows(work: Path, photos: Path, count: int) -> Iterator[list[str]]:
    """Both programs over `count` pictures; the cheapest of three starts is taken off."""
    with serving(photos) as port:
        many, one = work / "many.parquet", work / "one.parquet"
        write_list(many, photos, count, port)
        write_list(one, photos, 1, port)
        programs = {"pairmill ingest": run_ours, "img2dataset": run_rival}
        for name, run in programs.items():
            bases = [run(work, one, f"{name}-one-{turn}") for turn in range(3)]
            base = min(bases, key=lambda cost: cost.cpu_s)
            cost = run(work, many, f"{name}-many")
            cpu_s, wall_s = cost.cpu_s - base.cpu_s, cost.wall_s - base.wall_s
            yield [
                name,
                f"{1000 * cpu_s / count:.2f}",
                f"{count / wall_s:.0f}",
                f"{cost.peak_bytes / 1e6:.0f}",
                f"{base.cpu_s:.1f}",
            ]


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""))
    parser.add_argument("--data", type=Path, required=True, help="where pictures and pools go")
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    photos, work = options.data / "photos", options.data / "fetching"
    make(photos, PICTURES)
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    print(machine())
    print(f"\n{options.count} URLs of {PICTURES} JPEGs of 700 x 525, from a server on loopback\n")
    head = ["what", "CPU ms per image", "images per s", "peak MB", "start-up CPU s (taken off)"]
    print(table(head, list(rows(work, photos, options.count))))


if __name__ == "__main__":
    main()
