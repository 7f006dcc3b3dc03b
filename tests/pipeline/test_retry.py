"""A retry: what can be fetched again, and nothing else; finished shards are not touched."""

import json
import threading
from collections import Counter
from hashlib import md5
from pathlib import Path

import pytest

from pipeline import packs, pool, takedown_record
from pipeline.build import Part
from pipeline.errors import DamagedFile
from pipeline.retry import Retried
from pipeline.shards import read_shard
from pipeline.takedown_record import Entry
from tests import pictures
from tests.commands import done, pairmill
from tests.pipeline.retries import (
    DUE,
    FETCH,
    HOSTS,
    ROWS,
    STEPS,
    again,
    asked,
    base_of,
    build_of,
    current,
    flaky,
    image,
    lines,
    mend,
    pool_of,
    state_of,
    write,
)


@pytest.fixture
def server():
    with flaky() as running:
        yield running


def test_what_failed_is_tried_again_and_nothing_else(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    made = build_of(recipe).ingest()
    before, asked_before = state_of(tmp_path / "out"), asked(server)
    known = current(made)
    mend(server, 0)
    (tmp_path / "urls.csv").unlink()
    found = again(recipe)
    assert found == Retried(DUE // 2, {"empty": DUE // 2})
    tried = {path for (_, path), times in (asked(server) - asked_before).items() if times}
    assert tried == {"/0.jpg", "/2.jpg"}
    assert set((asked(server) - asked_before).values()) == {1}

    after = state_of(tmp_path / "out")
    del before["pool/index.json"]
    assert {name: after[name] for name in before} == before
    grown = pool_of(recipe)
    assert [s.digest for s in grown.shards[: len(made.shards)]] == [s.digest for s in made.shards]
    assert (grown.rows, grown.rows_in) == (ROWS + DUE, ROWS)
    assert len({len(shard.name) for shard in grown.shards}) == 1
    assert not (tmp_path / "out" / "pool" / "survey").exists()

    rows = current(grown)
    assert rows.keys() == known.keys()
    for caption, row in rows.items():
        number = int(caption.split()[1])
        assert row["failed"] == ("empty" if number == 2 else None)
        for name in ("key", "source", "source_key", "url", "domain", "captions", "meta"):
            assert row[name] == known[caption][name], name
    old = Counter(row["failed"] for row in base_of(grown))
    assert old == {None: ROWS - DUE // 2, "retried": DUE, "empty": DUE // 2}
    superseded = [row for row in base_of(grown) if row["failed"] == "retried"]
    assert {(row["retriable"], row["attempts"]) for row in superseded} == {(False, 1)}
    samples = [s for n in grown.shards for s in read_shard(pool.tar_path(grown.root, n.name))]
    kept = {row["key"].hex() for row in rows.values() if row["failed"] is None}
    assert {sample.key for sample in samples} == kept


def test_a_retry_with_nothing_due_says_so_and_changes_nothing(tmp_path, server):
    mend(server)
    rows = [*lines(server), ",no url,,", f"{server.url('/gone.jpg')},gone,,"]
    recipe = write(tmp_path, rows)
    build_of(recipe).ingest()
    before, requests = state_of(tmp_path / "out"), len(server.asked)
    assert again(recipe) == Retried()
    text = done("ingest", recipe, "--out", tmp_path / "out", "--retry")
    assert "nothing to retry: no row is left that failed and may be fetched now" in text
    assert state_of(tmp_path / "out") == before
    assert len(server.asked) == requests


@pytest.mark.slow
def test_generations_follow_each_other_and_only_the_newest_rows_are_tried(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    first = build_of(recipe).ingest()
    assert again(recipe) == Retried(0, {"empty": DUE})
    second = pool_of(recipe)
    assert (second.rows, second.rows_in) == (ROWS + DUE, ROWS)
    assert len(second.shards) > len(first.shards)
    mend(server, 0)
    assert again(recipe) == Retried(DUE // 2, {"empty": DUE // 2})
    before = asked(server)
    assert again(recipe) == Retried(0, {"empty": DUE // 2})
    assert {path for _, path in asked(server) - before} == {"/2.jpg"}
    fourth = pool_of(recipe)
    assert (fourth.rows, fourth.rows_in) == (ROWS + 2 * DUE + DUE // 2, ROWS)
    failed = Counter(row["failed"] for row in current(fourth).values())
    assert failed == {None: ROWS - DUE // 2, "empty": DUE // 2}
    assert [shard.name for shard in fourth.shards] == sorted(s.name for s in fourth.shards)


def test_hashes_of_the_list_are_verified_by_a_retry_too(tmp_path, server):
    right, wrong = md5(pictures.jpeg(0)).hexdigest(), md5(b"other").hexdigest()
    rows = [f"{server.url('/0.jpg')},{name},{m},x" for name, m in (("a", right), ("b", wrong))]
    recipe = write(tmp_path, [*rows, f"{server.url('/0.jpg')},c,,x"])
    made = build_of(recipe).ingest()
    assert json.loads(current(made)["a"]["meta"]) == {"known_hashes": {"md5": right}, "tag": "x"}
    assert again(recipe).failed == {"empty": 3}
    mend(server)
    again(recipe)
    rows_now = current(pool_of(recipe))
    assert {name: row["failed"] for name, row in rows_now.items()} == {
        "a": None, "b": "hash_mismatch", "c": None
    }  # fmt: skip
    metas = {name: row["meta"] for name, row in current(made).items()}
    assert {name: row["meta"] for name, row in rows_now.items()} == metas


@pytest.mark.slow
def test_it_fetches_as_the_recipe_says_now(tmp_path, server):
    async def slowly(writer):
        import asyncio

        await asyncio.sleep(0.6)
        writer.write(image(0))
        await writer.drain()

    server.answers["/0.jpg"] = slowly
    quick = FETCH.replace("request_s: 3", "request_s: 0.2")
    recipe = write(tmp_path, [f"{server.url('/0.jpg')},slow,,"], quick)
    made = build_of(recipe).ingest()
    assert [row["failed"] for row in base_of(made)] == ["timeout"]
    recipe = write(tmp_path, [], FETCH.replace("retries: 0", "retries: 1"))
    assert again(recipe) == Retried(1)
    assert current(pool_of(recipe))["slow"]["failed"] is None


def test_what_another_program_fetches_is_not_tried(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    build_of(recipe).ingest()
    before = state_of(tmp_path / "out")
    other = write(tmp_path, lines(server), "{engine: img2dataset, allow_hosts: [127.0.0.1]}")
    text = done("ingest", other, "--out", tmp_path / "out", "--retry")
    assert "nothing to retry" in text
    assert f"not retried: web {DUE}, by source; only what pairmill's own fetcher" in text
    assert state_of(tmp_path / "out") == before


def test_a_dry_run_counts_what_is_due_and_writes_nothing(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    words = ("ingest", recipe, "--out", tmp_path / "out", "--retry", "--dry-run")
    assert "there is no finished pool" in done(*words)
    build_of(recipe).ingest()
    before, requests = state_of(tmp_path / "out"), len(server.asked)
    assert done(*words).strip() == f"retry    {DUE} rows (empty {DUE})"
    other = write(tmp_path, lines(server), "{engine: img2dataset, allow_hosts: [127.0.0.1]}")
    told = done("ingest", other, *words[2:]).splitlines()
    assert told[0] == "retry    0 rows"
    assert told[1].startswith(f"not retried: web {DUE}, by source; only what")
    assert state_of(tmp_path / "out") == before
    assert len(server.asked) == requests


@pytest.mark.slow
def test_a_pool_that_is_not_there_is_made_first(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    text = done("ingest", recipe, "--out", tmp_path / "out", "--retry")
    assert f"retried: {DUE} rows, 0 fetched, {DUE} failed again (empty {DUE})" in text
    assert f"pool: {ROWS} rows, {ROWS - DUE} samples in" in text
    assert f"and {DUE} earlier attempts" in text
    bare = tmp_path / "bare.yaml"
    bare.write_text("pool: out\n")
    code, text = pairmill("ingest", bare, "--out", tmp_path / "out", "--retry")
    assert (code, "--retry needs the `sources:`" in text) == (2, True)
    for verb in ("build", "score", "select", "export"):
        assert pairmill(verb, recipe, "--out", tmp_path / "out", "--retry")[0] == 2


def test_of_rows_of_one_pair_the_one_that_stood_for_them_is_tried(tmp_path, server):
    row = f"{server.url('/0.jpg')},same,,"
    recipe = write(tmp_path, [row, row + "x", row, *lines(server)])
    made = build_of(recipe).ingest()
    failed = Counter(row["failed"] for row in base_of(made))
    assert failed == {None: ROWS - DUE, "empty": DUE + 1, "duplicate_key": 2}
    mend(server)
    assert again(recipe) == Retried(DUE + 1)
    rows = [row for row in base_of(pool_of(recipe)) if row["caption"] == "same"]
    kept = Counter(row["failed"] for row in rows)
    assert kept == {None: 1, "duplicate_key": 2, "retried": 1}


def test_what_is_taken_down_is_not_tried(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    build = build_of(recipe)
    build.ingest()
    digest = __import__("hashlib").sha256(pictures.jpeg(2)).hexdigest()
    wanted = [Entry("domain", HOSTS[0]), Entry("sha256", digest, reason="asked to")]
    takedown_record.append(build.root, wanted)  # and not looked up yet
    before = asked(server)
    mend(server)
    each = len(HOSTS) - 1
    assert again(recipe) == Retried(each, {"taken_down": each})
    assert not [host for host, _ in asked(server) - before if host == HOSTS[0]]
    made = pool_of(recipe)
    rows = [row for row in base_of(made) if row["failed"] == "taken_down"]
    assert {(row["url"], row["detail"]) for row in rows} == {(None, "asked to")}
    tars = b"".join(path.read_bytes() for path in (tmp_path / "out" / "pool").glob("*.tar"))
    assert pictures.jpeg(2) not in tars
    assert again(recipe) == Retried()


def test_packs_tell_the_same(tmp_path, server, monkeypatch):
    monkeypatch.setattr(packs, "PACK_FROM", 2)
    recipe = write(tmp_path, lines(server))
    build = build_of(recipe)
    build.ingest()
    mend(server, 0)
    again(recipe)
    takedown_record.append(build.root, [Entry("url", server.url("/0.jpg", HOSTS[0]))])
    made = pool_of(recipe)
    from pipeline.takedown_match import bring_up

    assert bring_up(build, made) is not None
    pack = tmp_path / "out" / "pool" / packs.NAME
    for names in (["failed", "detail", "url"], ["retriable"], ["key", "caption"]):
        packed = pool.read_base_range(made, made.shards, names)
        pack.rename(tmp_path / "away")
        assert packed.equals(pool.read_base_range(made, made.shards, names))
        (tmp_path / "away").rename(pack)
    failed = Counter(pool.read_base_range(made, made.shards, ["failed"])["failed"].to_pylist())
    assert failed["retried"] == DUE  # also of the row that is taken down
    assert failed["taken_down"] == 1


@pytest.mark.slow
def test_parts_share_a_retry_and_a_late_one_begins_no_other(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    build_of(recipe).ingest()
    before = asked(server)
    mend(server, 0)
    found: dict[int, Retried] = {}

    def work(number: int) -> None:
        found[number] = again(recipe, part=Part(number, 3, 60, 0.05))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        thread.join(0.3)
    for thread in threads:
        thread.join()
    assert list(found.values()) == [Retried(DUE // 2, {"empty": DUE // 2})] * 3
    assert set((asked(server) - before).values()) == {1}
    assert pool_of(recipe).rows == ROWS + DUE


@pytest.mark.slow
def test_an_index_of_before_can_be_read_and_damage_is_named(tmp_path, server):
    recipe = write(tmp_path, lines(server), more=STEPS)
    build_of(recipe).ingest()
    index = tmp_path / "out" / "pool" / "index.json"
    assert "retried" not in index.read_text()
    mend(server)
    again(recipe)
    done("build", recipe, "--out", tmp_path / "out")
    done("verify", "--out", tmp_path / "out")
    made = pool_of(recipe)
    sidecar, other, *_ = sorted(index.parent.glob("*.retried.parquet"))
    place = int(sidecar.name.partition(".")[0])
    good, text = sidecar.read_bytes(), index.read_text()
    other.unlink()
    sidecar.write_bytes(good[:-20])
    code, told = pairmill("verify", "--out", tmp_path / "out")
    assert (code, told.count("bring it back from a copy")) == (1, 2)
    with pytest.raises(DamagedFile, match=r"\.retried\.parquet: can't be read"):
        pool.read_base(made.root, made.shards[place])
    sidecar.write_bytes(good)
    value = json.loads(text)
    value["shards"][place]["retried"] = "3"
    index.write_text(json.dumps(value))
    with pytest.raises(DamagedFile, match=rf"shards\[{place}\].retried is str"):
        pool_of(recipe)
    value["shards"][place]["retried"] = 6
    index.write_text(json.dumps(value))
    with pytest.raises(DamagedFile, match="is not about the rows"):
        base_of(pool_of(recipe))


@pytest.mark.slow
def test_a_row_that_has_no_newer_one_breaks_a_promise(tmp_path, server):
    recipe = write(tmp_path, lines(server), more=STEPS)
    build_of(recipe).ingest()
    mend(server)
    again(recipe)
    index = tmp_path / "out" / "pool" / "index.json"
    value = json.loads(index.read_text())
    gone = value["shards"].pop()
    index.write_text(json.dumps(value))
    done("build", recipe, "--out", tmp_path / "out")
    code, told = pairmill("verify", "--out", tmp_path / "out")
    assert code == 1
    assert told.count("was tried again, and no later shard has a row of this key") == gone["rows"]


def test_rows_whose_file_could_not_be_read_are_not_fetched_instead(tmp_path, server):
    recipe = write(tmp_path, lines(server)[:1])
    build = build_of(recipe)
    known = {"source": "web", "url": server.url("/1.jpg"), "retriable": True}
    rows = [
        {"key": bytes(16), "failed": "unreadable_file", **known},
        {"key": bytes([1] * 16), "failed": "timeout", **known},
        {"key": bytes([2] * 16), "failed": "unreadable_file", **known, "url": None},
        {"key": bytes([3] * 16), "failed": "http_status", **known, "retriable": False},
        {"key": bytes([4] * 16), "failed": "no_url", **known, "retriable": None},
    ]
    Path(pool.tar_path(build.root, "00000")).parent.mkdir(parents=True)
    Path(pool.tar_path(build.root, "00000")).write_bytes(b"")
    shard = pool.write_base(build.root, "00000", pool.base_table(rows), 0, "plan")
    pool.write_index(pool.Pool(build.root, build.sources_digest, (shard,)))
    assert again(recipe) == Retried(1, left={"web": 2})
    assert [row["key"][0] for row in base_of(pool_of(recipe)) if row["failed"] is None] == [1]
