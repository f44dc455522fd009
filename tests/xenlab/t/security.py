"""While a guest is protected nothing of specrep listens, no key is to be found, and all its files are root's alone."""

import re

from protection import check_unprotected

GUEST = "pvh"
# A pre-shared key as specrep's programs hand it to each other: 32 bytes in hex.
KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
# Where one could have been left for others to read.
PLACES = ("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
          "cat /var/log/specrep/* 2>/dev/null",
          "journalctl -b --no-pager",
          "xenstore-ls -f")
FOLDERS = "/run/specrep /var/log/specrep /var/lib/specrep /etc/specrep"


def keys_found(lab, host):
    return [(place, key) for place in PLACES for key in KEY.findall(lab.ssh(host, place, check=False).stdout)]


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        before = {host: keys_found(lab, host) for host in lab.machines}
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            for host in lab.machines:
                listening = lab.ssh(host, "ss -Htlnp").stdout
                assert not re.search("specrep|nbdkit", listening), listening
                assert keys_found(lab, host) == before[host], keys_found(lab, host)
                open_to_others = lab.ssh(host, f"find {FOLDERS} -perm /077 ! -type l 2>/dev/null", check=False).stdout
                assert open_to_others == "", open_to_others
            # That the search finds what there is.
            lab.ssh(1, f"sh -c 'sleep 100; exit' {'0123456789abcdef' * 4} >/dev/null 2>&1 &")
            assert len(keys_found(lab, 1)) > len(before[1])
            lab.ssh(1, "pkill -f '[s]leep 100'; xl remus-spec-stop pvh")
            protection.end().expect(0)
        check_unprotected(lab, counter)
