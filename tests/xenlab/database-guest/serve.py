"""The first process of the guest with a database: runs PostgreSQL, and does on port 7 what it is asked, a line a connection.

  peek        answers "ok": the database takes connections
  amcheck     has pg_amcheck read all tables and indexes
  stop        stops the database in order
  checksums   has pg_checksums read all of its stopped files
  unmount     ends the use of the replicated disk
Each answers "ok", or what went wrong.
"""

import ctypes
import os
import pwd
import socket
import subprocess
import time

PORT = 7
CLIENT_TIMEOUT_S = 5
POLL_S = 0.5
BIN = "/usr/lib/postgresql/15/bin"
DISK = "/mnt"
DATA = f"{DISK}/data"
AMCHECK = ["pg_amcheck", "-h", "/run", "-U", "postgres", "--heapallindexed", "postgres"]
COMMANDS = {
    "peek": ["pg_isready", "-q", "-h", "/run"],
    "amcheck": AMCHECK,
    "stop": ["pg_ctl", "stop", "-s", "-w", "-t", "300", "-m", "fast", "-D", DATA],
    "checksums": ["pg_checksums", "--check", "-D", DATA],
}


def as_postgres(argv):
    entry = pwd.getpwnam("postgres")
    return {"args": [f"{BIN}/{argv[0]}", *argv[1:]], "cwd": DATA, "user": entry.pw_uid, "group": entry.pw_gid,
            "extra_groups": [], "stdin": subprocess.DEVNULL}


def run(argv):
    """Runs a program of PostgreSQL to its end; returns "ok", or what it said."""
    done = subprocess.run(**as_postgres(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "ok" if done.returncode == 0 else f"{argv[0]} exited with {done.returncode}: {' '.join(done.stdout.split())}"


def obey(line):
    if line == "unmount":
        # There is no program for it.
        libc = ctypes.CDLL(None, use_errno=True)
        return "ok" if libc.umount(DISK.encode()) == 0 else os.strerror(ctypes.get_errno())
    return run(COMMANDS[line]) if line in COMMANDS else "unknown command"


def serve():
    # Not in DISK, which would then be in use for ever.
    os.chdir("/")
    subprocess.Popen(**as_postgres(["postgres", "-D", DATA]))
    while run(COMMANDS["peek"]) != "ok":
        time.sleep(POLL_S)
    listener = socket.create_server(("", PORT))
    print("database ready", flush=True)
    while True:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(CLIENT_TIMEOUT_S)
                line = connection.makefile("r").readline().strip()
                connection.settimeout(None)
                connection.sendall(obey(line).encode() + b"\n")
        except OSError as error:
            print(f"serve: {error}", flush=True)


if __name__ == "__main__":
    # A child serves, because the first process inherits all others that end.
    if os.fork() == 0:
        serve()
    while True:
        os.wait()
