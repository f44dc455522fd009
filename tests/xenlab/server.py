"""A server in the lab's namespace, at the management address: outside both hosts, on a third machine as it were."""

import os
import shutil
import signal
import subprocess
import time

from common import LabError
from network import MANAGEMENT_ADDRESS

START_TIMEOUT_S = 30


class Server:
    """A subclass has PROGRAM, PACKAGE and PORT, and starts it in __enter__; it is killed when `with` ends."""

    def __init__(self, network, log_file):
        self._network = network
        self._log_file = log_file

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def hang(self):
        """It answers nothing more, and keeps its connections."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def _start(self, argv, environment=None):
        """Runs the program; returns when it answers."""
        if not shutil.which(self.PROGRAM):
            raise LabError(f"{self.PROGRAM} is not installed: apt-get install {self.PACKAGE}")
        with open(self._log_file, "w") as log:
            self._process = subprocess.Popen(self._network.inside([self.PROGRAM, *argv]), stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        ask = ["python3", "-c", f"import socket; socket.create_connection(('{MANAGEMENT_ADDRESS}', {self.PORT}), 1)"]
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(self._network.inside(ask), stderr=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                self.__exit__()
                raise LabError(f"{self.PROGRAM} did not start; see {self._log_file}")
            time.sleep(0.1)
