"""PostgreSQL under pgbench with the transactions and the mix of TPC-E (see oltp/)."""

import os
import pathlib
import subprocess

from common import folder_for, follow, service, wait_until

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
SCRIPTS = pathlib.Path("/workload/oltp")
DATA = "/srv/oltp"
SOCKETS = "/run/postgresql"
CLIENTS = 8
# TPC-E's mix, in tenths of a percent: 77 % of the transactions only read.
MIX = {"broker_volume": 49, "customer_position": 130, "market_feed": 10, "market_watch": 180,
       "security_detail": 140, "trade_lookup": 80, "trade_order": 101, "trade_result": 100,
       "trade_status": 190, "trade_update": 20}
PROGRESS = r"progress: ([0-9.]+) s, ([0-9.]+) tps"
SETTINGS = "jit=off\nlogging_collector=off\nlisten_addresses=''\nmax_connections=40\n"


def initialise():
    folder_for(DATA, "postgres", 0o700)
    _as_postgres([BIN / "initdb", "-D", DATA, "--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust"])
    with open(f"{DATA}/postgresql.conf", "a") as file:
        file.write(SETTINGS)
    server = _start_server("-c", "fsync=off")
    _as_postgres(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", SCRIPTS / "schema.sql", "postgres"])
    server.terminate()
    server.wait()


def start(rate, count):
    _start_server()
    scripts = [f"-f{SCRIPTS}/{name}.sql@{weight}" for name, weight in MIX.items()]
    pgbench = service([BIN / "pgbench", "-n", "-M", "prepared", "-c", CLIENTS, "-j", 1, "-T", 10**6, "-P", 1,
                       *(["-R", rate] if rate else []), *scripts, "postgres"],
                      "postgres", stderr=subprocess.PIPE, text=True)
    follow(pgbench.stderr, PROGRESS, count)


def _start_server(*options):
    folder_for(SOCKETS, "postgres")
    server = service([BIN / "postgres", "-D", DATA, *options], "postgres", DATA)
    wait_until(lambda: subprocess.run([BIN / "pg_isready", "-q", "-h", SOCKETS, "-U", "postgres"]).returncode == 0, "PostgreSQL")
    return server


def _as_postgres(argv):
    environment = {**os.environ, "PGHOST": SOCKETS}
    if service(argv, "postgres", env=environment).wait() != 0:
        raise SystemExit(f"{argv[0]} failed")
