"""The report in a real browser: it is drawn, not blank, and names no outside address."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from pipeline import report

CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.mark.slow
@pytest.mark.system("chromium")
def test_a_browser_draws_the_report(make_build, tmp_path):
    build = make_build()
    build.ingest()
    build.score()
    build.select()
    build.export()
    page = report.write_report(build)
    shot = tmp_path / "page.png"
    options = [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}"]
    options += ["--window-size=1000,2000", f"file://{page}"]
    subprocess.run([*CHROMIUM, *options], check=True, timeout=120)
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
        assert image.size == (1000, 2000)
    assert colours is not None
    assert len(colours) > 50  # text, bars and pictures, not a blank page
    text = Path(page).read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text
