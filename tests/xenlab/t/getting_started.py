"""A newcomer who does word by word what doc/getting-started.md says sees what it says."""

import re
import time

from common import HERE
from pool import make_guest

GUEST = None
ON_REQUEST = True

PAGE = HERE.parent.parent / "doc/getting-started.md"
NAME, ADDRESS = "web1", "192.168.88.61"
COMMAND_MAX_S = 180
COMES_MAX_S = 600  # until the agents have done what is shown
FOREVER = "/root/background"
# What is no command, but done by hand.
DEEDS = {"pull the plug of xen1": lambda lab: lab.power_cut(1),
         "give xen1 its power back": lambda lab: lab.power_on(1)}


def steps(text):
    """What is to be done, in order: (host, command, lines to be shown), or (None, deed, [])."""
    found = []
    for line in text.splitlines():
        if not line.startswith("    "):
            continue
        line = line.strip()
        if command := re.fullmatch(r"xen([12])# (.*)", line):
            found.append((int(command[1]), command[2], []))
        elif deed := re.fullmatch(r"\((.*)\)", line):
            found.append((None, deed[1], []))
        elif line:
            found[-1][2].append(line)
    return found


def pattern(expected):
    """A regular expression of the lines, in which `...` stands for anything, and on a line of its own for any lines."""
    parts = []
    for line in expected:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            words = ".*".join(re.escape(part.strip()) for part in line.split("..."))
            parts.append(r"\s*" + re.sub(r"(?:\\ )+", r"\\s+", words) + r"\s*\n")
    return re.compile("".join(parts) + r"(?:.*\n)*" if expected and expected[-1] == "..." else "".join(parts))


def do(lab, host, command, expected):
    if command.endswith("&"):
        lab.ssh(host, f"setsid -f sh -c '{command.rstrip('& ')}' >{FOREVER} 2>&1 </dev/null")
        command = f"cat {FOREVER}"
    deadline_s = time.monotonic() + COMES_MAX_S
    while True:
        result = lab.ssh(host, f"exec 2>&1; {command}", COMMAND_MAX_S, check=False)
        said = result.stdout
        if not expected or pattern(expected).fullmatch(said):
            assert result.returncode == 0, (command, said)
            return said
        # A command that changes something is not to be repeated.
        waits = re.match(r"cat |specrep-pool (status|plan)|xl (list|remus-spec-list)", command)
        assert waits and time.monotonic() < deadline_s, (
            f"xen{host}# {command}\n{said}\n--- expected:\n" + "\n".join(expected))
        time.sleep(2)


def run(lab):
    make_guest(lab, NAME, ADDRESS)
    lab.ssh(1, f"xl create -q /etc/xen/{NAME}.cfg")
    lab.wait_for(lambda: lab.ask(ADDRESS, "next", 60), 120, "the guest's first answer")
    for host, what, expected in steps(PAGE.read_text()):
        if host is None:
            lab.ssh(1, "sync", check=False) if lab.is_running(1) else None
            DEEDS[what](lab)
            print(f"({what})")
        else:
            print(f"xen{host}# {what}\n{do(lab, host, what, expected)}", end="")
    assert int(lab.ask(ADDRESS, "next", 60)) == 2
