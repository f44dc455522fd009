"""While the file server with the arbiter's folder hangs neither copy goes on; when it is back, one does."""

import threading

from fault import partition_with_arbiter

GUEST = "pvh"
ON_REQUEST = True
HANG_S = 20  # longer than the server's lease, so that its clients have to begin anew


def run(lab):
    with lab.shared_folder() as folder:
        back = threading.Timer(HANG_S, folder.go_on)

        def strike():
            folder.hang()
            lab.partition()
            back.start()
        try:
            outcome = partition_with_arbiter(lab, f"--arbiter {folder.url}", strike)
        finally:
            back.cancel()
    assert outcome.answer_s > HANG_S, outcome
    print(outcome)
