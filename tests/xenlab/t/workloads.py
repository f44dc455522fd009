"""A guest that runs a real workload gets on with it, with its disk's pages not kept mapped by the backend."""

GUEST = "redis"
# The image of the workloads takes six minutes to build.
ON_REQUEST = True
OPERATIONS = 50


def run(lab):
    assert lab.domains(1) == [lab.guest]
    before = lab.workload()
    assert before["workload"] == lab.guest
    lab.wait_for(lambda: lab.workload()["operations"] >= before["operations"] + OPERATIONS, 60,
                 f"{OPERATIONS} operations after {before['operations']}")
    # Pages that were would be dirty for ever.
    disk = lab.ssh(1, f"xenstore-ls -f /local/domain/$(xl domid {lab.guest})/device/vbd").stdout
    assert 'feature-persistent = "0"' in disk, disk
    # It is there on host 2, too: a backup needs it.
    lab.ssh(2, "test -b /dev/vdb")
