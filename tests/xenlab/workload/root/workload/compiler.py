"""gcc, which compiles the files of some C and C++ programs over and over, two at a time."""

import os
import pathlib
import random
import subprocess

from common import clients

FOLDER = pathlib.Path("/srv/compiler")
JOBS = 2
# Where its files are, and what else they need.
PROGRAMS = {"libjsoncpp": (["src/lib_json/*.cpp"], ["-Iinclude"]),
            "lua5.4": (["src/*.c"], ["-DLUA_COMPAT_5_3"]),
            "re2": (["re2/*.cc"], ["-I.", "-std=c++11", "-pthread"]),
            "zlib": (["*.c"], ["-D_LARGEFILE64_SOURCE=1", "-DHAVE_UNISTD_H"])}
OPTIMISATION = "-O1"


def sources():
    """All files to compile, as (program, file)."""
    return [(program, path.relative_to(FOLDER / program))
            for program, (patterns, _) in PROGRAMS.items()
            for pattern in patterns for path in sorted((FOLDER / program).glob(pattern))]


def compile_file(program, path, output):
    options = PROGRAMS[program][1]
    subprocess.run(["gcc", OPTIMISATION, "-w", *options, "-c", path, "-o", output],
                   cwd=FOLDER / program, check=True)


def initialise():
    """Proves that all can be compiled, and leaves what is there before one compiles again."""
    for program, path in sources():
        compile_file(program, path, output_of(program, path))


def output_of(program, path):
    folder = FOLDER / "objects" / program
    os.makedirs(folder, exist_ok=True)
    return folder / f"{path.name}.o"


def start(rate, count):
    clients(JOBS, Job, rate, count, gap_s=lambda files_per_s: 1 / files_per_s)


class Job:
    """Each call compiles one file; all of them in a random order, then again."""

    def __init__(self, _):
        self._left = []

    def __call__(self):
        if not self._left:
            self._left = random.sample(sources(), len(sources()))
        program, path = self._left.pop()
        compile_file(program, path, output_of(program, path))
