"""Dovecot with many mailboxes: mails come by LMTP, and their owners read, mark, search and delete by IMAP."""

import base64
import imaplib
import random
import smtplib
import subprocess

from common import Material, Zipf, clients, folder_for, log_normal_size, service, wait_until

FOLDER = "/srv/mail"
TEXT = "/srv/mail-material/text"
ATTACHMENTS = "/srv/mail-material/attachments"
CONFIG = "/workload/dovecot.conf"
LMTP = "/run/dovecot/lmtp"
USERS = 300
MAILS_PER_USER = 40
TEXT_MEDIAN_BYTES = 5000
TEXT_SIGMA = 1.1
ATTACHMENT_SHARE = 0.06
ATTACHMENT_BYTES = (20_000, 150_000)
CLIENTS = 6
FILLERS = 4
ZIPF_EXPONENT = 0.7
SESSION_OPERATIONS = 12
# In percent of the operations.
MIX = {"deliver": 25, "read": 30, "overview": 15, "mark": 15, "status": 6, "search": 4, "tidy": 5}
OVERVIEW_MAILS = 20


def initialise():
    folder_for(FOLDER, "mail")
    folder_for("/srv/mail-material")
    Material.make(TEXT, ["/usr/lib/python3", "/usr/lib/python3.11", "/usr/share", "/usr/include"],
                  (".py", ".txt", ".pod", ".h", ".conf", ".pm"), 16 << 20)
    Material.make(ATTACHMENTS, ["/usr/bin", "/usr/lib"], "", 16 << 20)
    server = _start_server("-o", "mail_fsync=never")
    fill = "import mail, sys; mail.fill(int(sys.argv[1]))"
    fillers = [subprocess.Popen(["python3", "-c", fill, str(index)], cwd="/workload") for index in range(FILLERS)]
    assert not any(filler.wait() for filler in fillers)
    server.terminate()
    server.wait()


def fill(index):
    random.seed(index)
    post = Post()
    for user in range(index, USERS, FILLERS):
        for _ in range(MAILS_PER_USER):
            post.deliver(user)


def start(rate, count):
    _start_server()
    clients(CLIENTS, Client, rate, count)


def _start_server(*options):
    folder_for("/run/dovecot")
    server = service(["dovecot", "-F", "-c", CONFIG, *options])
    wait_until(_answers, "Dovecot")
    return server


def _answers():
    try:
        smtplib.LMTP(LMTP).quit()
        imaplib.IMAP4("127.0.0.1").logout()
        return True
    except OSError:
        return False


def name_of(user):
    return f"user{user:03}"


class Post:
    """Delivers new mails over one connection."""

    def __init__(self):
        self._text = Material(TEXT)
        self._attachments = Material(ATTACHMENTS)
        self._connection = smtplib.LMTP(LMTP)

    def deliver(self, user):
        sender = f"{name_of(random.randrange(USERS))}@example.com"
        self._connection.sendmail(sender, f"{name_of(user)}@example.com", self._mail(sender, user))

    def _mail(self, sender, user):
        size = log_normal_size(TEXT_MEDIAN_BYTES, TEXT_SIGMA, 200, 100_000)
        text = self._text.piece(size).replace(b"\0", b" ").decode("ascii", "replace").replace("\ufffd", "?")
        subject = " ".join(text[:200].split()[:6]) or "no subject"
        number = random.getrandbits(64)
        lines = [f"From: {sender}", f"To: {name_of(user)}@example.com", f"Subject: {subject}",
                 f"Message-ID: <{number:016x}@example.com>", "Date: Tue, 2 Jan 2024 09:00:00 +0000", "MIME-Version: 1.0"]
        if random.random() < ATTACHMENT_SHARE:
            attachment = base64.encodebytes(self._attachments.piece(random.randrange(*ATTACHMENT_BYTES))).decode()
            lines += [f'Content-Type: multipart/mixed; boundary="{number:016x}"', "", f"--{number:016x}",
                      "Content-Type: text/plain", "", text, f"--{number:016x}",
                      "Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64", "",
                      attachment, f"--{number:016x}--"]
        else:
            lines += ["Content-Type: text/plain", "", text]
        return "\n".join(lines) + "\n"


class Client:
    """Delivers mails and has short IMAP sessions of random users. Each call is one operation."""

    def __init__(self, _):
        self._post = Post()
        self._users = Zipf(USERS, ZIPF_EXPONENT)
        self._session = None
        self._operations = [getattr(self, f"_{name}") for name in MIX]

    def __call__(self):
        operation, = random.choices(self._operations, MIX.values())
        if operation == self._deliver:
            self._deliver()
            return
        if not self._session or self._left == 0:
            self._next_session()
        self._left -= 1
        if self._mails:
            operation()
        else:
            self._status()

    def _next_session(self):
        if self._session:
            self._session.logout()
        self._session = imaplib.IMAP4("127.0.0.1")
        self._session.login(name_of(self._users.pick()), "mail")
        self._left = SESSION_OPERATIONS
        self._count(self._session.select())

    def _count(self, answer):
        self._mails = int(answer[1][0])

    def _any(self):
        return str(random.randint(1, self._mails))

    def _deliver(self):
        self._post.deliver(self._users.pick())

    def _read(self):
        self._session.fetch(self._any(), "(FLAGS BODY[])")

    def _overview(self):
        first = max(1, self._mails - OVERVIEW_MAILS + 1)
        self._session.fetch(f"{first}:{self._mails}", "(UID FLAGS RFC822.SIZE ENVELOPE)")

    def _mark(self):
        change = random.choice(("+FLAGS", "-FLAGS"))
        self._session.store(self._any(), change, random.choice((r"(\Seen)", r"(\Flagged)", r"(\Answered)")))

    def _status(self):
        self._session.noop()
        self._session.status("INBOX", "(MESSAGES UNSEEN RECENT)")

    def _search(self):
        self._session.search(None, "SUBJECT", random.choice(("import", "the", "return", "define", "copyright")))

    def _tidy(self):
        """Deletes the oldest mails, as many as have come: the mailboxes stay as large as they are."""
        surplus = self._mails - MAILS_PER_USER
        if surplus > 0:
            self._session.store(f"1:{surplus}", "+FLAGS.SILENT", r"(\Deleted)")
            self._session.expunge()
        self._count(self._session.select())
