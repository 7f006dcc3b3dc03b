"""All benchmarks, one after the other: `python -m benchmarks --data DIR [--rivals] [--large]`.

Each prints its own table. Machines are noisy: compare figures of one run with each other.
`--large` adds ten million hashes, ten million URLs and the verbs over 100,000 pictures, and takes
half an hour more.
"""

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import machine, python


def commands(data: Path, rivals: bool, large: bool) -> Iterator[Sequence[str]]:
    """The programs and their arguments, in order."""
    yield ["-m", "benchmarks.verbs", "--data", str(data), *(["--rivals"] if rivals else [])]
    if large:
        yield ["-m", "benchmarks.verbs", "--data", str(data), "--flat"]
    yield ["-m", "benchmarks.fetching", "--data", str(data)]
    yield ["-m", "benchmarks.hosts", "--data", str(data)]
    if large:
        yield ["-m", "benchmarks.planning", "--data", str(data / "planning")]
    yield ["-m", "benchmarks.pages"]
    yield ["-m", "benchmarks.crawling"]
    yield ["-m", "benchmarks.decoding"]
    yield ["-m", "benchmarks.clip"]
    yield ["-m", "benchmarks.scoring"]
    yield ["-m", "benchmarks.served"]
    yield ["-m", "benchmarks.captioning"]
    yield ["-m", "benchmarks.translation", "--data", str(data)]
    yield ["-m", "benchmarks.heads"]
    yield ["-m", "benchmarks.selection", "--folder", str(data / "selection")]
    for case in ("planted", "skewed"):
        yield ["-m", "benchmarks.duplicates", case, "1000000"]
        if large:
            yield ["-m", "benchmarks.duplicates", case, "10000000"]
    yield ["-m", "benchmarks.duplicates", "captions", "1000000"]
    yield ["-m", "benchmarks.frequency", "--folder", str(data / "frequency")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="where pictures and pools go")
    parser.add_argument("--rivals", action="store_true", help="install and measure Data-Juicer")
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    print(machine(), flush=True)
    for command in commands(options.data, options.rivals, options.large):
        print(f"\n## {' '.join(command[1:])}\n", flush=True)
        subprocess.run([python(), *command], check=True)


if __name__ == "__main__":
    main()
