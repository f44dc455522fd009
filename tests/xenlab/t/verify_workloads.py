"""Over 100 epochs under each workload, with speculation and all codecs, the backup's memory is the primary's."""

GUEST = ("oltp", "fileserver", "mail")
ON_REQUEST = True
# In real time an emulated host has hardly any time to send pages early.
VIRTUAL_TIME = True
EPOCHS = 100
VERIFY_EVERY = 10
PAGES = 768 << 8
COMPARED_SHARE_MIN = 0.95
TIMEOUT_S = 3000


def run(lab):
    before = lab.workload(TIMEOUT_S)
    with lab.protect(f"-F -d -i 100 --timeout 600000 --heartbeat 1000 --verify={VERIFY_EVERY}") as protection:
        protection.wait_until_protected(TIMEOUT_S)
        protection.wait_for_commit(EPOCHS, TIMEOUT_S)
        protection.wait_for(lambda: len(protection.events("verified")) >= EPOCHS // VERIFY_EVERY, TIMEOUT_S, "comparisons")
        after = lab.workload(TIMEOUT_S)
        lab.ssh(1, f"xl remus-spec-stop {lab.guest}", timeout=TIMEOUT_S)
        protection.end(TIMEOUT_S).expect(0)
    verified = protection.events("verified")
    assert all(event["different"] == 0 for event in verified), verified
    assert all(event["compared"] >= COMPARED_SHARE_MIN * PAGES for event in verified), verified
    summary = protection.summary()
    codecs = {name: codec["pages"] for name, codec in summary["codecs"].items()}
    assert all(codecs.values()), codecs
    assert summary["speculative_pages_per_epoch"] > 0, summary
    operations = after["operations"] - before["operations"]
    assert operations > 0
    print(f"{summary['committed_epoch']} epochs of {summary['pages_per_epoch']:.0f} pages, of which "
          f"{summary['residual_pages_per_epoch']:.0f} were residual, while {operations} operations were done; compared "
          f"{summary['verified_epochs']} times, {summary['pages_compared']} pages, 0 different, left out at most "
          f"{max(event['left_out'] for event in verified)}; pages by encoding {codecs}")
