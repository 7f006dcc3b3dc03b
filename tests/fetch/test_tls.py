"""Certificates are verified: issuer, name and date; and plain HTTP is no TLS."""

import ssl
import subprocess
from pathlib import Path

import pytest

from tests import pictures
from tests.fetch.asking import all_of, quick
from tests.fetch.server import Server, http, serving

JPEG = pictures.jpeg(0)
pytestmark = pytest.mark.system("openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that signs itself, for site.test."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 "
        "-subj /CN=site.test -addext subjectAltName=DNS:site.test -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def outcome_of(certificate: Path, host: str, ca_file: str | None) -> tuple[str | None, bool]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with serving(context) as server:
        server.otherwise = http(200, JPEG)
        options = quick("site.test", "other.test", ca_file=ca_file)
        found = all_of([server.url("/image", host, "https")], options)[0]
        assert bool(server.asked) == (found.failed is None)
    return found.failed, found.data == JPEG


def test_a_certificate_is_verified(certificate: Path) -> None:
    trusted = str(certificate / "cert.pem")
    assert outcome_of(certificate, "site.test", trusted) == (None, True)
    assert outcome_of(certificate, "site.test", None) == ("tls", False)
    assert outcome_of(certificate, "other.test", trusted) == ("tls", False)


def test_no_tls_where_tls_was_asked_for(server: Server) -> None:
    server.greeting = http(400)
    assert all_of([server.url("/image", scheme="https")], quick())[0].failed == "tls"
