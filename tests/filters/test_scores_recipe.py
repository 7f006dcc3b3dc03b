"""The recipe of all offline scores, over some of its pictures: each has values, or says why not."""

import pytest

from tests.conftest import MakeBuild
from tests.filters.test_clip_builds import columns
from tests.recaption.recipes import over_pack, recipe

LEARNT = ("noise_probability", "noise_loss", "teacher_mass", "mix_score")
"""What a pool of some dozen rows is too small for."""
SCORES = (
    *("clip_score", "mirrored_score", "reward", "filip_score", "ot_score", "itm_score"),
    *("caption_logp", "caption_gain", "facet_min", "support_min", "clip_consistency"),
    *("vqa_score", "mlm_matching", "mlm_detail", "mlm_quality", "mlm_understanding"),
    "unime_score",
    *("neg_clip_score", "reassigned_to", "agreement_min", "pii", "profanities"),
    *("watermark_likelihood", "logo_likelihood", "has_c2pa"),
)


@pytest.mark.slow
def test_every_offline_score_has_values_over_real_pictures(make_build: MakeBuild) -> None:
    build = over_pack(make_build, recipe("scores"), en=20)
    found = columns(build, *SCORES, *LEARNT, "noise_error", "teacher_mass_error")
    for name in SCORES:
        assert sum(value is not None for value in found[name]) > 5, name
    for name in LEARNT:
        assert set(found[name]) == {None}
    assert all("NotEnoughRows" in str(found[f"{n}_error"]) for n in ("noise", "teacher_mass"))
