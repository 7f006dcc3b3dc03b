"""The text of a page, whatever bytes it came as: never raises, and guesses only as the web does."""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PRESCAN_BYTES = 2048  # browsers look at 1024; pages that declare late are common
_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})"""
    rb"""|<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)

# Labels as the Encoding Standard reads them: what declares Latin-1 is windows-1252 on the web.
# Nothing but these is looked up: Python knows codecs that unpack or execute.
_CODECS = {
    "utf-8": "utf8 utf-8 unicode-1-1-utf-8 unicode11utf8 x-unicode20utf8",
    "cp1252": "iso-8859-1 iso8859-1 iso88591 latin1 latin-1 l1 ascii us-ascii windows-1252 cp1252"
    " x-cp1252 ansi_x3.4-1968",
    "gb18030": "gb2312 gb_2312-80 gbk x-gbk gb18030 chinese",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j csshiftjis",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "cp949": "euc-kr ks_c_5601-1987 ks_c_5601-1989 ksc5601 korean windows-949",
    "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5",
    "cp874": "tis-620 iso-8859-11 windows-874",
    "cp1254": "iso-8859-9 latin5 windows-1254",
    "mac_roman": "macintosh mac x-mac-roman",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "koi8_r": "koi8-r koi8 koi",
    "koi8_u": "koi8-u koi8-ru",
    "cp866": "ibm866 cp866",
    "utf-16-le": "utf-16 utf-16le unicode ucs-2",
    "utf-16-be": "utf-16be",
    **{f"cp{n}": f"windows-{n} cp{n} x-cp{n}" for n in (1250, 1251, 1253, 1255, 1256, 1257, 1258)},
    **{
        f"iso8859_{n}": f"iso-8859-{n} iso8859-{n} iso_8859-{n}"
        for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)
    },
}
_OF_LABEL = {label: name for name, labels in _CODECS.items() for label in labels.split()}


def decoded(data: bytes, content_type: str | None) -> tuple[str, str]:
    """The text and the codec: byte order mark, then HTTP, then the page's own word, then a guess.

    Without a word it is UTF-8 when it reads as such, else windows-1252. What a codec can't read
    becomes U+FFFD; a page that says UTF-16 in ASCII letters is UTF-8.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(marked, "replace"), marked
    codec = _of_header(content_type)
    if codec is None:
        codec = _of_page(data)
    if codec is None:
        try:
            return data.decode("utf-8"), "utf-8"
        except UnicodeDecodeError as error:
            is_cut = error.reason == "unexpected end of data" and error.start > len(data) - 4
            codec = "utf-8" if is_cut else "cp1252"
    return data.decode(codec, "replace"), codec


def _of_header(content_type: str | None) -> str | None:
    if content_type is None or "charset" not in content_type.lower():
        return None
    found = _IN_HEADER.search(content_type)
    return _OF_LABEL.get(found[1].lower()) if found else None


def _of_page(data: bytes) -> str | None:
    found = _DECLARED.search(data[:_PRESCAN_BYTES])
    if found is None:
        return None
    codec = _OF_LABEL.get((found[1] or found[2]).decode("ascii", "replace").lower())
    return "utf-8" if codec is not None and codec.startswith("utf-16") else codec
