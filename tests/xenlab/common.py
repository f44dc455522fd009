"""What every part of the lab uses: its error, its progress lines, its places and its locks."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE_ROOT = HERE.parent.parent

# A phase that is over sooner is not worth a line.
QUIET_PHASE_S = 2.0


class LabError(Exception):
    """Something that the lab could not do, and what the person can do about it."""


def say(text):
    """A line about progress. Standard output is for results, so this is not there."""
    print(f"xenlab: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def phase(what):
    """Reports how long `what` took, if it took long enough to be wondered about."""
    start_s = time.monotonic()
    yield
    took_s = time.monotonic() - start_s
    if took_s >= QUIET_PHASE_S:
        say(f"{what}: {took_s:.1f} s")


def run(argv, what, **options):
    """Runs a command to its end; raises LabError with the end of its output if it fails."""
    argv = [str(word) for word in argv]
    try:
        return subprocess.run(argv, check=True, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    except FileNotFoundError:
        raise LabError(f"cannot {what}: {argv[0]} is not installed; run scripts/xenlab deps") from None
    except subprocess.CalledProcessError as error:
        tail = "\n".join(error.stdout.splitlines()[-15:])
        raise LabError(f"cannot {what}: {argv[0]} exited with {error.returncode}:\n{tail}") from None


def cache_dir():
    """Where images and snapshots are kept, outside any source tree."""
    if os.environ.get("SPECREP_LAB_CACHE"):
        return pathlib.Path(os.environ["SPECREP_LAB_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "specrep-xenlab"


def lab_dir():
    """Where this source tree's running lab is kept. Short: UNIX socket paths end at 107 bytes."""
    if os.environ.get("SPECREP_LAB_DIR"):
        return pathlib.Path(os.environ["SPECREP_LAB_DIR"])
    tree = hashlib.sha256(str(SOURCE_ROOT).encode()).hexdigest()[:8]
    return pathlib.Path(f"/var/tmp/specrep-xenlab-{os.getuid()}-{tree}")


def build_dir():
    """Where `make install` is run."""
    return pathlib.Path(os.environ.get("SPECREP_BUILD_DIR") or SOURCE_ROOT)


def digest(paths, *texts):
    """A short name for the contents of some files and texts."""
    total = hashlib.sha256()
    for path in sorted(paths):
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        total.update(f"{path.name} {path.lstat().st_mode:o} {len(content)}\n".encode() + content)
    for text in texts:
        total.update(text.encode())
    return total.hexdigest()[:16]


@contextlib.contextmanager
def lock(path, busy_advice):
    """Holds an exclusive lock on a file, waiting for it after saying who may be waited for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(busy_advice)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
