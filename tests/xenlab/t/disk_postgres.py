"""When host 1's power is cut under PostgreSQL, no acknowledged commit is lost, also if the database then crashes."""

from disk import cut_database

GUEST = "database"
ON_REQUEST = True


def run(lab):
    print(cut_database(lab))
