"""A `setaccio serve` of its own for those that ask it."""

import re
import signal
import subprocess


class Server:
    def __init__(self, setaccio, run, *args):
        command = [setaccio, "serve", str(run), "--port", "0", "--device", "cpu", *args]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = None
        for line in self.process.stderr:
            if found := re.match(r"(http://\S+)/v1", line):
                self.url = found[1]
                break
        assert self.url, "the server did not start"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.stderr.read()
        assert self.process.wait(60) == 0, "it ends cleanly"


def same(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")
