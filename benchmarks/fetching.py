"""CPU, time and memory of ingesting a list of URLs, beside img2dataset called as it is.

    python -m benchmarks.fetching --data FOLDER [--count 20000]

Both fetch the same JPEGs of 700 px (0.4 Mpix, 65 kB) from nginx on this machine, which is not
counted, at 64 addresses of loopback, in one process. Once both make them 256 px long, JPEGs of
quality 95 with half the resolution of colour (which img2dataset leaves no choice of), once both
keep the bytes with their SHA-256; then the first again with a quarter as many of 1,400 px (1.5
Mpix). Both write webdataset tars. Beside that, `pairmill ingest` reads robots.txt and tdmrep.json,
checks every address and signal, keeps the pace of every site (here one that nobody reaches), stores
each answer until its shard is written, gives every row its key and a base row with the outcome, and
can be killed.
"""

import argparse
import os
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Cost, machine, measure, python, table
from benchmarks.pictures import make

PICTURES, THREADS, PER_SHARD, ADDRESSES = 4000, 32, 1000, 64
FEWER = 4  # of the large pictures
HOSTS = [f"127.0.0.{number + 1}" for number in range(ADDRESSES)]
NGINX = """\
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;
worker_rlimit_nofile 20000; events {{ worker_connections 16384; }}
http {{
  access_log off; types {{ image/jpeg jpg; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ {listen} root {root}; }}
}}
"""
RIVAL = f"""
import sys
from img2dataset import download
if __name__ == "__main__":
    download(
        url_list=sys.argv[1], input_format="parquet", url_col="url", caption_col="text",
        output_folder=sys.argv[2], output_format="webdataset", processes_count=1,
        thread_count={THREADS}, number_sample_per_shard={PER_SHARD}, compute_hash="sha256",
        retries=1, timeout=10, **{{options}}
    )
"""
STORES = {
    "256 px, quality 95": (
        "{max_side: 256, format: jpg, quality: 95, colour: half}",
        {"resize_mode": "keep_ratio_largest", "image_size": 256, "encode_quality": 95},
    ),
    "bytes as they came": ("{}", {"resize_mode": "no", "disable_all_reencoding": True}),
}
RESIZED = next(iter(STORES))
RECIPE = """\
sources:
  list:
    table: {table}
    url: url
    caption: text
    fetch:
      allow_hosts: [{hosts}]
      per_host_per_second: 100000
      per_host_at_once: 8
      store: {store}
ingest: {{rows_per_shard: {per_shard}}}
"""


@contextmanager
def serving(photos: Path, work: Path, hosts: Sequence[str] = HOSTS) -> Iterator[int]:
    """nginx over a folder at some addresses; yields its port."""
    with socket.socket() as free:
        free.bind((hosts[0], 0))
        port: int = free.getsockname()[1]
    folder = (work / "nginx").resolve()
    folder.mkdir()
    listen = " ".join(f"listen {host}:{port};" for host in hosts)
    (folder / "conf").write_text(NGINX.format(folder=folder, listen=listen, root=photos.resolve()))
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "error.log")]
    )
    try:
        for _ in range(100):
            with socket.socket() as asked:
                if not asked.connect_ex((hosts[-1], port)):
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def write_list(path: Path, photos: Path, count: int, port: int) -> None:
    """A table of `count` URLs of the pictures, each picture as often as it takes, and captions."""
    names = sorted(file.name for file in photos.glob("*.jpg"))
    chosen = [(names[n % len(names)], n // len(names)) for n in range(count)]
    urls = [
        f"http://{HOSTS[n % ADDRESSES]}:{port}/{name}?copy={copy}"
        for n, (name, copy) in enumerate(chosen)
    ]
    texts = [(photos / name).with_suffix(".txt").read_text() for name, _ in chosen]
    pq.write_table(pa.table({"url": urls, "text": texts}), path)


def run_ours(work: Path, urls: Path, name: str, kept: str) -> Cost:
    """`pairmill ingest` of the list, in one process."""
    recipe = work / f"{name}.yaml"
    words = {"table": urls, "hosts": ", ".join(HOSTS), "store": STORES[kept][0]}
    recipe.write_text(RECIPE.format(per_shard=PER_SHARD, **words))
    command = [python(), "-m", "pipeline", "ingest", str(recipe), "--out", str(work / name)]
    return measure([*command, "--engine", "local"])


def run_rival(work: Path, urls: Path, name: str, kept: str) -> Cost:
    """img2dataset's own `download`, with one process."""
    script = work / "rival.py"
    script.write_text(RIVAL.replace("{options}", repr(STORES[kept][1])))
    settings = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    return measure([python(), str(script), str(urls), str(work / name)], env=settings)


def rows(
    work: Path, photos: Path, count: int, stores: Sequence[str] = tuple(STORES)
) -> Iterator[list[str]]:
    """Both programs over `count` pictures; the cheapest of three starts is taken off."""
    os.makedirs(work)
    with serving(photos, work) as port:
        many, one = work / "many.parquet", work / "one.parquet"
        write_list(many, photos, count, port)
        write_list(one, photos, 1, port)
        programs = {"pairmill ingest": run_ours, "img2dataset": run_rival}
        for kept in stores:
            for name, run in programs.items():
                folder = f"{name}-{kept}".replace(" ", "-").replace(",", "")
                bases = [run(work, one, f"{folder}-one-{turn}", kept) for turn in range(3)]
                base = min(bases, key=lambda cost: cost.cpu_s)
                cost = run(work, many, f"{folder}-many", kept)
                cpu_s, wall_s = cost.cpu_s - base.cpu_s, cost.wall_s - base.wall_s
                yield [
                    photos.name,
                    kept,
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
    photos, large, work = (options.data / name for name in ("photos", "photos-2x", "fetching"))
    make(photos, PICTURES)
    make(large, PICTURES // FEWER, times=2)
    shutil.rmtree(work, ignore_errors=True)
    print(machine())
    print(f"\n{options.count} URLs of {PICTURES} JPEGs of 700 x 525, from nginx on loopback;")
    print(f"{options.count // FEWER} URLs of {PICTURES // FEWER} of 1400 x 1050\n", flush=True)
    head = [
        "pictures",
        "what is kept",
        "what",
        "CPU ms per image",
        "images per s",
        "peak MB",
        "start-up CPU s (taken off)",
    ]
    found = list(rows(work / "small", photos, options.count))
    found += rows(work / "large", large, options.count // FEWER, [RESIZED])
    print(table(head, found))


if __name__ == "__main__":
    main()
