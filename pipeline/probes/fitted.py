"""Lets scorers that learn from a pool learn from the pairs that they are asked about.

A probe has no other rows. What they learn is made as in a build, of as many rows at most.
"""

from collections.abc import Sequence

import pyarrow as pa

from pipeline import fitting, storage
from pipeline.errors import CurationError
from pipeline.global_score import read_rows
from pipeline.instances import Instance
from pipeline.keys import digest, draw_bits
from pipeline.probes.asking import Asking
from pipeline.probes.probe import Probe
from pipeline.probes.questions import Pair


def pairs_of(probes: Sequence[Probe]) -> list[Pair]:
    """The pairs that questions ask about, true and false, and every picture with its class."""
    pairs = [pair for probe in probes for q in probe.questions for pair in q.pairs]
    for grid in (grid for probe in probes for grid in probe.grids):
        for picture, place in zip(grid.pictures, grid.right, strict=True):
            pairs += [(picture, text) for text in grid.options[place] if place >= 0]
    return pairs


def fit(asking: Asking, chain: Sequence[Instance], pairs: Sequence[Pair]) -> dict[str, int]:
    """Have each fitted scorer of a chain learn; how many rows each of them learnt from.

    Raises CurationError when one can't learn from these.
    """
    rows: dict[str, int] = {}
    fitting.read_fitted.cache_clear()  # the same folder may have held what was learnt of others
    for place, instance in enumerate(chain):
        if instance.is_fitted:
            rows[instance.name] = _fit(asking, chain[: place + 1], pairs)
    return rows


def _fit(asking: Asking, chain: Sequence[Instance], pairs: Sequence[Pair]) -> int:
    """Fit the last scorer of a chain, and have `asking` keep what it learnt."""
    instance = chain[-1]
    drawn = _drawn(asking, chain, pairs)
    work = storage.join(asking.root, "fit")
    job = fitting.FitJob(asking.root, instance, work, rows=len(drawn), groups=1)
    with (
        storage.writing(job.drawn(0)) as temporary,
        pa.OSFile(temporary, "wb") as stream,
        pa.ipc.new_file(stream, drawn.schema) as writer,
    ):
        writer.write_table(drawn)
    found = fitting.fit_pool("pool", job)
    path = fitting.fitted_path(instance.columns)
    why = fitting.too_few(fitting.read_fitted(path))
    if why is not None:
        what = fitting.message_of(why)
        raise CurationError(f"scorer {instance.name!r}, fitted on {found['rows']:,} rows: {what}")
    asking.learnt[path] = storage.read_bytes(path)
    storage.remove(work)
    return int(found["rows"])


def _drawn(asking: Asking, chain: Sequence[Instance], pairs: Sequence[Pair]) -> pa.Table:
    """The rows with the smallest draws that hold all that the last scorer learns from."""
    *before, instance = chain
    named = {_key(pair): pair for pair in pairs}
    keys = sorted(named, key=_draw)
    tables, count, start = [], 0, 0
    for block in asking.blocks([named[key] for key in keys]):
        if before:
            asking.values(before, is_final=False)
        rows, places = read_rows(instance, asking.root, [asking.shard], instance.fit_reads)
        own = [keys[start + place] for place in places.tolist()]
        start += len(block)
        rows = rows.set_column(0, "key", pa.array(own, rows["key"].type))
        rows = rows.append_column("draw", pa.array([_draw(key) for key in own], pa.uint64()))
        tables.append(rows.drop_null())
        count += len(tables[-1])
        if count >= instance.scorer.fit_rows:
            break
    return pa.concat_tables(tables)


def _key(pair: Pair) -> bytes:
    picture, text = pair
    return digest(picture.name.encode(errors="surrogatepass"), text.encode(errors="surrogatepass"))


def _draw(key: bytes) -> int:
    return draw_bits(key, fitting.VERSION, "fit")
