"""Languages by every name they go by: BCP-47 tags, ISO 639, and the codes of translators.

The one place where codes are turned into each other. What names no language that is known here is
a ValueError with the names that come near. Nothing is downloaded.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection
from functools import cache, lru_cache
from typing import NamedTuple

_M2M_CODES = """
af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he
hi hr ht hu hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no
ns oc or pa pl ps pt ro ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo
zh zu
"""
"""The codes of M2M100 (Fan et al., arXiv:2010.11125)."""
_M2M = frozenset(_M2M_CODES.split())

# The tag, ISO 639-3, the script; FLORES-200's code where it is not those two joined, "-" where it
# has none; the English names.
_TABLE = """
af afr Latn . Afrikaans|am amh Ethi . Amharic|an arg Latn - Aragonese
ar ara Arab arb_Arab Arabic|as asm Beng . Assamese|ast ast Latn . Asturian
az aze Latn azj_Latn Azerbaijani|ba bak Cyrl . Bashkir|be bel Cyrl . Belarusian
bg bul Cyrl . Bulgarian|bn ben Beng . Bengali/Bangla|bo bod Tibt . Tibetan
br bre Latn - Breton|bs bos Latn . Bosnian|ca cat Latn . Catalan/Valencian
ceb ceb Latn . Cebuano|cs ces Latn . Czech|cy cym Latn . Welsh|da dan Latn . Danish
de deu Latn . German|el ell Grek . Greek|en eng Latn . English|eo epo Latn . Esperanto
es spa Latn . Spanish/Castilian|et est Latn . Estonian|eu eus Latn . Basque
fa fas Arab pes_Arab Persian/Farsi|ff ful Latn fuv_Latn Fulah/Fula|fi fin Latn . Finnish
fr fra Latn . French|fy fry Latn - Western_Frisian/Frisian|ga gle Latn . Irish
gd gla Latn . Scottish_Gaelic|gl glg Latn . Galician|gn grn Latn . Guarani
gu guj Gujr . Gujarati|ha hau Latn . Hausa|he heb Hebr . Hebrew|hi hin Deva . Hindi
hr hrv Latn . Croatian|ht hat Latn . Haitian_Creole|hu hun Latn . Hungarian
hy hye Armn . Armenian|id ind Latn . Indonesian|ig ibo Latn . Igbo|ilo ilo Latn . Iloko/Ilocano
is isl Latn . Icelandic|it ita Latn . Italian|ja jpn Jpan . Japanese|jv jav Latn . Javanese
ka kat Geor . Georgian|kk kaz Cyrl . Kazakh|km khm Khmr . Khmer|kn kan Knda . Kannada
ko kor Kore kor_Hang Korean|ku kur Latn kmr_Latn Kurdish|ky kir Cyrl . Kyrgyz
la lat Latn - Latin|lb ltz Latn . Luxembourgish|lg lug Latn . Ganda/Luganda
ln lin Latn . Lingala|lo lao Laoo . Lao|lt lit Latn . Lithuanian|lv lav Latn lvs_Latn Latvian
mg mlg Latn plt_Latn Malagasy|mi mri Latn . Maori|mk mkd Cyrl . Macedonian
ml mal Mlym . Malayalam|mn mon Cyrl khk_Cyrl Mongolian|mr mar Deva . Marathi
ms msa Latn zsm_Latn Malay|mt mlt Latn . Maltese|my mya Mymr . Burmese/Myanmar
nb nob Latn . Norwegian_Bokmal/Norwegian|ne nep Deva npi_Deva Nepali|nl nld Latn . Dutch/Flemish
nn nno Latn . Norwegian_Nynorsk|nso nso Latn . Northern_Sotho/Pedi|oc oci Latn . Occitan
or ori Orya ory_Orya Odia/Oriya|pa pan Guru . Punjabi|pl pol Latn . Polish
ps pus Arab pbt_Arab Pashto|pt por Latn . Portuguese|ro ron Latn . Romanian
ru rus Cyrl . Russian|rw kin Latn . Kinyarwanda|sa san Deva . Sanskrit|sd snd Arab . Sindhi
si sin Sinh . Sinhala|sk slk Latn . Slovak|sl slv Latn . Slovenian|so som Latn . Somali
sq sqi Latn als_Latn Albanian|sr srp Cyrl . Serbian|ss ssw Latn . Swati|st sot Latn . Southern_Sotho
su sun Latn . Sundanese|sv swe Latn . Swedish|sw swa Latn swh_Latn Swahili|ta tam Taml . Tamil
te tel Telu . Telugu|tg tgk Cyrl . Tajik|th tha Thai . Thai|ti tir Ethi . Tigrinya
tk tuk Latn . Turkmen|tl tgl Latn . Tagalog/Filipino|tn tsn Latn . Tswana|tr tur Latn . Turkish
tt tat Cyrl . Tatar|ug uig Arab . Uyghur|uk ukr Cyrl . Ukrainian|ur urd Arab . Urdu
uz uzb Latn uzn_Latn Uzbek|vi vie Latn . Vietnamese|wo wol Latn . Wolof|xh xho Latn . Xhosa
yi yid Hebr ydd_Hebr Yiddish|yo yor Latn . Yoruba|yue yue Hant . Cantonese
zh zho Hans . Chinese/Mandarin|zu zul Latn . Zulu
"""
_OTHER_NAMES = {
    "cmn": "zh",
    "fil": "tl",
    "in": "id",
    "iw": "he",
    "ji": "yi",
    "jw": "jv",
    "no": "nb",
    "nor": "nb",
    "ns": "nso",
    "alb": "sq",
    "arm": "hy",
    "baq": "eu",
    "chi": "zh",
    "cze": "cs",
    "dut": "nl",
    "fre": "fr",
    "geo": "ka",
    "ger": "de",
    "gre": "el",
    "ice": "is",
    "mac": "mk",
    "may": "ms",
    "per": "fa",
    "rum": "ro",
    "slo": "sk",
    "wel": "cy",
}
"""Codes of old standards, of ISO 639-2/B and of macro-languages that mean one of the table."""
_CHINESE = {"CN": "Hans", "SG": "Hans", "TW": "Hant", "HK": "Hant", "MO": "Hant"}
_FLORES_SCRIPTS = {"zho_Hant", "arb_Latn", "mni_Beng", "kas_Deva", "knc_Arab"}
_SCRIPT_WORDS = {
    "hang": "Kore",
    "latin": "Latn",
    "cyrillic": "Cyrl",
    "simplified": "Hans",
    "traditional": "Hant",
}
_APERTIUM = {"hr": "hbs", "sr": "hbs", "bs": "hbs", "ms": "zlm", "az": "aze", "nso": "nso"}
_SUBTAG = re.compile(r"[-_@ ]+")

_BLOCKS = {
    "Latn": ("LATIN",),
    "Cyrl": ("CYRILLIC",),
    "Grek": ("GREEK",),
    "Arab": ("ARABIC",),
    "Hebr": ("HEBREW",),
    "Deva": ("DEVANAGARI",),
    "Beng": ("BENGALI",),
    "Guru": ("GURMUKHI",),
    "Gujr": ("GUJARATI",),
    "Orya": ("ORIYA",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Knda": ("KANNADA",),
    "Mlym": ("MALAYALAM",),
    "Sinh": ("SINHALA",),
    "Thai": ("THAI",),
    "Laoo": ("LAO",),
    "Tibt": ("TIBETAN",),
    "Mymr": ("MYANMAR",),
    "Geor": ("GEORGIAN",),
    "Ethi": ("ETHIOPIC",),
    "Khmr": ("KHMER",),
    "Armn": ("ARMENIAN",),
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Jpan": ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH"),
    "Kore": ("HANGUL", "CJK"),
}
"""How the Unicode names of a script's letters begin."""
# Characters of everyday words of which the other script has another form.
_SIMPLIFIED = frozenset(
    "个这们来时说国对过么两东车马鸟鱼门见长开关电红绿蓝黄头书图画树叶云飞机鸡鸭鹅龙狮猫猪龟边间场"
    "条张双块钟铁钢银线纸帽鞋裤裙围灯楼厅厨饭面种类亚军医护师员乐钢"
) - frozenset("帽鞋裙猫黄面")
_TRADITIONAL = frozenset(
    "個這們來時說國對過麼兩東車馬鳥魚門見長開關電紅綠藍頭書圖畫樹葉雲飛機雞鴨鵝龍獅豬龜邊間場條張雙"
    "塊鐘鐵鋼銀線紙褲圍燈樓廳廚飯種類亞軍醫護師員樂"
)


class Language(NamedTuple):
    """A language: `tag` is BCP-47, with region or script where they were said (`pt-BR`, `zh-Hant`).

    `base` is the tag without them. `flores` is the code of FLORES-200 and so of NLLB, `m2m` that
    of M2M100; they are None where these don't know the language. `apertium` is ISO 639-3 with the
    exceptions of that project.
    """

    tag: str
    base: str
    iso3: str
    script: str
    flores: str | None
    m2m: str | None
    apertium: str
    english: str

    @property
    def iso1(self) -> str | None:
        """Its code of two letters."""
        return self.base if len(self.base) == 2 else None

    @property
    def has_words(self) -> bool:
        """Whether it puts spaces between words."""
        return self.script not in ("Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt")


@lru_cache(maxsize=4096)
def language(said: str) -> Language:
    """The language that a user, a column or a model means: `pt_br`, `zho_Hant`, `German`, `iw`.

    Raises ValueError for one that is not known, with the names that come near.
    """
    if not isinstance(said, str) or not said.strip():
        raise ValueError(f"language {said!r}: say a tag such as en, pt-BR or zh-Hant")
    plain = said.strip().replace("__", "")
    whole = _names().get(plain.casefold())
    if whole is not None:
        return _with_parts(whole, None, None)
    first, *rest = [part for part in _SUBTAG.split(plain) if part]
    base = _names().get(first.casefold())
    if base is None:
        near = difflib.get_close_matches(plain.casefold(), sorted(_names()), 3, 0.6)
        told = f"; near are {', '.join(near)}" if near else ""
        raise ValueError(f"language {said!r} is not known{told}")
    script = region = None
    for part in rest:
        word = _SCRIPT_WORDS.get(part.casefold(), part)
        if re.fullmatch(r"[A-Za-z]{4}", word):
            script = word.title()
        elif re.fullmatch(r"[A-Za-z]{2}|[0-9]{3}", word):
            region = word.upper()
    return _with_parts(base, script, region)


def known() -> tuple[Language, ...]:
    """All languages, without regions and other scripts."""
    return tuple(_rows().values())


def is_language(said: str) -> bool:
    """Whether `language` knows it."""
    try:
        language(said)
    except ValueError:
        return False
    return True


def is_same(one: Language, other: Language) -> bool:
    """Whether text in one may stand for the other: regions don't count, scripts do."""
    if one.base in ("hr", "sr", "bs") and other.base in ("hr", "sr", "bs"):
        return one.script == other.script
    return (one.base, one.script) == (other.base, other.script)


def script_share(text: str, script: str) -> float | None:
    """The share of a text's letters that are of the script; None where it has no letters."""
    letters = [sign for sign in text if sign.isalpha()]
    if not letters:
        return None
    blocks = _BLOCKS.get(script, ())
    return sum(_block(sign) in blocks for sign in letters) / len(letters)


def foreign_letters(text: str, scripts: Collection[str]) -> set[str]:
    """The letters of a text, in small, that are of a known script but of none of these."""
    own = {block for script in scripts for block in _BLOCKS.get(script, ())}
    known = {block for blocks in _BLOCKS.values() for block in blocks} - own
    letters = set(unicodedata.normalize("NFC", text).casefold())
    return {sign for sign in letters if sign.isalpha() and _block(sign) in known}


def chinese_script(text: str) -> str | None:
    """`Hans` or `Hant`, whichever more of its characters belong to alone; None for neither."""
    simple = sum(sign in _SIMPLIFIED for sign in text)
    full = sum(sign in _TRADITIONAL for sign in text)
    if simple == full:
        return None
    return "Hans" if simple > full else "Hant"


@cache
def _rows() -> dict[str, Language]:
    found = {}
    for line in _TABLE.replace("\n", "|").split("|"):
        if not line:
            continue
        tag, iso3, script, flores, names = line.split()
        code = {".": f"{iso3}_{script}", "-": None}.get(flores, flores)
        m2m = {"nb": "no", "nn": "no", "nso": "ns"}.get(tag, tag)
        found[tag] = Language(
            tag=tag,
            base=tag,
            iso3=iso3,
            script=script,
            flores=code,
            m2m=m2m if m2m in _M2M else None,
            apertium=_APERTIUM.get(tag, iso3),
            english=names.split("/")[0].replace("_", " "),
        )
    return found


@cache
def _names() -> dict[str, str]:
    """The tag by every name without script and region, in small letters."""
    found: dict[str, str] = dict(_OTHER_NAMES)
    for line in _TABLE.replace("\n", "|").split("|"):
        if line:
            tag, iso3, _, flores, names = line.split()
            found |= {name.replace("_", " ").casefold(): tag for name in names.split("/")}
            found |= {tag: tag, iso3: tag}
            if flores not in ".-":
                found[flores.partition("_")[0]] = tag
    return found


def _with_parts(base: str, script: str | None, region: str | None) -> Language:
    row = _rows()[base]
    if base == "zh" and script is None and region in _CHINESE:
        script, region = _CHINESE[region], None
    if script is not None and script != row.script:
        if script not in _BLOCKS:
            raise ValueError(f"script {script!r} of {row.english} is not known")
        code = f"{row.iso3}_{script}"
        flores = code if code in _FLORES_SCRIPTS else None
        m2m = row.m2m if base == "zh" else None
        row = row._replace(script=script, flores=flores, m2m=m2m)
    is_said = script is not None and (base == "zh" or script != _rows()[base].script)
    parts = [base, script if is_said else None, region]
    return row._replace(tag="-".join(part for part in parts if part))


@lru_cache(maxsize=65536)
def _block(sign: str) -> str:
    return unicodedata.name(sign, "?").split(" ")[0].split("-")[0]
