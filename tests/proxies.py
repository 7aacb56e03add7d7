"""Real proxies in front of real web processes: Caddy and nginx, with the configurations in deploy/."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import httpx

DEPLOY = Path(__file__).parents[1] / "deploy"
PROGRAMS = Path(sys.executable).parent
BASE = "/touchstone"
# With folders that nobody needs rights for.
NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/errors.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""
CADDY = "{{\n\tadmin unix/{folder}/admin.sock\n\tauto_https disable_redirects\n\tskip_install_trust\n}}\n{server}"


def wait_for(is_so: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"no {what} after {seconds} s"
        threading.Event().wait(0.05)


def _nginx() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "no nginx on this machine: install the package nginx, as `make prove` does on Debian"
    return found


class Process:
    """A program that a test starts and stops; its words are in `log`."""

    def __init__(self, command: Sequence[str], *, log: Path, environment: dict[str, str], folder: Path) -> None:
        self.log = log
        with log.open("ab") as words:
            self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=words, stderr=words)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Proxy(Process):
    """The proxy `kind` on the port that tests ask, leading to these ports of web processes."""

    def __init__(self, kind: str, port: int, certificate: Path, folder: Path, *, takes_off: bool = False) -> None:
        self.kind, self.port, self.folder, self._certificate = kind, port, folder, certificate
        self.address, self._takes_off = f"https://127.0.0.1:{port}{BASE}", takes_off
        self._config = folder / f"{kind}.conf"

    def start(self, *ports: int) -> Self:
        self.lead_to(*ports)
        command = [str(PROGRAMS / "caddy"), "run", "--adapter", "caddyfile", "--config", str(self._config)]
        if self.kind == "nginx":
            command = [_nginx(), "-p", str(self.folder), "-e", "errors.log", "-c", str(self._config)]
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        super().__init__(command, log=self.folder / "proxy.log", environment={**os.environ, **home}, folder=self.folder)
        wait_for(self._answers, what=self.kind, seconds=20)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"https://127.0.0.1:{self.port}/nothing", verify=False).status_code in {200, 404}
        except httpx.TransportError:
            return False

    def lead_to(self, *ports: int) -> None:
        """Write the file of deploy/ for this test's addresses."""
        self._config.write_text(self._nginx(ports) if self.kind == "nginx" else self._caddy(ports))

    def reload(self, *ports: int) -> None:
        """Lead to these from now on, as operations has it."""
        self.lead_to(*ports)
        if self.kind == "nginx":
            self.process.send_signal(signal.SIGHUP)
            return
        command = [PROGRAMS / "caddy", "reload", "--adapter", "caddyfile", "--config", self._config]
        subprocess.run([*command, "--address", f"unix/{self.folder}/admin.sock"], check=True, capture_output=True)

    def _nginx(self, ports: Sequence[int]) -> str:
        text = (DEPLOY / "nginx.conf").read_text()
        servers = "".join(f"server 127.0.0.1:{port};" for port in ports)
        text = re.sub(r"(    server 127\.0\.0\.1:\d+;\n)+", servers, text)
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl").replace("example.org;", "127.0.0.1;")
        text = re.sub(r"/etc/ssl/example\.org/\w+\.pem", str(self._certificate), text)
        if self._takes_off:
            text = text.replace("http://touchstone;", "http://touchstone/;")
        user = "user root;" if os.geteuid() == 0 else ""  # who else may not look into the tests' folders
        return NGINX.format(folder=self.folder, server=text, user=user)

    def _caddy(self, ports: Sequence[int]) -> str:
        text = (DEPLOY / "Caddyfile").read_text()
        text = text.replace(
            "example.org {", f"https://127.0.0.1:{self.port} {{\ntls {self._certificate} {self._certificate}"
        )
        text = text.replace("127.0.0.1:8000 127.0.0.1:8001", " ".join(f"127.0.0.1:{port}" for port in ports))
        if not self._takes_off:
            text = text.replace("handle_path /", "handle /")
        return CADDY.format(folder=self.folder, server=text)
