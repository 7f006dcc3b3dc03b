"""Removed: addresses of stand-ins are told by name, addresses of pictures are left alone."""

import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.removed import Removed, removed_pattern

KNOWN = {
    "https://i.imgur.com/removed.png": "imgur",
    "http://i.imgur.com/removed.png": "imgur",
    "https://s.yimg.com/pw/images/en-us/photo_unavailable.png": "flickr",
    "https://s.yimg.com/pw/images/en-us/photo_unavailable_l.png": "flickr",
    "https://assets.tumblr.com/images/media_violation/community_guidelines_v1_500.png": "tumblr",
    "http://tinypic.com/images/404.gif": "tinypic",
    "http://pic.photobucket.com/bwe.png": "photobucket",
    "https://s.pximg.net/common/images/limit_unknown_360.png": "pixiv",
    "https://st.deviantart.net/misc/noentrythumb-200.png": "deviantart",
    "https://vk.com/images/deactivated_50.png?ava=1": "vk",
    "https://abs.twimg.com/sticky/default_profile_images/default_profile_400x400.png": "twitter",
    "http://g-ecx.images-amazon.com/images/G/09/x-site/icons/no-img-sm.gif": "amazon",
    "https://m.media-amazon.com/images/G/01/imdb/images/nopicture/medium/film-3385._CB4_.png": (
        "imdb"
    ),
    "https://s.gr-assets.com/assets/nophoto/book/111x148-bcc042a9c91a29c1d680899eff700a03.png": (
        "goodreads"
    ),
    "https://books.google.co.uk/googlebooks/images/no_cover_thumb.gif": "google books",
    "http://p.ebaystatic.com/aw/pics/nextGenVit/imgNoImg.gif": "ebay",
    "https://lastfm.freetls.fastly.net/i/u/300x300/2a96cbd8b46e442fc41c2b86b821562f.png": "last.fm",
    "https://cdn.shopify.com/s/assets/no-image-2048-5e88c1b20e087fb7bbe9_600x.gif": "shopify",
    "http://x.org/wp-content/uploads/woocommerce-placeholder-150x150.png": "woocommerce",
    "https://x.org/media/catalog/product/placeholder/default/Logo.jpg": "magento",
    "https://x.org/img/p/en-default-home_default.jpg": "prestashop",
    "http://x.org/system/avatars/original/missing.png": "paperclip",
    "https://via.placeholder.com/300x200?text=Sin+Imagen": "service",
    "https://placehold.co/600x400.png": "service",
}
SAID = {
    "no image": [
        "no-image.png",
        "no_image-100x100.jpg",
        "noimage.gif",
        "noImage.png",
        "product-no-image.jpg",
        "No_image_available.svg/480px-No_image_available.svg.png",
        "noThumb.png",
        "no_pic.gif",
        "thumb.php?src=img/no_image.png&w=640",
        "_next/image?url=%2Fimg%2Fno-photo.png&w=640",
        "no%20image.png",
        "kein_bild.gif",
        "keinbild-verfügbar.png",
        "pas-d-image.jpg",
        "producto-sin-imagen.png",
        "sem-imagem.svg",
        "geen-afbeelding.png",
        "brak-zdjecia.webp",
        "brak-zdj%C4%99cia.png",
        "resimyok.jpg",
    ],
    "image not available": [
        "photo_not_available.jpg",
        "photo_not_available_large.png",
        "image-not-found.png",
        "imagenotfound.png",
        "ImageNotFound.jpg",
        "file-not-found.jpg",
        "photo-missing.png",
        "image_removed.png",
        "unavailable.jpg",
        "notfound.jpg",
        "not-available.gif",
        "photo-non-disponible.png",
        "immagine-non-disponibile.webp",
        "bild_nicht_gefunden.png",
        "nohotlink.jpg",
    ],
    "default image": [
        "default-image.png",
        "default-avatar.svg",
        "missing_image.png",
        "article-default-image.webp",
        "fallback-image.jpg",
    ],
    "placeholder": [
        "placeholder.png",
        "placeholder-600x400.jpg",
        "map_placeholder.jpg",
        "image-placeholder.webp",
        "api/placeholder/400/300",
        "nophoto/large/1.png",
        "platzhalter.jpg",
    ],
}
# Each holds words of a pattern, and shows what it says.
PICTURES = [
    "missing-dog.jpg",
    "deleted-scene.jpg",
    "removed.jpg",
    "missing.png",
    "404.jpg",
    "peugeot-404.jpg",
    "gallery/403/photo-404.jpg",
    "engine-cover-removed.jpg",
    "background-removed.png",
    "background-image-removed.png",
    "yes-no-photo.jpg",
    "no-smoking-sign.jpg",
    "No-photo-description-available.jpg",
    "no-parking-here.jpg",
    "piano-image.jpg",
    "casino-photos.jpg",
    "default.jpg",
    "vi/ab_Cd/hqdefault.jpg",
    "default-wallpaper.jpg",
    "table-no-cover.jpg",
    "volcano-picture.jpg",
    "not-found-in-nature.jpg",
    "hotlink-prepaid.jpg",
    "error.jpg",
    "",
]


@pytest.mark.parametrize("address", KNOWN)
def test_known_addresses_are_told_by_host_or_program(address: str) -> None:
    assert removed_pattern(address) == KNOWN[address]


@pytest.mark.parametrize(
    ("address", "pattern"), [(address, name) for name in SAID for address in SAID[name]]
)
def test_what_a_name_says(address: str, pattern: str) -> None:
    assert removed_pattern(f"https://example.org/{address}") == pattern


@pytest.mark.parametrize("address", PICTURES)
def test_pictures_are_left_alone(address: str) -> None:
    assert removed_pattern(f"https://example.org/{address}") is None


@pytest.mark.parametrize(
    "address",
    ["404.gif", "image-404.png", "error.png", "removed.jpg", "Forbidden.png", "hotlink.png"],
)
def test_names_of_errors_count_where_another_address_led(address: str) -> None:
    address = f"https://example.org/{address}"
    assert removed_pattern(address) is None
    assert removed_pattern(address, source="https://example.org/cat.jpg") == "error"
    assert removed_pattern(address, source=address.replace("https", "http")) is None


def scored(*rows: tuple[Any, Any, Any]) -> list[tuple[str | None, str | None]]:
    scorer = Removed()
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    found = scorer(dict(zip(scorer.reads, map(list, columns), strict=True)))
    table = pa.table(found, schema=scorer.writes)
    table.validate(full=True)
    return [tuple(row.values()) for row in table.to_pylist()]


CAT, GONE = "https://example.org/cat.jpg", "https://i.imgur.com/removed.png"
NO_IMAGE, ERROR = "https://example.org/no-image.png", "https://example.org/404.png"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((CAT, None, None), (None, None)),
        ((None, None, None), (None, None)),
        ((CAT, [], CAT), (None, None)),
        ((GONE, None, None), ("imgur", "url")),
        ((GONE, [NO_IMAGE], NO_IMAGE), ("imgur", "url")),
        ((CAT, [GONE], GONE), ("imgur", "final_url")),
        ((CAT, [GONE, CAT], CAT), ("imgur", "redirects")),
        ((CAT, [ERROR], ERROR), ("error", "final_url")),
        (
            (ERROR, ["https://www.example.org/404.png"], "https://www.example.org/404.png"),
            (None,) * 2,
        ),
        ((None, None, ERROR), ("error", "final_url")),
        ((NO_IMAGE, [], NO_IMAGE), ("no image", "url")),
    ],
)
def test_which_address_has_it(row: Any, expected: tuple[str | None, str | None]) -> None:
    assert scored(row) == [expected]


def test_rows_are_told_apart_and_none_is_none() -> None:
    assert scored((CAT, None, None), (GONE, None, None)) == [(None, None), ("imgur", "url")]
    assert scored() == []


@pytest.mark.parametrize(
    "address",
    ["", "no address", "http://[::1/no-image.png", "//", "http://x.org/%ff%fe/é.png", "?" * 9000],
)
def test_anything_may_stand_in_the_place_of_an_address(address: str) -> None:
    assert removed_pattern(address, source=address) is None


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_address_is_an_error(path: str, query: str) -> None:
    removed_pattern(f"http://x.org/{path}?{query}", source=path)


@given(
    st.sampled_from([a for names in SAID.values() for a in names if "?" not in a and "/" not in a])
)
def test_case_and_host_make_no_difference_to_a_name(name: str) -> None:
    expected = removed_pattern(f"http://a.org/{name}")
    assert removed_pattern(f"HTTPS://B.example.com:8080/c/{name.lower()}#top") == expected


def test_a_long_address_is_read_in_no_time() -> None:
    address = "http://x.org/" + "no-image-not-found-" * 200 + "cat.png?" + "a=no.b&" * 300
    started = time.perf_counter()
    assert removed_pattern(address) is None
    assert time.perf_counter() - started < 0.5
