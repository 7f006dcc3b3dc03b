"""The card: it renders whatever figures there are, escapes what it is told, and loads nothing."""

import copy
import xml.etree.ElementTree as ET

import pytest

from pipeline.reward.card import card_page

FIGURE = {"value": 0.75, "low": 0.7, "high": 0.8}
ONE = {
    "comparisons": 1200,
    "ties": 3,
    "images": 40,
    "accuracy": FIGURE,
    "cosine_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
    "tau": FIGURE,
    "cosine_tau": FIGURE,
    "calibration_error": {"value": 0.031, "low": 0.02, "high": 0.05},
}
CARD = {
    "weights": "ab" * 32,
    "encoder": {"name": "embedded", "digest": "cd" * 32},
    "configuration": "preferences: <script>alert(1)</script>",
    "data": {
        "parts": {
            name: {"comparisons": 10, "groups": 5} for name in ("train", "validation", "test")
        },
        "left_out": ["number"],
    },
    "training": {"digest": "ef" * 16, "best_epoch": 1, "history": [[0.7, 0.6], [0.5, 0.4]]},
    "figures": {
        "overall": ONE,
        "criteria": [{"criterion": "accuracy", "weight": 2.0, **ONE}],
        "kinds": [{"kind": "number", **ONE}, {"kind": "<b>object</b>", **ONE}],
        "reliability": [
            {"low": 0.5, "high": 0.55, "count": 7, "confidence": 0.52, "accuracy": 0.4},
            {"low": 0.95, "high": 1.0, "count": 9, "confidence": 0.99, "accuracy": 1.0},
        ],
    },
    "warnings": ["6 comparisons are left out"],
}


def test_it_shows_every_figure_with_its_interval():
    page = card_page(CARD)
    for text in ("0.750 (0.700 to 0.800)", "0.031 (0.020 to 0.050)", "1,200", "6 comparisons are"):
        assert text in page
    assert "those of epoch 1," in page
    rows = page.split("<tr>")
    assert any("number" in row and ">no<" in row for row in rows)


def test_what_strangers_wrote_is_escaped_and_nothing_is_loaded():
    page = card_page(CARD)
    assert "<script" not in page
    assert "&lt;b&gt;object" in page
    assert "default-src &#x27;none&#x27;" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_chart_is_well_formed():
    page = card_page(CARD)
    drawing = page[page.index("<svg") : page.index("</svg>") + 6]
    bars = ET.fromstring(drawing).findall(".//rect")
    assert len(bars) == 2
    assert float(bars[1].get("height")) == pytest.approx(220)


def test_it_renders_without_figures():
    card = copy.deepcopy(CARD)
    nothing = {name: None if isinstance(value, dict) else 0 for name, value in ONE.items()}
    card["figures"] = {"overall": nothing, "criteria": [], "kinds": [], "reliability": []}
    page = card_page(card)
    assert "These preferences name no kinds." in page
    assert "None" not in page
