import pytest

from pipeline.crawl.charset import decoded


@pytest.mark.parametrize(
    ("data", "header", "codec"),
    [
        ("\ufeffä".encode(), "text/html; charset=latin1", "utf-8"),
        ("\ufeffä".encode("utf-16-le"), None, "utf-16-le"),
        ("\ufeffä".encode("utf-16-be"), None, "utf-16-be"),
        ("ä".encode("cp1252"), 'text/html; Charset="ISO-8859-1"', "cp1252"),
        ("<meta charset=utf-8>ж".encode("cp1251"), "text/html;charset=windows-1251", "cp1251"),
        ("<META CHARSET='koi8-r'>ж".encode("koi8-r"), None, "koi8_r"),
        ("<meta content='text/html; charset=gb2312'>镕".encode("gb18030"), None, "gb18030"),
        ("<?xml encoding='shift_jis'?>ア".encode("cp932"), None, "cp932"),
        ("<meta charset=utf-16>ä".encode(), None, "utf-8"),
        ("<meta charset=zip>ä".encode(), "text/html; charset=hex", "utf-8"),
        ("ä".encode(), None, "utf-8"),
        ("ä".encode("cp1252") + b" x", "text/html", "cp1252"),
    ],
)
def test_the_first_word_on_encoding_counts(data, header, codec):
    text, found = decoded(data, header)
    assert found == codec
    assert text.rstrip("x ")[-1] in "äжア镕"


def test_a_page_cut_within_a_letter_is_still_utf_8():
    assert decoded("aä".encode()[:-1], None) == ("a\ufffd", "utf-8")


def test_what_can_not_be_read_is_replaced():
    assert decoded(b"a\xffb", "text/html; charset=utf-8") == ("a\ufffdb", "utf-8")
