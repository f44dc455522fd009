"""Pacemaker's resource agent passes ocf-tester, and starts or opens nothing before Pacemaker's word."""

import deb

GUEST = "pvh"
ON_REQUEST = True
AGENT = "/usr/lib/ocf/resource.d/specrep/guest"
CONFIG = "/root/pvh.cfg"
PARAMETERS = {"config": CONFIG, "options": "--timeout 3000"}
TESTER_TIMEOUT_S = 900
ACTION_TIMEOUT_S = 300
# OCF's.
SUCCESS, ERR_CONFIGURED, NOT_RUNNING, RUNNING_PROMOTED = 0, 6, 7, 8


def run(lab):
    packages = deb.fetch(lab, 1, ["resource-agents", "pacemaker-cli-utils", "libxml2-utils"], lab.folder / "debian")
    deb.install_strangers(lab, packages)
    check_interface(lab)
    check_decisions(lab)


def check_interface(lab):
    """What Pacemaker's own tools say of it. ocf-tester starts and ends the guest many times."""
    options = " ".join(f"-o '{name}={value}'" for name, value in PARAMETERS.items())
    tested = lab.ssh(1, f"ocf-tester -n web {options} {AGENT}", TESTER_TIMEOUT_S, check=False)
    assert tested.returncode == 0 and "passed all tests" in tested.stdout, tested
    validate = "crm_resource --validate --class ocf --provider specrep --agent guest"
    lab.ssh(1, f"{validate} --option config={CONFIG} --option 'hosts=a=xen1 b=xen2'")
    for wrong in ("", f"--option config={CONFIG} --option options=--yield=primary",
                  f"--option config={CONFIG} --option hosts=xen1"):
        refused = lab.ssh(1, f"{validate} {wrong}", check=False)
        assert refused.returncode != 0, (wrong, refused)
    assert 'name="guest"' in lab.ssh(1, "crm_resource --show-metadata ocf:specrep:guest").stdout


def check_decisions(lab):
    """As Pacemaker would call it, through the loss of each node in turn."""
    assert act(lab, 1, "monitor") == act(lab, 2, "monitor") == NOT_RUNNING
    for host in (1, 2):
        assert act(lab, host, "start") == SUCCESS
    for host in (1, 2):
        assert act(lab, host, "notify", notify("post", "start", start="xen1 xen2")) == SUCCESS
    assert act(lab, 1, "promote") == SUCCESS
    assert act(lab, 1, "monitor") == RUNNING_PROMOTED
    address = lab.GUEST_ADDRESSES[lab.guest]
    lab.ask(address, "peek", ACTION_TIMEOUT_S)
    with lab.Counter(address) as counter:
        wait_for_state(lab, 1, "protected")
        assert act(lab, 2, "monitor") == SUCCESS
        counter.wait_for_answer(60)

        # The guest's node is lost. Its copy waits until it is promoted.
        lab.power_cut(1)
        wait_for_state(lab, 2, "primary-lost")
        assert act(lab, 2, "monitor") == SUCCESS
        assert lab.domains(2) == [f"{lab.guest}--incoming"], lab.domains(2)
        assert act(lab, 2, "notify", notify("post", "stop", stop="xen1")) == SUCCESS
        assert lab.domains(2) == [f"{lab.guest}--incoming"], lab.domains(2)
        assert act(lab, 2, "promote") == SUCCESS
        counter.wait_for_answer(ACTION_TIMEOUT_S)
        assert act(lab, 2, "monitor") == RUNNING_PROMOTED

        # That node comes back, and is the copy's now.
        lab.power_on(1)
        assert act(lab, 1, "monitor") == NOT_RUNNING
        assert act(lab, 1, "start") == SUCCESS
        for host in (1, 2):
            assert act(lab, host, "notify", notify("post", "start", start="xen1", active="xen2")) == SUCCESS
        wait_for_state(lab, 2, "protected")

        # The copy's node is lost. The guest stands still until that node is known to be fenced.
        lab.power_cut(1)
        lab.wait_for(lambda: is_paused(lab, 2), ACTION_TIMEOUT_S, "the guest to stand still")
        assert act(lab, 2, "monitor") == RUNNING_PROMOTED
        assert is_paused(lab, 2)
        assert act(lab, 2, "notify", notify("post", "stop", stop="xen1")) == SUCCESS
        counter.wait_for_answer(ACTION_TIMEOUT_S)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
    assert act(lab, 2, "stop") == SUCCESS
    assert act(lab, 2, "monitor") == NOT_RUNNING
    assert lab.domains(2) == [], lab.domains(2)


def notify(kind, operation, **unames):
    variables = {"type": kind, "operation": operation, **{f"{name}_uname": nodes for name, nodes in unames.items()}}
    return {f"OCF_RESKEY_CRM_meta_notify_{name}": value for name, value in variables.items()}


def act(lab, host, action, variables=None):
    """Calls the agent as Pacemaker does; returns its exit status."""
    environment = {"OCF_ROOT": "/usr/lib/ocf", "OCF_RESOURCE_INSTANCE": "web:0", "OCF_RESKEY_CRM_meta_interval": "10000",
                   "OCF_RESKEY_CRM_meta_timeout": "40000", **(variables or {}),
                   **{f"OCF_RESKEY_{name}": value for name, value in PARAMETERS.items()}}
    words = " ".join(f"{name}='{value}'" for name, value in environment.items())
    done = lab.ssh(host, f"{words} {AGENT} {action} >&2 </dev/null", ACTION_TIMEOUT_S, check=False)
    print(f"host {host}: {action}: {done.returncode} {done.stderr.strip()}", flush=True)
    return done.returncode


def wait_for_state(lab, host, state):
    lab.wait_for(lambda: [entry["state"] for entry in lab.protections(host)] == [state], ACTION_TIMEOUT_S,
                 f"{state} on host {host}")


def is_paused(lab, host):
    return "p" in lab.ssh(host, f"xl list {lab.guest}").stdout.splitlines()[-1].split()[4]
