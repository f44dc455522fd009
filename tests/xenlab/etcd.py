"""A real etcd: the arbiter."""

from network import MANAGEMENT_ADDRESS
from server import Server


class Etcd(Server):
    PROGRAM, PACKAGE, PORT = "etcd", "etcd-server", 2379

    def __init__(self, network, folder):
        super().__init__(network, folder / "etcd.log")
        self._data = folder / "etcd"
        self._listen = f"http://{MANAGEMENT_ADDRESS}:{self.PORT}"
        self.url = f"etcd:{self._listen}"

    def __enter__(self):
        self._start(["--data-dir", self._data, "--listen-client-urls", self._listen,
                     "--advertise-client-urls", self._listen, "--listen-peer-urls", "http://127.0.0.1:0"])
        return self
