"""Everything a recipe can name. The only module that knows the scorers and encoders.

Classes are named, not imported, so that a program that scores nothing loads none of them.
A scorer of a user's own needs no line here: a recipe names it `package.module:Class`.
"""

import importlib
import os
import traceback
from functools import cache
from types import ModuleType
from typing import Any

from pipeline.contract import class_problem
from pipeline.errors import RecipeError

SCORERS = {
    "image": "filters.image:ImageStats",
    "caption": "filters.caption:CaptionStats",
    "language": "filters.language:Language",
    "hashes": "filters.hashes:Hashes",
    "clip": "filters.clip:ClipScore",
    "duplicates": "filters.duplicates:Duplicates",
    "frequency": "filters.frequency:Frequency",
    "ngrams": "filters.ngrams:Ngrams",
    "meta": "filters.meta:MetaFields",
    "placeholder": "filters.placeholder:Placeholder",
    "removed": "filters.removed:Removed",
    "repeats": "filters.repeats:Repeats",
    "neg_clip": "filters.neg_clip:NegClip",
    "norm_sim": "filters.norm_sim:NormSim",
    "agreement": "filters.agreement:Agreement",
    "mirrored": "filters.mirrored:Mirrored",
    "mix": "filters.mix:Mix",
    "noise": "filters.noise:Noise",
    "teacher_mass": "filters.teacher:TeacherMass",
    "alip": "filters.alip:AlipWeights",
    "reassignment": "filters.reassignment:Reassignment",
    "filip": "filters.tokenwise:TokenWise",
    "ot": "filters.transport:WordRegionTransport",
    "comclip": "filters.comclip:ComClip",
    "itm": "filters.matching:ImageTextMatching",
    "likelihood": "filters.likelihood:CaptionLikelihood",
    "vqa_score": "filters.vqa_score:VqaScore",
    "mlm_filter": "filters.mlm_filter:MlmFilter",
    "unime": "filters.unime:UniMe",
    "facets": "filters.facets:Facets",
    "reward": "filters.reward:RewardScore",
    "nsfw": "filters.nsfw:Nsfw",
    "faces": "filters.faces:Faces",
    "pii": "filters.pii:PersonalData",
    "profanity": "filters.profanity:Profanity",
    "blocklist": "filters.blocklist:Blocklist",
    "ocr": "filters.ocr:TextBoxes",
    "tmars": "filters.tmars:MaskedClipScore",
    "watermark": "filters.watermark:Watermark",
    "marks": "filters.marks:Marks",
    "provenance": "filters.provenance:Provenance",
    "consistency": "filters.consistency:ClipConsistency",
    "regions": "recaption.regions:RegionCaptions",
    "gathered": "recaption.gathered:GatheredCaptions",
    "box_captions": "recaption.box_captions:BoxCaptions",
    "expressions": "recaption.expressions:Expressions",
    "captioner": "recaption.captioner:Captioner",
    "coca_captioner": "recaption.coca_captioner:CocaCaptioner",
    "fusion": "recaption.fusion:Fusion",
    "best_caption": "recaption.choice:BestCaption",
    "mixed": "recaption.choice:Mixed",
    "first_text": "recaption.choice:FirstText",
    "translate": "recaption.translate:Translate",
    "translation_quality": "recaption.translation_quality:TranslationQuality",
    "translation_ranks": "recaption.translation_ranks:TranslationRanks",
    "translation_model": "recaption.translation_model:TranslationModel",
    "sub_captions": "recaption.split:SplitCaptions",
    "concepts": "recaption.concepts:Concepts",
    "caption_flags": "recaption.flags:CaptionFlags",
    "flag_counts": "recaption.flags:FlagCounts",
    "supported": "recaption.support:Supported",
    "support": "recaption.support:Support",
    "objects": "filters.objects:Objects",
    "object_attributes": "recaption.attributes:ObjectAttributes",
    "label_captions": "recaption.labels:LabelCaptions",
}
ENCODERS = {"embedded": "filters.embedded"}


def encoder_module(name: str) -> Any:
    """The module of a dual encoder. Raises RecipeError when there is none of this name."""
    if name not in ENCODERS:
        raise RecipeError(f"no encoder {name!r}; known are {', '.join(sorted(ENCODERS))}")
    return importlib.import_module(ENCODERS[name])


def scorer_class(name: str) -> type[Any]:
    """The class that a recipe calls `name`: one of SCORERS, or `package.module:Class`.

    Raises RecipeError when there is none, with the names that are known.
    """
    target = SCORERS.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not colon:
        known = ", ".join(sorted(SCORERS))
        raise RecipeError(f"no scorer {name!r}; known are {known}, or package.module:Class")
    found = getattr(_module(module_name, target, name), class_name, None)
    if not isinstance(found, type):
        raise RecipeError(f"module {module_name!r} has no class {class_name!r}")
    problem = class_problem(found)
    if problem is not None:
        raise RecipeError(f"{target} {problem}")
    return found


def _module(module_name: str, target: str, name: str) -> ModuleType:
    """The module of a scorer. Whatever its import raises is an error of who named it."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name.partition(".")[0]):
            message = f"{target} needs the module {error.name!r}, which is not there"
            raise RecipeError(message) from error
        raise RecipeError(f"no module {module_name!r} for scorer {name!r}") from error
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}".rstrip(": ") + _place(error)
        raise RecipeError(f"module {module_name!r} can't be imported: {what}") from error


def _place(error: BaseException) -> str:
    """` (file:line)` of the last line that ran; of a syntax error nothing, it says that itself."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, SyntaxError):
        return ""
    return f" ({os.path.basename(where.filename)}:{where.lineno})"


@cache
def default_scorer_of(column: str) -> str | None:
    """The name of the catalog's scorer that writes `column` with its default parameters."""
    for name in SCORERS:
        scorer = scorer_class(name)
        try:
            writes = scorer().writes
        except TypeError:  # a scorer without defaults provides nothing by itself
            continue
        if column in writes.names:
            return name
    return None


def parameter_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of every scorer's parameters, by the name a recipe uses."""
    from pydantic import TypeAdapter

    schemas = {}
    for name in SCORERS:
        kind = scorer_class(name)
        schema = TypeAdapter(kind).json_schema()
        summary = (kind.__doc__ or "").strip().partition("\n\n")[0]
        schemas[name] = {
            "description": " ".join(summary.split()),
            "properties": _inlined(schema.get("properties", {}), schema.get("$defs", {})),
            "required": schema.get("required", []),
        }
    return schemas


def _inlined(part: Any, named: dict[str, Any]) -> Any:
    """A part of a schema that stands on its own: with what it refers to in place."""
    if isinstance(part, list):
        return [_inlined(one, named) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        part = named[part["$ref"].rpartition("/")[2]]
    return {name: _inlined(value, named) for name, value in part.items()}
