"""The Debian packages are installed, upgraded under a protected guest, removed and purged; Xen's xl is as it was."""

import deb
from network import HOSTS
from protection import check_unprotected

GUEST = "pvh"
INSTALL = False
ON_REQUEST = True

XL = "/usr/sbin/xl"
# While the packages are there.
XENS = "/usr/libexec/specrep/xen/xl"
SAME = ("list -l", "domid nosuch", "nosuch-command", "help create", "-v info xen_version")
DIVERTED = (XL, "/usr/share/bash-completion/completions/xl")
# What dpkg itself keeps, and what any command changes.
NOT_OURS = ("/proc /sys /dev /run /tmp /var/tmp /var/cache/ldconfig /var/lib/dpkg /var/log/journal /var/log/dpkg.log "
            "/var/log/xen /root")
DISK = "/var/tmp/record.img"


def run(lab):
    first, second = deb.build()
    names = " ".join(first)
    xens_packages = deb.fetch(lab, 1, ["xen-utils-common"], lab.folder / "debian")
    before = {host: files(lab, host) for host in HOSTS}
    check_xens_own(lab)

    for host in HOSTS:
        deb.install(lab, host, first.values())
    check_diverted(lab)
    check_services(lab)

    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        with lab.protect("--timeout 15000") as protection:
            protection.wait_until_protected()
            for host in HOSTS:
                refused = deb.dpkg(lab, host, f"-r {names}", check=False)
                assert refused.returncode != 0 and "End that first" in refused.stderr, refused
                deb.install(lab, host, second.values())
            check_diverted(lab)
            protection.wait_for_commit(protection.status()["committed_epoch"] + 10)
            # Xen is upgraded to the version that it has.
            deb.install(lab, 1, xens_packages)
            check_diverted(lab)
            protection.stop()
        check_unprotected(lab, counter)

    # A record of a disk outlives its packages.
    lab.ssh(2, f"truncate -s 16M {DISK} && specrep-disk create {DISK}")
    for host in HOSTS:
        deb.dpkg(lab, host, "-r specrep-xl-plugin")
        check_xens_own(lab, host)
        deb.dpkg(lab, host, f"-r {names}")
        purged = deb.dpkg(lab, host, f"-P {names}")
        check_xens_own(lab, host)
        kept = lab.ssh(host, "ls /var/lib/specrep/disk 2>/dev/null", check=False).stdout.split()
        assert bool(kept) == (host == 2) == ("stay in /var/lib/specrep/disk" in purged.stderr), (kept, purged)
        lab.ssh(host, f"rm -rf /var/lib/specrep {DISK}")
        left = files(lab, host) ^ before[host]
        assert not left, sorted(left)

    # The other way round: gone and purged at once, with the plugin's configuration never seen by the second dpkg.
    deb.install(lab, 1, second.values())
    deb.dpkg(lab, 1, f"-P {names}")
    check_xens_own(lab, 1)
    left = files(lab, 1) ^ before[1]
    assert not left, sorted(left)
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(30)


def files(lab, host):
    """Every file of a host, but those that come and go by themselves."""
    prune = " -o ".join(f"-path {path}" for path in NOT_OURS.split())
    return set(lab.ssh(host, f"find / -xdev \\( {prune} \\) -prune -o -print").stdout.splitlines())


def check_xens_own(lab, *hosts):
    """Xen's xl, and nothing of ours, is what xl means."""
    for host in hosts or HOSTS:
        # The lab's hosts have no manual pages, nor other documentation.
        changed = lab.ssh(host, "dpkg --verify xen-utils-common | grep -v '^missing .*/usr/share/' || :").stdout
        assert changed == "", changed
        assert lab.ssh(host, f"dpkg-divert --list {' '.join(DIVERTED)}").stdout == ""
        assert lab.ssh(host, f"readlink -f {XL}").stdout.strip().startswith("/usr/lib/xen"), host
        assert "remus-spec" not in lab.ssh(host, "xl help").stdout
        assert lab.ssh(host, "xl domid Domain-0").stdout.strip() == "0"


def check_diverted(lab):
    """Our xl stands before Xen's, by name and by path, and hands on what is Xen's."""
    for host in HOSTS:
        diversions = lab.ssh(host, f"dpkg-divert --list {' '.join(DIVERTED)}").stdout
        assert all(f"{path} to {path}.distrib by specrep-xl-plugin" in diversions for path in DIVERTED), diversions
        for arguments in SAME:
            ours, xens = (lab.ssh(host, f"{xl} {arguments}", check=False) for xl in (XL, XENS))
            assert (ours.returncode, ours.stdout, ours.stderr) == (xens.returncode, xens.stdout, xens.stderr), arguments
        assert "remus-spec" in lab.ssh(host, "xl help").stdout
        assert lab.ssh(host, "ldconfig -p").stdout.count("libspecrep") >= 2


def check_services(lab):
    """Those that there are are known, and neither enabled nor started. One is only started by its timer."""
    for host in HOSTS:
        units = lab.ssh(host, "cd /lib/systemd/system && ls specrep-*.service 2>/dev/null", check=False).stdout.split()
        assert len(units) == 4, units
        for unit in units:
            enabled, active = (lab.ssh(host, f"systemctl {question} {unit}", check=False).stdout.strip()
                               for question in ("is-enabled", "is-active"))
            assert (enabled, active) == ("static" if "renew" in unit else "disabled", "inactive"), (unit, enabled, active)
