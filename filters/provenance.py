"""Evidence in an image file that a program made the picture up.

Metadata alone: true by evidence, otherwise not known, for most sites strip it and anybody can
write it. Signatures of C2PA manifests are not verified. A file that was re-encoded on the way
into the pool has none of it left.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from filters.containers import MOST, Metadata, metadata

_COLUMNS: dict[str, pa.DataType] = {
    "is_generated": pa.bool_(),
    "generated_evidence": pa.list_(pa.string()),
    "generator": pa.string(),
    "has_c2pa": pa.bool_(),
}
# IPTC's terms for how a picture came to be (cv.iptc.org/newscodes/digitalsourcetype). The first
# says all of it was generated, the others a part.
_WHOLE = re.compile(r"(?<![A-Za-z])trainedAlgorithmicMedia(?![A-Za-z])")
_PART = re.compile(r"(?<![A-Za-z])(?:compositeWithTrainedAlgorithmicMedia|compositeSynthetic)\b")
_GENERATORS = re.compile(
    r"(?<![a-z])(?:stable[ _-]?diffusion|midjourney|dall[·.\-_ ]?e(?![a-z])|openai|chatgpt|gpt-4o"
    r"|adobe[ _]firefly|comfyui|invoke-?ai|novelai|automatic1111|fooocus|easy[ _]diffusion"
    r"|draw things|stability[ ._]?ai|black forest labs|flux[.]1|leonardo[. ]ai|ideogram|craiyon"
    r"|nightcafe|bing image creator|image creator (?:from|in) (?:microsoft )?(?:designer|bing)"
    r"|made with google ai|google[ _]imagen|imagen[ _]?[234]|recraft|dreamstudio|sd[.]next|swarmui"
    r"|playground ai|starryai|wombo|artbreeder|this person does not exist)(?![a-z])",
    re.I,
)
# Fields that name the program or its maker; elsewhere its name may be the picture's subject.
_NAMING = frozenset(
    ["software", "artist", "author", "make", "source", "generator", "creator", "credit"]
)
_XMP_NAMING = re.compile(
    r"(?:CreatorTool|Credit|Software|AISystemUsed|AIGenerator)(?:=[\"']|>\s*)([^\"'<]{1,200})"
)
# What programs write of their settings.
_SETTINGS = {
    "Stable Diffusion web UI": r"(?s)\bSteps: \d+,.{0,400}?\b(?:Sampler|CFG scale): ",
    "ComfyUI": r'"class_type"\s*:\s*"[^"]{1,100}"',
    "NovelAI": r'(?s)"(?:sampler|noise_schedule)"\s*:.{0,2000}?"(?:steps|scale)"\s*:',
    "Midjourney": r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-|\s--(?:v|niji) [1-9](?:\.\d)?\b",
}
_OWN_FIELDS = {  # that only these programs write
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "dream": "InvokeAI",
    "generation_data": "Tensor.Art",
    "fooocus_scheme": "Fooocus",
}
_SEARCHED = 100_000  # characters of a field
_LONGEST = 80  # characters of a piece of evidence


@dataclass(frozen=True)
class Provenance:
    """Whether a picture is generated, as its file says.

    `is_generated` is true or NULL: true by IPTC's `trainedAlgorithmicMedia` in XMP or in a C2PA
    manifest (of the picture or of something in it), by a generator named there or in the fields
    of PNG and EXIF that name programs, or by the settings that Stable Diffusion's and
    Midjourney's programs leave. `generated_evidence` lists what was found, also that a part only
    is generated, which does not make `is_generated` true; empty for none. `generator` is the
    program's name. `has_c2pa` says that there is a manifest, which cameras write, too.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image_bytes",)
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [_measure(bytes(data)) for data in batch["image_bytes"]]
        return {name: [row[name] for row in rows] for name in self.writes.names}


def _measure(data: bytes) -> dict[str, Any]:
    found = metadata(data)
    claims = list(dict.fromkeys(evidence(found)))
    names = [name for _, name in claims if name]
    is_whole = any(not what.startswith("part: ") for what, _ in claims)
    return {
        "is_generated": True if is_whole else None,
        "generated_evidence": list(dict.fromkeys(what[:_LONGEST] for what, _ in claims)),
        "generator": names[0][:_LONGEST] if names else None,
        "has_c2pa": bool(found.jumbf),
    }


Claim = tuple[str, str | None]  # the evidence, and the generator where it is named


def evidence(found: Metadata) -> Iterator[Claim]:
    """What of a file's metadata tells that the picture is generated; `part: ` that a part is."""
    for box in found.jumbf:
        yield from _c2pa(box[:MOST])
    for packet in found.xmp:
        yield from _source_type(packet, "xmp")
        for match in _XMP_NAMING.finditer(packet):
            yield from _named(match[1], "xmp")
    for name, text in found.fields:
        yield from _field(name.strip().lower(), text)


def _source_type(text: str, where: str) -> Iterator[Claim]:
    if _WHOLE.search(text):
        yield f"{where}: trainedAlgorithmicMedia", None
    for match in _PART.finditer(text):
        yield f"part: {where}: {match[0]}", None


def _named(text: str, where: str) -> Iterator[Claim]:
    match = _GENERATORS.search(text[:1000])
    if match:
        yield f"{where}: {_printable(match[0])}", _printable(text.strip())


def _field(name: str, text: str) -> Iterator[Claim]:
    if name == "photoshop":  # IPTC's own fields within, as they are
        yield from _source_type(text, "iptc")
        if "Made with Google AI" in text:
            yield "iptc: Made with Google AI", "Google AI"
        return
    if name in _OWN_FIELDS:
        yield f"field {name}", _OWN_FIELDS[name]
    if name in _NAMING:
        yield from _named(text, f"field {name}")
    for program, pattern in _SETTINGS.items():
        if re.search(pattern, text[:_SEARCHED]):
            yield f"field {_printable(name)}: settings of {program}", program
            return


def _c2pa(box: bytes) -> Iterator[Claim]:
    text = box.decode("latin-1")
    yield from _source_type(text, "c2pa")
    for program in claim_generators(box):
        yield from _named(program, "c2pa")


def claim_generators(box: bytes) -> list[str]:
    """The programs that signed the claims of a C2PA manifest store, as its CBOR names them."""
    found = []
    for match in re.finditer(rb"claim_generator(_info)?", box):
        place = match.end()
        if match[1]:
            place = box.find(b"dname", place, place + 300)  # "name" with the head of its CBOR text
            place = place + 5 if place >= 0 else len(box)
        name = _cbor_text(box, place)
        if name:
            found.append(name)
    return list(dict.fromkeys(found))


def _cbor_text(box: bytes, place: int) -> str:
    """The text string that begins here (RFC 8949), if one does; of at most 255 bytes."""
    head = box[place] if place < len(box) else 0
    if head == 0x78 and place + 1 < len(box):
        return box[place + 2 : place + 2 + box[place + 1]].decode("utf-8", "replace")
    if 0x60 <= head < 0x78:
        return box[place + 1 : place + 1 + head - 0x60].decode("utf-8", "replace")
    return ""


def _printable(text: str) -> str:
    return "".join(character for character in text[:200] if character.isprintable())
