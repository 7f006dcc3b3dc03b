"""The card of a tuned encoder: one HTML page beside the weights, and the same as JSON.

It shows what the encoder has learnt of trusted pairs that it has not seen, and what it has
forgotten of the anchors, with the gate's verdict.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.report_html import Html, count, el, join, page, section, table

Json = Mapping[str, Any]


def card_page(card: Json) -> str:
    """The page. `card` is what `pipeline.tuning.train` writes as JSON."""
    content = join(
        [
            el("h1", "Tuned filter"),
            el("p", _summary(card), class_="soft"),
            *(el("p", text, class_="notice") for text in _notices(card)),
            _tiles(card),
            section("What it has kept", _anchors(card), anchor="anchors"),
            section("What it has learnt", _learnt(card), anchor="learnt"),
            section("Training", _training(card), anchor="training"),
            section("Configuration", el("pre", card["configuration"]), anchor="configuration"),
        ]
    )
    return str(page("Tuned filter", content))


def _summary(card: Json) -> str:
    parts = card["data"]["parts"]
    return (
        f"{card['encoder']['name']}, tuned on {count(parts['train']['pairs'])} trusted pairs of"
        f" {count(parts['train']['images'])} images. Anchors and held-out pairs are of images that"
        " it has not learnt from; intervals (95 %) come from drawing images again."
    )


def _notices(card: Json) -> list[str]:
    lost = [one["name"] for one in card["anchors"] if not one["is_kept"]]
    if not lost:
        return []
    named = ", ".join(lost)
    if card["forced"]:
        return [
            f"Too much of {named} is forgotten. The weights were written by force all the same."
        ]
    return [f"Not to be used: too much of {named} is forgotten. No weights were written."]


def _tiles(card: Json) -> Html:
    before, after = card["learnt"]["before"], card["learnt"]["after"]
    shown = [
        *((_number(one["left"]), f"left of {one['name']}") for one in card["anchors"]),
        (_number(after["separation"]), "right above wrong pairs, held out"),
        (_number(before["separation"]), "the same before"),
    ]
    tiles = [el("div", el("b", value), el("span", label), class_="tile") for value, label in shown]
    return el("div", *tiles, class_="tiles")


def _anchors(card: Json) -> Html:
    head = ["Anchors", "figure", "images", "before", "after", "left", "limit", "verdict"]
    rows: list[list[str]] = []
    for one in card["anchors"]:
        left = f"{_number(one['left'])} ({_number(one['low'])} to {_number(one['high'])})"
        verdict = "kept" if one["is_kept"] else "forgotten"
        named = [one["name"], f"{one['measure'].replace('_', ' ')}, mean", count(one["images"])]
        means = [_number(one["before"]), _number(one["after"])]
        rows.append([*named, *means, left, f"{one['retain']:g}", verdict])
        rows += [
            ["", own["figure"], "", _number(own["before"]), _number(own["after"]), "", "", ""]
            for own in one["figures"]
        ]
    note = "The gate looks at the mean: what is left of it must reach the limit."
    return join([table(head, rows, texts=2), el("p", note, class_="soft small")])


def _learnt(card: Json) -> Html:
    learnt = card["learnt"]
    test = card["data"]["parts"]["test"]
    rows = [
        [one["figure"], _number(one["before"]), _number(one["after"])] for one in learnt["figures"]
    ]
    before, after = learnt["before"], learnt["after"]
    named = ("separation", "right pair above a mismatched one")
    rows.append([named[1], _number(before[named[0]]), _number(after[named[0]])])
    for place, name in enumerate(("10 %", "50 %", "90 %")):
        values = _number(before["cosines"][place]), _number(after["cosines"][place])
        rows.append([f"cosine of right pairs, {name} quantile", *values])
    note = (
        f"{count(test['pairs'])} trusted pairs of {count(test['images'])} held-out images. Cosines"
        " are on another scale than before: thresholds do not carry over."
    )
    return join([el("p", note), table(["Held-out trusted pairs", "before", "after"], rows)])


def _training(card: Json) -> Html:
    data, training = card["data"], card["training"]
    parts = [
        [name, count(part["pairs"]), count(part["images"])] for name, part in data["parts"].items()
    ]
    epochs = [
        [str(number), f"{learnt:.4f}", f"{held_out:.4f}"]
        for number, (learnt, held_out) in enumerate(training["history"])
    ]
    facts = [
        ["weights, sha256", card["weights"]],
        ["encoder before", f"{card['encoder']['name']}, {card['encoder']['digest']}"],
        ["training", training["digest"]],
        ["in a recipe", card["use"] or "not to be used"],
    ]
    left_out = f"{count(data['left_out'])} of {count(data['trusted'])} trusted pairs are left out:"
    said = f"The weights are those of epoch {training['best_epoch']}, whose loss on validation is"
    blend = f" lowest, {training['blend']:g} of the way from those before."
    return join(
        [
            table(["Part", "pairs", "images"], parts),
            el("p", f"{left_out} their image is an anchor."),
            el("p", said + blend),
            table(["Epoch", "loss in training", "loss on validation"], epochs, texts=0),
            table(["What", "name"], facts, texts=2),
        ]
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
