"""What fetching told of each row, as a recipe and `explain` read it."""

import json

import pytest

from tests import pictures
from tests.commands import done, pairmill
from tests.fetch.server import http, serving, to

pytestmark = pytest.mark.slow
HOST = "127.0.0.1"
RECIPE = """\
sources:
  web:
    table: urls.csv
    url: url
    caption: alt
    fetch: {{allow_hosts: [{host}], ports: [{port}], per_host_per_second: 1000, retries: 1}}
score:
  image: {{only: http_status = 200}}
select:
  - answered: {{where: "http_status = 200 and received_bytes > 100 and fetched_at > '2020'"}}
  - moved: {{where: "len(redirects) > 0 and list_contains(redirects, final_url)"}}
  - there: {{where: "final_url like '%/1.jpg' and attempts = 1 and signals like '%nosnippet%'"}}
export: {{json: [http_status, attempts, redirects, final_url, signals, fetched_at], seed: 0}}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outcomes")
    with serving(addresses=(HOST,)) as server:
        image = pictures.jpeg(1)
        server.answers |= {
            "/1.jpg": http(200, image, "Content-Type: image/jpeg", "X-Robots-Tag: nosnippet"),
            "/2.jpg": http(200, pictures.jpeg(2)),
            "/moved": to("/further"),
            "/further": to("/1.jpg"),
            "/busy": http(503),
            "/robots.txt": http(200, b"User-agent: *\nDisallow: /private"),
        }
        names = ["2.jpg", "moved", "busy", "private"]
        lines = [f"{server.url(f'/{name}')},{name}" for name in names]
        (folder / "urls.csv").write_text("\n".join(["url,alt", *lines, "ftp://a.org/x,scheme"]))
        (folder / "recipe.yaml").write_text(RECIPE.format(host=HOST, port=server.port))
        done("build", folder / "recipe.yaml", "--out", folder / "out", "--engine", "local")
        (folder / "port").write_text(str(server.port))
    return folder / "out"


def url(out, name: str) -> str:
    return f"http://{HOST}:{(out.parent / 'port').read_text()}/{name}"


def test_conditions_and_exports_read_them(out):
    from pipeline.shards import read_shard

    (sample,) = read_shard(str(out / "shards" / "00000.tar"))
    told = json.loads(json.loads(sample.parts["json"])["columns"])
    assert told["redirects"] == [url(out, "further"), url(out, "1.jpg")]
    assert (told["http_status"], told["attempts"]) == (200, 1)
    assert json.loads(told["signals"]) == {"X-Robots-Tag": "nosnippet"}


def test_explain_tells_what_came_of_asking(out):
    text = done("explain", url(out, "moved"), "--out", out)
    size = len(pictures.jpeg(1))
    line = f"  fetched   200 image/jpeg from {url(out, '1.jpg')}, {size:,} bytes, 1 attempt, at 20"
    assert line in text
    assert f"{'':12}redirected to {url(out, 'further')}\n" in text
    assert """  signals   '{"X-Robots-Tag": "nosnippet"}'""" in text
    text = done("explain", url(out, "busy"), "--out", out)
    assert f"  fetched   503 from {url(out, 'busy')}, 2 attempts, at 20" in text
    text = done("explain", url(out, "private"), "--out", out)
    assert f"  fetched   nothing from {url(out, 'private')}, 1 attempt, at 20" in text
    assert "  fetched   " not in done("explain", "ftp://a.org/x", "--out", out)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("http_status = 200", "http_state = 200", "http_status"),
        ("[http_status, attempts", "[http_state, attempts", "http_status"),
        ("len(redirects)", "len(redirect)", "redirects"),
        ("http_status = 200", "http_status = '200'", "number"),
    ],
)
def test_wrong_names_are_told_with_the_right_ones(out, right, wrong, message):
    text = (out.parent / "recipe.yaml").read_text().replace(right, wrong)
    (out.parent / "wrong.yaml").write_text(text)
    code, said = pairmill("plan", str(out.parent / "wrong.yaml"), "--out", str(out))
    assert code == 2
    assert message in said
