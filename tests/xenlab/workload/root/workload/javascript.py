"""Node.js: a shop with sessions in a heap whose live objects the garbage collector moves, and with logs and files."""

import json
import random

from common import HttpConnection, Material, Zipf, clients, folder_for, http_answers, log_normal_size, service, wait_until

FOLDER = "/srv/javascript"
MATERIAL = f"{FOLDER}/material"
MATERIAL_BYTES = 8 << 20
PORT = 8000
PRODUCTS = 5_000
TITLE_WORDS = 5
DESCRIPTION_MEDIAN_BYTES = 3_000
DESCRIPTION_SIGMA = 1.0
SESSIONS = 30_000
NOTE_BYTES = (10, 200)
CLIENTS = 4
ZIPF_EXPONENT = 0.8
# In tenths of a percent of the requests.
MIX = {"product": 440, "put": 250, "look": 230, "search": 20, "order": 55, "report": 5}


def initialise():
    folder_for(FOLDER)
    material = Material.make(MATERIAL, ["/usr/lib/python3", "/usr/lib/python3.11", "/usr/share"],
                             (".py", ".pm", ".pod", ".txt"), MATERIAL_BYTES)
    words = _words(material)
    products = []
    for number in range(PRODUCTS):
        folder = folder_for(f"{FOLDER}/products/{number % 100}")
        title = " ".join(random.choices(words, k=TITLE_WORDS)).title()
        products.append({"title": title, "left": random.randrange(10_000)})
        size = log_normal_size(DESCRIPTION_MEDIAN_BYTES, DESCRIPTION_SIGMA, 100, 100_000)
        with open(f"{folder}/{number}.json", "w") as file:
            json.dump({"title": title, "description": _text(material, size)}, file)
    with open(f"{FOLDER}/products.json", "w") as file:
        json.dump(products, file)


def start(rate, count):
    service(["node", "/workload/javascript.js"])
    wait_until(lambda: http_answers(PORT, "/product/0"), "Node.js")
    clients(CLIENTS, Client, rate, count)


def _text(material, size):
    return material.piece(size).decode("ascii", "replace")


def _words(material):
    return sorted({word.lower() for word in _text(material, 200_000).split() if word.isalpha()})


class Client(HttpConnection):
    """A connection that is kept. Each call is one request of a random session."""

    def __init__(self, _):
        super().__init__(PORT)
        self._material = Material(MATERIAL)
        self._products = Zipf(PRODUCTS, ZIPF_EXPONENT)
        self._sessions = Zipf(SESSIONS, ZIPF_EXPONENT)
        with open(f"{FOLDER}/products.json") as file:
            self._words = sorted({word for product in json.load(file) for word in product["title"].lower().split()})
        self._operations = [getattr(self, f"_{name}") for name in MIX]

    def __call__(self):
        random.choices(self._operations, MIX.values())[0]()

    def _session(self):
        return f"session-{self._sessions.pick()}"

    def _product(self):
        self.request("GET", f"/product/{self._products.pick()}")

    def _put(self):
        self.request("POST", f"/cart/{self._session()}", json.dumps({
            "product": self._products.pick(), "number": random.randint(1, 5),
            "note": _text(self._material, random.randrange(*NOTE_BYTES))}))

    def _look(self):
        self.request("GET", f"/cart/{self._session()}")

    def _search(self):
        self.request("GET", f"/search/{random.choice(self._words)}")

    def _order(self):
        self.request("POST", f"/order/{self._session()}")

    def _report(self):
        self.request("GET", "/report")
