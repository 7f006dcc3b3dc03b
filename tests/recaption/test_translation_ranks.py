import numpy as np
import pyarrow as pa
import pytest

from recaption import captions
from recaption.captions import Caption
from recaption.translation_ranks import TranslationRanks

N = 40
ES = np.linspace(0.5, 0.9, N)
CA = np.linspace(0.1, 0.4, N)  # all of it is worse than the worst of the other


def scorer(**more):
    return TranslationRanks(of="es", numbers=("similarity",), **more)


def table(**lists):
    return pa.table({name: pa.array(values) for name, values in lists.items()})


def pool():
    """Rows of two translations each, one by direction."""
    pairs = [[float(a), float(b)] for a, b in zip(ES, CA, strict=True)]
    return table(direction=[["en>es", "en>ca"]] * N, similarity=pairs)


def batch(values, direction="en>es", **more):
    rows = [captions.rows([Caption("x", flags=("numbers",))]) for _ in values]
    lists = [[value] for value in values]
    return {"es": rows, "direction": [[direction]] * len(values), "similarity": lists, **more}


def ranks(found):
    return [row[0] for row in found["quality_rank"]]


def test_the_worst_of_each_direction_are_as_many():
    one = scorer(share=0.05)
    learnt = one.fit(pool())
    for direction, values in (("en>es", ES), ("en>ca", CA)):
        found = one(batch([float(v) for v in values], direction), learnt)
        assert ranks(found) == sorted(ranks(found))
        assert np.mean(np.array(ranks(found)) <= 0.05) == 0.05
        low = ["low_quality" in row[0]["flags"] for row in found["captions"]]
        assert low == [True] * 2 + [False] * (N - 2)
        assert all("numbers" in row[0]["flags"] for row in found["captions"])


def test_a_rank_is_the_share_that_is_no_better():
    rows = table(direction=[["en>es"]] * 20, similarity=[[float(v)] for v in [1] * 10 + [2] * 10])
    learnt = scorer().fit(rows)
    assert ranks(scorer()(batch([0.0, 1.0, 1.5, 2.0, 3.0]), learnt)) == [0, 0.5, 0.5, 1, 1]


def test_of_both_ends_the_middle_is_best():
    one = TranslationRanks(of="es", numbers=("length_ratio",))
    values = [float(v) for v in np.linspace(0.5, 2, 41)]
    rows = table(direction=[["en>es"]] * 41, length_ratio=[[v] for v in values])
    given = {**batch(values), "length_ratio": [[v] for v in values]}
    found = ranks(one(given, one.fit(rows)))
    assert max(found) == found[20]
    assert found[0] == found[-1] == min(found)


def test_numbers_that_are_not_known_do_not_count():
    one = TranslationRanks(of="es", numbers=("similarity", "mine"), both_ends=())
    mine = [[None] if n % 2 else [float(n)] for n in range(N)]
    rows = table(direction=[["en>es"]] * N, similarity=[[float(v)] for v in ES], mine=mine)
    learnt = one.fit(rows)
    found = ranks(one(batch([0.6, None, None], mine=[[None], [2.0], None]), learnt))
    assert found[0] is not None
    assert found[1] is not None
    assert found[2] is None


def test_a_direction_of_few_has_no_ranks():
    few = table(direction=[["en>es"]] * N + [["en>fi"]] * 19, similarity=[[0.5]] * (N + 19))
    learnt = scorer().fit(few)
    assert ranks(scorer()(batch([0.1], "en>fi"), learnt)) == [None]
    assert ranks(scorer()(batch([0.1], None), learnt)) == [None]
    assert scorer().fit(few.slice(N)) == {}


def test_what_lacks_a_list_is_kept_without_a_flag():
    learnt = scorer().fit(pool())
    found = scorer()({**batch([0.1]), "direction": [None]}, learnt)
    assert found["quality_rank"] == [[None]]
    assert found["captions"][0][0]["flags"] == ["numbers"]
    assert scorer()({"es": [[]], "direction": [[]], "similarity": [None]}, learnt) == {
        "captions": [[]],
        "quality_rank": [[]],
    }


def test_a_caption_that_is_null_stays_so():
    learnt = scorer().fit(pool())
    found = scorer()({"es": [[None]], "direction": [["en>es"]], "similarity": [[0.0]]}, learnt)
    assert found["captions"] == [[None]]


def test_lists_must_be_aligned():
    with pytest.raises(ValueError, match="similarity: 2 values for 1 captions"):
        scorer()({**batch([0.1]), "similarity": [[0.1, 0.2]]}, scorer().fit(pool()))


def test_large_pools_keep_some_points():
    values = np.random.default_rng(0).normal(size=5000)
    rows = table(direction=[["en>es"]] * 5000, similarity=[[float(v)] for v in values])
    learnt = scorer().fit(rows)
    assert all(len(points) == 1001 for points in learnt.values())
    found = np.array(ranks(scorer()(batch([float(v) for v in values]), learnt)))
    assert abs((found <= 0.05).mean() - 0.05) < 0.002


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"numbers": ()}, "numbers is a list"),
        ({"numbers": "similarity"}, "numbers is a list"),
        ({"share": 1.5}, "share must be"),
        ({"fit_rows": 19}, "fit_rows must be"),
        ({"both_ends": ("lenght_ratio",)}, "both_ends: 'lenght_ratio' is not among"),
    ],
)
def test_what_can_not_be_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        TranslationRanks(of="es", **given)
