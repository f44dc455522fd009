"""When the server of its disk is killed, or what starts that, the guest waits and goes on, protected or not."""

import time

from disk import CHURN_PER_S, SERVER, SUPERVISOR, check_disk, journal_load, kill_server
from journal import summary

GUEST = "disk"
ON_REQUEST = True
TIMES = 2
PAUSE_MAX_S = 30


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        journal.churn(CHURN_PER_S)
        for killed in (SERVER, SUPERVISOR) * TIMES:
            since_ns = time.monotonic_ns()
            restart_s = kill_server(lab, 1, killed)
            journal.wait_for_all(PAUSE_MAX_S)
            gap_s = journal.longest_gap_s(since_ns)
            print(
                f"unprotected, {killed} killed: another server after {restart_s:.2f} s, "
                f"nothing acknowledged for {gap_s:.2f} s"
            )
            assert gap_s < PAUSE_MAX_S, gap_s
        print(summary(journal.check()))
    with journal_load(lab) as journal:
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            journal.wait_for_all(60)
            since_ns = time.monotonic_ns()
            kill_server(lab, 1, SUPERVISOR)
            protection.end().expect(1, f"{lab.guest} runs on, unprotected")
        journal.wait_for_all(60)
        print(f"protected: nothing acknowledged for {journal.longest_gap_s(since_ns):.2f} s")
        lab.wait_for(lambda: lab.domains(2) == [], 60, "the end of the copy on host 2")
        print(summary(check_disk(lab, journal, 1)))
