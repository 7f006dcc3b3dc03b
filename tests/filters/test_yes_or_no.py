"""The probability of yes, by hand and by what must hold of it."""

import math

import numpy as np
import pytest

from filters import yes_or_no
from filters.yes_or_no import Scale, leads, probability
from tests.filters.small_reference import encode, small, vector

T = 0.05


def soft(cosines):
    return T * math.log(np.mean([math.exp(c / T) for c in cosines]))


def test_a_lead_is_over_the_average_of_what_might_have_been_said():
    known = small()
    seen, said = known.seen(vector("p")), known.said("a red dog")
    others, copies = leads(seen, said)
    own = float(vector("p") @ vector("a red dog"))
    assert others == pytest.approx(own - soft((known.captions @ vector("p")).tolist()), abs=1e-5)
    assert copies == pytest.approx(own - soft((said.copies @ vector("p")).tolist()), abs=1e-5)


def test_without_a_known_word_there_is_no_lead_over_copies():
    known = small()
    assert leads(known.seen(vector("p")), known.said("größe"))[1] == 0


def test_the_odds_add_up():
    known = small()
    pair = known.seen(vector("p")), known.said("a red dog")
    others, copies = leads(*pair)
    odds = 2 * others + 3 * copies - 0.5
    assert probability(*pair, Scale(2, 3, -0.5)) == pytest.approx(1 / (1 + math.exp(-odds)))
    assert probability(*pair, Scale(0, 0, 0)) == 0.5


def test_it_rises_with_the_text_s_own_cosine():
    known = small()
    said, base = known.said("a red dog"), vector("p")
    nearer = [base + step * vector("a red dog") for step in (0, 0.5, 1.0)]
    found = [probability(known.seen(row / np.linalg.norm(row)), said) for row in nearer]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_caption_of_the_reference_does_not_compete_with_itself():
    known = small()
    seen = known.seen(encode(["caption 3"])[0])
    with_itself = float(seen.vector @ vector("caption 3")) - soft(seen.captions.tolist())
    assert leads(seen, known.said("caption 3"))[0] > with_itself


def test_both_leads_count():
    assert yes_or_no.SHIPPED.others > 1
    assert yes_or_no.SHIPPED.copies > 1
