"""The list of reasons is what the README says it is."""

import re
from pathlib import Path

from pipeline.fetch.outcome import REASONS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_every_reason_and_whether_it_may_pass():
    section = README.partition("## From the web")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith(("| may", "| for"))]
    later, never = ({*re.findall(r"`(\w+)`", row.split("|")[2])} for row in rows)
    assert later == {word for word, reason in REASONS.items() if reason.retriable}
    assert never == {word for word, reason in REASONS.items() if not reason.retriable}
