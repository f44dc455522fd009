"""nginx with a few thousand files, uploads, an access log and a cache, before a handler that keeps comments in SQLite."""

import http.server
import os
import random
import sqlite3

from common import HttpConnection, Material, Zipf, clients, folder_for, http_answers, log_normal_size, service, wait_until

FOLDER = "/srv/web"
FILES_FOLDER = f"{FOLDER}/files"
DATABASE = f"{FOLDER}/database/comments"
MATERIAL = f"{FOLDER}/material"
USER = "www-data"
MATERIAL_BYTES = 32 << 20
PORT = 80
HANDLER_PORT = 8080
FILES = 4_000
FOLDERS = 64
FILE_MEDIAN_BYTES = 12 << 10
FILE_SIGMA = 1.5
FILE_BYTES_MAX = 2 << 20
UPLOADS = 1_000
ARTICLES = 2_000
COMMENTS = 20_000
COMMENT_BYTES = (50, 1_000)
COMMENTS_SHOWN = 20
CLIENTS = 4
ZIPF_EXPONENT = 0.8
# In percent of the requests.
MIX = {"file": 62, "unchanged_file": 12, "read_comments": 16, "comment": 6, "upload": 4}


def initialise():
    folder_for(FOLDER, USER)
    folder_for(os.path.dirname(DATABASE))
    material = Material.make(MATERIAL, ["/usr/lib", "/usr/share", "/usr/bin"], "", MATERIAL_BYTES)
    for folder in ("uploads", *(f"d{number:02}" for number in range(FOLDERS))):
        folder_for(f"{FILES_FOLDER}/{folder}", USER)
    for number in range(FILES):
        with open(FILES_FOLDER + path_of(number), "wb") as file:
            file.write(material.piece(_file_size()))
    with sqlite3.connect(DATABASE) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE comment (number INTEGER PRIMARY KEY, article INTEGER, text TEXT)")
        database.execute("CREATE INDEX by_article ON comment (article, number)")
        database.executemany("INSERT INTO comment (article, text) VALUES (?, ?)",
                             ((random.randrange(ARTICLES), _comment(material)) for _ in range(COMMENTS)))


def path_of(number):
    return f"/d{number % FOLDERS:02}/{number:04}.html"


def start(rate, count):
    if os.fork() == 0:
        http.server.HTTPServer(("127.0.0.1", HANDLER_PORT), Handler).serve_forever()
    service(["nginx", "-c", "/workload/web.conf"])
    wait_until(lambda: http_answers(PORT, "/comments/0"), "nginx and its handler")
    clients(CLIENTS, Client, rate, count)


def _file_size():
    return log_normal_size(FILE_MEDIAN_BYTES, FILE_SIGMA, 200, FILE_BYTES_MAX)


def _comment(material):
    return material.piece(random.randrange(*COMMENT_BYTES)).decode("ascii", "replace")


class Handler(http.server.BaseHTTPRequestHandler):
    """Shows an article's newest comments, and takes new ones: each is in the database before it is answered."""

    _database = None

    def do_GET(self):
        rows = self._connection().execute("SELECT number, text FROM comment WHERE article = ? "
                                          "ORDER BY number DESC LIMIT ?", (self._article(), COMMENTS_SHOWN))
        self._answer("".join(f"<p id={number}>{text}</p>\n" for number, text in rows))

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8", "replace")
        with self._connection() as database:
            database.execute("INSERT INTO comment (article, text) VALUES (?, ?)", (self._article(), text))
        self._answer("thank you\n")

    def log_message(self, *_):
        pass

    def _article(self):
        return int(self.path.rpartition("/")[2])

    def _answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @classmethod
    def _connection(cls):
        if cls._database is None:
            cls._database = sqlite3.connect(DATABASE)
            cls._database.execute("PRAGMA synchronous=FULL")
        return cls._database


class Client(HttpConnection):
    """A connection that is kept. Each call is one request."""

    def __init__(self, _):
        super().__init__(PORT)
        self._material = Material(MATERIAL)
        self._files = Zipf(FILES, ZIPF_EXPONENT)
        self._articles = Zipf(ARTICLES, ZIPF_EXPONENT)
        self._operations = [getattr(self, f"_{name}") for name in MIX]
        self._etags = {}  # of the files that it has, as a browser's cache

    def __call__(self):
        random.choices(self._operations, MIX.values())[0]()

    def _file(self):
        path = path_of(self._files.pick())
        self._etags[path] = self.request("GET", path).headers["ETag"]

    def _unchanged_file(self):
        if not self._etags:
            self._file()
        path = random.choice(list(self._etags))
        self.request("GET", path, headers={"If-None-Match": self._etags[path]})

    def _read_comments(self):
        self.request("GET", f"/comments/{self._articles.pick()}")

    def _comment(self):
        self.request("POST", f"/comments/{self._articles.pick()}", _comment(self._material).encode())

    def _upload(self):
        self.request("PUT", f"/uploads/{random.randrange(UPLOADS)}", self._material.piece(_file_size()))
