"""MariaDB under sysbench's oltp_read_write: 18 statements a transaction, of which 4 write."""

import subprocess

from common import folder_for, follow, service, wait_until

DATA = "/srv/mariadb"
SOCKET = "/run/mariadb.sock"
USER = "nobody"
CLIENTS = 4
TABLES = 8
ROWS = 60_000
SETTINGS = ["--no-defaults", f"--datadir={DATA}", f"--socket={SOCKET}", "--skip-networking",
            "--innodb-buffer-pool-size=192M", "--innodb-log-file-size=64M"]
CLIENT = ["mariadb", "--no-defaults", f"--socket={SOCKET}", "--user=root", "-e"]
SYSBENCH = ["sysbench", "oltp_read_write", f"--mysql-socket={SOCKET}", "--mysql-user=root", "--mysql-db=test",
            f"--tables={TABLES}", f"--table-size={ROWS}", "--rand-type=pareto"]
PROGRESS = r"\[ ([0-9]+)s \] thds: [0-9]+ tps: ([0-9.]+)"


def initialise():
    folder_for(DATA, USER, 0o700)
    _run(["mariadb-install-db", "--no-defaults", "--force", f"--datadir={DATA}", "--auth-root-authentication-method=normal"], USER)
    server = _start_server("--innodb-flush-log-at-trx-commit=2")
    _run([*CLIENT, "CREATE DATABASE IF NOT EXISTS test"])
    _run([*SYSBENCH, "prepare"])
    server.terminate()
    server.wait()


def start(rate, count):
    _start_server()
    sysbench = service([*SYSBENCH, f"--threads={CLIENTS}", "--time=0", f"--rate={round(rate)}", "--report-interval=1", "run"],
                       stdout=subprocess.PIPE, text=True)
    follow(sysbench.stdout, PROGRESS, count)


def _start_server(*options):
    folder_for("/run", mode=0o1777)
    server = service(["mariadbd", *SETTINGS, *options], USER)
    wait_until(lambda: subprocess.run([*CLIENT, "SELECT 1"], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL).returncode == 0, "MariaDB")
    return server


def _run(argv, user="root"):
    if service(argv, user).wait() != 0:
        raise SystemExit(f"{argv[0]} failed")
