"""Prints what captioning costs beside the model: locally, asking a server, and from the cache.

    python -m benchmarks.captioning [--only local|served|build|stored] [--requests 5000]
        [--latency 0.5] [--rounds 5]

local: tokens per CPU second of the captioner beside a bare loop of `generate`, with the same
model of random weights (a LLaVA of 8 layers, 512 wide), pictures and batches, on one thread each;
rounds take turns, medians count. served: a server on loopback, in a process of its own, with 64
slots and an answer after 0.5 s, give or take 40 %, counts how busy its slots are from the first
request to the last answer. build: the same for whole builds with one worker, over as many pictures,
in shards of a thousand and in one; then once more, when all answers are stored. stored: how many
answers a second come from the cache.
"""

import argparse
import asyncio
import importlib
import json
import multiprocessing
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from benchmarks.decoding import made_up
from benchmarks.measure import machine, measure, table
from filters import served
from filters.hub_weights import Source
from filters.served import Answer, Request, Server
from filters.served_cache import FILE, Store
from recaption import families
from recaption.captioner import Captioner

BATCH, NEW_TOKENS, PICTURES = 8, 32, 16
SLOTS, SPREAD = 64, 0.4
AT_ONCE = SLOTS + SLOTS // 4
SIZE = 512, 384
RECIPE = """\
sources: {{photos: {{folder: photos/}}}}
ingest: {{rows_per_shard: {rows}}}
score:
  told:
    scorer: captioner
    max_side: 512
    server: {{endpoints: ['{url}'], model: tiny, kind: openai, concurrency: {at_once}}}
"""
HITS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("local", "served", "build", "stored"))
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds of an answer")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    parts: dict[str, Callable[[], str]] = {
        "local": lambda: _local(options.rounds),
        "served": lambda: _served(options.requests, options.latency),
        "build": lambda: _builds(options.requests, options.latency),
        "stored": _stored,
    }
    for name, part in parts.items():
        if options.only in (None, name):
            print(f"\n{name}\n\n{part()}")


def _pictures(count: int, size: tuple[int, int, int]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, np.uint8) for _ in range(count)]


# Local


def _local(rounds: int) -> str:
    import torch

    torch.set_num_threads(1)
    pictures = _pictures(PICTURES, (336, 336, 3))
    names = ("bare generate", "captioner", "bare generate, drawn", "captioner, drawn")
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        greedy, drawing = _captioner(folder), _captioner(folder, temperature=1.0)
        for turn in range(rounds + 1):  # the first warms up
            for name, found in times.items():
                scorer = drawing if name.endswith("drawn") else greedy
                started = time.process_time()
                if name.startswith("bare"):
                    _bare(scorer, pictures)
                else:
                    scorer({"image": pictures})
                rate = NEW_TOKENS * PICTURES / (time.process_time() - started)
                found += [rate] if turn else []
    rates = [statistics.median(found) for found in times.values()]
    shares = [1.0, rates[1] / rates[0], 1.0, rates[3] / rates[2]]
    rows = [
        [name, f"{rate:.0f}", f"{share:.2f}"]
        for name, rate, share in zip(names, rates, shares, strict=True)
    ]
    return table(["way", "tokens per CPU second", "of the bare loop"], rows)


def _captioner(folder: str, **more: Any) -> Captioner:
    tiny_mllm = importlib.import_module("tests.filters.tiny_mllm")
    path = Path(folder) / "model"
    if not path.exists():
        larger = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}
        tiny_mllm._TEXT.update(larger, num_attention_heads=8, max_position_embeddings=1024)
        tiny_mllm.save_mllm(path)
    scorer = Captioner(f"local-dir:{path}", max_side=336, rows=BATCH, max_tokens=NEW_TOKENS, **more)
    loaded = families.load(Source(str(scorer.model), None, scorer.precision, scorer.device))
    loaded.model.generation_config.eos_token_id = None  # so that all write to the limit
    return scorer


def _bare(scorer: Captioner, pictures: list[Any]) -> None:
    """What anybody would write: the template, `generate` and decoding, batch by batch."""
    import torch
    from PIL import Image

    loaded = families.load(Source(str(scorer.model), None, scorer.precision, scorer.device))
    question = {"type": "text", "text": scorer._tasks[0].prompt.text}
    how: dict[str, Any] = {"do_sample": False}
    if scorer.temperature:
        how = {
            "do_sample": True,
            "temperature": scorer.temperature,
            "top_p": scorer.top_p,
            "top_k": 0,
        }
    for at in range(0, len(pictures), BATCH):
        images = [Image.fromarray(image) for image in pictures[at : at + BATCH]]
        inputs = loaded.processor.apply_chat_template(
            [
                [{"role": "user", "content": [{"type": "image", "image": image}, question]}]
                for image in images
            ],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            ids = loaded.model.generate(
                **inputs.to(loaded.device), max_new_tokens=NEW_TOKENS, **how
            )
        new = ids[:, inputs["input_ids"].shape[1] :]
        loaded.processor.batch_decode(new, skip_special_tokens=True)


# Served


@contextmanager
def _server(latency_s: float) -> Iterator[tuple[str, Connection]]:
    """Its address, and where it tells how busy it was."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, latency_s))
    process.daemon = True
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1", here
    finally:
        process.terminate()


def _served(count: int, latency_s: float) -> str:
    image = made_up(640, 480, 90)
    rows = []
    with _server(latency_s) as (url, here), tempfile.TemporaryDirectory() as folder:
        server = Server((url,), "tiny", kind="openai", concurrency=AT_ONCE)
        served.keep_in(folder)
        started = time.process_time()
        asked = [Request(f"Describe it. {i}", images=(image,)) for i in range(count)]
        found = served.ask(asked, server)
        cpu = time.process_time() - started
        assert all(isinstance(answer, Answer) for answer in found)
        rows.append(["one call", *_told(here, count, cpu)])
        scorer = Captioner(server=server, max_side=336, batch_size=512)
        pictures = _pictures(count, (192, 256, 3))
        started = time.process_time()
        for at in range(0, count, 512):
            scorer({"image": pictures[at : at + 512]})
        cpu = time.process_time() - started
        rows.append(["captioner, 512 at a time", *_told(here, count, cpu)])
        served.keep_in(None)
    head = ["way", "requests", "busy", "requests/s", "CPU ms per request"]
    return table(head, rows)


# Builds


def _builds(count: int, latency_s: float) -> str:
    rows = []
    with _server(latency_s) as (url, here), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_pictures(folder / "photos", count)
        for per_shard in (1000, count):
            recipe = folder / f"{per_shard}.yaml"
            recipe.write_text(RECIPE.format(rows=per_shard, url=url, at_once=AT_ONCE))
            out = str(folder / f"out-{per_shard}")
            words = ["--engine", "procs", "--workers", "1", "--out", out]
            here_is = [sys.executable, "-m", "pipeline"]
            measure([*here_is, "ingest", str(recipe), *words])
            way = f"build, shards of {per_shard}"
            for turn in (way, f"{way}, again with its answers"):
                shutil.rmtree(Path(out) / "columns", ignore_errors=True)
                cost = measure([*here_is, "score", str(recipe), *words])
                told = _told(here, count, cost.cpu_s) if turn == way else ["0", "–", "–", "–"]
                spent = "–" if turn == way else f"{_score_s(Path(out)):.1f}"
                rows.append([turn, *told, spent, f"{cost.wall_s:.1f}"])
    head = ["way", "requests", "busy", "requests/s", "CPU ms per request", "shards s", "wall s"]
    return table(head, rows)


def _write_pictures(folder: Path, count: int) -> None:
    """Distinct ones, each the same picture moved along."""
    from PIL import Image

    folder.mkdir()
    whole = np.asarray(Image.open(BytesIO(made_up(*SIZE, 90))))
    for i in range(count):
        image = np.roll(whole, (i % SIZE[1], i // SIZE[1] * 7), (0, 1))
        Image.fromarray(image).save(folder / f"{i:05d}.jpg", quality=90)


def _score_s(out: Path) -> float:
    """Seconds that shards took which did not overlap, by their records: without the start."""
    records = [json.loads(path.read_text()) for path in (out / "ledger").glob("score-*/*.json")]
    return float(sum(record["wall_s"] for record in records))


def _told(pipe: Connection, count: int, cpu: float) -> list[str]:
    pipe.send("tell")
    asked, busy_s, wall_s = pipe.recv()
    share = busy_s / (SLOTS * wall_s)
    return [f"{asked}", f"{share:.1%}", f"{asked / wall_s:.0f}", f"{cpu / count * 1000:.2f}"]


def _serve(pipe: Connection, latency_s: float) -> None:
    spans: list[tuple[float, float]] = []
    rng = random.Random(0)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        async with slots:
            begun = time.monotonic()
            await asyncio.sleep(latency_s * rng.uniform(1 - SPREAD, 1 + SPREAD))
            spans.append((begun, time.monotonic()))
        message = {"message": {"content": "A red dog runs over a meadow."}}
        usage = {"prompt_tokens": 400, "completion_tokens": 9}
        return web.json_response({"choices": [message | {"finish_reason": "stop"}], "usage": usage})

    async def run() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        while True:
            if pipe.poll():
                pipe.recv()
                busy = sum(end - begun for begun, end in spans)
                wall = max(end for _, end in spans) - min(begun for begun, _ in spans)
                pipe.send((len(spans), busy, wall))
                spans.clear()
            await asyncio.sleep(0.05)

    slots = asyncio.Semaphore(SLOTS)
    asyncio.run(run())


# Stored


def _stored() -> str:
    """Answers from a file of HITS of them: by key, and by whole requests of several sorts."""
    one = made_up(640, 480, 90)
    pictures = [one + i.to_bytes(4, "big") for i in range(2000)]
    prompt = "Describe this picture in one sentence."
    sorts: dict[str, list[Request]] = {
        "text alone": [Request(f"{prompt} {i}") for i in range(HITS)],
        f"one picture of {len(one) // 1000} kB each": [
            Request(prompt, images=(image,)) for image in pictures
        ],
    }
    server = Server(("http://127.0.0.1:9/v1",), "tiny")
    answer = Answer("A red dog runs over a meadow near two old houses.", "stop", 400, 12)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / FILE))
        keys = [request.key("tiny") for request in sorts["text alone"]]
        for requests in sorts.values():
            for request in requests:
                store.keep(request.key("tiny"), "tiny", answer)
        rows.append(["by key", *_rate(lambda: store.recall(keys), HITS)])
        store.close()
        served.keep_in(folder)
        for name, requests in sorts.items():

            def work(asked: list[Request] = requests) -> object:
                return served.ask(asked, server)

            rows.append([name, *_rate(work, len(requests))])
        rows.append(["captioner, by names of pictures", *_by_name(server)])
        served.keep_in(None)
    return table(["what is asked", "hits/s", "hits per CPU second"], rows)


def _by_name(server: Server) -> list[str]:
    """Captions of distinct pictures of which the names alone are given, as in a second run."""
    scorer = Captioner(server=server)
    names = [i.to_bytes(32, "big") for i in range(HITS)]
    batches = [names[at : at + 128] for at in range(0, HITS, 128)]
    answer = Answer("A red dog runs over a meadow near two old houses.", "stop", 400, 12)
    asks = scorer._asks({"image_name": names}, [""] * HITS)
    keys = {scorer._writer._name(ask) or b"": name for ask, name in zip(asks, names, strict=True)}
    store = served._here().store()
    for key in keys.values():
        store.keep(key, server.model, answer)
    store.name(keys)

    def work() -> None:
        for batch in batches:
            found = scorer.recall({"image_name": batch})["captions"]
            assert all(found)

    return _rate(work, HITS)


def _rate(work: Callable[[], object], count: int) -> list[str]:
    """Of five times, the median."""
    walls, cpus = [], []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return [f"{count / statistics.median(spent):,.0f}" for spent in (walls, cpus)]


if __name__ == "__main__":
    main()
