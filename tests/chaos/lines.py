"""The network between a place's machines, which can be cut or torn down."""

import os
import select
import socket
import subprocess
import threading
from contextlib import suppress
from typing import Protocol

SERVERS, PLACE = "10.231.2.1", "10.231.2.2"
PEOPLE, PAGES = "10.231.1.1", "10.231.1.2"


class Network(Protocol):
    """How Touchstone reaches its servers, and its people reach it."""

    pages: str  # the address of Touchstone
    within: tuple[str, ...]  # what its processes are started through

    def address(self, port: int) -> str: ...

    def cut(self) -> None: ...

    def mend(self) -> None: ...

    def hang_up(self) -> None: ...

    def close(self) -> None: ...


class Namespace:
    """A network namespace for Touchstone, with one cable to its servers and one to its people."""

    def __init__(self) -> None:
        self.name = f"chaos{os.getpid()}"
        self._plug = f"cs{os.getpid()}"
        self.within, self.pages = ("ip", "netns", "exec", self.name), PAGES
        self._ip("netns", "add", self.name)
        self._ip("-n", self.name, "link", "set", "lo", "up")
        self._lay(self._plug, SERVERS, PLACE)
        self._lay(f"cp{os.getpid()}", PEOPLE, PAGES)

    def _lay(self, plug: str, near: str, far: str) -> None:
        """A cable: one end here, the other in the namespace."""
        self._ip("link", "add", plug, "type", "veth", "peer", "name", f"{plug}b", "netns", self.name)
        self._ip("addr", "add", f"{near}/30", "dev", plug)
        self._ip("link", "set", plug, "up")
        self._ip("-n", self.name, "addr", "add", f"{far}/30", "dev", f"{plug}b")
        self._ip("-n", self.name, "link", "set", f"{plug}b", "up")

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def address(self, port: int) -> str:
        return f"{SERVERS}:{port}"

    def cut(self) -> None:
        """Nothing arrives, and nobody is told."""
        self._ip("link", "set", self._plug, "down")

    def mend(self) -> None:
        self._ip("link", "set", self._plug, "up")

    def hang_up(self) -> None:
        """Every connection to the servers is torn down, as a firewall does that was started anew."""
        subprocess.run(["ss", "-N", self.name, "-K", "dst", SERVERS], capture_output=True, check=False)

    def close(self) -> None:
        self._ip("netns", "del", self.name)


class Proxies:
    """Where no namespace is allowed: a proxy in front of each server, which stops passing on."""

    def __init__(self) -> None:
        self.within: tuple[str, ...] = ()
        self.pages = "127.0.0.1"
        self._proxies: dict[int, Proxy] = {}

    def address(self, port: int) -> str:
        proxy = self._proxies.setdefault(port, Proxy(port))
        return f"127.0.0.1:{proxy.port}"

    def cut(self) -> None:
        for proxy in self._proxies.values():
            proxy.passes.clear()

    def mend(self) -> None:
        for proxy in self._proxies.values():
            proxy.passes.set()

    def hang_up(self) -> None:
        for proxy in self._proxies.values():
            proxy.hang_up()

    def close(self) -> None:
        for proxy in self._proxies.values():
            proxy.close()


class Proxy:
    """Passes bytes on to a port of this machine: at once or not at all, or hangs up."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self.passes = threading.Event()
        self.passes.set()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        self.passes.wait()
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", self._to)) as far:
            pair = {near: far, far: near}
            self._open |= set(pair)
            try:
                while True:
                    for ready in select.select(list(pair), [], [])[0]:
                        piece = ready.recv(65536)
                        if not piece:
                            return
                        self.passes.wait()
                        pair[ready].sendall(piece)
            finally:
                self._open -= set(pair)

    def hang_up(self) -> None:
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._door.close()
        self.passes.set()
        self.hang_up()


def make_network() -> Network:
    if os.geteuid() == 0:
        with suppress(subprocess.CalledProcessError, FileNotFoundError):
            return Namespace()
    return Proxies()
