"""Over 50 epochs under load, the backup's committed memory is the stopped primary's, page by page.

That a difference would be found is what tests/unit/protection.cc shows.
"""

from protection import protected_under_load

GUEST = ("pvh", "hvm")
ON_REQUEST = ("hvm",)
EPOCHS_MIN = 50
VERIFIED_MIN = 5
PAGES = {"pvh": 160 << 8, "hvm": 192 << 8}
COMPARED_SHARE_MIN = 0.95
LOAD_PAGES_PER_S = 300


def run(lab):
    with protected_under_load(lab, "-i 100 --timeout 10000 --verify=10", LOAD_PAGES_PER_S) as (counter, protection):
        protection.wait_for_commit(EPOCHS_MIN)
        protection.wait_for(lambda: len(protection.events("verified")) >= VERIFIED_MIN, 60, "comparisons")
        protection.stop()
        verified = protection.events("verified")
        assert all(event["different"] == 0 for event in verified), verified
        assert all(event["compared"] >= COMPARED_SHARE_MIN * PAGES[lab.guest] for event in verified), verified
        summary = protection.summary()
        assert summary["committed_epoch"] >= EPOCHS_MIN, summary
        assert summary["pages_per_epoch"] > 0, summary
        counter.check_continuous()
    print(f"{summary['committed_epoch']} epochs, {summary['pages_per_epoch']:.0f} pages each; compared "
          f"{summary['verified_epochs']} times, {summary['pages_compared']} pages, left out at most "
          f"{max(event['left_out'] for event in verified)}")
