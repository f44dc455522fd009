"""Without output buffering (-n) both hosts' copies are heard after the link is cut: the observer can fail."""

from explain import wait_for_failover

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.Observer() as observer, lab.protect("-F -n --timeout 2000 --yield primary") as protection:
        protection.wait_until_protected()
        lab.partition()
        wait_for_failover(lab, 2, "pvh", 60)
        protection.end().expect(1, "pvh is paused")
        try:
            observer.check_one_speaker(2)
        except AssertionError as error:
            print(f"caught: {error}")
        else:
            raise AssertionError("host 1's copy was not heard after host 2's, or the observer does not see it")
