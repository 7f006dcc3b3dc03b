"""Columns of a wrong type are refused before a build runs, by every scorer that names columns."""

from functools import partial

import pyarrow as pa
import pytest

from filters.objects import OBJECT
from pipeline.contract import interface, need_problem
from pipeline.pool import CAPTION
from recaption.attributes import ObjectAttributes
from recaption.box_captions import BoxCaptions
from recaption.captioner import Captioner
from recaption.choice import BestCaption, FirstText, Mixed
from recaption.concepts import Concepts
from recaption.expressions import Expressions
from recaption.flags import CaptionFlags, FlagCounts
from recaption.fusion import Fusion
from recaption.labels import LabelCaptions
from recaption.split import SplitCaptions
from recaption.support import Support, Supported
from recaption.translate import Translate

TYPES = {
    "caption": pa.string(),
    "long": pa.list_(CAPTION),
    "words": pa.list_(pa.string()),
    "width": pa.int32(),
    "scores": pa.list_(pa.float32()),
    "objects": pa.list_(OBJECT),
}
SERVER = {"endpoints": ["http://127.0.0.1:1"], "model": "m"}
MADE = [
    (lambda c: SplitCaptions(of=c), "of", "caption long"),
    (lambda c: CaptionFlags(of=c), "of", "caption long"),
    (lambda c: CaptionFlags(raw=c), "raw", "caption long"),
    (lambda c: FlagCounts(of=c), "of", "caption long"),
    (lambda c: Supported(of=c), "of", "caption long"),
    (lambda c: Supported(experts=(c,)), "experts", "caption long objects"),
    (lambda c: Support(text=c), "text", "caption long"),
    (lambda c: Support(experts=("caption", c)), "experts", "caption long objects"),
    (lambda c: Concepts(text=c), "text", "caption long"),
    (lambda c: Captioner(server=SERVER, context=c), "context", "caption long"),
    (lambda c: Fusion(c), "synthetic", "caption long"),
    (lambda c: Fusion("long", raw=c), "raw", "caption long"),
    (lambda c: Fusion("long", experts=(c,)), "experts", "caption long words"),
    (lambda c: Fusion("long", experts={c: "Seen"}), "experts", "caption long words"),
    (lambda c: Fusion("long", concepts=c), "concepts", "caption long words"),
    (lambda c: Fusion("long", objects=c), "objects", "objects"),
    (lambda c: ObjectAttributes(of=c), "of", "objects"),
    (lambda c: Fusion("long", scores=("width", c)), "scores", "width scores"),
    (lambda c: Mixed(c), "synthetic", "caption long"),
    (lambda c: Mixed("long", raw=c), "raw", "caption long"),
    (lambda c: BestCaption((c,), ("width",)), "of", "caption long"),
    (lambda c: BestCaption(("long",), (c,)), "scores", "width scores"),
    (lambda c: FirstText(("long", c)), "of", "caption long"),
    (lambda c: BoxCaptions(of=c), "of", "long"),
    (lambda c: Expressions(of=c), "of", "long"),
    (lambda c: LabelCaptions(of=c), "of", "caption long"),
    (lambda c: Translate(to="es", of=c, engine="served", server=SERVER), "of", "caption long"),
]


@pytest.mark.parametrize("column", TYPES)
@pytest.mark.parametrize(("make", "parameter", "fits"), MADE)
def test_only_columns_that_hold_what_is_needed_are_taken(make, parameter, fits, column):
    scorer = make(column)
    interface(scorer)
    problem = need_problem(scorer, TYPES)
    if column in fits.split():
        assert problem is None
    else:
        assert problem is not None
        assert problem[0] == parameter
        assert repr(column) in problem[1]


def test_labels_may_be_captions():
    row = {"text": "harbour", "flags": [], "kind": "short", "language": "en"}
    found = LabelCaptions(templates=("{name}",))({"caption": [[row], "harbour", []]})["captions"]
    assert found[0] == found[1] != []
    assert found[2] == []


@pytest.mark.parametrize("make", [partial(Captioner, server=SERVER), partial(Fusion, "long")])
def test_a_language_that_nobody_knows_is_refused(make):
    assert make(language="pt-BR").language == "pt-BR"
    with pytest.raises(ValueError, match="language 'klingonish-x' is not known"):
        make(language="klingonish-x")


def test_texts_are_not_translated_into_their_own_language():
    back = Translate(to="en", of="long", engine="served", server=SERVER)
    assert need_problem(back, TYPES) is None  # captions may say that they are in another
    problem = need_problem(back, {**TYPES, "long": pa.string()})
    assert problem is not None
    assert "`of`: a column of captions is needed" in problem[1]
