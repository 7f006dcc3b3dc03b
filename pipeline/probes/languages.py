"""Four shapes in four colours, said in sixteen languages, with the agreement that each asks for."""

from collections.abc import Mapping
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "blue", "green", "yellow")


@dataclass(frozen=True)
class Words:
    """How a language says it: `pattern` with {article}, {shape} and {colour}.

    `shapes` are four nouns, each with its gender if the language has any; `colours` are four
    words for each gender, `articles` one.
    """

    name: str
    pattern: str
    shapes: tuple[tuple[str, str], ...]
    colours: Mapping[str, tuple[str, ...]]
    articles: Mapping[str, str]

    def say(self, shape: str, colour: str) -> str:
        noun, gender = self.shapes[SHAPES.index(shape)]
        return self.pattern.format(
            article=self.articles.get(gender, ""),
            shape=noun,
            colour=self.colours[gender][COLOURS.index(colour)],
        )


def _plain(name: str, pattern: str, shapes: str, colours: str) -> Words:
    """A language without gender: nouns and colours with commas between them."""
    nouns = tuple((noun, "") for noun in shapes.split(", "))
    return Words(name, pattern, nouns, {"": tuple(colours.split(", "))}, {})


def _gendered(
    name: str, pattern: str, shapes: str, colours: Mapping[str, str], articles: str = ""
) -> Words:
    """A language with gender: each noun as `noun/gender`, articles as `word/gender`."""
    pairs = (part.partition("/") for part in shapes.split(", "))
    said = (part.partition("/") for part in articles.split(", ") if part)
    return Words(
        *(name, pattern, tuple((noun, gender) for noun, _, gender in pairs)),
        {gender: tuple(words.split(", ")) for gender, words in colours.items()},
        {gender: word for word, _, gender in said},
    )


_NOUN_FIRST = "{article} {shape} {colour}"
LANGUAGES = {
    "en": _plain("English", "a {colour} {shape}", ", ".join(SHAPES), ", ".join(COLOURS)),
    "ar": _gendered(
        "Arabic",
        "{shape} {colour}",
        "دائرة/f, مربع/m, مثلث/m, نجمة/f",
        {"m": "أحمر, أزرق, أخضر, أصفر", "f": "حمراء, زرقاء, خضراء, صفراء"},
    ),
    "de": _gendered(
        "German",
        "ein {colour} {shape}",
        "Kreis/m, Quadrat/n, Dreieck/n, Stern/m",
        {"m": "roter, blauer, grüner, gelber", "n": "rotes, blaues, grünes, gelbes"},
    ),
    "es": _gendered(
        "Spanish",
        _NOUN_FIRST,
        "círculo/m, cuadrado/m, triángulo/m, estrella/f",
        {"m": "rojo, azul, verde, amarillo", "f": "roja, azul, verde, amarilla"},
        "un/m, una/f",
    ),
    "fr": _gendered(
        "French",
        _NOUN_FIRST,
        "cercle/m, carré/m, triangle/m, étoile/f",
        {"m": "rouge, bleu, vert, jaune", "f": "rouge, bleue, verte, jaune"},
        "un/m, une/f",
    ),
    "it": _gendered(
        "Italian",
        _NOUN_FIRST,
        "cerchio/m, quadrato/m, triangolo/m, stella/f",
        {"m": "rosso, blu, verde, giallo", "f": "rossa, blu, verde, gialla"},
        "un/m, una/f",
    ),
    "ja": _plain(
        *("Japanese", "{colour}{shape}", "円, 正方形, 三角形, 星", "赤い, 青い, 緑の, 黄色い")
    ),
    "ko": _plain(
        *("Korean", "{colour} {shape}", "원, 정사각형, 삼각형, 별"),
        "빨간색, 파란색, 초록색, 노란색",
    ),
    "nl": _gendered(
        "Dutch",
        "een {colour} {shape}",
        "cirkel/c, vierkant/n, driehoek/c, ster/c",
        {"c": "rode, blauwe, groene, gele", "n": "rood, blauw, groen, geel"},
    ),
    "pl": _gendered(
        "Polish",
        "{colour} {shape}",
        "koło/n, kwadrat/m, trójkąt/m, gwiazda/f",
        {
            "m": "czerwony, niebieski, zielony, żółty",
            "f": "czerwona, niebieska, zielona, żółta",
            "n": "czerwone, niebieskie, zielone, żółte",
        },
    ),
    "pt": _gendered(
        "Portuguese",
        _NOUN_FIRST,
        "círculo/m, quadrado/m, triângulo/m, estrela/f",
        {"m": "vermelho, azul, verde, amarelo", "f": "vermelha, azul, verde, amarela"},
        "um/m, uma/f",
    ),
    "ru": _gendered(
        "Russian",
        "{colour} {shape}",
        "круг/m, квадрат/m, треугольник/m, звезда/f",
        {"m": "красный, синий, зелёный, жёлтый", "f": "красная, синяя, зелёная, жёлтая"},
    ),
    "th": _plain(
        *("Thai", "{shape}{colour}", "วงกลม, สี่เหลี่ยมจัตุรัส, สามเหลี่ยม, ดาว"),
        "สีแดง, สีน้ำเงิน, สีเขียว, สีเหลือง",
    ),
    "tr": _plain(
        *("Turkish", "{colour} bir {shape}", "daire, kare, üçgen, yıldız"),
        "kırmızı, mavi, yeşil, sarı",
    ),
    "zh": _plain(
        *("Chinese, simplified", "{colour}的{shape}", "圆形, 正方形, 三角形, 星形"),
        "红色, 蓝色, 绿色, 黄色",
    ),
    "zh_hant": _plain(
        *("Chinese, traditional", "{colour}的{shape}", "圓形, 正方形, 三角形, 星形"),
        "紅色, 藍色, 綠色, 黃色",
    ),
}
"""By code, English first, then by code."""
