#!/usr/bin/python3
"""What replicated disks cost: fio in dom0, on the plain disk, on the device that a guest's backend gets, on that
device while the guest is protected, and on the same disk replicated by DRBD with protocol C.

    tests/xenlab/disk_bench.py --seconds 10

The figures of emulated hosts mean little; their ratios say more.
"""

import argparse
import json
import sys

sys.dont_write_bytecode = True

from common import LabError, lab_dir  # noqa: E402
from lab import Lab  # noqa: E402
from network import DISK_GUEST, replication_address  # noqa: E402

# What fio is to do, by the table's words: its pattern, and how many requests are under way.
JOBS = {f"{pattern}, {depth}": f"--rw={pattern} --iodepth={depth}"
        for pattern in ("randread", "randwrite", "read", "write") for depth in (1, 32)}
# A disk may keep in a cache what was not flushed, and the replicated one does.
JOBS["randwrite, 1, each flushed"] = "--rw=randwrite --iodepth=1 --fsync=1"
# Of the disk: between what the guest writes (guest/journal.cpp).
OFFSET, SIZE = "72M", "20M"
BLOCK = "4k"
# More than the jobs themselves.
FIO_START_S, FIO_JOB_S = 120, 60

# Its metadata is not on the disk, so that the disk is as large and as quick as for the others.
DRBD = """
resource bench {
    net { protocol C; }
    device /dev/drbd0;
    disk /dev/vdb;
    meta-disk /dev/loop0;
    on xen1 { address %s:7789; }
    on xen2 { address %s:7789; }
}
"""
DRBD_META_MIB = 4
SYNC_S = 600


def measure(lab, device, seconds):
    """Requests per second, by job."""
    command = (f"fio --output-format=json --filename={device} --direct=1 --ioengine=libaio --bs={BLOCK} "
               f"--offset={OFFSET} --size={SIZE} --time_based --runtime={seconds} --allow_mounted_write=1 --stonewall")
    for job, options in JOBS.items():
        command += f" --name='{job}' {options}"
    # One process, because it takes long to start, emulated.
    jobs = json.loads(lab.ssh(1, command, FIO_START_S + len(JOBS) * (seconds + FIO_JOB_S)).stdout)["jobs"]
    return {job["jobname"]: max(job["read"]["iops"], job["write"]["iops"]) for job in jobs}


def served_device(lab):
    """The device that the guest's backend has, as /dev/nbd0."""
    domid = lab.ssh(1, f"xl domid {DISK_GUEST}").stdout.strip()
    path = lab.ssh(1, f"ls -d /sys/devices/vbd-{domid}-*/").stdout.split()[0]
    major, minor = lab.ssh(1, f"cat {path}/physical_device").stdout.strip().split(":")
    return lab.ssh(1, f"realpath /dev/block/{int(major, 16)}:{int(minor, 16)}").stdout.strip()


def start_drbd(lab):
    """Replicates /dev/vdb by DRBD. Returns its device on host 1, once both copies are the same."""
    for host in lab.machines:
        lab.ssh(host, f"cat > /etc/drbd.d/bench.res <<'END'{DRBD % tuple(map(replication_address, sorted(lab.machines)))}"
                      "END\n"
                      f"modprobe -a loop drbd && truncate -s {DRBD_META_MIB}M /root/drbd-meta && "
                      "losetup /dev/loop0 /root/drbd-meta && drbdadm create-md --force bench && drbdadm up bench",
                120)
    lab.ssh(1, "drbdadm primary --force bench")
    lab.wait_for(lambda: lab.ssh(1, "drbdadm dstate bench").stdout.strip() == "UpToDate/UpToDate", SYNC_S,
                 "DRBD's first copy")
    return "/dev/drbd0"


def bench(seconds):
    columns = {}
    lab = Lab.start(lab_dir(), DISK_GUEST)
    try:
        lab.push()
        columns["plain"] = measure(lab, "/dev/vdb", seconds)
        lab.start_disk_guest()
        device = served_device(lab)
        columns["served"] = measure(lab, device, seconds)
        with lab.protect("--timeout 10000") as protection:
            protection.wait_until_protected()
            columns["protected"] = measure(lab, device, seconds)
            lab.ssh(1, f"xl remus-spec-stop {DISK_GUEST}", timeout=120)
            protection.end().expect(0)
        lab.ssh(1, f"xl destroy {DISK_GUEST}")
        columns["DRBD"] = measure(lab, start_drbd(lab), seconds)
    finally:
        lab.down()
    return columns


def show(columns):
    plain = columns["plain"]
    print(f"| {BLOCK}, depth | " + " | ".join(f"{name}, requests/s" for name in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for job in plain:
        cells = [f"{plain[job]:.0f}"] + [f"{of[job]:.0f} ({of[job] / plain[job]:.2f})"
                                         for name, of in columns.items() if name != "plain"]
        print(f"| {job} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(prog="disk_bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10, help="for each pattern and depth")
    show(bench(parser.parse_args().seconds))


if __name__ == "__main__":
    try:
        main()
    except (LabError, AssertionError) as error:
        sys.exit(f"disk_bench: {error}")
