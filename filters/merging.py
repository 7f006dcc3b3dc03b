"""Token merging: a ViT of open_clip that sees a picture in fewer tokens from block to block.

Nothing is trained: tokens that are alike become their mean. Scores shift with the plan, so a
threshold belongs to one plan alone. It refuses every tower but open_clip's own plain ViT.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

VERSION = 1
"""Raise it when the same plan would give other features."""
MARGIN = 0.95  # of PiToMe before the first block, falling to 0 (the authors' code for CLIP)
_OPEN_CLIP = "3"  # the major version whose insides are known here
_NEEDED = ("_embeds", "_pool", "transformer", "attn_pool", "pool_type", "ln_post", "proj")
_CUSTOM = (
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
)
_PLAN = re.compile(
    r"tome:(?P<count>[0-9]{1,6})(:(?P<inflect>-?(0|1|0?\.[0-9]{1,6}|[01]\.0+)))?"
    r"|tome:(?P<counts>[0-9]{1,6}(,[0-9]{1,6})+)"
    r"|pitome:(?P<ratio>0?\.[0-9]{1,6}|1|1\.0+)"
)


# Plans, without torch


@dataclass(frozen=True)
class ToMe:
    """Merge so many tokens in each block (Bolya et al., arXiv:2210.09461).

    One count holds for all blocks; with `inflect` counts go in a line from `count * (1 - inflect)`
    to `count * (1 + inflect)`. Of several counts each is for one block, and the rest merge none.
    """

    counts: tuple[int, ...]
    inflect: Fraction = Fraction(0)

    def __str__(self) -> str:
        tail = f":{float(self.inflect):g}" if self.inflect else ""
        return f"tome:{','.join(map(str, self.counts))}{tail}"

    def schedule(self, blocks: int) -> list[int]:
        """Tokens to merge in each block, however many there are."""
        if len(self.counts) > 1:
            return [*self.counts, *[0] * (blocks - len(self.counts))]
        (count,) = self.counts
        first = int(count * (1 - self.inflect))
        step = Fraction(2 * (count - first), max(1, blocks - 1))
        return [int(first + step * block) for block in range(blocks)]


@dataclass(frozen=True)
class PiToMe:
    """Keep a share of the patches in each block (Tran et al., arXiv:2405.16148).

    Patches in crowds merge, those that are like few others stay as they are. The authors' code
    has no proportional attention; here it has, for without it scores shift far more.
    """

    ratio: Fraction

    def __str__(self) -> str:
        return f"pitome:{float(self.ratio):g}"


Plan = ToMe | PiToMe


def parse_plan(text: str) -> Plan:
    """The plan that a text means: `tome:8`, `tome:8:-1`, `tome:16,8,4` or `pitome:0.9`.

    Raises ValueError for any other.
    """
    found = _PLAN.fullmatch(text)
    if found is None:
        raise ValueError(
            f"merge {text!r}: expected tome:COUNT, tome:COUNT:INFLECT with -1 to 1,"
            " tome:COUNT,COUNT,… or pitome:SHARE with 0.5 to 1, such as tome:8 or pitome:0.9"
        )
    if found["ratio"] is not None:
        ratio = Fraction(found["ratio"])
        if ratio < Fraction(1, 2):  # each patch merges into one other: no more than half go
            raise ValueError(f"merge {text!r}: a block keeps half of its patches at least")
        return PiToMe(ratio)
    counts = (found["counts"] or found["count"]).split(",")
    return ToMe(tuple(map(int, counts)), Fraction(found["inflect"] or 0))


def check(text: str, vision: Mapping[str, Any] | None) -> None:
    """Raises ValueError for what is no plan, and for towers that are no plain ViT of open_clip.

    `vision` is the `vision_cfg` of open_clip; None is for encoders that have none.
    """
    plan = parse_plan(text)
    if vision is None:
        raise ValueError(f"merge {text!r}: this model has no tokens to merge")
    problem = _problem(vision)
    if problem is not None:
        raise ValueError(f"merge {text!r}: {problem}")
    blocks = vision.get("layers", 12)
    if isinstance(plan, ToMe) and len(plan.counts) > blocks:
        raise ValueError(f"merge {text!r}: {len(plan.counts)} counts for {blocks} blocks")


def _problem(vision: Mapping[str, Any]) -> str | None:
    """Why tokens of this tower can't be merged, if so."""
    if "timm_model_name" in vision:
        return f"the image tower is {vision['timm_model_name']} of timm, no ViT of open_clip's own"
    if not isinstance(vision.get("layers", 12), int):
        return "the image tower is a ResNet, which has no tokens"
    if vision.get("attentional_pool"):
        return "the image tower pools by attention, as CoCa does, which would weigh tokens wrongly"
    if vision.get("pool_type", "tok") not in ("tok", "avg"):
        return "the image tower does not pool its tokens"
    custom = [name for name in _CUSTOM if vision.get(name)]
    if custom or vision.get("block_type") == "custom":
        return f"the image tower has custom blocks ({', '.join(custom) or 'block_type'})"
    return None


# Towers, with torch


class Tokens(NamedTuple):
    """Tokens [n, count, width], the class token first, and how many of the first each stands for.

    `sizes` [n, count] are fp32: their sum never changes.
    """

    values: Any
    sizes: Any


class Merged(NamedTuple):
    """A model of open_clip whose images are encoded by a plan."""

    model: Any
    plan: Plan

    def encode_image(self, pixels: Any, normalize: bool) -> Any:
        import torch

        seen = merged_encode_image(self.model.visual, pixels, self.plan)
        return torch.nn.functional.normalize(seen, dim=-1) if normalize else seen

    def encode_text(self, tokens: Any, normalize: bool) -> Any:
        return self.model.encode_text(tokens, normalize=normalize)


def merged(model: Any, text: str) -> Merged:
    """The model with the plan that a text means. Raises ValueError when it can't be merged."""
    check_tower(model.visual)
    return Merged(model, parse_plan(text))


def check_tower(visual: Any) -> None:
    """Raises ValueError for an image tower that is not built as this module knows it."""
    import open_clip
    from open_clip import transformer

    if open_clip.__version__.split(".")[0] != _OPEN_CLIP:
        raise ValueError(
            f"token merging knows the insides of open_clip {_OPEN_CLIP}, this is"
            f" {open_clip.__version__}; upgrade, or score without `merge`"
        )
    kind = type(visual).__name__
    if not isinstance(visual, transformer.VisionTransformer):
        raise ValueError(f"token merging: the image tower is a {kind}, no ViT of open_clip's own")
    missing = [name for name in _NEEDED if not hasattr(visual, name)]
    if missing:
        raise ValueError(f"token merging: {kind} of this open_clip has no {', '.join(missing)}")
    if visual.attn_pool is not None:
        raise ValueError("token merging: the image tower pools by attention, as CoCa does")
    if visual.pool_type not in ("tok", "avg"):
        raise ValueError(f"token merging: the image tower pools by {visual.pool_type!r}")
    for block in visual.transformer.resblocks:
        if type(block) is not transformer.ResidualAttentionBlock:
            raise ValueError(f"token merging: the image tower has a {type(block).__name__}")


def merged_encode_image(visual: Any, pixels: Any, plan: Plan, proportional: bool = True) -> Any:
    """Image features [n, d], not normalised, as `encode_image` has them but for what is merged.

    With `proportional` attention a token counts as often as the tokens that it stands for
    (Bolya et al., 3.2): then merging equal tokens changes nothing. Raises ValueError for a tower
    that can't be merged.
    """
    check_tower(visual)
    for tokens in after_blocks(visual, pixels, plan, proportional):  # noqa: B007
        pass
    return _pooled(visual, tokens) @ visual.proj


def after_blocks(
    visual: Any, pixels: Any, plan: Plan, proportional: bool = True
) -> Iterator[Tokens]:
    """The tokens after each block, in order."""
    values = visual._embeds(pixels)
    tokens = Tokens(values, values.new_ones(values.shape[:2]).float())
    first = values.shape[1]
    blocks = visual.transformer.resblocks
    schedule = plan.schedule(len(blocks)) if isinstance(plan, ToMe) else []
    for number, block in enumerate(blocks):
        weighs = proportional and tokens.values.shape[1] < first
        mixed, keys = _attended(block, tokens, weighs)
        tokens = Tokens(tokens.values + block.ls_1(mixed), tokens.sizes)
        if isinstance(plan, ToMe):
            tokens = merge_similar(tokens, keys, schedule[number])
        else:
            margin = MARGIN * (1 - number / len(blocks))
            tokens = merge_crowded(tokens, plan.ratio, margin)
        values = tokens.values
        tokens = Tokens(values + block.ls_2(block.mlp(block.ln_2(values))), tokens.sizes)
        yield tokens


def _attended(block: Any, tokens: Tokens, weighs: bool) -> tuple[Any, Any]:
    """What a block's attention gives, and its keys [n, count, width], averaged over heads."""
    from torch.nn import functional

    attention = block.attn
    normed = block.ln_1(tokens.values)
    count, tokens_each, width = normed.shape
    joined = functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    heads = joined.view(count, tokens_each, 3, attention.num_heads, -1)
    queries, keys, values = heads.permute(2, 0, 3, 1, 4).unbind(0)
    mask = tokens.sizes.log()[:, None, None, :].to(queries.dtype) if weighs else None
    mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    mixed = mixed.transpose(1, 2).reshape(count, tokens_each, width)
    return attention.out_proj(mixed), keys.mean(dim=1)


def merge_similar(tokens: Tokens, keys: Any, count: int) -> Tokens:
    """ToMe's bipartite soft matching: merge `count` tokens, half of the patches at most.

    Every second token looks for the most similar one of the others, by cosine of keys; those
    that find the best go. The class token, which is the first, goes nowhere.
    """
    from torch.nn import functional

    count = min(count, (tokens.values.shape[1] - 1) // 2)
    if count <= 0:
        return tokens
    units = functional.normalize(keys.float(), dim=-1)
    similarity = units[:, ::2] @ units[:, 1::2].transpose(1, 2)
    similarity[:, 0] = -float("inf")
    best, nearest = similarity.max(dim=2)
    order = best.argsort(dim=1, descending=True, stable=True)
    going, staying = order[:, :count], order[:, count:].sort(dim=1).values
    even = Tokens(tokens.values[:, ::2], tokens.sizes[:, ::2])
    odd = Tokens(tokens.values[:, 1::2], tokens.sizes[:, 1::2])
    met = _into(odd, _taken(even, going), nearest.gather(1, going))
    return _joined(_taken(even, staying), met)


def merge_crowded(tokens: Tokens, ratio: Fraction, margin: float) -> Tokens:
    """PiToMe: keep a share of the patches; of those with the most energy every second one goes.

    Each goes to the most similar, by cosine, of the others with much energy. The rest, and the
    class token, stay as they are.
    """
    from torch.nn import functional

    patches = tokens.values.shape[1] - 1
    count = int(patches - ratio * patches)
    if count <= 0:
        return tokens
    rest = Tokens(tokens.values[:, 1:], tokens.sizes[:, 1:])
    units = functional.normalize(rest.values.float(), dim=-1)
    cosines = units @ units.transpose(1, 2)
    order = energy(cosines, margin).argsort(dim=1, descending=True, stable=True)
    going, into = order[:, 0 : 2 * count : 2], order[:, 1 : 2 * count : 2]
    offered = cosines.gather(1, going[:, :, None].expand(-1, -1, patches))
    nearest = offered.gather(2, into[:, None, :].expand(-1, count, -1)).argmax(dim=2)
    met = _into(_taken(rest, into), _taken(rest, going), nearest)
    first = Tokens(tokens.values[:, :1], tokens.sizes[:, :1])
    return _joined(_joined(first, _taken(rest, order[:, 2 * count :])), met)


def energy(cosines: Any, margin: float) -> Any:
    """How crowded it is around each token [n, count]: the mean of ELU(cosine - margin) over all."""
    from torch.nn import functional

    return functional.elu(cosines - margin).mean(dim=2)


def _into(targets: Tokens, sources: Tokens, places: Any) -> Tokens:
    """The targets with every source merged into that at its place: means, weighted by size.

    A product with ones and zeros adds in one order; scattering on a GPU would not.
    """
    from torch.nn import functional

    count = targets.values.shape[1]
    ways = functional.one_hot(places, count).float().transpose(1, 2)
    sizes = targets.sizes + (ways @ sources.sizes[:, :, None])[:, :, 0]
    whole, parts = ((t.values.float() * t.sizes[:, :, None]) for t in (targets, sources))
    values = (whole + ways @ parts) / sizes[:, :, None]
    return Tokens(values.to(targets.values.dtype), sizes)


def _taken(tokens: Tokens, places: Any) -> Tokens:
    wide = places[:, :, None].expand(-1, -1, tokens.values.shape[2])
    return Tokens(tokens.values.gather(1, wide), tokens.sizes.gather(1, places))


def _joined(first: Tokens, second: Tokens) -> Tokens:
    import torch

    return Tokens(*(torch.cat(both, dim=1) for both in zip(first, second, strict=True)))


def _pooled(visual: Any, tokens: Tokens) -> Any:
    """What the tower makes of its tokens; a mean of patches weighs each by its size."""
    if visual.pool_type == "tok":
        return visual._pool(tokens.values)[0]
    late = visual.final_ln_after_pool
    values = tokens.values if late else visual.ln_post(tokens.values)
    sizes = tokens.sizes[:, 1:, None]
    mean = ((values[:, 1:].float() * sizes).sum(dim=1) / sizes.sum(dim=1)).to(values.dtype)
    return visual.ln_post(mean) if late else mean
