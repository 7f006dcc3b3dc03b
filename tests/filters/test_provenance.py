"""Provenance: every kind of evidence by a file that has it alone, and none where none is."""

import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from filters.containers import metadata
from filters.provenance import Provenance, claim_generators
from tests.pictures import animated, chunk, exif, image, jpeg, png, saved

SETTINGS = "a castle\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def measure(*files):
    return Provenance()({"image_bytes": list(files)})


def one(file):
    return {name: values[0] for name, values in measure(file).items()}


def png_with(**fields):
    info = PngInfo()
    for name, text in fields.items():
        info.add_text(name, text)
    return saved(image(), "PNG", pnginfo=info)


def png_plus(*chunks):
    whole = png()
    return whole[:33] + b"".join(chunks) + whole[33:]


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_plus(*segments):
    whole = jpeg()
    return whole[:2] + b"".join(segments) + whole[2:]


def webp_plus(kind, content):
    whole = saved(image(), "WEBP")
    body = whole[8:] + kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def xmp(source_type="", tool=""):
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a:DigitalSourceType>{SOURCE}{source_type}'
    return f'{text}</a:DigitalSourceType><d xmp:CreatorTool="{tool}"/></x:xmpmeta>'.encode()


def cbor(text):
    raw = text.encode()
    return (bytes([0x60 + len(raw)]) if len(raw) < 24 else bytes([0x78, len(raw)])) + raw


def manifest(generator="a camera", source_type="digitalCapture"):
    """The part of a manifest store that matters, in a superbox of JUMBF."""
    claim = b"\xa2" + cbor("claim_generator") + cbor(generator)
    action = cbor("digitalSourceType") + cbor(SOURCE + source_type)
    content = b"\0\0\0\x1ejumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0" + claim + action
    return struct.pack(">I", len(content) + 8) + b"jumb" + content


def jumbf_segments(store, size=90):
    parts = [store[8:][i : i + size] for i in range(0, len(store) - 8, size)]
    return [
        segment(0xEB, b"JP\0\1" + struct.pack(">I", i) + store[:8] + part)
        for i, part in enumerate(parts, 1)
    ]


GENERATED = {
    "web UI in PNG": (png_with(parameters=SETTINGS), "Stable Diffusion web UI"),
    "web UI in EXIF": (None, "Stable Diffusion web UI"),
    "ComfyUI": (png_with(prompt='{"3": {"class_type": "KSampler"}}'), "ComfyUI"),
    "InvokeAI": (png_with(invokeai_metadata="{}"), "InvokeAI"),
    "NovelAI": (png_with(Software="NovelAI", Comment="{}"), "NovelAI"),
    "Midjourney": (
        png_with(Description="a castle --v 6.1 Job ID: 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"),
        "Midjourney",
    ),
    "Midjourney's author": (png_with(Author="Midjourney"), "Midjourney"),
    "packed text": (
        png_plus(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(SETTINGS.encode()))),
        "Stable Diffusion web UI",
    ),
    "XMP in PNG": (
        png_plus(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp("trainedAlgorithmicMedia"))),
        None,
    ),
    "XMP in JPEG": (
        jpeg_plus(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(tool="Adobe Firefly 3"))),
        "Adobe Firefly 3",
    ),
    "XMP in WebP": (webp_plus(b"XMP ", xmp("trainedAlgorithmicMedia")), None),
    "C2PA in PNG": (
        png_plus(chunk(b"caBX", manifest("OpenAI-API", "trainedAlgorithmicMedia"))),
        "OpenAI-API",
    ),
    "C2PA in JPEG": (
        jpeg_plus(*jumbf_segments(manifest("x" * 60, "trainedAlgorithmicMedia"))),
        None,
    ),
    "C2PA's generator": (
        jpeg_plus(*jumbf_segments(manifest("Adobe_Firefly"))),
        "Adobe_Firefly",
    ),
    "C2PA in WebP": (webp_plus(b"C2PA", manifest(source_type="trainedAlgorithmicMedia")), None),
    "IPTC": (jpeg_plus(segment(0xED, b"Photoshop 3.0\0...Made with Google AI...")), "Google AI"),
    "Software in EXIF": (None, "Stable Diffusion 1.5"),
}


def exif_with(tag, text):
    block = Image.Exif()
    if tag == 0x9286:
        block.get_ifd(0x8769)[tag] = b"UNICODE\0" + text.encode("utf-16-le")
    else:
        block[tag] = text
    return jpeg(exif=block.tobytes())


@pytest.mark.parametrize("name", GENERATED)
def test_generated(name):
    file, generator = GENERATED[name]
    if name == "web UI in EXIF":
        file = exif_with(0x9286, SETTINGS)
    if name == "Software in EXIF":
        file = exif_with(0x0131, generator)
    row = one(file)
    assert row["is_generated"] is True
    assert row["generated_evidence"]
    assert row["generator"] == generator
    assert row["has_c2pa"] == name.startswith("C2PA")


@pytest.mark.parametrize(
    "file",
    [
        jpeg(),
        png(),
        jpeg(exif=exif(6, gps=True)),
        animated("GIF"),
        animated("WEBP"),
        saved(image(), "AVIF"),
        png_with(Software="Adobe Photoshop 25.0", Description="how Midjourney and DALL-E work"),
        png_with(Comment="Steps: 12 of stone", parameters="none", prompt="a castle"),
        png_with(Source="dallenbach", Author="Flux Mueller, Ideogrammatics"),
        jpeg_plus(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp("digitalCapture", "GIMP"))),
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8",
        b"RIFF\0\0\0\0WEBP",
        b"\0\0\0\x10ftypavif",
        b"nonsense" * 100,
    ],
)
def test_nothing_is_claimed_without_evidence(file):
    row = one(file)
    expected = {"is_generated": None, "generated_evidence": [], "generator": None}
    assert row == expected | {"has_c2pa": False}


def test_a_manifest_of_a_camera_and_one_of_a_composition():
    row = one(jpeg_plus(*jumbf_segments(manifest())))
    assert (row["is_generated"], row["has_c2pa"], row["generated_evidence"]) == (None, True, [])
    part = manifest("Adobe_Photoshop", "compositeWithTrainedAlgorithmicMedia")
    row = one(png_plus(chunk(b"caBX", part)))
    assert row["is_generated"] is None
    assert row["generated_evidence"] == ["part: c2pa: compositeWithTrainedAlgorithmicMedia"]


def test_claim_generators():
    info = cbor("claim_generator_info") + b"\x81\xa2" + cbor("name") + cbor("Some Tool") + cbor("v")
    assert claim_generators(manifest("A") + info) == ["A", "Some Tool"]
    assert claim_generators(b"claim_generator") == []
    assert claim_generators(b"claim_generator_info" * 3 + b"\x78") == []


def test_no_files_and_companions():
    assert all(values == [] for values in measure().values())
    files = [file for file, _ in GENERATED.values() if file]
    together = measure(*files)
    assert [together["generator"][i] for i in range(len(files))] == [
        one(file)["generator"] for file in files
    ]


def test_evidence_is_short_and_printable():
    row = one(png_with(Software="Midjourney\x00\x1b[31m" + "x" * 5000))
    assert len(row["generator"]) <= 80
    assert row["generator"].isprintable()


@pytest.mark.slow
def test_bombs_and_lies_cost_little():
    bomb = zlib.compress(bytes(50_000_000))
    lies = [
        png_plus(*[chunk(b"zTXt", b"a\0\0" + bomb)] * 20),
        png_plus(struct.pack(">I", 2**32 - 1) + b"tEXtSoftware\0Midjourney"),
        b"\xff\xd8" + b"\xff" * 200_000,
        b"\xff\xd8" + segment(0xFE, b"") * 100_000,
        jpeg_plus(segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<I", 2**32 - 1))),
        jpeg_plus(segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x31\0\x02" * 5000)),
        b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", 2**32 - 1),
        b"\0\0\0\x08ftyp" * 100_000,
        png_plus(chunk(b"caBX", b"claim_generator" * 60_000)),
        png_with(prompt='"sampler":' * 9_000),
        png_with(prompt="Steps: 1," * 10_000),
    ]
    start = time.process_time()
    measure(*lies)
    assert time.process_time() - start < 3


def test_any_bytes_are_survived():
    dice = np.random.default_rng(0)
    whole = [file for file, _ in GENERATED.values() if file]
    for i in range(600):
        file = bytearray(whole[i % len(whole)])
        for place in dice.integers(0, min(len(file), 600), 6):
            file[place] = dice.integers(0, 256)
        measure(bytes(file[: dice.integers(1, len(file) + 1)]))
        assert metadata(bytes(file)) is not None
