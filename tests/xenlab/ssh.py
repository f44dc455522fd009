"""Commands on the hosts by ssh, over one connection per host: a handshake takes a second under emulation."""

import subprocess
import time

from common import LabError
from network import management_address

CONNECT_TIMEOUT_S = 30
RETRY_INTERVAL_S = 0.3


class Shell:
    """Root's shell on host `number`, reached from inside the lab's namespace."""

    def __init__(self, number, folder, network, key):
        self.number = number
        self._network = network
        self._socket = folder / f"ssh{number}"
        self._log = folder / f"ssh{number}.log"
        self._options = [
            "-i", key, "-F", "/dev/null", "-o", f"ControlPath={self._socket}",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            # The quickest under emulation.
            "-o", "Ciphers=^aes128-gcm@openssh.com", "-o", "KexAlgorithms=^curve25519-sha256",
            "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]

    def connect(self, timeout_s):
        """Opens the shared connection, trying until the host lets it in."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            argv = self._argv("-o", "ControlMaster=yes", "-f", "-N")
            # A file and not a pipe, because the connection's process keeps it open.
            with open(self._log, "w") as log:
                attempt = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if attempt.returncode == 0:
                return
            if time.monotonic() > deadline_s:
                raise LabError(f"host {self.number} does not answer ssh after {timeout_s} s "
                               f"({self._log.read_text().strip()}); its console is in "
                               f"host{self.number}/serial.log in the lab's folder")
            time.sleep(RETRY_INTERVAL_S)

    def disconnect(self):
        """Ends the shared connection, which would otherwise hang on to a host that is gone."""
        if self._socket.exists():
            subprocess.run(self._argv("-O", "exit"), stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, command, timeout_s, check=True, stdin=subprocess.DEVNULL):
        """Runs a shell command to its end; returns a CompletedProcess with text."""
        try:
            done = subprocess.run(self.argv(command), text=True, stdin=stdin, timeout=timeout_s,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except subprocess.TimeoutExpired:
            raise LabError(f"host {self.number} did not finish within {timeout_s} s: {command}") from None
        if check and done.returncode != 0:
            raise LabError(f"host {self.number}: {command!r} exited with {done.returncode}: "
                           f"{done.stderr.strip() or done.stdout.strip()}")
        return done

    def argv(self, command=None, terminal=False):
        """The local command line that runs `command` on the host, or a login shell."""
        return self._argv(*(["-t"] if terminal else []), command=command)

    def _argv(self, *options, command=None):
        argv = ["ssh", *self._options, *options, f"root@{management_address(self.number)}"]
        return self._network.inside(argv + ([command] if command else []))
