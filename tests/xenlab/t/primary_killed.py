"""When specrep-primary is killed, even while the guest is stopped, the guest counts on and the copy goes."""

from protection import check_unprotected, log_dirty

GUEST = ("pvh", "hvm")
AT_ONCE = "pkill -KILL -x specrep-primary"
# Halts specrep-primary again and again, until it is in the middle of a checkpoint.
WHILE_STOPPED = r"""
for i in $(seq 300); do
  pkill -STOP -x specrep-primary
  case $(xl list {guest}) in *ss-\ *) pkill -KILL -x specrep-primary; exit;; esac
  pkill -CONT -x specrep-primary
  sleep 0.0$((i % 10))
done
exit 1"""


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(60)
        kill(lab, counter, AT_ONCE)
        error = kill(lab, counter, WHILE_STOPPED)
        assert "resumed" in error, error
        assert not log_dirty(lab, lab.guest)


def kill(lab, counter, command):
    """Protects the guest, kills specrep-primary, and returns what xl remus-spec said."""
    # Longer than specrep-primary may be halted in all.
    with lab.protect("--timeout 60000 -i 100") as protection:
        protection.wait_until_protected()
        lab.ssh(1, command.format(guest=lab.guest), timeout=180)
        end = protection.end()
    end.expect(1, "specrep-primary died (killed by signal 9", f"{lab.guest} runs on, unprotected")
    assert "held" not in end.stderr, end.stderr
    check_unprotected(lab, counter)
    log = lab.ssh(2, f"cat /var/log/specrep/{lab.guest}.log").stdout
    assert "activating" not in log, log
    return end.stderr.strip().splitlines()[-1]
