"""`setaccio browse` in a real terminal: tmux, which draws what the program writes, presses keys and tells what is on the screen.

    python tests/python/check_browse.py SETACCIO

SETACCIO is the program, built with debug assertions: of such a one a mistake in drawing can be tried. A build with planted rows is walked
through: lists and counts, a row, searches, another size, the shell and back. However it ends, by q, Ctrl-C, SIGTERM or a panic, the terminal
is as it was before: its settings (`stty -a`), its screen, its cursor. Exits 1 at the first thing that is not as expected.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from server import same

RECIPE = """
name = "planted"
title = "Planted rows"
about = "Rows that want to be more than text."
kind = "text"

[[source]]
name = "web"
schema = "text"
path = "web.jsonl"
language = "it"

[[filter]]
rule = "bad_words"
as = "planted"
words = ["piantato"]

[[filter]]
rule = "length"
min_chars = 40

[dedup]
"""

# A title, a clipboard, colours, a cleared screen, the other screen left, an order turned around.
PLANTED = (
    "Un testo \x1b]0;planted\x07 con \x1b]52;c;cGxhbnRlZA==\x07 codici \x1b[31mrossi\x1b[0m \x1b[2J \x1b[?1049l \x9b2J \u202eoirartnoc\u202c, "
    "e qui piantato."
)


def rows():
    for n in range(60):
        yield f"La riga numero {n} racconta di una casa in via dei Mille {n * 7 + 1}."
    yield PLANTED
    yield "Breve."
    yield "La riga numero 5 racconta di una casa in via dei Mille 36."
    yield "Una riga lunga. " * 400 + "Qui finisce piantato davvero."


class Terminal:
    """A window of tmux with a shell in it."""

    def __init__(self, folder, socket):
        self.folder, self.socket = folder, socket
        # A person's own settings are not asked.
        shell = "env -u NO_COLOR PS1=ready$ LC_ALL=C.UTF-8 bash --norc --noprofile"
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", "-c", folder, shell)
        self.tmux("set-option", "-g", "set-clipboard", "on")
        self.wait("ready\\$")

    def tmux(self, *args):
        command = ["tmux", "-L", self.socket, "-f", "/dev/null", *map(str, args)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def screen(self, *args):
        return self.tmux("capture-pane", "-p", *args)

    def wait(self, pattern, seconds=20):
        """The screen, when it shows this."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            screen = self.screen()
            if re.search(pattern, screen, re.MULTILINE):
                return screen
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} within {seconds} s:\n{self.screen()}")

    def told(self, what):
        return self.tmux("display-message", "-p", what).strip()

    def run(self, command):
        """Start a command on an empty screen; a word says when it has ended, and how."""
        self.type("clear")
        self.keys("Enter")
        self.wait(r"\A\s*ready\$\s*\Z")
        # Not as it is typed.
        self.type(command + "; echo \"ended\"\" with $?\"")
        self.keys("Enter")

    def settings(self, name):
        self.run(f"stty -a > {name}")
        self.wait(r"^ended with 0")
        return (self.folder / name).read_text()

    def child(self):
        """The process that the shell runs."""
        shell = self.told("#{pane_pid}")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.05)
        raise AssertionError("the shell runs nothing")

    def is_as_before(self, how, before):
        """What is left after the program has ended."""
        same(f"the other screen and the cursor, after {how}", self.told("#{alternate_on} #{cursor_flag}"), "0 1")
        same(f"the terminal's settings after {how}", self.settings("after"), before)


def walk(terminal, browse, out):
    ledger = json.loads((out / "ledger.json").read_text())
    rules = {rule["rule"]: rule["dropped"] for stage in ledger["stages"] for rule in stage["rules"]}
    same("rows that rules dropped", rules["planted"], 2)
    title = terminal.told("#{pane_title}")

    terminal.run(browse)
    screen = terminal.wait(r"^Planted rows +all sources$")
    same("the other screen and the cursor", terminal.told("#{alternate_on} #{cursor_flag}"), "1 0")
    for rule, dropped in rules.items():
        if not re.search(rf"^> +{dropped} .* {rule}\b|^  +{dropped} .* {rule}\b", screen, re.MULTILINE):
            raise AssertionError(f"no line with {dropped} rows of {rule}:\n{screen}")

    # The list of the planted rows, and the row with codes in it.
    terminal.type("/planted")
    terminal.keys("Enter")
    terminal.wait(r"^> +2 .*planted")
    terminal.keys("Enter")
    terminal.wait(r"dropped by planted, in the stage screen +1 of 2")
    terminal.type("/codici")
    terminal.keys("Enter")
    # In the list what is marked is in sight.
    terminal.wait(r"^> .*\\u\{202c\}, e qui piantato\.$(?s:.*)quit$")
    terminal.keys("Enter")
    screen = terminal.wait(r"^because +piantato")
    for told in (r"\u{1b}]0;planted\u{7}", r"\u{1b}]52;c;", r"\u{1b}[31mrossi\u{1b}[0m", r"\u{1b}[?1049l", r"\u{9b}2J", r"\u{202e}oirartnoc"):
        if told not in screen.replace("\n", "") and told not in screen.replace("\n", " "):
            raise AssertionError(f"{told} is not shown:\n{screen}")
    same("the title of the window", terminal.told("#{pane_title}"), title)
    clipboard = subprocess.run(["tmux", "-L", terminal.socket, "show-buffer"], capture_output=True, text=True)
    same("the clipboard", (clipboard.returncode, clipboard.stdout), (1, ""))
    coloured = terminal.screen("-e")
    if "\x1b[31m" in coloured.split("codici", 1)[1]:
        raise AssertionError(f"a colour of a row is obeyed:\n{coloured!r}")
    if not re.search(r"\x1b\[[0-9;]*(?:43|48;5;3)m\s*piantato", coloured):
        raise AssertionError(f"what the rule matched is not marked:\n{coloured!r}")

    # The long row beside it: to its end, where the next match is.
    for key, row in (("Right", "row 2, more below"), ("Left", "row 1"), ("Right", "row 2, more below")):
        terminal.keys(key)
        terminal.wait(rf"in the stage screen +{row}$")
    terminal.wait(r"^Una riga lunga\.")
    terminal.type("m")
    terminal.wait(r"Qui finisce piantato davvero")

    # Another size, and back.
    terminal.tmux("resize-window", "-x", "40", "-y", "10")
    terminal.wait(r"^(?=.{0,40}$).*Qui finisce")
    terminal.tmux("resize-window", "-x", "12", "-y", "3")
    terminal.wait(r"too small")
    terminal.tmux("resize-window", "-x", "80", "-y", "24")
    terminal.wait(r"Qui finisce piantato davvero")

    # A row that repeats another, and that one.
    terminal.keys("Escape")
    terminal.keys("Escape")
    terminal.wait(r"all sources")
    terminal.type("/dedup")
    terminal.keys("Enter")
    terminal.keys("Enter")
    terminal.wait(r"dropped by dedup +1 of 1")
    terminal.keys("Enter")
    screen = terminal.wait(r"^it repeats +data/")
    place = re.search(r"^it repeats +(\S+), row (\d+)", screen, re.MULTILINE)
    row = pq.read_table(out / place[1], columns=["text"])["text"][int(place[2])].as_py()
    if " ".join(row.split()) not in " ".join(screen.split()):
        raise AssertionError(f"{place[0]} is not {row!r}:\n{screen}")
    terminal.type("o")
    terminal.wait(r"^\+ kept")

    # The shell and back.
    terminal.keys("C-z")
    terminal.wait(r"ready\$")
    same("the other screen and the cursor in the shell", terminal.told("#{alternate_on} #{cursor_flag}"), "0 1")
    terminal.type("fg; echo \"back\"\" with $?\"")
    terminal.keys("Enter")
    terminal.wait(r"^\+ kept")
    terminal.type("q")
    terminal.wait(r"^back with 0")


def check(setaccio, folder, socket):
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows()), encoding="utf-8")
    subprocess.run([setaccio, "build", folder / "recipe.toml", "--out", folder / "out", "--quiet"], check=True)
    terminal = Terminal(folder, socket)
    before = terminal.settings("before")
    browse = f"{setaccio} browse out"

    walk(terminal, browse, folder / "out")
    terminal.is_as_before("q", before)

    terminal.run(browse)
    terminal.wait(r"Planted rows")
    terminal.keys("C-c")
    terminal.wait(r"^ended with 130")
    terminal.is_as_before("Ctrl-C", before)

    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        terminal.run(browse)
        terminal.wait(r"Planted rows")
        os.kill(terminal.child(), getattr(signal, name))
        terminal.wait(rf"^ended with {128 + getattr(signal, name)}")
        terminal.is_as_before(name, before)

    terminal.run(f"RUST_BACKTRACE=0 SETACCIO_BROWSE_PANIC=1 {browse}")
    screen = terminal.wait(r"^ended with 101")
    if "a frame that cannot be drawn" not in screen:
        raise AssertionError(f"a panic is not told:\n{screen}")
    terminal.is_as_before("a panic", before)

    terminal.run(f"NO_COLOR=1 {browse}")
    terminal.wait(r"Planted rows")
    terminal.type("/planted")
    terminal.keys("Enter", "Enter", "Enter")
    terminal.wait(r"^because +piantato")
    plain = terminal.screen("-e")
    if re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8])[;m]", plain):
        raise AssertionError(f"colours, though NO_COLOR is set:\n{plain!r}")
    if not re.search(r"\x1b\[(?:0;)?7m\s*[Pp]iantato", plain):
        raise AssertionError(f"what the rule matched is not marked without colours:\n{plain!r}")
    terminal.type("q")
    terminal.wait(r"^ended with 0")

    for command in (f"TERM=dumb {browse}", f"{browse} | cat; (exit ${{PIPESTATUS[0]}})", f"{browse} < /dev/null"):
        terminal.run(command)
        terminal.wait(r"^ended with 1$")
        # Lines that the terminal cut are whole again.
        screen = terminal.screen("-J")
        if "setaccio why out ROW" not in screen:
            raise AssertionError(f"{command} names nothing to use instead:\n{screen}")
    terminal.is_as_before("what cannot be drawn", before)


def main(setaccio):
    setaccio = str(Path(setaccio).absolute())
    with tempfile.TemporaryDirectory() as folder:
        socket = f"setaccio-{os.getpid()}"
        try:
            check(setaccio, Path(folder), socket)
        finally:
            subprocess.run(["tmux", "-L", socket, "kill-server"], capture_output=True)
    print("browse: walked through in tmux; after q, Ctrl-C, signals and a panic the terminal is as it was")


if __name__ == "__main__":
    main(*sys.argv[1:])
