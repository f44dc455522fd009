"""Samba, with clients over loopback that do the CIFS operations of SPECsfs2008, in its mix.

What is different: locks and file system queries, for which Samba's Python client has no call,
are left out, and the protocol is SMB 3, where a query by path is open, query and close.
"""

import os
import random
import subprocess

from common import Material, Zipf, clients, folder_for, log_normal_size, service, wait_until

FOLDER = "/srv/fileserver"
SHARE = f"{FOLDER}/share"
MATERIAL = f"{FOLDER}/material"
USER = "nobody"
PASSWORD = "nobody"
CONFIG = "/workload/smb.conf"
MATERIAL_BYTES = 48 << 20
FOLDERS = 100
FILES = 5000
FILE_MEDIAN_BYTES = 16 << 10
FILE_SIGMA = 1.6
FILE_BYTES_MAX = 4 << 20
TRANSFER_BYTES = (4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10)
CLIENTS = 4
OPEN_FILES_MAX = 16
ZIPF_EXPONENT = 0.8
# In tenths of a percent of SPECsfs2008's CIFS operations.
MIX = {"read": 205, "write": 86, "open_one": 97, "close": 97, "query_path": 215, "query_file": 129,
       "find": 54, "set_file": 38, "echo": 20, "delete": 10}
# Of the protocol: read and write data, delete, read the security descriptor; ...
ACCESS = 0x1 | 0x2 | 0x10000 | 0x20000
SHARE_ALL = 0x7
OPEN_IF = 3
OWNER_GROUP_AND_ACL = 0x7
# What one client may find because of another: DELETE_PENDING, OBJECT_NAME_NOT_FOUND, SHARING_VIOLATION;
# and UNEXPECTED_IO_ERROR: fewer bytes were read than wanted.
CONFLICTS = (0xC0000056, 0xC0000034, 0xC0000043, 0xC00000E9)


def path_of(number):
    return f"d{number % FOLDERS:03}\\f{number:05}.dat"


def initialise():
    folder_for(FOLDER)
    material = Material.make(MATERIAL, ["/usr/lib", "/usr/share", "/usr/bin"], "", MATERIAL_BYTES)
    folder_for(SHARE, USER)
    for number in range(FOLDERS):
        folder_for(f"{SHARE}/d{number:03}", USER)
    for number in range(FILES):
        path = f"{SHARE}/" + path_of(number).replace("\\", "/")
        with open(path, "wb") as file:
            file.write(material.piece(log_normal_size(FILE_MEDIAN_BYTES, FILE_SIGMA, 100, FILE_BYTES_MAX)))
        os.chmod(path, 0o666)


    _make_folders()
    subprocess.run(["smbpasswd", "-c", CONFIG, "-s", "-a", USER], input=f"{PASSWORD}\n{PASSWORD}\n", text=True, check=True)


def start(rate, count):
    _make_folders()
    smbd = service(["smbd", "--foreground", "--no-process-group", "--debug-stdout", "-s", CONFIG])
    # Only the clients' processes take Samba's libraries and the memory for them.
    wait_until(lambda: smbd.poll() is None and _listens(445), "smbd")
    clients(CLIENTS, Client, rate, count)


def _make_folders():
    for folder in ("/run/samba", "/var/log/samba", "/var/cache/samba", "/var/lib/samba/private"):
        folder_for(folder)


def _listens(port):
    with open("/proc/net/tcp") as file:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in file.readlines()[1:])


class Client:
    """A connection with some open files. Each call is one operation."""

    def __init__(self, _):
        from samba import NTSTATUSError, credentials
        from samba.samba3 import libsmb_samba_internal as libsmb, param
        settings = param.get_context()
        settings.load(CONFIG)
        user = credentials.Credentials()
        user.guess(settings)
        user.set_kerberos_state(credentials.DONT_USE_KERBEROS)
        user.set_username(USER)
        user.set_password(PASSWORD)
        self._connection = libsmb.Conn("127.0.0.1", "share", settings, creds=user)
        self._material = Material(MATERIAL)
        self._files = Zipf(FILES, ZIPF_EXPONENT)
        self._conflict = NTSTATUSError
        self._open = []  # [handle, position]
        self._operations = [getattr(self, f"_{name}") for name in MIX]

    def __call__(self):
        try:
            random.choices(self._operations, MIX.values())[0]()
        except self._conflict as error:
            if error.args[0] & 0xFFFFFFFF not in CONFLICTS:
                raise

    def _random_path(self):
        return path_of(self._files.pick())

    def _any_open(self):
        if not self._open:
            self._open_one()
        return random.choice(self._open)

    def _open_one(self):
        if len(self._open) == OPEN_FILES_MAX:
            self._close()
        handle = self._connection.create(Name=self._random_path(), DesiredAccess=ACCESS, ShareAccess=SHARE_ALL,
                                         CreateDisposition=OPEN_IF)
        self._open.append([handle, 0])

    def _read(self):
        entry = self._any_open()
        size = random.choice(TRANSFER_BYTES)
        at = entry[1]
        # The next one goes on from here; after the end, at which less comes than wanted, from the start.
        # The client's library says so by an exception.
        entry[1] = 0
        self._connection.read(entry[0], at, size)
        entry[1] = at + size

    def _write(self):
        entry = self._any_open()
        size = random.choice(TRANSFER_BYTES)
        at = entry[1] if entry[1] + size <= FILE_BYTES_MAX else 0
        self._connection.write(entry[0], self._material.piece(size), at)
        entry[1] = at + size

    def _close(self):
        if self._open:
            self._connection.close(self._open.pop(random.randrange(len(self._open)))[0])

    def _query_path(self):
        self._connection.chkpath(self._random_path())

    def _query_file(self):
        self._connection.get_sd(self._any_open()[0], OWNER_GROUP_AND_ACL)

    def _find(self):
        self._connection.list(f"d{random.randrange(FOLDERS):03}", "f*")

    def _set_file(self):
        # The one information about a file whose setting changes neither its data nor its size.
        self._connection.delete_on_close(self._any_open()[0], False)

    def _echo(self):
        self._connection.echo()

    def _delete(self):
        path = self._random_path()
        self._connection.unlink(path)
        self._connection.savefile(path, self._material.piece(
            log_normal_size(FILE_MEDIAN_BYTES, FILE_SIGMA, 100, FILE_BYTES_MAX)))
