"""Token merging: the steps by a readable reference, what never changes, and what is refused."""

from fractions import Fraction

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import VisionTransformer

from filters import clip_weights, merging
from filters.clip import ClipScore
from filters.merging import PiToMe, Tokens, ToMe, merged_encode_image, parse_plan

SHAPE = {"image_size": 64, "patch_size": 8, "width": 48, "layers": 4, "heads": 3}
PATCHES = 64
NOTHING = ToMe((0,))


def tower(**options) -> VisionTransformer:
    torch.manual_seed(0)
    made = VisionTransformer(**(SHAPE | {"mlp_ratio": 4.0, "output_dim": 24} | options)).eval()
    return made.requires_grad_(False)


def pixels(count=3) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def random_tokens(count=9, width=6, pictures=2) -> tuple[Tokens, torch.Tensor]:
    dice = torch.Generator().manual_seed(2)
    values = torch.randn(pictures, count, width, generator=dice)
    sizes = torch.randint(1, 5, (pictures, count), generator=dice).float()
    return Tokens(values, sizes), torch.randn(pictures, count, width, generator=dice)


# Plans


@pytest.mark.parametrize(
    ("text", "plan", "name"),
    [
        ("tome:8", ToMe((8,)), "tome:8"),
        ("tome:08", ToMe((8,)), "tome:8"),
        ("tome:8:0", ToMe((8,)), "tome:8"),
        ("tome:8:-1", ToMe((8,), Fraction(-1)), "tome:8:-1"),
        ("tome:8:.50", ToMe((8,), Fraction(1, 2)), "tome:8:0.5"),
        ("tome:16,8,0", ToMe((16, 8, 0)), "tome:16,8,0"),
        ("pitome:0.90", PiToMe(Fraction(9, 10)), "pitome:0.9"),
        ("pitome:1", PiToMe(Fraction(1)), "pitome:1"),
    ],
)
def test_a_text_means_a_plan_and_a_plan_has_one_name(text, plan, name):
    assert parse_plan(text) == plan
    assert str(plan) == name
    assert parse_plan(name) == plan


@pytest.mark.parametrize(
    "text",
    ["", "tome", "tome:", "tome:-1", "tome:1.5", "tome:8:2", "tome:8:1.5", "tome:8,", "tome:8 ",
     "tome:٣", "ToMe:8", "tome:9999999", "tome:1,2:1", "pitome:0.4", "pitome:1.1", "pitome:nan",
     "pitome:0", "crossget:8"],
)  # fmt: skip
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ValueError, match="merge "):
        parse_plan(text)


def test_schedules_are_those_of_the_paper():
    assert ToMe((8,)).schedule(3) == [8, 8, 8]
    assert ToMe((8,), Fraction(-1)).schedule(5) == [16, 12, 8, 4, 0]
    assert ToMe((8,), Fraction(1)).schedule(5) == [0, 4, 8, 12, 16]
    assert ToMe((10,), Fraction(-1, 2)).schedule(3) == [15, 10, 5]
    assert ToMe((8,), Fraction(-1)).schedule(1) == [16]
    assert ToMe((9, 4)).schedule(4) == [9, 4, 0, 0]


# What must not change


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool_type": "avg"},
        {"pool_type": "avg", "final_ln_after_pool": True},
        {"final_ln_after_pool": True},
        {"ls_init_value": 0.1, "no_ln_pre": True},
        {"act_layer": open_clip.transformer.QuickGELU},
        {"patch_dropout": 0.5},
    ],
    ids=str,
)
def test_where_nothing_is_merged_it_is_encode_image(options):
    visual = tower(**options)
    for plan in (NOTHING, PiToMe(Fraction(1))):
        found = merged_encode_image(visual, pixels(), plan)
        assert (found - visual(pixels())).abs().max() < 1e-5


@pytest.mark.parametrize("plan", ["tome:5", "tome:30,1,9", "tome:6:-1", "pitome:0.9", "pitome:0.5"])
def test_the_sum_of_sizes_never_changes_and_counts_are_those_planned(plan):
    counts, left = [], PATCHES + 1
    for block in range(4):
        if plan == "pitome:0.9":
            left -= (left - 1) // 10  # floor of a tenth
        elif plan == "pitome:0.5":
            left -= (left - 1) // 2
        else:
            left -= min(parse_plan(plan).schedule(4)[block], (left - 1) // 2)
        counts.append(left)
    seen = list(merging.after_blocks(tower(), pixels(), parse_plan(plan)))
    assert [tokens.values.shape[1] for tokens in seen] == counts
    for tokens in seen:
        assert tokens.sizes.sum(dim=1).tolist() == [PATCHES + 1] * 3


@pytest.mark.parametrize("plan", ["tome:1000", "pitome:0.5"])
def test_the_class_token_is_never_merged(plan):
    for tokens in merging.after_blocks(tower(), pixels(), parse_plan(plan)):
        assert tokens.sizes[:, 0].tolist() == [1, 1, 1]
    given, keys = random_tokens()
    similar = merging.merge_similar(given, keys, 99)
    crowded = merging.merge_crowded(given, Fraction(1, 2), 0.9)
    assert torch.equal(similar.values[:, 0], given.values[:, 0])
    assert torch.equal(crowded.values[:, 0], given.values[:, 0])


@pytest.mark.parametrize("pool", ["tok", "avg"])
@pytest.mark.parametrize("plan", ["tome:9", "pitome:0.8"])
def test_equal_tokens_merge_without_a_trace_if_attention_is_proportional(plan, pool):
    visual = tower(pool_type=pool)
    visual.positional_embedding.data[1:] = 0
    image = torch.full((2, 3, 64, 64), 0.7)
    before = visual(image)
    after = merged_encode_image(visual, image, parse_plan(plan))
    naive = merged_encode_image(visual, image, parse_plan(plan), proportional=False)
    assert (after - before).abs().max() < 5e-6
    assert (naive - before).abs().max() > 1e-4


@pytest.mark.parametrize("plan", ["tome:9", "pitome:0.8"])
def test_a_picture_is_encoded_as_in_any_company(plan):
    visual, images = tower(), pixels(4)
    together = merged_encode_image(visual, images, parse_plan(plan))
    for number in range(4):
        company = torch.stack([images[number], *torch.randn(3, 3, 64, 64)])
        apart = merged_encode_image(visual, company, parse_plan(plan))[0]
        assert torch.equal(apart, together[number])
        alone = merged_encode_image(visual, images[number : number + 1], parse_plan(plan))[0]
        assert (alone - together[number]).abs().max() < 1e-5


def test_half_precision_is_near_and_sizes_stay_exact():
    visual, plan = tower(), parse_plan("tome:12")
    expected = merged_encode_image(visual, pixels(), NOTHING)
    low = visual.bfloat16()
    found = merged_encode_image(low, pixels().bfloat16(), plan)
    assert found.dtype == torch.bfloat16
    assert torch.cosine_similarity(found.float(), expected).min() > 0.9
    tokens = list(merging.after_blocks(low, pixels().bfloat16(), plan))[-1]
    assert tokens.sizes.sum(dim=1).tolist() == [PATCHES + 1] * 3


# The steps


def reference_similar(values, sizes, keys, count):
    """ToMe in plain words over the tokens of one picture: lists of (value, size)."""
    units = [key / np.linalg.norm(key) for key in keys]
    even, odd = range(0, len(values), 2), range(1, len(values), 2)
    offers = []
    for a in even[1:]:  # not the class token
        best = max(odd, key=lambda b: units[a] @ units[b])
        offers.append((units[a] @ units[best], a, best))
    going = {a: b for _, a, b in sorted(offers, reverse=True)[:count]}
    out = [(values[a], sizes[a]) for a in even if a not in going]
    for b in odd:
        members = [b, *(a for a in going if going[a] == b)]
        total = sum(sizes[m] for m in members)
        out.append((sum(values[m] * sizes[m] for m in members) / total, total))
    return out


def reference_crowded(values, sizes, ratio, margin):
    """PiToMe in plain words over the tokens of one picture: lists of (value, size)."""
    units = [value / np.linalg.norm(value) for value in values]
    patches = range(1, len(values))

    def energy(i):
        apart = [units[i] @ units[j] - margin for j in patches]
        return np.mean([x if x > 0 else np.exp(x) - 1 for x in apart])

    order = sorted(patches, key=energy, reverse=True)
    count = int(len(patches) - ratio * len(patches))
    if not count:
        return list(zip(values, sizes, strict=True))
    sources, into, rest = order[: 2 * count : 2], order[1 : 2 * count : 2], order[2 * count :]
    going = {a: max(into, key=lambda b: units[a] @ units[b]) for a in sources}
    out = [(values[i], sizes[i]) for i in [0, *rest]]
    for b in into:
        members = [b, *(a for a in going if going[a] == b)]
        total = sum(sizes[m] for m in members)
        out.append((sum(values[m] * sizes[m] for m in members) / total, total))
    return out


def assert_same(found: Tokens, picture: int, expected) -> None:
    assert found.values.shape[1] == len(expected)
    assert found.sizes[picture].tolist() == [size for _, size in expected]
    wanted = np.stack([value for value, _ in expected])
    np.testing.assert_allclose(found.values[picture].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("tokens", [2, 9, 16, 65])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_tome_is_the_reference(tokens, count):
    given, keys = random_tokens(tokens)
    found = merging.merge_similar(given, keys, count)
    for picture in range(2):
        one = [part[picture].double().numpy() for part in (given.values, given.sizes, keys)]
        most = min(count, (tokens - 1) // 2)
        assert_same(found, picture, reference_similar(*one, most))


@pytest.mark.parametrize("tokens", [2, 9, 16, 65])
@pytest.mark.parametrize("ratio", [0.5, 0.75, 0.95])
def test_pitome_is_the_reference(tokens, ratio):
    given, _ = random_tokens(tokens)
    found = merging.merge_crowded(given, Fraction(ratio), 0.3)
    for picture in range(2):
        one = [part[picture].double().numpy() for part in (given.values, given.sizes)]
        assert_same(found, picture, reference_crowded(*one, ratio, 0.3))


def test_a_share_is_the_decimal_number_that_is_written():
    given, _ = random_tokens(count=71)  # 70 - 0.9 * 70 is 6.999... in binary
    plan = parse_plan("pitome:0.9")
    assert isinstance(plan, PiToMe)
    assert merging.merge_crowded(given, plan.ratio, 0.9).values.shape[1] == 64


def test_a_crowd_has_more_energy_than_a_token_alone_which_is_protected():
    dice = torch.Generator().manual_seed(3)
    crowd = torch.tensor([1.0] + [0.0] * 15) + 0.05 * torch.randn(8, 16, generator=dice)
    alone = torch.eye(16)[1:5] * 3
    values = torch.cat([torch.ones(1, 16), alone, crowd])[None]
    units = torch.nn.functional.normalize(values[:, 1:], dim=2)
    found = merging.energy(units @ units.transpose(1, 2), 0.5)[0]
    assert found[4:].min() > found[:4].max()
    merged = merging.merge_crowded(Tokens(values, torch.ones(1, 13)), Fraction(2, 3), 0.5)
    kept = merged.values[0].tolist()
    assert len(kept) == 9
    assert all(token in kept for token in alone.tolist())
    assert merged.sizes.sum() == 13


def test_energy_of_three_tokens_by_hand():
    cosines = torch.tensor([[[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    below = np.exp(-0.5) - 1  # ELU of 0 - 0.5
    expected = [(0.5 + 0.4 + below) / 3] * 2 + [(0.5 + 2 * below) / 3]
    assert merging.energy(cosines, 0.5)[0].tolist() == pytest.approx(expected)


# What is refused


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        (None, "no tokens"),
        ({"timm_model_name": "fastvit_t8"}, "fastvit_t8 of timm"),
        ({"layers": [3, 4, 6, 3]}, "ResNet"),
        ({"layers": 2, "attentional_pool": True}, "by attention"),
        ({"layers": 2, "attentional_pool": "cascade"}, "by attention"),
        ({"layers": 2, "pool_type": "none"}, "does not pool"),
        ({"layers": 2, "qk_norm": True}, "custom blocks .qk_norm"),
        ({"layers": 2, "block_type": "custom"}, "custom blocks"),
        ({"layers": 2}, "3 counts for 2 blocks"),
    ],
)
def test_a_tower_that_is_no_plain_vit_is_refused_by_its_configuration(vision, message):
    with pytest.raises(ValueError, match=message):
        merging.check("tome:3,2,1", vision)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4}, "attention"),
        ({"qk_norm": True}, "CustomResidualAttentionBlock"),
        ({"pool_type": "none"}, "pools by 'none'"),
    ],
)
def test_a_tower_that_is_no_plain_vit_is_refused_when_it_is_there(options, message):
    with pytest.raises(ValueError, match=message):
        merged_encode_image(tower(**options), pixels(), NOTHING)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["siglip", "coca", "mobileclip", "embedded"])
def test_models_with_such_towers_are_refused_by_the_scorer_and_when_loaded(models, kind):
    with pytest.raises(ValueError, match="merge 'tome:8': "):
        ClipScore(models.get(kind, kind), merge="tome:8")
    if kind != "embedded":
        loaded = clip_weights.load(clip_weights.Source(models[kind]))
        with pytest.raises(ValueError, match="token merging: "):
            merging.merged(loaded.model, "tome:8")


def test_a_resnet_is_refused_when_it_is_there():
    from open_clip.modified_resnet import ModifiedResNet

    with pytest.raises(ValueError, match="is a ModifiedResNet"):
        merging.check_tower(ModifiedResNet([1, 1, 1, 1], 8, 2, image_size=32, width=8))


def test_another_open_clip_is_refused(monkeypatch):
    visual = tower()
    merging.check_tower(visual)
    with monkeypatch.context() as patch:
        patch.setattr(open_clip, "__version__", "4.0.0")
        with pytest.raises(ValueError, match=r"this is 4\.0\.0"):
            merging.check_tower(visual)
    monkeypatch.delattr(VisionTransformer, "_pool")
    with pytest.raises(ValueError, match="has no _pool"):
        merging.check_tower(visual)
