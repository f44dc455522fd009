"""In a real Pacemaker cluster the guest goes on, from its copy or without it, after fencing and not before."""

import time

import deb

GUEST = "pvh"
ON_REQUEST = True

WAIT_S = 600
WATCH_S = 10  # for what should not happen
COROSYNC = """
totem {
  version: 2
  cluster_name: lab
  transport: udpu
  token: 10000
}
nodelist {
  node {
    ring0_addr: 10.77.0.1
    name: xen1
    nodeid: 1
  }
  node {
    ring0_addr: 10.77.0.2
    name: xen2
    nodeid: 2
  }
}
quorum {
  provider: corosync_votequorum
  two_node: 1
  wait_for_all: 0
}
logging {
  to_syslog: yes
}
"""
# Fences when the test says that it has cut the power.
FENCE_AGENT = r"""#!/bin/sh
while read -r line; do
  case $line in
  action=*) action=${line#*=} ;;
  port=*) node=${line#*=} ;;
  esac
done
case $action in
metadata)
  cat <<'END'
<?xml version="1.0"?>
<resource-agent name="fence_lab" shortdesc="the lab's">
<parameters><parameter name="action"/><parameter name="port"/></parameters>
<actions><action name="reboot"/><action name="off"/><action name="on"/><action name="monitor"/><action name="list"/>
<action name="metadata"/></actions>
</resource-agent>
END
  ;;
off | reboot)
  echo "$node" >/run/fence-wanted
  until [ -e /run/fence-done ]; do sleep 0.5; done
  rm /run/fence-wanted /run/fence-done ;;
esac
"""


def attributes(kind, owner, **values):
    pairs = "".join(f'<nvpair id="{owner}-{kind}-{name}" name="{name.replace("_", "-") if kind == "meta" else name}" '
                    f'value="{value}"/>' for name, value in values.items())
    return f'<{kind}_attributes id="{owner}-{kind}">{pairs}</{kind}_attributes>'


OPERATIONS = "".join(
    f'<op id="web-{name}-{role}" name="{name}" interval="{interval}" timeout="300s"{role and f" role={chr(34)}{role}{chr(34)}"}/>'
    for name, interval, role in (("monitor", "10s", "Promoted"), ("monitor", "11s", "Unpromoted"), ("start", "0", ""),
                                 ("stop", "0", ""), ("promote", "0", ""), ("demote", "0", ""), ("notify", "0", "")))
RESOURCES = (
    "<resources>"
    f'<primitive id="fence" class="stonith" type="fence_lab">'
    f'{attributes("instance", "fence", pcmk_host_list="xen1 xen2", pcmk_reboot_timeout="900s")}</primitive>'
    f'<clone id="web-clone">{attributes("meta", "web-clone", promotable="true", notify="true", clone_max="2")}'
    f'<primitive id="web" class="ocf" provider="specrep" type="guest">'
    f'{attributes("instance", "web", config="/root/pvh.cfg", options="--timeout 5000")}'
    f"<operations>{OPERATIONS}</operations></primitive></clone>"
    "</resources>")


def run(lab):
    packages = deb.fetch(lab, 1, ["pacemaker", "corosync", "pacemaker-cli-utils", "resource-agents"], lab.folder / "debian")
    deb.install_strangers(lab, packages)
    for host in (1, 2):
        lab.ssh(host, f"cat >/etc/corosync/corosync.conf <<'END'\n{COROSYNC}\nEND\n"
                      f"cat >/usr/sbin/fence_lab <<'AGENT'\n{FENCE_AGENT}\nAGENT\nchmod 755 /usr/sbin/fence_lab")
        start_cluster(lab, host)
    lab.wait_for(lambda: lab.ssh(1, "crm_node -p", check=False).stdout.split() == ["xen1", "xen2"], WAIT_S, "both nodes")
    lab.ssh(1, "crm_attribute --name stonith-timeout --update 900s")
    lab.ssh(1, f"cibadmin --replace --scope resources --xml-text '{RESOURCES}'")

    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(60)
        # It runs there already, and Pacemaker finds it.
        wait_until_protected(lab, 1)

        lab.power_cut(1)
        wait_for_fencing(lab, "xen1")
        lab.wait_for(lambda: [entry["state"] for entry in lab.protections(2)] == ["primary-lost"], WAIT_S, "the loss")
        time.sleep(WATCH_S)
        assert lab.domains(2) == [f"{lab.guest}--incoming"], lab.domains(2)
        lab.ssh(2, "touch /run/fence-done")
        counter.wait_for_answer(WAIT_S)
        wait_until_promoted(lab, 2)

        return_host(lab, 1)
        wait_until_protected(lab, 2)
        counter.wait_for_answer(60)
        lab.power_cut(1)
        wait_for_fencing(lab, "xen1")
        lab.wait_for(lambda: is_paused(lab, 2), WAIT_S, "the guest to stand still")
        time.sleep(WATCH_S)
        assert is_paused(lab, 2)
        lab.ssh(2, "touch /run/fence-done")
        counter.wait_for_answer(WAIT_S)

        return_host(lab, 1)
        wait_until_protected(lab, 2)
        lab.ssh(2, "crm_resource --resource web-clone --move --promoted --node xen1")
        wait_until_promoted(lab, 1)
        counter.wait_for_answer(WAIT_S)
        assert lab.domains(1) == [lab.guest], lab.domains(1)
        wait_until_protected(lab, 1)

        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()


def start_cluster(lab, host):
    lab.ssh(host, "systemctl start corosync pacemaker", WAIT_S)


def return_host(lab, host):
    lab.power_on(host)
    start_cluster(lab, host)


def wait_for_fencing(lab, node):
    lab.wait_for(lambda: lab.ssh(2, "cat /run/fence-wanted", check=False).stdout.strip() == node, WAIT_S,
                 f"Pacemaker to want {node} fenced")


def wait_until_protected(lab, host):
    lab.wait_for(lambda: [entry["state"] for entry in lab.protections(host)] == ["protected"], WAIT_S,
                 f"protection by host {host}")


def wait_until_promoted(lab, host):
    where = "crm_resource --resource web-clone --locate"
    lab.wait_for(lambda: f"xen{host} Promoted" in lab.ssh(host, where, check=False).stdout, WAIT_S, f"promotion on host {host}")


def is_paused(lab, host):
    return "p" in lab.ssh(host, f"xl list {lab.guest}").stdout.splitlines()[-1].split()[4]
