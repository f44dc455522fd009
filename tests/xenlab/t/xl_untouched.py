"""Xen's own xl works as before beside specrep's commands, and alone again when specrep's files are removed."""

GUEST = None
ON_REQUEST = True
OURS = ("remus-spec", "remus-spec-list", "remus-spec-stop", "remus-spec-check")
XENS = "/usr/sbin/xl"
# Commands whose answer does not change from one call to the next.
SAME = ("list -l", "domid nosuch", "nosuch-command", "list nosuch", "help create", "-v info xen_version", "-Z")
COMPLETE = """
. /usr/share/bash-completion/bash_completion
_completion_loader xl
COMP_WORDS=(xl remus-spec) COMP_CWORD=1 COMP_LINE='xl remus-spec' COMP_POINT=13
_specrep; printf '%s\\n' "${COMPREPLY[@]}"
COMP_WORDS=(xl migr) COMP_CWORD=1 COMP_LINE='xl migr' COMP_POINT=7
_specrep; printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(lab):
    assert lab.ssh(1, "command -v xl").stdout.strip() != XENS, "is a build pushed?"
    for arguments in SAME:
        ours, xens = (lab.ssh(1, f"{xl} {arguments}", check=False) for xl in ("xl", XENS))
        assert (ours.returncode, ours.stdout, ours.stderr) == (xens.returncode, xens.stdout, xens.stderr), arguments

    listed = [line.split()[0] for line in lab.ssh(1, "xl help").stdout.splitlines() if line.strip()]
    assert set(OURS) <= set(listed) and {"create", "list", "migrate", "remus"} <= set(listed), listed
    assert "Usage" in lab.ssh(1, "xl help remus-spec").stdout
    assert lab.ssh(1, "xl remus-spec-nosuch", check=False).returncode == 2

    words = lab.ssh(1, f"bash -c '{COMPLETE.replace(chr(39), chr(34))}'").stdout.split()
    assert {*OURS, "migrate"} <= set(words), words

    # As `make uninstall` does.
    lab.ssh(1, "rm -r $(find /usr/local \\( -name '*specrep*' -o -path '*/sbin/xl' -o -path '*/completions/xl' \\) -prune)")
    assert lab.ssh(1, "bash -lc 'command -v xl'").stdout.strip() == XENS
    assert lab.ssh(1, "xl help").stdout == lab.ssh(1, f"{XENS} help").stdout
