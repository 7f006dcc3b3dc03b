"""`python -m benchmarks.manual --data DIR [STEP ...]`: GIMP's manual from crawl to export.

Downloads gimp-help-en and gimp-help-es through apt, serves them with nginx on addresses of
loopback, builds with the rules of configs/align.yaml through the command line, and prints tables.

Steps, all by default: `crawl` (attrition, requests, chrome and figures, sheets for the eye),
`warc` (the same pairs from the archive of that crawl), `languages` (one image, two captions),
`kills` (killed and run again), `manners` (requests a second with 1, 2 and 4 workers).
"""

import argparse
import textwrap
from pathlib import Path

from benchmarks.manual import proofs, site
from benchmarks.measure import machine

STEPS = {
    "crawl": proofs.crawl,
    "warc": proofs.warc,
    "languages": proofs.languages,
    "kills": proofs.kills,
    "manners": proofs.manners,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.manual",
        description=textwrap.dedent(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="packages, pools and sheets")
    parser.add_argument("--port", type=int, default=8472, help="keys of rows depend on it")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    options = parser.parse_args()
    unknown = [name for name in options.steps if name not in STEPS]
    if unknown:
        parser.error(f"no step {unknown[0]!r}; known are {', '.join(STEPS)}")
    data = options.data.resolve()
    roots = site.unpacked(data)
    print(machine())
    with site.serving(roots, data / "nginx", options.port) as served:
        for name in options.steps or STEPS:
            print(f"\n## {name}\n")
            print(STEPS[name](proofs.Place(served, data)), flush=True)


if __name__ == "__main__":
    main()
