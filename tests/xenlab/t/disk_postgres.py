"""When host 1's power is cut under PostgreSQL, no acknowledged commit is lost, also if the database then crashes."""

from disk import cut_database, database_load, protected

GUEST = "database"
ON_REQUEST = True


def run(lab):
    lab.start_disk_guest()
    with database_load(lab) as commits, protected(lab):
        print(cut_database(lab, commits))
