"""A real etcd in the lab's namespace: the arbiter, on a third machine as it were."""

import shutil
import subprocess
import time

from common import LabError
from network import MANAGEMENT_ADDRESS

PORT = 2379
START_TIMEOUT_S = 30


class Etcd:
    def __init__(self, network, folder):
        self._network = network
        self._data = folder / "etcd"
        self.url = f"etcd:http://{MANAGEMENT_ADDRESS}:{PORT}"

    def __enter__(self):
        if not shutil.which("etcd"):
            raise LabError("etcd is not installed: apt-get install etcd-server")
        here = f"http://{MANAGEMENT_ADDRESS}:{PORT}"
        with open(self._data.with_suffix(".log"), "w") as log:
            self._process = subprocess.Popen(
                self._network.inside(["etcd", "--data-dir", self._data, "--listen-client-urls", here,
                                      "--advertise-client-urls", here, "--listen-peer-urls", "http://127.0.0.1:0"]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ask = ["python3", "-c", f"import socket; socket.create_connection(('{MANAGEMENT_ADDRESS}', {PORT}), 1)"]
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(self._network.inside(ask), stderr=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise LabError(f"etcd did not start; see {self._data.with_suffix('.log')}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
