"""The text of a page, whatever bytes it came as: never raises, and guesses only as the web does."""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PRESCAN_BYTES = 2048  # browsers look at 1024; pages that declare late are common
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_DECLARED = re.compile(  # what has a name is about something else: a description, say
    rb"""<meta(?:(?=[^>]*http-equiv)|(?![^>]*\b(?:name|property|itemprop)\s*=))"""
    rb"""[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})"""
    rb"""|<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)

# Labels as the Encoding Standard reads them: what declares Latin-1 is windows-1252 on the web.
# Nothing but these is looked up: Python knows codecs that unpack or execute.
_CODECS = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp1252": "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1"
    " iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 latin-1 us-ascii windows-1252 x-cp1252",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk"
    " gb18030",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022_jp": "csiso2022jp iso-2022-jp",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601"
    " ksc_5601 windows-949",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9"
    " iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "koi8_r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8_u": "koi8-ru koi8-u",
    "cp866": "866 cp866 csibm866 ibm866",
    "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
    "utf-16-be": "unicodefffe utf-16be",
    **{f"cp{n}": f"windows-{n} cp{n} x-cp{n}" for n in (1250, 1251, 1253, 1255, 1256, 1257, 1258)},
    **{
        f"iso8859_{n}": f"iso-8859-{n} iso8859-{n} iso8859{n} iso_8859-{n} {others}"
        for n, others in {
            2: "csisolatin2 iso-ir-101 iso_8859-2:1987 l2 latin2",
            3: "csisolatin3 iso-ir-109 iso_8859-3:1988 l3 latin3",
            4: "csisolatin4 iso-ir-110 iso_8859-4:1988 l4 latin4",
            5: "csisolatincyrillic cyrillic iso-ir-144 iso_8859-5:1988",
            6: "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e"
            " iso-8859-6-i iso-ir-127 iso_8859-6:1987",
            7: "csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso_8859-7:1987"
            " sun_eu_greek",
            8: "csiso88598e csiso88598i csisolatinhebrew hebrew iso-8859-8-e iso-8859-8-i"
            " iso-ir-138 iso_8859-8:1988 logical visual",
            10: "csisolatin6 iso-ir-157 l6 latin6",
            13: "",
            14: "",
            15: "csisolatin9 l9",
            16: "",
        }.items()
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
    """The codec of the first label in the page's head that is known; comments say nothing."""
    for found in _DECLARED.finditer(_COMMENT.sub(b"", data[:_PRESCAN_BYTES])):
        codec = _OF_LABEL.get((found[1] or found[2]).decode("ascii", "replace").lower())
        if codec is not None:
            return "utf-8" if codec.startswith("utf-16") else codec
    return None
