from pipeline.crawl.saved import file_of, names, page_of, pages

SAVED = "<!doctype html>\n<!-- saved from url=(0021)https://e.org/x/y.html -->\n<img src=a.jpg>"


def test_pages_are_found_in_order_and_nothing_else(tmp_path):
    for name in ("b.html", "a.HTM", "sub/c.xhtml", "d.css", ".hidden/e.html", "a_files/f.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<p>")
    (tmp_path / "out.html").symlink_to("/etc/hostname")
    assert names(str(tmp_path)) == ["a.HTM", "a_files/f.html", "b.html", "sub/c.xhtml"]


def test_a_saved_page_knows_where_it_came_from(tmp_path):
    (tmp_path / "a.html").write_text(SAVED)
    found = page_of(str(tmp_path), "a.html", "http://other.org")
    assert (found.url, found.candidates[0].url) == (
        "https://e.org/x/y.html",
        "https://e.org/x/a.jpg",
    )


def test_a_mirror_takes_the_address_of_its_site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ä b.html").write_text("<img src=../a.jpg>")
    (found,) = pages(str(tmp_path), "http://e.org/m/")
    assert (found.url, found.candidates[0].url) == (
        "http://e.org/m/sub/%C3%A4%20b.html",
        "http://e.org/m/a.jpg",
    )


def test_without_an_address_only_whole_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text("<img src=a.jpg><img src=file:///a><img src=http://h.org/b>")
    (found,) = pages(str(tmp_path))
    assert [c.url for c in found.candidates] == ["http://h.org/b"]


def test_images_that_were_saved_beside_a_page_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    html = SAVED + "<img src='./a_files/ü 1.jpg'><img src=../../etc/passwd>"
    html += "<img src=http://h.org/b.jpg>"
    (tmp_path / "sub" / "a.html").write_text(html)
    page = page_of(str(tmp_path), "sub/a.html", None)
    files = frozenset({"sub/a_files/ü 1.jpg", "etc/passwd", "b.jpg"})
    found = [file_of(image.url, page, "sub/a.html", files) for image in page.candidates]
    assert found == [None, "sub/a_files/ü 1.jpg", None, None]


def test_images_of_a_mirror_keep_their_paths(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.html").write_text("<img src=../i/a.jpg?x=1><img src=b.jpg>")
    (page,) = pages(str(tmp_path), "http://e.org/m")
    files = frozenset({"i/a.jpg", "sub/b.jpg"})
    found = [file_of(image.url, page, "sub/a.html", files) for image in page.candidates]
    assert found == ["i/a.jpg", "sub/b.jpg"]


def test_a_file_of_a_mirror_may_have_the_query_in_its_name(tmp_path):
    (tmp_path / "a.html").write_text("<img src=i.php?id=3><img src=i.php?id=%C3%A4><img src=i.php>")
    (page,) = pages(str(tmp_path), "http://e.org/")
    files = frozenset({"i.php", "i.php?id=3"})
    found = [file_of(image.url, page, "a.html", files) for image in page.candidates]
    assert found == ["i.php?id=3", "i.php", "i.php"]
