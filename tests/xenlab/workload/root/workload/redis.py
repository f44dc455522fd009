"""Redis with its append-only file, under reads and writes of strings, hashes, lists, counters and sorted sets."""

import random
import socket

from common import Material, Zipf, clients, folder_for, log_normal_size, service, wait_until

FOLDER = "/srv/redis"
MATERIAL = "/srv/redis-material"
MATERIAL_BYTES = 16 << 20
PORT = 6379
KEYS = 80_000
HASHES = 10_000
LISTS = 1_000
LIST_LENGTH = 100
BOARDS = 50
VALUE_MEDIAN_BYTES = 500
VALUE_SIGMA = 1.0
VALUE_BYTES_MAX = 16_000
CLIENTS = 4
ZIPF_EXPONENT = 0.9
FILL_BATCH = 1_000
# In percent of the operations.
MIX = {"get": 50, "set": 20, "count": 6, "get_hash": 6, "set_hash": 5, "push": 5, "get_list": 3, "score": 5}


def initialise():
    folder_for(FOLDER, "redis")
    Material.make(MATERIAL, ["/usr/lib/python3", "/usr/lib/python3.11", "/usr/share"], (".py", ".pm", ".pod", ".txt"),
                  MATERIAL_BYTES)
    server = _start_server()
    client = Client(0)
    for first in range(0, KEYS, FILL_BATCH):
        for key in range(first, first + FILL_BATCH):
            client.send("SET", f"key:{key}", client.value())
        for key in range(first * HASHES // KEYS, (first + FILL_BATCH) * HASHES // KEYS):
            client.send("HSET", f"hash:{key}", *client.fields())
        client.receive_all()
    # On a slow machine it may have begun by itself.
    for ask in (lambda: None, lambda: client.call("BGREWRITEAOF")):
        ask()
        wait_until(lambda: b"aof_rewrite_in_progress:0" in (info := client.call("INFO", "persistence"))
                   and b"aof_rewrite_scheduled:0" in info, "Redis to write its file anew")
    server.terminate()
    server.wait()


def start(rate, count):
    _start_server()
    clients(CLIENTS, Client, rate, count)


def _start_server():
    server = service(["redis-server", "/workload/redis.conf", "--logfile", f"{FOLDER}/log"], "redis")
    wait_until(_answers, "Redis")
    return server


def _answers():
    try:
        return Client(0, material=False).call("PING") == b"PONG"
    except (OSError, Refused):  # while it loads its data
        return False


class Refused(Exception):
    """An error that Redis answered."""


class Client:
    """A connection. Each call is one operation."""

    def __init__(self, _, material=True):
        self._socket = socket.create_connection(("127.0.0.1", PORT))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")
        self._sent = []
        self._material = Material(MATERIAL) if material else None
        self._keys = Zipf(KEYS, ZIPF_EXPONENT)
        self._operations = [getattr(self, f"_{name}") for name in MIX]

    def __call__(self):
        random.choices(self._operations, MIX.values())[0]()

    def value(self):
        return self._material.piece(log_normal_size(VALUE_MEDIAN_BYTES, VALUE_SIGMA, 16, VALUE_BYTES_MAX))

    def fields(self):
        return [word for field in ("name", "address", "note")
                for word in (field, self._material.piece(random.randrange(10, 120)))]

    def send(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self._sent.append(b"".join(parts))

    def receive_all(self):
        self._socket.sendall(b"".join(self._sent))
        answers = [self._receive() for _ in self._sent]
        self._sent = []
        return answers

    def call(self, *words):
        self.send(*words)
        return self.receive_all()[0]

    def _receive(self):
        line = self._answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b"*":
            return [self._receive() for _ in range(int(rest))]
        if kind == b"$":
            return self._answers.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        if not line:
            raise ConnectionError("closed by Redis")
        return rest

    def _key(self):
        return f"key:{self._keys.pick()}"

    def _get(self):
        self.call("GET", self._key())

    def _set(self):
        self.call("SET", self._key(), self.value())

    def _count(self):
        self.call("INCR", f"count:{self._keys.pick()}")

    def _get_hash(self):
        self.call("HGETALL", f"hash:{self._keys.pick() % HASHES}")

    def _set_hash(self):
        self.call("HSET", f"hash:{self._keys.pick() % HASHES}", *self.fields()[:2])

    def _push(self):
        name = f"list:{self._keys.pick() % LISTS}"
        self.send("LPUSH", name, self._material.piece(random.randrange(20, 200)))
        self.send("LTRIM", name, 0, LIST_LENGTH - 1)
        self.receive_all()

    def _get_list(self):
        self.call("LRANGE", f"list:{self._keys.pick() % LISTS}", 0, 9)

    def _score(self):
        self.call("ZADD", f"board:{random.randrange(BOARDS)}", random.randrange(10**6), f"player:{self._keys.pick() % 1000}")
