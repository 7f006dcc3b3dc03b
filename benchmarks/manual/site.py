"""The manual as Debian packs it, served by nginx on loopback, and what the server was asked."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import debian

HELP = "usr/share/gimp/2.0/help"
HOSTS = {"127.0.0.1": "en", "127.0.0.2": "es", "127.0.0.3": "en", "127.0.0.4": "es"}
ONCE_A_HOST = ("/robots.txt", "/.well-known/tdmrep.json")
# Behind the time a request was answered stands how long that took: it came so much earlier.
_NGINX = """\
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;
events {{ worker_connections 1024; }}
http {{
  log_format times '$msec $request_time $server_addr "$request" $status';
  access_log {folder}/access.log times; include /etc/nginx/mime.types; server_tokens off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
{servers}
}}
"""
_SERVER = "  server {{ listen {host}:{port}; root {root}; index index.html; }}"
_LINE = re.compile(r'(\S+) (\S+) (\S+) "\S+ (\S+) [^"]*" (\d+)')


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it; `at` is when it came, in seconds."""

    at: float
    host: str
    path: str
    status: int


@dataclass(frozen=True)
class Site:
    """The pages of each language in a folder, and the server's own folder and port."""

    roots: Mapping[str, Path]
    folder: Path
    port: int

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/"

    def file(self, url: str) -> Path:
        """The file behind a URL."""
        host, _, path = url.removeprefix("http://").partition("/")
        return self.roots[HOSTS[host.partition(":")[0]]] / path

    @property
    def count(self) -> int:
        """How many requests there were."""
        return (self.folder / "access.log").read_bytes().count(b"\n")

    def asked(self, behind: int = 0) -> list[Asked]:
        """All requests in the order of their answers, without the first `behind`."""
        lines = (self.folder / "access.log").read_text().splitlines()[behind:]
        found = [_LINE.fullmatch(line) for line in lines]
        return [
            Asked(float(m[1]) - float(m[2]), m[3], m[4], int(m[5])) for m in found if m is not None
        ]


def unpacked(data: Path) -> dict[str, Path]:
    """Where the pages of each language are, downloaded if need be."""
    languages = sorted(set(HOSTS.values()))
    deb = data / "deb"
    return {
        name: (debian.unpack(f"gimp-help-{name}", deb) / HELP / name).resolve()
        for name in languages
    }


@contextmanager
def serving(roots: Mapping[str, Path], folder: Path, port: int) -> Iterator[Site]:
    """nginx at all addresses, with a new log; raises RuntimeError when it does not come up."""
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    servers = [
        _SERVER.format(host=host, port=port, root=roots[name]) for host, name in HOSTS.items()
    ]
    (folder / "conf").write_text(_NGINX.format(folder=folder, servers="\n".join(servers)))
    (folder / "access.log").touch()
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "error.log")]
    )
    try:
        _wait(process, port)
        yield Site(roots, folder, port)
    finally:
        process.terminate()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    last = list(HOSTS)[-1]
    for _ in range(200):
        if process.poll() is not None:
            break
        with socket.socket() as asked:
            if not asked.connect_ex((last, port)):
                return
        time.sleep(0.05)
    raise RuntimeError(f"nginx does not answer at {last}:{port}; is the port taken?")
