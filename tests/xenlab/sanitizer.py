"""A build with --enable-sanitizers=address,undefined on the hosts: what it needs there, and what it has to say.

A process that a sanitizer ends is started again by some of specrep, so that a test would pass; its report remains.
"""

import contextlib
import os
import pathlib

from common import LabError, run

# A report's name is this, a dot and a pid; several processes may write one.
REPORTS = "/var/log/specrep-sanitizer"
# Memory that was freed is used again early. An emulator needs so long to clear that of a disk's messages that a host
# is silent for seconds.
EARLY = "quarantine_size_mb=16"
OPTIONS = f"export ASAN_OPTIONS=log_path={REPORTS}:{EARLY} UBSAN_OPTIONS=log_path={REPORTS}\n"
# Where a test's programs have these from. What sshd's shell reads has all that a test starts on a host, and what that
# starts on the other. A service may not write just anywhere, and reports to the journal.
SERVICES = "etc/systemd/system.conf.d/sanitizer.conf"
SETTINGS = {"root/.bashrc": OPTIONS, SERVICES: f"[Manager]\nDefaultEnvironment=ASAN_OPTIONS={EARLY}\n"}
IN_JOURNAL = "ERROR: (Address|Leak)Sanitizer|runtime error: |LeakSanitizer has encountered"
COMPILER = "clang++"
RUNTIME = "libclang_rt.asan-x86_64.so"
PLUGIN = "specrep-disk-plugin.so"
FOLDER = "usr/local/sbin"
SETTINGS_TIMEOUT_S = 120


def stage(folder):
    """Adds to a staged build what it needs if it has sanitizers; without them, nothing.

    nbdkit is Debian's own: what a plugin needs of a sanitizer has to be in the program before the plugin is.
    """
    plugins = list(folder.rglob(PLUGIN))
    if not plugins or "__asan_init" not in run(["nm", "-D", plugins[0]], "read the disk plugin's symbols").stdout:
        return
    (folder / "root").mkdir(mode=0o700)
    for name, text in SETTINGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    runtime = pathlib.Path(run([COMPILER, f"-print-file-name={RUNTIME}"], f"find {COMPILER}'s {RUNTIME}").stdout.strip())
    programs = folder / FOLDER
    programs.mkdir(parents=True, exist_ok=True)
    (programs / RUNTIME).write_bytes(runtime.read_bytes())
    nbdkit = programs / "nbdkit"
    nbdkit.write_text(f"#!/bin/sh\n{OPTIONS}ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=/{FOLDER}/{RUNTIME} "
                      'exec /usr/bin/nbdkit "$@"\n')
    nbdkit.chmod(0o755)


def prepare_for_packages(lab):
    """The same for a test that installs packages, if those are built with sanitizers (debian/rules); nbdkit apart."""
    if "sanitizers" not in os.environ.get("SPECREP_CONFIGURE", ""):
        return
    for host in lab.machines:
        lab.ssh(host, "".join(f"mkdir -p $(dirname /{name}) && printf %s '{text}' >/{name} && "
                              for name, text in SETTINGS.items()) + "systemctl daemon-reload", SETTINGS_TIMEOUT_S)


def built_in(lab):
    """Whether what is on the hosts has sanitizers."""
    return lab.ssh(1, f"test -e /{SERVICES}", check=False).returncode == 0


def found(lab):
    """Whether a sanitizer has said something on a host that still tells."""
    for host in filter(lab.is_running, lab.machines):
        with contextlib.suppress(LabError):
            if lab.ssh(host, f"ls {REPORTS}.* || {{ test -e /{SERVICES} && "
                             f"journalctl -q --no-pager | grep -E '{IN_JOURNAL}'; }}", check=False).returncode == 0:
                return True
    return False
