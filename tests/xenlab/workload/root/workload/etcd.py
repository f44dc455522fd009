"""etcd as a cluster's control plane uses it: objects of which few change, leases of nodes that are renewed all the
time, events that come and go, lists by prefix; each change is flushed to its log before it is answered."""

import base64
import json
import random

from common import HttpConnection, Material, Zipf, clients, folder_for, http_answers, log_normal_size, service, wait_until

FOLDER = "/srv/etcd"
MATERIAL = f"{FOLDER}/material"
MATERIAL_BYTES = 16 << 20
PORT = 2379
OBJECTS = 20_000
NAMESPACES = 100
OBJECT_MEDIAN_BYTES = 2_000
OBJECT_SIGMA = 0.8
OBJECT_BYTES_MAX = 50_000
NODES = 500
LEASE_BYTES = 300
EVENTS_MAX = 2_000
EVENT_BYTES = 700
FILL_BATCH = 100
CLIENTS = 4
ZIPF_EXPONENT = 0.8
# In percent of the requests.
MIX = {"renew": 35, "get": 35, "list": 3, "change": 15, "event": 12}


def initialise():
    folder_for(f"{FOLDER}/data", mode=0o700)
    Material.make(MATERIAL, ["/usr/lib/python3", "/usr/lib/python3.11", "/usr/share"], (".py", ".pm", ".pod", ".txt"),
                  MATERIAL_BYTES)
    server = _start_server("--unsafe-no-fsync")
    client = Client(0)
    for first in range(0, OBJECTS, FILL_BATCH):
        client.put_all([(client.object(number), client.object_value()) for number in range(first, first + FILL_BATCH)])
    server.terminate()
    server.wait()


def start(rate, count):
    _start_server()
    clients(CLIENTS, Client, rate, count)


def _start_server(*options):
    server = service(["etcd", "--data-dir", f"{FOLDER}/data", "--log-level", "error", "--auto-compaction-mode", "revision",
                      "--auto-compaction-retention", "5000", *options])
    wait_until(lambda: http_answers(PORT, "/health"), "etcd")
    return server


def _base64(data):
    return base64.b64encode(data).decode()


class Client(HttpConnection):
    """A connection that is kept. Each call is one request."""

    def __init__(self, index):
        super().__init__(PORT)
        self._index = index
        self._material = Material(MATERIAL)
        self._objects = Zipf(OBJECTS, ZIPF_EXPONENT)
        self._events = 0
        self._operations = [getattr(self, f"_{name}") for name in MIX]

    def __call__(self):
        random.choices(self._operations, MIX.values())[0]()

    def object(self, number):
        return f"/objects/{number % NAMESPACES:02}/{number:05}"

    def object_value(self):
        return self._material.piece(log_normal_size(OBJECT_MEDIAN_BYTES, OBJECT_SIGMA, 200, OBJECT_BYTES_MAX))

    def put_all(self, pairs):
        self._ask("txn", {"success": [{"request_put": self._pair(key, value)} for key, value in pairs]})

    def _ask(self, what, request):
        return json.loads(self.request("POST", f"/v3/kv/{what}", json.dumps(request)).content)

    def _pair(self, key, value):
        return {"key": _base64(key.encode()), "value": _base64(value)}

    def _put(self, key, value):
        self._ask("put", self._pair(key, value))

    def _renew(self):
        self._put(f"/leases/{random.randrange(NODES):04}", self._material.piece(LEASE_BYTES))

    def _get(self):
        key = self.object(self._objects.pick()).encode()
        if self._ask("range", {"key": _base64(key)}).get("count") != "1":
            raise ValueError(f"etcd has lost {key}")

    def _list(self):
        prefix = f"/objects/{random.randrange(NAMESPACES):02}"
        self._ask("range", {"key": _base64(f"{prefix}/".encode()), "range_end": _base64(f"{prefix}0".encode()),
                            "limit": 50})

    def _change(self):
        self._put(self.object(self._objects.pick()), self.object_value())

    def _event(self):
        """A new one, in place of the oldest."""
        number = self._events
        self._events += 1
        key = f"/events/{self._index}/{number % (EVENTS_MAX // CLIENTS):05}"
        self._ask("deleterange", {"key": _base64(key.encode())})
        self._put(key, self._material.piece(EVENT_BYTES))
