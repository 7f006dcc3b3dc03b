"""The `fetch:` section: what is wrong is refused at its place, and hosts have one form."""

import pytest

from pipeline import pool
from pipeline.build import Build
from pipeline.errors import RecipeError
from pipeline.recipe import parse_recipe
from tests import pictures
from tests.fetch.server import http, serving

ASKS = "contact: 'mailto:a@b.org'"
SOURCE = "sources:\n  s:\n    table: u.csv\n    url: u\n    fetch:\n      %s\n"


@pytest.fixture
def server():
    with serving(addresses=("127.0.0.1",)) as running:
        yield running


def refusal(section: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(SOURCE % section, "r.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("contact: you", "16: sources.s.fetch.contact: contact is 'you', must be a URL or"),
        ("agent: my bot", "14: sources.s.fetch.agent: agent is 'my bot', must be letters"),
        ("agents: [a b]", "16: sources.s.fetch.agents: 'a b' is no name of an agent"),
        ("ports: []", "7: sources.s.fetch.ports: expected at least one entry"),
        ("ports: [0]", "15: sources.s.fetch.ports: expected at least 1, found the number 0"),
        ("allow_hosts: ['http://a.org/']", "21: sources.s.fetch.allow_hosts: 'http://a.org/' is"),
        ("allow_hosts: ['a.org:x']", "21: sources.s.fetch.allow_hosts: 'a.org:x' is neither a"),
        ("allow_hosts: ['*']", "21: sources.s.fetch.allow_hosts: '*' is no host; give its name"),
        ("robots_ignored: ['a.org:80']", "24: sources.s.fetch.robots_ignored: 'a.org:80' is no"),
        ("refuse: [foo]", "16: sources.s.fetch.refuse: expected 'aipref', 'noai', 'noimageai',"),
        ("max_bytes: 5000000000", "18: sources.s.fetch.max_bytes: expected at most 2e+08"),
        ("store: {format: png}", "23: sources.s.fetch.store.format: expected 'original', 'jpg'"),
        ("store: {colour: 420}", "23: sources.s.fetch.store.colour: expected 'full' or 'half',"),
        (
            "store: {quality: 80, colour: half}",
            "7: sources.s.fetch.store: colour, quality: nothing",
        ),
        ("store: {format: webp, colour: full}", "7: sources.s.fetch.store: colour is 'full', wh"),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(section, message):
    known = "" if section.startswith("contact") else f"{ASKS}\n      "
    line = 7 if known else 6
    assert refusal(known + section).startswith(f"r.yaml:{line}:{message}")


@pytest.mark.parametrize("domain", ["https://a.org/", "*.a.org", ".", "a b", "a.org/x"])
def test_an_opt_out_that_no_host_fits_is_refused(domain):
    message = refusal(f"{ASKS}\n      opt_out: {{domains: ['{domain}']}}")
    assert message.startswith(
        f"r.yaml:7:27: sources.s.fetch.opt_out.domains: '{domain}' is no host"
    )


def test_limits_that_exclude_each_other_are_refused():
    assert "min_bytes is 11, max_bytes 10" in refusal(
        f"{ASKS}\n      min_bytes: 11\n      max_bytes: 10"
    )


def test_hosts_are_compared_in_the_form_that_they_are_asked_in():
    section = f"""{ASKS}
      allow_hosts: ["Bücher.DE", "[::1]:80", "0:0::1", "A.org.:8080"]
      robots_ignored: [Bücher.de]
      opt_out: {{domains: [.Bücher.de]}}
"""
    options = parse_recipe(SOURCE % section, "r.yaml").sources["s"].fetch.options()
    assert options.allow_hosts == {"xn--bcher-kva.de", "::1:80", "::1", "a.org:8080"}
    assert options.robots_ignored == {"xn--bcher-kva.de"}
    assert options.opt_out.names("http://img.xn--bcher-kva.de/", "img.xn--bcher-kva.de")


@pytest.mark.parametrize("ca_file", ["missing.pem", "u.csv", "."])
def test_certificates_that_cannot_be_read_are_refused_before_anything_runs(tmp_path, ca_file):
    (tmp_path / "u.csv").write_text("u\nhttps://a.org/x.jpg\n")
    text = SOURCE % f"{ASKS}\n      ca_file: {ca_file}"
    build = Build(parse_recipe(text, str(tmp_path / "r.yaml")), str(tmp_path / "out"))
    with pytest.raises(RecipeError, match=rf"r\.yaml:7:16: .*{ca_file}: can't be read as cert"):
        build.ingest()
    assert not (tmp_path / "out").exists()


LISTED = """\
# who asked not to be used
example.org
https://A.net/private%2Da.jpg?x=1   # one picture
"""


def options_of(tmp_path, lists):
    text = SOURCE % f"{ASKS}\n      opt_out: {{domains: [c.org], lists: {lists}}}"
    recipe = parse_recipe(text, str(tmp_path / "r.yaml"))
    return recipe.sources["s"].fetch.options(recipe.resolve).opt_out


def test_opt_outs_may_be_in_files(tmp_path):
    (tmp_path / "out.txt").write_text(LISTED)
    (tmp_path / "more.csv").write_text(f"sha256\n{'ab' * 32}\n")
    found = options_of(tmp_path, "[out.txt, more.csv]")
    assert found.names("https://www.example.org/a.jpg", "www.example.org") == "domain example.org"
    assert found.names("http://c.org/", "c.org") == "domain c.org"
    assert found.names("http://a.net/private-a.jpg?x=1", "a.net")
    assert found.names("http://a.net/private-a.jpg?x=2", "a.net") is None
    assert found.sha256 == {bytes.fromhex("ab" * 32)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such list"),
        ("two words\n", "nothing of it counts, as these are not clear\n  line 1: 2 words"),
        ("0123456789abcdef\n", "names a phash; what can be told before is: domain, url, sha256"),
    ],
)
def test_an_opt_out_list_that_is_not_clear_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "out.txt").write_text(text)
    with pytest.raises(RecipeError) as caught:
        options_of(tmp_path, "[out.txt]")
    assert message in str(caught.value)


@pytest.mark.slow
def test_what_a_list_names_is_not_asked_for(tmp_path, server):
    server.answers |= {path: http(200, pictures.jpeg(0)) for path in ("/a.jpg", "/b.jpg")}
    (tmp_path / "out.txt").write_text(server.url("/a.jpg"))
    (tmp_path / "u.csv").write_text(f"u\n{server.url('/a.jpg')}\n{server.url('/b.jpg')}\n")
    text = SOURCE % "allow_hosts: [127.0.0.1]\n      opt_out: {lists: [out.txt]}"
    made = Build(parse_recipe(text, str(tmp_path / "r.yaml")), str(tmp_path / "out")).ingest()
    rows = [r for shard in made.shards for r in pool.read_base(made.root, shard).to_pylist()]
    assert sorted(str(row["failed"]) for row in rows) == ["None", "opted_out"]
    assert server.paths().count("/a.jpg") == 0
