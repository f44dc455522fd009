"""An administrator's own commands for a network card run at an activation, too, which is then slower."""

from cut import cut_power

# The two ways to have some; one for each guest, since each takes a failover.
OWN = {"pvh": "echo 'touch /run/own-command' >> /etc/xen/scripts/vif-bridge",
       "hvm": "mkdir -p /etc/xen/scripts/vif-post.d && cd /etc/xen/scripts/vif-post.d && "
              "echo 'touch /run/own-command' > own.hook && chmod +x own.hook"}
GUEST = tuple(OWN)
ON_REQUEST = True


def run(lab):
    lab.ssh(2, OWN[lab.guest])
    result = cut_power(lab, "-i 200 --timeout 1000")
    result.check()
    assert lab.ssh(2, "ls /run/own-command", check=False).returncode == 0
    print(result)
