"""A folder that both hosts see, by NFS version 4 from a real server (NFS-Ganesha): the file arbiter's storage.

Both hosts mount it with their kernels' client, `hard`, as one would mount storage that must not
lose anything: while the server is gone, whoever looks into the folder waits.
"""

from network import HOSTS, MANAGEMENT_ADDRESS, management_address
from server import Server

MOUNTED_AT = "/run/specrep-arbiter"
# After that long the server forgets the locks of a host that has gone.
LEASE_S = 10
# No grace period: nobody has locks from before it started. Of its own files it would else keep
# some in /var/lib/nfs, and bind to UDP as well.
CONFIGURATION = """\
NFS_CORE_PARAM {{
  Protocols = 4; Bind_addr = {address}; NFS_Port = {port};
  Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSv4 {{
  Minor_Versions = 1; Lease_Lifetime = {lease_s}; Graceless = true; Only_Numeric_Owners = true;
  RecoveryBackend = fs; RecoveryRoot = {folder}/recovery;
}}
EXPORT {{
  Export_Id = 1; Path = {folder}/shared; Pseudo = /arbiter; Protocols = 4; Transports = TCP;
  Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  FSAL {{ Name = VFS; }}
}}
"""


class SharedFolder(Server):
    PROGRAM, PACKAGE, PORT = "ganesha.nfsd", "nfs-ganesha-vfs", 2049

    def __init__(self, lab):
        self._lab = lab
        self._folder = lab.folder / "nfs"
        super().__init__(lab.network, self._folder / "output")
        self.url = f"file:{MOUNTED_AT}"

    def __enter__(self):
        for name in ("shared", "recovery"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "ganesha.conf"
        configuration.write_text(CONFIGURATION.format(address=MANAGEMENT_ADDRESS, port=self.PORT, folder=self._folder,
                                                      lease_s=LEASE_S))
        # It would give itself a name on this machine's D-Bus; it runs without one as well.
        self._start(["-F", "-f", configuration, "-L", self._folder / "log", "-p", self._folder / "pid"],
                    {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self._folder}/none"})
        try:
            for host in HOSTS:
                # Without mount.nfs, which dom0 does not have, the kernel wants the addresses as numbers.
                self._lab.ssh(host, f"mkdir -p {MOUNTED_AT} && mount -i -t nfs4 -o vers=4.1,hard,"
                              f"addr={MANAGEMENT_ADDRESS},clientaddr={management_address(host)} "
                              f"{MANAGEMENT_ADDRESS}:/arbiter {MOUNTED_AT}")
        except BaseException:
            self.__exit__()
            raise
        return self
