import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.keys import digest, draw, pair_key


def test_key_is_golden():
    key = pair_key(url="http://example.com/a.jpg", image_sha256=None, caption="a cat")
    assert key.hex() == GOLDEN


def test_no_caption_is_not_an_empty_caption():
    url = "http://example.com/a.jpg"
    none = pair_key(url=url, image_sha256=None, caption=None)
    assert none != pair_key(url=url, image_sha256=None, caption="")


def test_a_url_wins_over_the_hash_so_that_a_new_download_has_the_same_key():
    one = pair_key(url="http://example.com", image_sha256=b"1" * 32, caption="x")
    assert one == pair_key(url="http://example.com", image_sha256=b"2" * 32, caption="x")


def test_a_pair_without_a_name_is_refused():
    with pytest.raises(ValueError, match="url or the hash"):
        pair_key(url=None, image_sha256=None, caption="x")


@given(st.lists(st.one_of(st.none(), st.binary(max_size=4)), max_size=4), st.data())
def test_different_lists_of_parts_have_different_digests(parts, data):
    other = data.draw(st.lists(st.one_of(st.none(), st.binary(max_size=4)), max_size=4))
    assert (digest(*parts) == digest(*other)) == (parts == other)


def test_draws_are_uniform_and_independent_of_each_other():
    keys = [digest(str(i).encode()) for i in range(4000)]
    first = [draw(key, 0, "a") for key in keys]
    second = [draw(key, 1, "a") for key in keys]
    assert abs(sum(first) / 4000 - 0.5) < 0.03
    agree = sum((a < 0.5) == (b < 0.5) for a, b in zip(first, second, strict=True))
    assert abs(agree / 4000 - 0.5) < 0.05


GOLDEN = "85c7a2f32f5816f4df05f47eed29dfb7"
