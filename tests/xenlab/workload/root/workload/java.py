"""Java: a search engine, whose documents and index are objects in a heap of generations, with a log that is flushed."""

import random
import struct
import subprocess

from common import HttpConnection, Material, Zipf, clients, folder_for, http_answers, log_normal_size, service, wait_until

FOLDER = "/srv/java"
MATERIAL = f"{FOLDER}/material"
MATERIAL_BYTES = 16 << 20
WORDS = f"{FOLDER}/words"
WORDS_SAMPLE_BYTES = 1 << 20
PORT = 8081
HEAP_MIB = 320
DOCUMENTS = 12_000
DOCUMENT_MEDIAN_BYTES = 1_500
DOCUMENT_SIGMA = 0.8
DOCUMENT_BYTES_MAX = 20_000
CLIENTS = 4
ZIPF_EXPONENT = 0.8
# In percent of the requests.
MIX = {"search": 50, "read": 30, "add": 18, "trend": 2}


def initialise():
    folder_for(FOLDER)
    material = Material.make(MATERIAL, ["/usr/lib/python3", "/usr/lib/python3.11", "/usr/share"],
                             (".py", ".pm", ".pod", ".txt"), MATERIAL_BYTES)
    with open(f"{FOLDER}/documents.log", "wb") as log:
        for _ in range(DOCUMENTS):
            document = material.piece(_document_size())
            log.write(struct.pack(">i", len(document)) + document)
    text = material.piece(WORDS_SAMPLE_BYTES).decode("latin-1").lower()
    with open(WORDS, "w") as file:
        file.write("\n".join(sorted({word for word in text.split() if word.isascii() and word.isalpha() and len(word) > 2})))
    if subprocess.run(["java", "-m", "jdk.compiler/com.sun.tools.javac.Main", "-d", FOLDER,
                       "/workload/Search.java"]).returncode != 0:
        raise SystemExit("javac failed")


def start(rate, count):
    service(["java", f"-Xms{HEAP_MIB}m", f"-Xmx{HEAP_MIB}m", "-Dsun.net.httpserver.nodelay=true", "-cp", FOLDER, "Search",
             FOLDER, DOCUMENTS, PORT])
    wait_until(lambda: http_answers(PORT, "/document/0"), "Java")
    clients(CLIENTS, Client, rate, count)


def _document_size():
    return log_normal_size(DOCUMENT_MEDIAN_BYTES, DOCUMENT_SIGMA, 100, DOCUMENT_BYTES_MAX)


class Client(HttpConnection):
    """A connection that is kept. Each call is one request."""

    def __init__(self, _):
        super().__init__(PORT)
        self._material = Material(MATERIAL)
        self._documents = Zipf(DOCUMENTS, ZIPF_EXPONENT)
        with open(WORDS) as file:
            self._words = file.read().split("\n")
        self._frequent = Zipf(len(self._words), ZIPF_EXPONENT)
        self._operations = [getattr(self, f"_{name}") for name in MIX]

    def __call__(self):
        random.choices(self._operations, MIX.values())[0]()

    def _search(self):
        words = [self._words[self._frequent.pick()] for _ in range(random.randint(1, 3))]
        self.request("GET", "/search/" + "+".join(words))

    def _read(self):
        self.request("GET", f"/document/{self._documents.pick()}")

    def _add(self):
        self.request("POST", "/document/", self._material.piece(_document_size()))

    def _trend(self):
        self.request("GET", "/trend/")
