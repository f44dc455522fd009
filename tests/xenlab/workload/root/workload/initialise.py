"""Makes one workload's data, while the image is built."""

import importlib
import random
import sys

random.seed(1)
importlib.import_module(sys.argv[1]).initialise()
