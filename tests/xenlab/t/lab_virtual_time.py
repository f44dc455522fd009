"""In virtual time a host's clock follows its instructions: a fixed loop takes the same time again."""

GUEST = None
ON_REQUEST = True
VIRTUAL_TIME = True
LOOP = "s=$(date +%s%N); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $(($(date +%s%N)-s))"
DIFFERENCE_MAX = 0.3


def run(lab):
    first_ns, second_ns = (int(lab.ssh(1, LOOP).stdout) for _ in range(2))
    assert abs(first_ns - second_ns) < DIFFERENCE_MAX * first_ns, f"{first_ns} ns, then {second_ns} ns"
