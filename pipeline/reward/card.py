"""The card of a reward head: one HTML page beside the weights, and the same as JSON.

It shows what the head is worth on images it has not seen, with intervals, beside the cosine of
the encoder that it stands on.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.report_html import Html, count, el, join, page, section, table

CARD, CARD_JSON = "card.html", "card.json"
_SIDE, _EDGE = 220.0, 34.0
_SHORT = {"cosine": "of the cosine", "before": "before"}
_OTHER = {"cosine": "of the plain cosine", "before": "before it was tuned"}
Json = Mapping[str, Any]


def keep_card(card: Json, out: str) -> None:
    """Write the page and the JSON."""
    storage.write_json(storage.join(out, CARD_JSON), card)
    storage.write_atomic(storage.join(out, CARD), card_page(card).encode())


def card_page(card: Json) -> str:
    """The page. `card` is what `pipeline.reward.train` writes as JSON."""
    data, figures = card["data"], card["figures"]
    title = "Tuned cross-encoder" if _is_cross(card) else "Reward head"
    content = join(
        [
            el("h1", title),
            el("p", _summary(card), class_="soft"),
            _tiles(figures["overall"]),
            *(el("p", warning, class_="notice") for warning in card["warnings"]),
            section("By criterion", _criteria(figures), anchor="criteria"),
            section("By kind", _kinds(figures, data["left_out"]), anchor="kinds"),
            section("Calibration", _calibration(figures), anchor="calibration"),
            *(
                [section("Judge", _judge(card["teacher"]), anchor="judge")]
                if "teacher" in card
                else []
            ),
            section("Training", _training(card), anchor="training"),
            section("Configuration", el("pre", card["configuration"]), anchor="configuration"),
        ]
    )
    return str(page(title, content))


def _summary(card: Json) -> str:
    data = card["data"]
    test = data["parts"]["test"]
    what = "A model tuned whole, from" if _is_cross(card) else "Over vectors of"
    return (
        f"{what} {card['encoder']['name']}. All figures are of {count(test['groups'])}"
        f" images that it has not seen, {count(test['comparisons'])} comparisons; the intervals"
        " (95 %) come from drawing images again."
    )


def _is_cross(card: Json) -> bool:
    return card.get("kind") == "cross"


def _baseline(figures: Json) -> str:
    """What stands beside the figures: the cosine of the encoder, or the model before."""
    return "before" if "before_accuracy" in figures else "cosine"


def _other(figures: Json) -> Any:
    return figures[f"{_baseline(figures)}_accuracy"]


def _tiles(overall: Json) -> Html:
    shown = [
        (overall["accuracy"], "pairwise accuracy"),
        (_other(overall), _OTHER[_baseline(overall)]),
        (overall["tau"], "Kendall's tau"),
        (overall["calibration_error"], "calibration error"),
    ]
    tiles = [
        el("div", el("b", _value(figure)), el("span", f"{label} {_range(figure)}"), class_="tile")
        for figure, label in shown
    ]
    return el("div", *tiles, class_="tiles")


def _criteria(figures: Json) -> Html:
    head = [
        "Criterion",
        "weight",
        "comparisons",
        "ties",
        "images",
        "accuracy",
        _SHORT[_baseline(figures["overall"])],
    ]
    head += ["tau", "calibration error"]
    rows = [
        [one["criterion"], one["weight"], *_counts(one), *_accuracies(one), *_others(one)]
        for one in [
            *({**own, "weight": f"{own['weight']:g}"} for own in figures["criteria"]),
            {**figures["overall"], "criterion": "all", "weight": ""},
        ]
    ]
    note = "The row of all is about the reward, the mean of the criteria by their weights."
    return join([table(head, rows), el("p", note, class_="soft small")])


def _kinds(figures: Json, left_out: Sequence[str]) -> Html:
    if not figures["kinds"]:
        return el("p", "These preferences name no kinds.")
    head = ["What made the other one worse", "learnt from", "comparisons", "ties", "images"]
    head += ["accuracy", _SHORT[_baseline(figures["overall"])]]
    rows = [
        [one["kind"], _learnt(one["kind"] in left_out), *_counts(one), *_accuracies(one)]
        for one in figures["kinds"]
    ]
    return table(head, rows, texts=2)


def _counts(one: Json) -> list[str]:
    return [count(one[name]) for name in ("comparisons", "ties", "images")]


def _accuracies(one: Json) -> list[str]:
    return [_told(one["accuracy"]), _told(_other(one))]


def _others(one: Json) -> list[str]:
    return [_told(one["tau"]), _told(one["calibration_error"])]


def _learnt(is_left_out: bool) -> str:
    return "no" if is_left_out else "yes"


def _calibration(figures: Json) -> Html:
    bins = figures["reliability"]
    rows = [
        [
            f"{one['low']:.2f}–{one['high']:.2f}",
            count(one["count"]),
            f"{one['confidence']:.3f}",
            f"{one['accuracy']:.3f}",
        ]
        for one in bins
    ]
    note = (
        "The difference of two rewards is the log odds that the first is preferred. A calibrated"
        " head is right as often as it says; bars should end at the line."
    )
    shown = table(["Confidence", "comparisons", "mean confidence", "accuracy"], rows)
    return join([el("p", note), _chart(bins), shown])


def _judge(teacher: Json) -> Html:
    """How far the order of hard negatives has become that of the judge."""
    name = " ".join(filter(None, (teacher["judge"], teacher["prompt"]))) or "a judge without a name"
    anchors = ", ".join(f"{part} {count(size)}" for part, size in teacher["anchors"].items())
    note = (
        f"{count(teacher['answers'])} answers of {name}. Anchors with hard negatives: {anchors}."
        " Kendall's tau with the judge within the hard negatives of anchors not seen in training:"
    )
    rows = [
        [one["anchor"], count(one["anchors"]), _told(one["before"]), _told(one["after"])]
        for one in teacher["tau"]
    ]
    return join([el("p", note), table(["Anchor", "anchors", "of the cosine", "of the head"], rows)])


def _chart(bins: Sequence[Json]) -> Html:
    """Accuracy by confidence, both from one half to one."""
    drawing = el(
        "svg",
        el("title", "Accuracy by confidence"),
        *_bars(bins),
        el("line", x1=_EDGE, y1=_SIDE, x2=_EDGE + _SIDE, y2=0.0, class_="cut"),
        el("line", x1=_EDGE, y1=_SIDE, x2=_EDGE + _SIDE, y2=_SIDE, class_="axis"),
        el("text", "confidence", x=_EDGE + _SIDE / 2, y=_SIDE + 28, text_anchor="middle"),
        *_ticks(),
        viewBox=f"0 0 {_SIDE + _EDGE + 12:.0f} {_SIDE + 34:.0f}",
        role="img",
    )
    return el("div", el("div", drawing, class_="chart"), class_="charts")


def _bars(bins: Sequence[Json]) -> Iterator[Html]:
    for one in bins:
        x, width = _EDGE + _along(one["low"]), _along(one["high"]) - _along(one["low"]) - 1
        height = max(_along(max(one["accuracy"], 0.5)), 0.8)
        said = f"{one['count']} comparisons: confidence {one['confidence']:.3f}, "
        bar = el("rect", x=x, y=_SIDE - height, width=width, height=height, class_="kept")
        yield el("g", el("title", f"{said}accuracy {one['accuracy']:.3f}"), bar)


def _ticks() -> Iterator[Html]:
    for value in (0.5, 0.75, 1.0):
        place = _along(value)
        yield el("text", f"{value:g}", x=_EDGE + place, y=_SIDE + 14, text_anchor="middle")
        yield el("text", f"{value:g}", x=_EDGE - 6, y=_SIDE - place + 8, text_anchor="end")


def _along(value: float) -> float:
    return (value - 0.5) * 2 * _SIDE


def _training(card: Json) -> Html:
    data = card["data"]
    parts = [
        [name, count(part["comparisons"]), count(part["groups"])]
        for name, part in data["parts"].items()
    ]
    epochs = [
        [str(number), f"{learnt:.4f}", f"{held_out:.4f}"]
        for number, (learnt, held_out) in enumerate(card["training"]["history"])
    ]
    best = card["training"]["best_epoch"]
    facts = [
        ["weights, sha256", card["weights"]],
        ["encoder", f"{card['encoder']['name']}, {card['encoder']['digest']}"],
        ["training", card["training"]["digest"]],
    ]
    return join(
        [
            table(["Part", "comparisons", "images or groups"], parts),
            el("p", f"The weights are those of epoch {best}, whose loss on validation is lowest."),
            table(["Epoch", "loss in training", "loss on validation"], epochs, texts=0),
            table(["What", "name"], facts, texts=2),
        ]
    )  # fmt: skip


def _value(figure: Json | None) -> str:
    return "–" if figure is None else f"{figure['value']:.3f}"


def _range(figure: Json | None) -> str:
    return "" if figure is None else f"({figure['low']:.3f} to {figure['high']:.3f})"


def _told(figure: Json | None) -> str:
    return f"{_value(figure)} {_range(figure)}".rstrip()
