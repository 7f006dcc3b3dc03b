"""Words after which a full stop ends no sentence, by language, and what tells that it does.

The lists are short and made for captions: titles, units, dates, addresses, works of art. What is
a word of another language, such as Polish "im", counts in its own language alone.
"""

import re

# Something follows them always: a name, a number, an example.
_LEADING = """
mr mrs ms messrs dr prof rev fr hon gen col maj capt cpt lt sgt cmdr adm gov sen rep pres supt
e.g eg i.e ie cf vs viz approx ca circa fig figs vol vols nos pl pp ed eds trans illus phot attr
attrib orig c
hr nr bzw ggf evtl inkl exkl sog vgl abb z.b d.h u.a s.o s.u zzgl bspw gegr geb gest
mme mlle mm p.ex p.e env av.j
sra srta ud uds sr d dna pág aprox p.ej núm avda dto
sig sigg dott ing avv
bijv dhr mevr o.a d.w.z resp
np tzw ul prof inż mgr św al
г ул им др см рис стр просп пл напр
t.ex bl.a f.eks
cad sok bkz
डॉ प्रो
"""
# What ends a sentence as well as it stands within one: the next word decides.
_TRAILING = """
inc co corp ltd llc jr sr st ave blvd rd hwy sq dept univ assn bros no a.m p.m b.c a.d u.s u.k
u.s.a u.n d.c ph.d m.d b.a m.a l.a e.u cm mm km kg mt ft in oz lb lbs yd mi mph min sec hr hrs est
max avg temp
jan feb mar apr aug sept sep oct nov dec al et.al ibid op.cit
str jh jhd v.chr n.chr
pag a.c
m.in p.n.e n.e
руб млн тыс млрд н.э
ee.uu ss.mm aa.vv
"""
# They stand last in a list: a capital after them begins a sentence.
_FINAL = "etc usw itd itp ecc enz т.д т.п vb vs.vb osv jne stb"
# They hold in one language alone, as they are words in another.
_OWN = {
    "de": "im.allg art abs bd anm ok zt tel ca s str",
    "fr": "av apr ap ex art bd boul m chap env coll dép éd",
    "es": "art ej cap col ed pl av dr gral depto",
    "pt": "art ex av dr pág séc",
    "it": "es art cap ecc pag v sec",
    "nl": "art nl blz ca eeuw incl",
    "pl": "im art godz ok r w wg zob ks wiek os pl",
    "ru": "в вв гг и с о",
    "sv": "s k kl st ung ca",
    "da": "kl bl ca nr",
    "nb": "kl bl ca nr",
    "fi": "esim mm jne ns n",
    "cs": "např tzv tj č stol atd",
    "tr": "s yy mah apt",
    "hu": "pl stb ún kb sz",
}
_NUMBERED = (
    "no nr fig figs vol p pp ch sec pl op plate room jan feb mar apr aug sept sep oct nov dec"
)


def _split(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


LEADING, TRAILING = _split(_LEADING), _split(_TRAILING)
FINAL, NUMBERED = _split(_FINAL), _split(_NUMBERED)
OWN = {language: _split(listed) for language, listed in _OWN.items()}
_MONTHS = _split("Jan Feb Mar Apr Aug Sept Sep Oct Nov Dec")
_SMALL_ONLY = _split("in min max temp al ca c")  # "IN.", "Max." and "CA." are no abbreviations

OPENERS = _split("""
The A An It Its He She They There This That These Those In On At To Behind Above Below Beside Near
Around Inside Outside Under Over Next Some Several Many Both Each All One Two Three Another Other
His Her Their We You I And But Or While When Where With Without Overall Additionally Also However
Its What Who Here Next Meanwhile Further Surrounding Nearby
Der Die Das Ein Eine Es Er Sie Im Am Auf Hinter Vor Neben Le La Les Un Une Il Elle On Au Dans El
Los Las Una En Lo Gli Sopra Sullo Het De Een Op Ten W Na To Jest В На Это Он Она
""")
"""Words that open a sentence and no name."""
ORDINALS = _split("de da nb nn no is fi et lv cs sk sl hr sr bs hu pl tr")
"""Languages that write "the 3rd" as "3."."""
BEFORE_DATES = tuple([word] for word in ("am", "dem", "den", "der", "vom", "im", "zum", "des"))
ROMAN = re.compile(r"[IVXL]{1,6}")
ENDINGS = _split("""
com net org edu gov info jpg jpeg png gif webp svg pdf tif tiff bmp txt html htm php js mp4 md
""")
"""What follows a dot in names of files and of hosts."""


def is_abbreviation(last: str, word: str, language: str) -> bool:
    """Whether a word before a full stop is short for another, given the next word."""
    plain = last.casefold()
    if plain in NUMBERED and word[:1].isdigit():
        return True
    if last in _SMALL_ONLY or plain not in _SMALL_ONLY:
        if plain in LEADING or plain in OWN.get(language, ()):
            return True
        if plain in TRAILING:
            if last in _MONTHS:
                return word[:1].isdigit()
            return word not in OPENERS
    if plain in FINAL:
        return not word[:1].isupper()
    is_dotted = re.fullmatch(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}", last) is not None
    return is_dotted and word not in OPENERS
