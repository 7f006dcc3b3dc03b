import random
import subprocess
import sys
import time

import pytest

from pipeline.crawl.page import parse
from pipeline.crawl.taming import FEW_TAGS, MAX_DEPTH, tame

N = 20_000
BOMBS = {
    "div": "<div>" * N,
    "nul": "\0" * N,
    "brackets": "<" * N,
    "comments": "<!--" * N,
    "entities": "&" * N,
    "reopened": "<p>" + "".join(f"<b id={i}>" for i in range(N)) + "<p>x" * N,
    "reopened, links too": "<p>" + "".join(f"<a id={i}><i id={i}>" for i in range(N)) + "<p>x" * N,
    "cells": "<table><td><b>" * N + "<p>x</p>" * N,
    "false ends": "<span>" * N + "</x>" * N,
    "ends passed over": ("<span>" * 300 + "<div>" + "</span>" * 300) * (N // 300),
    "forms": "<div><form>" * N,
    "lists": "<ul><li>" * N,
    "svg": "<svg><g>" * N,
    "svg, then html": "<svg><div>" + "<foo/>" * N,
    "in styles of svg": "<svg><style>" + "<div>" * N,
    "ends in attributes": "<div title='</div>'>" * N,
    "ends in comments": "<div><!-- </div> -->" * N,
    "ends in scripts": "<div><script></div><!-- </script>" * N,
    "quotes": '<x ">' * N,
    "attributes": "<img " + " ".join(f"a{i}=1" for i in range(N)) + ">",
    "attributes, quoted": "<img " + "".join(f"a{i}='>'" for i in range(N)) + ">",
    "roots": "".join(f"<html a{i}=1>" for i in range(N)),
    "images": "<img src=a>" * N,
    "linked images": "<a href=b.jpg><img src=a alt=x></a>" * N,
    "figures": "<figure><img src=a><figcaption>x" * N,
    "headings": "<h1><img src=a>" * N,
    "labels": "<i id=x><img src=a aria-labelledby='x y z'>" * N,
    "json": "<script type=application/ld+json>" + '{"@type":[' * N,
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_pages_take_time_by_their_length(name):
    started = time.process_time()
    found = parse(BOMBS[name].encode(), "http://e.org/")
    assert time.process_time() - started < 5  # the bare parser takes minutes, or all memory
    assert found.failed is None


@pytest.mark.slow
def test_hostile_pages_take_little_memory():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "from tests.pipeline.crawl.test_taming import BOMBS\n"
        "from pipeline.crawl.page import parse\n"
        "for html in [*BOMBS.values(), '<p>' * 20_000_000]: parse(html.encode(), 'http://e.org/')\n"
        # Its own peak: `ru_maxrss` begins with that of the process it was forked from.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) < 1_000_000  # KB


def test_small_pages_and_large_plain_ones_come_back_as_they_are():
    small = "<b>x<div>" * (FEW_TAGS // 2)
    assert tame(small) == (small, {})
    large = "<div class=a><a href=b><img src=c></a><p>words <i>in</i> it</p></div>\n" * 100
    assert tame(large) == (large, {})
    long = "<div><script>if (a > b) c()</script><p>text" * 50 + "</div>" * 50 + "x" * 70_000
    assert tame(long) == (long, {})


def test_nesting_is_cut_and_images_stay():
    html = "<div>" * 5000 + "<img src=a alt=A>" + "</div>" * 5000 + "<p>after"
    changed, notes = tame(html)
    assert notes == {"tags_too_deep": 5000 - MAX_DEPTH}
    assert changed.count("<div>") == MAX_DEPTH
    (found,) = parse(html.encode(), "http://e.org/").candidates
    assert (found.alt, found.text_after) == ("A", "after")


def test_lists_and_paragraphs_that_never_close_are_no_nesting():
    html = "<ul>" + "<li><p>x<img src=a>" * 5000
    assert tame(html) == (html, {})


def test_links_survive_where_formatting_does_not():
    html = "".join(f"<b id={i}>" for i in range(2000)) + "<a href=b.jpg><img src=a alt='5 < 6'></a>"
    (found,) = parse(html.encode(), "http://e.org/").candidates
    assert (found.url, found.alt) == ("http://e.org/b.jpg", "5 < 6")


def test_random_tag_soup_never_raises():
    dice = random.Random(7)
    words = ["<div", "<p>", "</b>", "<a", "href=", "'", '"', ">", "<img", "src=a", "alt=", "<!--"]
    words += ["-->", "<script>", "</script>", "<svg>", "/>", "\0", "é", "<![CDATA[", "]]>", "<b"]
    for size in [*range(40), 3000, 8000]:
        soup = " ".join(dice.choices(words, k=size))
        parse(soup.encode(), "http://e.org/")
        tame(soup)
