"""Words by which a caption betrays that a model did not do what it was asked, by language.

Refusals and openings count only where a sentence begins, and never within quotes: a sign may read
"Sorry, we're closed".
"""

import re

# What comes after a sentence's beginning. Each says that the writer won't or can't describe.
_REFUSALS = r"""
(?:i(?:'|’)?m|i am) (?:very |really |so )?sorry[,.!]? ?(?:but )?(?:i|as|there|the image)\b
sorry, (?:but )?(?:i|as an)\b
i apologi[sz]e,? (?:but|for|i)\b
(?:unfortunately, )?i(?: |(?='|’))(?:can(?:no|'|’)t|can not|am unable to|(?:am|'m|’m) not able to
unfortunately, (?:i|the (?:image|picture|photo) (?:is|was|cannot|can't|did))\b
i (?:do not|don(?:'|’)t) (?:see|have) (?:an?|any|the|access to) (?:image|picture|photo|visual)
i do(?:n(?:'|’)t| not) have (?:the ability|enough information)
(?:no|there is no) (?:image|picture|photo) (?:was |is |has been |to |in your |attached|provided)
(?:could you |can you )?please (?:provide|upload|attach|send|re-?upload) (?:the|an?|your|more)\b
(?:the|this) (?:image|picture|photo) (?:did(?: not|n't) load|could(?: not|n't) be|can(?:no|')t be)
it (?:appears|seems|looks like)(?: that)? (?:no image|there is no|you (?:haven't|didn't|forgot))\b
es tut mir (?:sehr )?leid,|tut mir leid,|leider kann ich
ich kann (?:das|dieses|ihr|kein|dir|ihnen)\b
entschuldigung, (?:aber )?ich|als (?:ki|künstliche intelligenz|sprachmodell)\b
(?:je suis )?désolée?,|je (?:ne peux|ne suis|suis dans l'incapacité)\b|je regrette, mais
en tant qu(?:'|’)(?:ia|assistant|intelligence)\b|malheureusement, je
lo siento,|lamentablemente, no|no puedo (?:ver la|ayudar|describir|proporcionar|identificar)
como (?:una )?(?:ia|inteligencia artificial|modelo de lenguaje)\b|no se (?:ha )?proporcionado
desculpe,|sinto muito,|lamento, mas|não (?:posso|consigo) (?:ver|ajudar|descrever|identificar)
como (?:uma )?(?:ia|inteligência artificial|modelo de linguagem)\b|infelizmente, não
mi dispiace,|non posso (?:vedere|aiutare|descrivere|identificare|fornire)|in quanto (?:ia|modello)
het spijt me,|sorry, maar ik|ik kan (?:de|deze|dit|geen|u|je)\b|helaas kan ik|als (?:ai|taalmodel)\b
przepraszam, ale|przykro mi,|nie mogę (?:pomóc|zobaczyć|opisać|zidentyfikować)|jako (?:ai|model)\b
извините,|простите, но|к сожалению, я|я не могу (?:помочь|увидеть|описать|определить)
как (?:ии|искусственный интеллект|языковая модель)\b
üzgünüm,|maalesef (?:bu|görüntü|resm)|(?:bu konuda )?yardımcı olamam|bir yapay zeka olarak
抱歉|对不起，|對不起，|很遗憾，|我(?:无法|不能|無法)(?:查看|看到|提供|描述|识别|協助|协助|分析|满足)
作为(?:一个|一名)?(?:人工智能|ai|语言模型)|没有(?:提供|上传)(?:图片|图像)
申し訳(?:ありません|ございません)|すみませんが|画像を(?:見る|確認する|表示する)ことはできません
aiとして|画像が(?:提供|添付)されていません
죄송합니다|죄송하지만|이미지를 (?:볼|확인할) 수 없|ai로서|도와드릴 수 없
(?:عذر[اً]+|آسف|أعتذر|للأسف)،?|لا (?:أستطيع|يمكنني) |بصفتي (?:نموذج|ذكاء)
क्षमा करें|माफ़ करें|मुझे खेद है|मैं .{0,30}नहीं कर सकता
ขออภัย|ขอโทษ|xin lỗi,|tôi (?:không thể|rất tiếc)|maaf,|saya tidak (?:dapat|bisa)
"""
_CANNOT = (
    r" (?:see (?:the|any|an|your|this) (?:image|picture|photo)|view|assist|help with|help you"
    r"|provide|describe|identify|determine|fulfil|comply|process|access|recogni[sz]e|generate|analy[sz]e)"
)
# Openings of chat models, talk about the request, and what a template leaves.
_OPENINGS = r"""
(?:sure|certainly|of course|absolutely|okay|ok|alright)[,!.]? (?:here(?:'|’)?s|here (?:is|are)|i)\b
here(?:'|’)?s (?:a|an|the|my|your) (?:\w+ ){0,3}(?:caption|description|sentence|summary|translation)
here is (?:a|an|the|my|your) (?:\w+ ){0,3}(?:caption|description|sentence|summary|translation)
(?:short |long |detailed )?(?:caption|description|translation|alt text|answer|output|response) ?:
(?:user|assistant|human|usuario|assistent) ?: ?\S
as (?:an? )?(?:ai|artificial intelligence|language model|large language model|llm)\b
as (?:requested|per your request|you (?:requested|asked))
(?:let me|i will|i'll|i need to|we need to) (?:describe|analy[sz]e)\b
(?:the user|user) (?:wants|asks?|asked|is asking|has asked|provided|has provided|said|gave)\b
i hope this helps\b
(?:based on|according to|given) (?:the|your) (?:provided |given )?(?:alt[ -]?text|hint|prompt)
voici (?:une|la|le) (?:\w+ ){0,2}(?:légende|description|traduction)|bien sûr[,!]? voici
(?:hier ist|hier sind) (?:eine?|die|ihre) (?:\w+ ){0,2}(?:beschreibung|bildunterschrift|übersetzung)
(?:aquí (?:está|tienes)|claro[,!] aquí) (?:una|la) |ecco (?:una|la) (?:descrizione|didascalia)
aqui está (?:uma|a) (?:\w+ ){0,2}(?:descrição|legenda|tradução)|вот (?:описание|подпись|перевод)
(?:好的|当然)[，,！!]|以下是(?:这张|对|该|图|一)|はい、|以下は.{0,12}(?:説明|キャプション)
"""
_MARKERS = re.compile(
    r"<\|[^|<>]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:s|think)>|<(?:image|img|bos|eos|pad|unk|sep)>"
    r"|<(?:start|end)_of_turn>|#{2,3} ?(?:instruction|response|human|assistant|input|system)\b"
    r"|(?:as an ai (?:language )?model|i(?:'| a)m an ai\b)|\{(?:caption|text|alt_text|image)\}"
    r"|data, not a? ?requests?\b|say only what is to be seen|reply with nothing else",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r'"[^"]{0,300}"|“[^”]{0,300}”|«[^»]{0,300}»|「[^」]{0,300}」|„[^“”]{0,300}[“”]'
)
_BEGIN = r"(?:\A|(?<=[.!?。！？\n])|(?<=[.!?] ))[\s*_#>-]{0,8}"
# Words that name no thing; a caption of nothing else says nothing.
GENERIC = frozenset(
    """
a an the this that these those it its there is are was be being and or of in on at with for to from
by as has have some several various many different few other two one image images picture pictures
photo photos photograph photographs photography view views scene scenes shot close-up closeup up
background foreground object objects thing things item items stuff something someone somewhere
shows show showing shown depicts depicting displays displayed features featuring featured contains
containing captures captured presents can seen visible taken main subject subjects content center
centre middle front left right side top bottom part area nice beautiful good great interesting
simple plain white black colorful colourful color colour colors colours blurry blurred clear high
quality resolution detailed what looks like appears very
""".split()  # noqa: SIM905
)


def _joined(listed: str) -> str:
    return "|".join(line for line in listed.strip().splitlines() if line)


def _refusals() -> re.Pattern[str]:
    lines = _REFUSALS.strip().splitlines()
    whole = [f"{line}){_CANNOT}" if line.startswith("(?:unfor") else line for line in lines]
    return re.compile(f"{_BEGIN}(?:{'|'.join(whole)})", re.IGNORECASE)


_REFUSED = _refusals()
_OPENED = re.compile(f"{_BEGIN}(?:{_joined(_OPENINGS)})", re.IGNORECASE)


def unquoted(text: str) -> str:
    """The text without what stands in quotes."""
    return _QUOTED.sub('""', text)


def refuses(text: str) -> bool:
    """Whether a sentence of it says that the picture can't or won't be described."""
    return _REFUSED.search(unquoted(text)) is not None


def leaks(text: str) -> bool:
    """Whether it holds marks of a chat template, chatter around the answer or parts of a prompt."""
    bare = unquoted(text)
    return _MARKERS.search(bare) is not None or _OPENED.search(bare) is not None
