"""Caption measurements that need no model: lengths, shares of characters, and bad signs.

Signs are claims about the text alone and err on the side of saying nothing. Whatever a page puts
into a caption (control characters, half a surrogate pair, a megabyte of brackets) is measured in
time proportional to its length.
"""

import re
import string
import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

# Scripts that put no spaces between words, and how many of their characters we take for a word.
# Segmenters (jieba, pythainlp) cut short captions into pieces of 2.1 characters of Chinese and 4.7
# of Thai; our counts correlate with theirs at .97 and .95.
_HAN_KANA = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN_KANA += "\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"
_SOUTHEAST = "\u0e00-\u0e3e\u0e40-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
_UNSPACED = re.compile(f"[{_HAN_KANA}{_SOUTHEAST}]")
_PIECES = re.compile(f"[{_HAN_KANA}]{{1,2}}|[{_SOUTHEAST}]{{1,5}}|[^{_HAN_KANA}{_SOUTHEAST}]+")

_COLUMNS: dict[str, pa.DataType] = {
    "caption_chars": pa.int32(),
    "caption_words": pa.int32(),
    "caption_tokens": pa.int32(),
    "letter_share": pa.float32(),
    "digit_share": pa.float32(),
    "capital_share": pa.float32(),
    "repetition": pa.float32(),
    "is_boilerplate": pa.bool_(),
    "is_filename": pa.bool_(),
    "has_url": pa.bool_(),
    "has_email": pa.bool_(),
    "has_phone": pa.bool_(),
}
_ENGLISH: dict[str, pa.DataType] = {"determiners": pa.int32(), "prepositions": pa.int32()}


@dataclass(frozen=True)
class CaptionStats:
    """What can be counted in a text column without understanding it.

    `caption_words` are pieces between white space, as `len(text.split())` has them; runs of Han
    and Kana count one word per two characters begun, of Thai, Lao, Myanmar and Khmer one per
    five. `caption_tokens` is `len(text.split())` itself. `letter_share` and `digit_share` are of
    the characters that are not white space; combining signs are letters. `capital_share` is of
    the cased letters. `repetition` is the share of words that occurred before, whatever their
    case (1 - distinct / all). A share of nothing is NULL.

    With `english`, `determiners` and `prepositions` count the words of two short lists, whatever
    they are in their place: "that", "no" and a bare "a" always are determiners, "my" never is one
    (as in the Penn Treebank's tags). Of texts in other languages they say nothing.
    """

    text: str = "caption"
    english: bool = False

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def writes(self) -> pa.Schema:
        return pa.schema({**_COLUMNS, **(_ENGLISH if self.english else {})})

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; without the English ones as if there were none."""
        return {"text": self.text, **({"english": True} if self.english else {})}

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [_measure(text, self.english) for text in batch[self.text]]
        return {name: [row[name] for row in rows] for name in self.writes.names}


def _measure(text: str, english: bool) -> dict[str, Any]:
    found = words(text)
    return {
        **(_of_lists(found) if english else {}),
        "caption_chars": len(text),
        "caption_words": len(found),
        "caption_tokens": len(text.split()),
        **_shares(text),
        "repetition": repetition(found),
        "is_boilerplate": is_boilerplate(text),
        "is_filename": is_filename(text),
        "has_url": has_url(text),
        "has_email": has_email(text),
        "has_phone": has_phone(text),
    }


def words(text: str) -> list[str]:
    """The words of a text by white space, or by length where a script does without.

    Marks that touch such a script's characters are not words of their own: "猫，狗" has two.
    """
    found = text.split()
    if text.isascii() or not _UNSPACED.search(text):
        return found
    return [word for token in found for word in _cut(token)]


def _cut(token: str) -> list[str]:
    if not _UNSPACED.search(token):
        return [token]
    pieces: list[str] = _PIECES.findall(token)
    return [piece for piece in pieces if any(map(str.isalnum, piece))]


_DETERMINERS = """
a an the this that these those some any every each no another either both neither all half such
which what whatever
"""
_PREPOSITIONS = """
about above across after against along alongside amid among around as at atop before behind below
beneath beside besides between beyond by despite down during except for from in inside into like
near of off on onto opposite out outside over past per since than through throughout to toward
towards under underneath until up upon via with within without
"""
_LISTS = {
    "determiners": frozenset(_DETERMINERS.split()),
    "prepositions": frozenset(_PREPOSITIONS.split()),
}
_MARKS = string.punctuation + "“”„‘’«»‹›…–—¿¡"


def _of_lists(found: list[str]) -> dict[str, int]:
    plain = [word.strip(_MARKS).casefold() for word in found]
    return {name: sum(word in listed for word in plain) for name, listed in _LISTS.items()}


def repetition(found: list[str]) -> float | None:
    """The share of words that repeat an earlier one, "a dog and a cat": 1 of 5; NULL for none.

    One division of two integers, so that a limit of 0.2 means one in five exactly.
    """
    if not found:
        return None
    distinct = len({word.casefold() for word in found})
    return (len(found) - distinct) / len(found)


def _shares(text: str) -> dict[str, float | None]:
    visible = len(text) - sum(map(str.isspace, text))
    letters = sum(map(str.isalpha, text))
    if not text.isascii():
        letters += sum(map(_is_sign, text))
    upper, lower = sum(map(str.isupper, text)), sum(map(str.islower, text))
    digits = sum(map(str.isdecimal, text))
    return {
        "letter_share": letters / visible if visible else None,
        "digit_share": digits / visible if visible else None,
        "capital_share": upper / (upper + lower) if upper + lower else None,
    }


def _is_sign(character: str) -> bool:
    """Whether it belongs to a letter: vowel signs, accents; not what selects an emoji."""
    if character < "\u0300" or "\ufe00" <= character <= "\ufe0f":
        return False
    return unicodedata.category(character) in ("Mn", "Mc")


# Letters with their signs: those of Hebrew, Arabic and the scripts of India and Southeast Asia
# are not letters to `re`.
_LETTERS = re.compile(
    r"(?:[^\W\d_]|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963]"
    r"|[\u0970-\u0e3e\u0e40-\u0e4e\u0e80-\u109f\u1780-\u17d3])+"
)


def _plain(text: str) -> str:
    """Lower case, words of letters separated and surrounded by one space; no digits or marks."""
    return f" {' '.join(_LETTERS.findall(text.casefold()))} "


# Texts a site shows instead of a picture or its description. Anywhere in a caption they tell
# that the picture is not the one described (alt texts of CMS and photo hosts).
_FATAL = """
image not found|image not available|image unavailable|image is not available|no image available
no image found|image coming soon|image has been removed
image does not exist|image no longer available|photo not available|photo not found
photo unavailable|no photo available|photo coming soon|picture not available
no picture available|picture coming soon
alt text here|no description available|no alt text|no caption available|no photo description
embedded image permalink|imagen no disponible|sin descripción|image non disponible
image indisponible|photo non disponible|aucune description|bild nicht verfügbar
kein bild vorhanden|kein bild verfügbar|keine beschreibung|imagem não disponível
imagem indisponível|sem descrição|immagine non disponibile|nessuna descrizione
afbeelding niet beschikbaar|geen afbeelding beschikbaar|brak zdjęcia|brak opisu|нет фото
нет изображения|фото отсутствует|изображение отсутствует|нет описания|resim bulunamadı
görsel bulunamadı|bild saknas|billede mangler|kuva ei saatavilla
"""
# The same in scripts without spaces, where they are looked for as they are.
_FATAL_UNSPACED = """
图片不存在|暂无图片|圖片不存在|暫無圖片|图片加载失败|图片已删除|查看源网页|展开全文
画像はありません|画像が見つかりません|画像準備中|画像なし|이미지 없음|이미지가 없습니다
이미지 준비중|ไม่พบรูปภาพ|ไม่มีรูปภาพ
"""
# What may hang on a good caption, so it only counts when nothing else is left.
_CARRIED = """
click to enlarge|click to zoom|click image to enlarge|click for larger image
click here to enlarge|click for larger view|click to view larger image|click to view|click here
tap to zoom|view larger|view larger image|view full size|full size image
roll over image to zoom in|hover to zoom|zoom in|royalty free stock photo|royalty free
stock photo|stock photos|stock photography|stock image|stock images|stock illustration
stock vector|image removed|image missing|missing image|photo removed|default alt
placeholder image|image placeholder|free download|free shipping|buy now|shop now|add to cart
add to wishlist|order now|sold out|read more|learn more|see more|show more|load more|share this
download image|enlarge image|open image|next image|previous image|all rights reserved
profile photo|profile picture|profile pic|cover photo|featured image|header image|hero image
background image|main image|product image|image description|alt text|no description|no caption
no title|no alt|sin título|sans titre|ohne titel|senza titolo|sem título|zonder titel|bez tytułu
без названия|bez názvu|utan titel|uten tittel|uden titel|nimetön|haga clic para ampliar
clic para ampliar|cliquez pour agrandir|cliquer pour agrandir|klicken zum vergrößern
zum vergrößern klicken|bild vergrößern|clique para ampliar|clicca per ingrandire
klik om te vergroten|kliknij aby powiększyć|нажмите для увеличения|увеличить изображение
büyütmek için tıklayın
"""
# Words that name the kind of thing, never what it shows.
_EMPTY = """
image images img picture pictures pic pics photo photos photograph photography foto fotos
fotografía fotografia fotografie fotoğraf imagen imágenes imagem imagens immagine immagini bild
bilder afbeelding afbeeldingen obraz obrazek zdjęcie zdjęcia изображение картинка фото
фотография фотографии зображення світлина resim görsel gambar imej hình ảnh bilde billede
billeder kuva valokuva kép obrázek obrázok slika εικόνα φωτογραφία תמונה صورة صور تصویر عکس
चित्र फोटो छवि รูปภาพ ภาพ รูป 图片 照片 图像 圖片 相片 图 画像 写真 イメージ 사진 이미지 그림
untitled unnamed unknown undefined null none thumbnail thumbnails preview logo logos icon icons
icône icono banner avatar placeholder default screenshot figure gallery galerie galería
slideshow loading spacer alt caption attachment jpg jpeg png gif webp 无标题 無題 タイトルなし
제목없음
"""


def _phrases(listed: str) -> tuple[str, ...]:
    found = (_plain(phrase) for line in listed.split("\n") for phrase in line.split("|"))
    return tuple(sorted({p for p in found if p.strip()}, key=lambda p: (-len(p), p)))


_FATAL_PHRASES, _CARRIED_PHRASES = _phrases(_FATAL), _phrases(_CARRIED)
_UNSPACED_PHRASES = tuple(_FATAL_UNSPACED.strip().replace("\n", "|").split("|"))
_ARTICLES = frozenset(["the", "a", "an", "of", "for", "的"])
_EMPTY_WORDS = frozenset(_plain(_EMPTY).split()) | _ARTICLES
_LONGEST_BOILERPLATE = 200  # characters; a longer text says more than any of the phrases


def is_boilerplate(text: str) -> bool:
    """Whether the text is what sites print by default instead of a description.

    Either it says that there is no picture or description, or nothing is left of it without
    calls to click or buy, digits, and words like "photo" or "logo". An empty text is not.
    """
    if len(text) > _LONGEST_BOILERPLATE:
        return False
    plain = _plain(text)
    if any(phrase in plain for phrase in _FATAL_PHRASES):
        return True
    if not text.isascii() and any(phrase in text for phrase in _UNSPACED_PHRASES):
        return True
    if _ARTICLES.issuperset(plain.split()):
        return False
    for phrase in _CARRIED_PHRASES:
        while phrase in plain:
            plain = plain.replace(phrase, " ")
    return all(word in _EMPTY_WORDS for word in plain.split())


_EXTENSION = re.compile(
    r"[\w)\]]\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif|hei[cf]|jfif|psd|eps|cr2|nef|dng|pdf|mp4)$"
)
_NUMBERS = r"(?:[\s_.,:()-]|[0-9]|wa|at|am|pm|copy|edit(?:ed)?|hdr)*"
_GIVEN_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        # what cameras, phones and screens call their files
        r"(?:img|imag|dsc[nf]?|dcim|dji|pxl|gopr|pict|mvi|fb_img|screen[ _-]?shot|whatsapp image)"
        rf"[\s_-]{{0,2}}\(?[0-9]{_NUMBERS}",
        rf"(?:image|picture|pic|photo|scan|capture|untitled|unnamed|signal)[_-]?[0-9]{_NUMBERS}",
        rf"(?:sam|vid|wp|gh)[_-]?[0-9]{{4}}{_NUMBERS}",
        # ids of photo hosts, digests, identifiers, slugs
        r"[0-9]{5,}(?:_[0-9]+)+(?:_[a-z])?",
        r"(?=[a-f]*[0-9])[0-9a-f]{16,}",
        r"[a-z0-9.-]+(?:_[a-z0-9.-]+)+",
        r"(?=.*[a-z])[a-z0-9.]+(?:-[a-z0-9.]+){4,}",
    )
)


def is_filename(text: str) -> bool:
    """Whether the text is the name of a file: by extension, as cameras give them, or as an id.

    "my photo.png", "IMG_2034", "hero_image" and "12345678_10152_n" are; "Photo 12" is not.
    """
    name = text.strip().lower()
    if len(name) > 255 or "://" in name:  # no file system has longer names
        return False
    if _EXTENSION.search(name):
        return True
    return any(pattern.fullmatch(name) for pattern in _GIVEN_NAMES)


# Each of these can start at few places and none can match a stretch in two ways.
_URL = re.compile(
    r"(?:https?|ftp)://[^\s/]|\bwww\.[a-z0-9]|[a-z0-9]\.(?:com|net|org|info|edu|gov|co\.uk)(?![\w-])",
    re.I,
)
_EMAIL = re.compile(r"[\w.+%-]@(?:[a-z0-9-]+\.)+[a-z]{2,24}", re.I)
_PHONE = re.compile(
    r"(?<!\w)\+[0-9][0-9\s()./-]{6,20}[0-9]"
    r"|(?<![\w.-])\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4}(?![\w-])"
    r"|\b(?:tel|telephone|phone|call|mob|mobile|fax|whatsapp|telefon|teléfono|тел|телефон)"
    r"[\s.:]{0,3}\(?[0-9][0-9\s()./-]{5,18}[0-9]"
    r"|(?:电话|電話|전화)[\s:：]{0,3}[0-9][0-9\s()-]{5,18}[0-9]",
    re.I,
)
_PHONE_DIGITS = range(7, 16)  # E.164 allows fifteen; fewer than seven is an extension


def has_url(text: str) -> bool:
    """Whether the text holds an address of the web, also a bare one such as "example.com"."""
    return ("." in text or "://" in text) and _URL.search(text) is not None


def has_email(text: str) -> bool:
    """Whether the text holds an e-mail address."""
    return "@" in text and _EMAIL.search(text) is not None


def has_phone(text: str) -> bool:
    """Whether the text holds a telephone number: with "+", as in North America, or named so."""
    for match in _PHONE.finditer(text):
        if sum("0" <= character <= "9" for character in match[0]) in _PHONE_DIGITS:
            return True
    return False
