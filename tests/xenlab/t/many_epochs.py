"""Thousands of epochs leave memory and descriptors of the processes, and dom0's memory, as they were."""

import os

import growth
from protection import protected_under_load

GUEST = ("pvh", "hvm")
ON_REQUEST = True

# What each of them left behind would be seen in some thousands, since it is known to the byte; for as many as 24 hours
# have, see day_of_epochs.
EPOCHS = int(os.environ.get("SPECREP_EPOCHS", "3000"))
# The cache of what was sent before is full within the first epochs, and so does not grow any more.
OPTIONS = "-i 20 --timeout 15000 --delta-cache 1"
DIRTY_PAGES_PER_S = 50
EPOCHS_PER_S_MIN = 2


def run(lab):
    growth.count_heaps(lab)
    with protected_under_load(lab, OPTIONS, DIRTY_PAGES_PER_S) as (counter, protection):
        growth.follow(lab, [protection], EPOCHS, EPOCHS_PER_S_MIN)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        protection.stop()
