"""Runs the tests in t/, each in a lab of its own, fresh from a snapshot.

A test is a module with a docstring whose first line says what it proves,
  GUEST = "pvh" | "hvm" | None    the guest on host 1; several in a tuple run the test for each
  VIRTUAL_TIME = True             optional
  ON_REQUEST = True               optional: not among those that scripts/check runs, since it takes long or is about
                                  what rarely breaks alone; run when it is named, and by --all. Or the guests, in a
                                  tuple, with which it is run so
  HOSTS = (1, 2, 3)               optional: without it, there are two
  INSTALL = False                 optional: the build is not installed on the hosts
  def run(lab):                   raises if it fails
"""

import contextlib
import dataclasses
import importlib.util
import tempfile
import time
import traceback
import types

import sanitizer
from common import HERE, LabError, say
from lab import Lab
from network import HOSTS
from package import is_built, make_package

LOGS = ("tail -n 20 /var/log/specrep/*.log; journalctl -q --no-pager -n 40 -o short-monotonic -u 'specrep-*';"
        f"tail -n +1 {sanitizer.REPORTS}.* 2>/dev/null")
LOGS_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class Test:
    name: str
    proves: str
    guest: str | None
    virtual_time: bool
    module: types.ModuleType


def find_tests(names=(), everything=False):
    """The tests with these names (a file's name takes in all its guests), those of scripts/check, or all."""
    tests = [test for path in sorted((HERE / "t").glob("*.py")) for test in _load(path)]
    if everything:
        return tests
    if not names:
        return [test for test in tests if not _is_on_request(test)]
    known = {test.name for test in tests} | {test.module.__name__ for test in tests}
    for name in names:
        if name not in known:
            raise LabError(f"there is no test {name}; scripts/xenlab list shows all")
    return [test for test in tests if test.name in names or test.module.__name__ in names]


def run_tests(tests, folder, keep):
    """Runs tests one after the other, prints how each went, and returns how many failed."""
    if (folder / "lab.json").exists():
        raise LabError("a lab is up; run scripts/xenlab down first, because each test starts its own")
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="specrep-xenlab-package-") as work:
        package = make_package(work) if is_built() else None
        for test in tests:
            start_s = time.monotonic()
            error = _run_one(test, folder, package, keep)
            took_s = time.monotonic() - start_s
            print(f"{'FAIL' if error else 'PASS'} {test.name} {took_s:.1f} s", flush=True)
            failed += bool(error)
            passed += not error
            if error:
                print(error, flush=True)
                if keep:
                    say("the lab is left up, as it was: scripts/xenlab status, ssh, down")
                    break
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed


def _is_on_request(test):
    on_request = getattr(test.module, "ON_REQUEST", False)
    return test.guest in on_request if isinstance(on_request, tuple) else on_request


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    proves = module.__doc__.strip().splitlines()[0]
    several = isinstance(module.GUEST, tuple)
    for guest in module.GUEST if several else (module.GUEST,):
        yield Test(f"{path.stem}-{guest}" if several else path.stem, proves, guest,
                   getattr(module, "VIRTUAL_TIME", False), module)


def _run_one(test, folder, package, keep):
    """Returns what went wrong, or None."""
    error = lab = None
    try:
        lab = Lab.start(folder, test.guest, test.virtual_time, getattr(test.module, "HOSTS", HOSTS))
        if package and getattr(test.module, "INSTALL", True):
            lab.push(package)
        else:
            sanitizer.prepare_for_packages(lab)
        test.module.run(lab)
        if sanitizer.found(lab):
            raise LabError("a sanitizer found something: see the ends of the hosts' logs")
    except Exception:
        error = traceback.format_exc() + _consoles(lab) + _logs(lab)
    finally:
        if lab and not (error and keep):
            lab.down()
    return error


def _consoles(lab):
    """The end of what the hosts' consoles said, for the person who reads a failure."""
    if lab is None:
        return ""
    text = ""
    for host in lab.machines:
        lines = lab.console(host).splitlines()[-10:]
        text += f"--- end of host {host}'s console\n" + "".join(f"{line}\n" for line in lines)
    return text


def _logs(lab):
    """The ends of specrep's own logs, of the hosts that still tell."""
    text = ""
    for host in filter(lab.is_running, lab.machines) if lab else ():
        with contextlib.suppress(LabError):
            text += f"--- end of host {host}'s logs\n" + lab.ssh(host, LOGS, LOGS_TIMEOUT_S, check=False).stdout
    return text
