"""Prints what the client of model servers costs: beside a bare aiohttp loop, and per stored answer.

    python -m benchmarks.served [--requests 400] [--rounds 5]

A server on loopback, in a process of its own, answers after 20 ms. The bare loop keeps as many
requests in the air, sends the same bodies and stores nothing; rounds take turns, medians count.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection

import aiohttp
from aiohttp import web

from benchmarks.decoding import made_up
from benchmarks.measure import machine, table
from filters.served import Request, Server, ask, keep_in
from filters.served_kinds import body_of

AT_ONCE = 32
WAIT_S = 0.02
ANSWER = {
    "choices": [{"message": {"content": '{"score": 87}'}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 400, "completion_tokens": 9},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,))
    process.daemon = True
    process.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    try:
        print(machine())
        print(_measured(url, options.requests, options.rounds))
    finally:
        process.terminate()


def _measured(url: str, count: int, rounds: int) -> str:
    server = Server((url,), "tiny", kind="openai", concurrency=AT_ONCE)
    image = made_up(640, 480, 90)
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "asked": [], "stored": []}
    with tempfile.TemporaryDirectory() as folder:
        keep_in(folder)
        for turn in range(rounds + 1):  # the first warms up
            requests = [Request(f"{turn} {i}", images=(image,)) for i in range(count)]
            for name, found in times.items():
                wall, cpu = time.perf_counter(), time.process_time()
                if name == "bare":
                    asyncio.run(_bare(url, requests))
                else:
                    ask(requests, server)
                cost = time.perf_counter() - wall, time.process_time() - cpu
                found += [cost] if turn else []
        keep_in(None)
    rows = []
    bare = statistics.median(wall for wall, _ in times["bare"])
    for name, spent in times.items():
        wall, cpu = (statistics.median(part) for part in zip(*spent, strict=True))
        figures = [f"{count / wall:.0f}", f"{bare / wall:.2f}", f"{cpu / count * 1000:.2f}"]
        rows.append([name, *figures])
    return table(["way", "requests/s", "of the bare loop", "CPU ms per request"], rows)


async def _bare(url: str, requests: list[Request]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(request: Request) -> str:
            async with gate:
                body = json.dumps(body_of(request, "tiny", "openai", frozenset())).encode()
                headers = {"Content-Type": "application/json"}
                address = f"{url}/chat/completions"
                async with session.post(address, data=body, headers=headers) as response:
                    found = await response.json()
                    return str(found["choices"][0]["message"]["content"])

        await asyncio.gather(*map(one, requests))


def _serve(pipe: Connection) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(WAIT_S)
        return web.json_response(ANSWER)

    async def run() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()
