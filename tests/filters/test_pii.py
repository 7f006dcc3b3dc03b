"""Personal data: what is found in captions of several languages, and what only looks like it."""

import pytest

from filters.personal import is_iban, passes_luhn
from filters.pii import LONGEST, PersonalData

# In braces what is personal, with its kind.
CAPTIONS = """
Contact {email:john.doe+web@mail.example.co.uk} for details
write to {email:sales [at] example [dot] com} today
{email:ÜBER@example.de}, {email:a@b.io}
Call {phone:+1 (415) 555-2671} now
Call {phone:415-555-2671} or {phone:(415) 555-2671}
Tel.: {phone:030 12345678}, Fax {phone:030/1234-5679}
Téléphone : {phone:01 42 68 53 00}
Appelez le {phone:06.12.34.56.78}
тел. {phone:+7 (495) 123-45-67}, звоните {phone:8 800 555 35 35}
WhatsApp {phone:+44 7911 123456}, {phone:0049 30 123456}
电话：{phone:010-12345678}
IBAN {iban:DE89 3704 0044 0532 0130 00} bitte
{iban:GB82WEST12345698765432} account
card {card:4111 1111 1111 1111} exp, Amex {card:3782 822463 10005}
server {ip:8.8.8.8} or {ip:2001:4860:4860::8888} at 12:30:45
Photo by {name:Anna Müller} and {name:John F. Kennedy}
Dr. {name:Angela Merkel} meets President {name:Barack Obama} in Berlin
Prof. Dr. {name:Schmidt}, Frau {name:Weber} und Herr {name:van der Berg}
Señora {name:García López} en Madrid, Mme {name:Dupont}
{name:Иван Петров} и {name:Мария Сидорова} на празднике, г-н {name:Иванов}
{name:Ludwig van Beethoven} portrait, {name:Maria da Silva} smiling
{name:John Smith}'s dog. {name:Robert Downey Jr}.
{name:JOHN SMITH} AT WORK
{name:Jean-Pierre Martin} in the garden
Queen {name:Elizabeth II} Waving, King Size Bed
"""
FALSE_FRIENDS = """
Sale on 2019-05-12 from $1,299.00 to $999.99
Model 555-123-4567890 and ISBN 978-3-16-148410-0
Lot of 10 000 000 pieces, 1920x1080 12.05.2019
SKU 4006381333931 EAN, order 1234 5678 9012 3456
card 4111 1111 1111 1112
Phone 2019-05-12 cases, phone 13 128 GB
scores 415-555, 10.00-12.00, 1-800
version 1.2.3.4 on 192.168.1.1, firmware 8.8.8.8, 300.1.2.3
GB83WEST12345698765432
look @ me, @somebody, 5 @ 3.99, me@home
12:30:45 and a::b and ::
John F. Kennedy Airport terminal
Martin Luther King Boulevard at night
Ralph Lauren Polo Shirt Black
Dr. Martens boots, Dr Pepper can
Santa Barbara beach, San Francisco, San José Costa Rica, Lake Victoria
Charlotte North Carolina skyline, Virginia Beach
Harry Potter and Luke Skywalker costumes
Rose Gold Wedding Ring, Summer Dress
Jack Russell Terrier Puppy, Carl Zeiss Lens
Mercedes Benz S Class 2019, John Deere Tractor
Anna and Peter Wedding in Berlin
Mary's Kitchen Table, Miss Universe, King George Hotel
a black dog on the street
Mark, will you chase the Hunter in Paris?
Jan 12 2019, Mar 3
The Alan Turing Institute
"""


def marked(line):
    """The caption and its redacted form."""
    import re

    tokens = {"name": "<PERSON>"}
    plain = re.sub(r"\{(\w+):(.*?)\}", r"\2", line)
    redacted = re.sub(r"\{(\w+):.*?\}", lambda m: tokens.get(m[1], f"<{m[1].upper()}>"), line)
    return plain, redacted


def measure(*captions, **options):
    return PersonalData(**options)({"caption": list(captions)})


@pytest.mark.parametrize("line", CAPTIONS.strip().split("\n"))
def test_it_is_found(line):
    plain, redacted = marked(line)
    row = measure(plain)
    assert row["caption_redacted"] == [redacted]
    assert row["pii"] == [line.count("{")]
    for kind in ("email", "phone", "iban", "card", "ip", "name"):
        assert row[f"pii_{kind}s"] == [line.count(f"{{{kind}:")]


@pytest.mark.parametrize("line", FALSE_FRIENDS.strip().split("\n"))
def test_a_false_friend_stays(line):
    row = measure(line)
    assert row["caption_redacted"] == [line]
    assert row["pii"] == [0]


def test_kinds():
    row = measure("Anna Müller, a@example.com", kinds=("email",))
    assert row["caption_redacted"] == ["Anna Müller, <EMAIL>"]
    assert (row["pii_emails"], row["pii_names"]) == ([1], [None])
    for wrong in ("email", (), ("address",)):
        with pytest.raises(ValueError, match="kinds is a list of email"):
            PersonalData(kinds=wrong)


def test_no_captions_and_odd_ones():
    assert all(values == [] for values in measure().values())
    odd = ["", " ", "\x00\x1f\ud800", "a\u202eb", "猫", "🙂" * 50]
    assert measure(*odd)["caption_redacted"] == odd
    assert set(measure(*odd)["pii"]) == {0}


def test_another_column():
    scorer = PersonalData(text="title")
    assert scorer.reads == ("title",)
    assert scorer({"title": ["a@example.com"]})["pii"] == [1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["a", "1 ", "John ", "A.", "@", "a@a.", "+1", "tel ", "GB12 ", "1:", "(at)", "Mr "]
)
def test_a_huge_caption_takes_little_time_and_is_cut(piece):
    import time

    start = time.process_time()
    row = measure(piece * (10**6 // len(piece)))
    assert time.process_time() - start < 2
    assert len(row["caption_redacted"][0]) <= 1.01 * LONGEST


def test_checksums():
    assert is_iban("NO9386011117947")
    assert is_iban("MT84MALT011000012345MTLCAST001S")
    assert not is_iban("NO9386011117946")
    assert not is_iban("NO93")
    assert passes_luhn("79927398713")
    assert not any(passes_luhn(f"7992739871{digit}") for digit in "012456789")
