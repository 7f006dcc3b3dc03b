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


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("ISO-8859-8-I", "iso8859_8", "שלום"),
        ("greek", "iso8859_7", "Καλημέρα"),
        ("latin2", "iso8859_2", "Zażółć"),
        ("iso88595", "iso8859_5", "Привет"),
        ("asmo-708", "iso8859_6", "مرحبا"),
        ("dos-874", "cp874", "ภาษาไทย"),
        ("ms932", "cp932", "写真"),
        ("GB_2312", "gb18030", "图片"),
        ("windows-949", "cp949", "사진"),
        ("csBig5", "big5hkscs", "圖片"),
    ],
)
def test_labels_are_those_of_the_encoding_standard(label, codec, text):
    data = text.encode(codec)
    assert decoded(data, f"text/html; charset={label}") == (text, codec)
    said, found = decoded(b"<meta charset=" + label.encode() + b">" + data, None)
    assert found == codec
    assert said.endswith(text)


@pytest.mark.parametrize(
    "before",
    [
        "<!-- <meta charset=koi8-r> -->",
        "<!--[if IE]><meta charset=koi8-r><![endif]-->",
        "<meta name=description content='all of charset=koi8-r'>",
        "<meta property='og:title' content='charset=koi8-r'>",
        "<meta charset=unknown-8bit>",
    ],
)
def test_what_does_not_declare_the_encoding_is_passed_over(before):
    meta = "<meta http-equiv=content-type content='text/html; charset=windows-1251' name=x>"
    text, codec = decoded(f"{before}{meta}ж".encode("cp1251"), None)
    assert codec == "cp1251"
    assert text.endswith("ж")
