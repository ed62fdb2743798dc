"""Builds from and to a bucket of an emulator, which real clients look into.

    python tests/python/check_store.py SETACCIO [s3] [azure]

SETACCIO is a program with the feature `store`. The main recipes are built from the samples in a bucket and put into another; rows are
the same bytes as those of a folder, the store's own client finds every file at the size and hash of the ledger, and `pyarrow` reads the shards where
they lie. Objects come over a line that fails in every way that passes, and expired
credentials are told. Machines that share no disk join a build together, one of which is killed. A build that is killed goes on, in the middle of an
object that goes in parts, too; a second one takes the first one's place, and no part of an upload is left. Exits 1 at the first thing that is not as expected.

`s3` is moto, and what is done unless a store is named. `azure` is Azurite: `npm install azurite`, with AZURITE the path of its `azurite-blob`, and
`pip install azure-storage-blob`.
"""

import hashlib
import io
import itertools
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

import pyarrow.fs
import pyarrow.parquet

RECIPES = ["sft-mix", "dpo-mix", "adapt-it", "clean-web-it"]


def same(what, found, expected):
    if found != expected:
        found, expected = (repr(value)[:300] for value in (found, expected))
        raise AssertionError(f"{what}: found {found}, expected {expected}")


def rows(folder):
    files = [path for sub in ("data", "rejects") for path in Path(folder, sub).glob("*")]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


class S3:
    """A bucket of moto."""

    scheme = "s3"

    def __init__(self):
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        os.environ.update(
            AWS_ENDPOINT_URL=self.endpoint, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1"
        )
        self.client = boto3.client("s3")
        self.client.create_bucket(Bucket="lab")

    def put(self, key, body):
        self.client.put_object(Bucket="lab", Key=key, Body=body)

    def get(self, key):
        return self.client.get_object(Bucket="lab", Key=key)["Body"].read()

    def keys(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="lab", Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def uploads(self):
        return self.client.list_multipart_uploads(Bucket="lab").get("Uploads", [])

    def stop(self):
        self.server.stop()


class Azure:
    """A container of Azurite."""

    scheme = "az"
    # What Azurite publishes for everybody.
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self):
        from azure.storage.blob import BlobServiceClient

        port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        command = [os.environ["AZURITE"], "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", self.folder.name, "--blobPort", str(port)]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(port)
        account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={self.KEY};"
        text = f"{account}BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        os.environ["AZURE_STORAGE_CONNECTION_STRING"] = text
        self.client = BlobServiceClient.from_connection_string(text).create_container("lab")

    def put(self, key, body):
        self.client.upload_blob(key, body, overwrite=True)

    def get(self, key):
        return self.client.download_blob(key).readall()

    def keys(self, prefix):
        return [found.name for found in self.client.list_blobs(name_starts_with=prefix)]

    def uploads(self):
        """Blobs of which there are blocks, and that are none."""
        all_of_them = [found.name for found in self.client.list_blobs(include=["uncommittedblobs"])]
        return sorted(set(all_of_them) - set(self.keys("")))

    def stop(self):
        self.server.terminate()
        self.server.wait()
        self.folder.cleanup()


STORES = {"s3": S3, "azure": Azure}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for_port(port):
    for _ in range(200):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on port {port}")


def objects(store, prefix):
    return {key[len(prefix) :]: store.get(key) for key in store.keys(prefix)}


def stored(store, out):
    current = json.loads(store.get(f"{out}/current.json"))
    return objects(store, f"{out}/{current['folder']}/")


def check_recipes(setaccio, store, temp):
    for name in RECIPES:
        recipe = Path("pipelines", f"{name}.toml")
        text = recipe.read_text()
        for source in tomllib.loads(text)["source"]:
            key = f"{source['name']}/{source['files'][0].replace('**/', '').replace('*', 'x')}"
            sample = recipe.parent.joinpath(source["samples"]).read_bytes()
            Path(temp, name, key).parent.mkdir(parents=True, exist_ok=True)
            Path(temp, name, key).write_bytes(sample)
            store.put(f"in/{name}/{key}", sample)
        more = ["--set", "decontamination.missing=skip"] if "[decontamination]" in text else []
        here, work = Path(temp, name + "-here"), Path(temp, name + "-work")
        run([setaccio, "build", recipe, "--from", Path(temp, name), "--out", here, *more])
        run([setaccio, "build", recipe, "--from", f"{store.scheme}://lab/in/{name}", "--out", f"{store.scheme}://lab/out/{name}",
             "--work", work, *more])
        found = stored(store, f"out/{name}")
        same(f"rows of {name}", {key: value for key, value in found.items() if "/" in key}, rows(here))
        ledger = json.loads(found["ledger.json"])
        for file in ledger["files"]:
            same(file["path"], hashlib.sha256(found[file["path"]]).hexdigest(), file["sha256"])
        run([setaccio, "verify", f"{store.scheme}://lab/out/{name}"])
        print(f"{name}: {len(found)} objects")


def check_readers(s3):
    current = json.loads(s3.get("out/sft-mix/current.json"))
    store = pyarrow.fs.S3FileSystem(endpoint_override=s3.endpoint.removeprefix("http://"), scheme="http", region="us-east-1")
    shards = f"lab/out/sft-mix/{current['folder']}/data"
    table = pyarrow.parquet.read_table(shards, filesystem=store)
    ledger = json.loads(s3.get(f"out/sft-mix/{current['folder']}/ledger.json"))
    same("rows that pyarrow reads", table.num_rows, sum(split["rows"] for split in ledger["splits"]))


def own_recipe(store, temp):
    recipe = Path(temp, "own.toml")
    recipe.write_text(
        "name = 'own'\ntitle = 'Own'\nabout = 'A test.'\nkind = 'text'\n[[source]]\nname = 'web'\nschema = 'text'\n"
        f"path = '{store.scheme}://lab/own'\nlicense = 'mit'\nlanguage = 'it'\n[dedup]\n[read]\ntask_bytes = 20000\n"
    )
    return recipe


def check_kills(setaccio, store, temp):
    recipe = own_recipe(store, temp)
    for number in range(40):
        lines = [json.dumps({"text": f"La riga {number} {i} parla del mare e del cielo di ieri. " * 20}) for i in range(50)]
        store.put(f"own/{number:02}.jsonl", "\n".join(lines).encode())
    whole = Path(temp, "own-here")
    run([setaccio, "build", recipe, "--out", whole])
    out = f"{store.scheme}://lab/out/own"
    command = [setaccio, "build", recipe, "--out", out, "--work", Path(temp, "own-work"), "--jobs", "1"]
    for wait in (0.2, 0.5, 1.0):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
    run(command)
    same("a build that was killed", {k: v for k, v in stored(store, "out/own").items() if "/" in k}, rows(whole))
    first = set(store.keys("out/own/"))
    store.put("own/00.jsonl", json.dumps({"text": "Un'altra riga, del tutto nuova."}).encode())
    run(command)
    second = set(store.keys("out/own/"))
    same("objects of the build before", {key for key in first & second if not key.endswith("current.json")}, set())
    same("uploads that are left", store.uploads(), [])


def check_machines(setaccio, store, temp):
    """Machines that share no disk do slices and join them, one of which is killed."""
    recipe = Path(temp, "near.toml")
    recipe.write_text(own_recipe(store, temp).read_text().replace("[dedup]", "[dedup]\n[dedup.near]\n[dedup.repeats]\nunit = 'sentences'\nspan = 1"))
    drawn = random.Random(11)
    words = [f"{one}{other}" for one in ("mare", "sole", "pane", "vino", "gatto", "libro") for other in "abcdefghi"]
    texts = [" ".join(drawn.choices(words, k=60)) for _ in range(300)]
    texts += [f"{text} fine" for text in texts[:60]] + texts[100:120]
    for number in range(6):
        store.put(f"own/{number:02}.jsonl", "\n".join(json.dumps({"text": text}) for text in texts[number::6]).encode())
    whole, out = Path(temp, "near-here"), f"{store.scheme}://lab/out/near"
    run([setaccio, "build", recipe, "--out", whole])

    def command(machine, part):
        return [str(word) for word in [setaccio, "build", recipe, "--out", out, "--work", Path(temp, f"machine-{machine}"), *part]]

    for number in (1, 2, 3):
        run(command(number, ["--task", f"{number}/3"]))
    child = subprocess.Popen(command(1, ["--finish=1/3"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not any("/near/" in key for key in store.keys("out/near/finish/")):
        time.sleep(0.01)
    same("it was killed while it joined", child.poll(), None)
    child.kill()
    child.wait()
    children = [subprocess.Popen(command(number, [f"--finish={number}/3"]), stdout=subprocess.DEVNULL) for number in (2, 3)]
    same("those that are left join", [child.wait() for child in children], [0, 0])
    run(command(4, ["--finish"]))
    same("what machines joined", {k: v for k, v in stored(store, "out/near").items() if "/" in k}, rows(whole))
    left = [key for key in store.keys("out/near/") if key.startswith(("out/near/work/", "out/near/finish/"))]
    same("what is left of joining", left, [])
    for key in store.keys("own/"):
        store.put(key, json.dumps({"text": f"Una riga di {key}."}).encode())


class Faulty:
    """Stands before a store, and lets every so many requests fail in each way that passes: 500, 503, a slow answer, one that is cut."""

    def __init__(self, endpoint):
        import http.client
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.expired, self.failed = False, {"500": 0, "503": 0, "slow": 0, "cut": 0}
        numbers, lock, proxy = itertools.count(1), threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def refuse(self, code, name):
                body = f"<Error><Code>{name}</Code><Message>{name}</Message></Error>".encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            def answer(self):
                length = self.headers.get("Content-Length")
                body = self.rfile.read(int(length)) if length else None
                with lock:
                    number = next(numbers)
                if proxy.expired:
                    return self.refuse(400, "ExpiredToken")
                how = {3: "500", 6: "503", 9: "slow", 12: "cut"}.get(number % 13)
                if how:
                    with lock:
                        proxy.failed[how] += 1
                if how in ("500", "503"):
                    return self.refuse(int(how), "InternalError" if how == "500" else "SlowDown")
                behind = http.client.HTTPConnection(endpoint.removeprefix("http://"))
                behind.request(self.command, self.path, body, dict(self.headers))
                found = behind.getresponse()
                whole = found.read()
                if how == "slow":
                    time.sleep(0.3)
                self.send_response(found.status)
                for name, value in found.getheaders():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", found.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(whole)))
                self.end_headers()
                if how == "cut" and len(whole) > 1:
                    self.wfile.write(whole[: len(whole) // 2])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                elif self.command != "HEAD":
                    self.wfile.write(whole)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"


def check_failures(setaccio, s3, temp):
    """Small objects over a line on which one request in three fails, then with credentials that have expired; and a thousand of them."""
    for number in range(1000):
        s3.put(f"small/{number:04}.jsonl", json.dumps({"text": f"La riga numero {number} parla di un'altra cosa ancora: {number * 7919}."}).encode())
        Path(temp, "small").mkdir(exist_ok=True)
        Path(temp, "small", f"{number:04}.jsonl").write_bytes(s3.get(f"small/{number:04}.jsonl"))
    text = own_recipe(s3, temp).read_text().replace("[dedup]", "[dedup]\n[dedup.near]")
    here, there = Path(temp, "small-here.toml"), Path(temp, "small-there.toml")
    here.write_text(text.replace("s3://lab/own", str(Path(temp, "small"))))
    there.write_text(text.replace("s3://lab/own", "s3://lab/small"))
    run([setaccio, "build", here, "--out", Path(temp, "small-whole")])
    run([setaccio, "build", there, "--out", Path(temp, "small-straight")])
    same("ids of a thousand objects", ids(rows(Path(temp, "small-straight"))), ids(rows(Path(temp, "small-whole"))))
    # Fewer over the line that fails, which takes its time.
    for recipe, folder in [(here, str(Path(temp, "small"))), (there, "s3://lab/small")]:
        recipe.write_text(recipe.read_text().replace(f"path = '{folder}'", f"path = '{folder}/00*.jsonl'"))
    run([setaccio, "build", here, "--out", Path(temp, "small-whole")])
    faulty = Faulty(s3.endpoint)
    more = {"AWS_ENDPOINT_URL": faulty.endpoint, "SETACCIO_STORE_WAIT_MS": "5"}
    command = [setaccio, "build", there, "--out", "s3://lab/out/small", "--work", Path(temp, "small-work")]
    for part in (["--task", "1/1"], ["--finish=1/1"]):
        run([*command, *part], more)
    faulty.expired = True
    done = subprocess.run([str(word) for word in [*command, "--finish"]], capture_output=True, text=True, env={**os.environ, **more})
    same("expired credentials are told", (done.returncode != 0, "have expired (ExpiredToken)" in done.stderr), (True, True))
    same("nothing was published", s3.keys("out/small/current.json"), [])
    faulty.expired = False
    run([*command, "--finish"], more)
    same("ids over a line that fails", ids(stored(s3, "out/small")), ids(rows(Path(temp, "small-whole"))))
    same("each way of failing was met", [how for how, times in faulty.failed.items() if times < 5], [])
    print(f"a thousand objects, and a hundred with {sum(faulty.failed.values())} requests that failed: {faulty.failed}")


def ids(files):
    """Of the rows that stay, in order. Rejects name files, which lie elsewhere."""
    shards = [io.BytesIO(files[name]) for name in sorted(files) if name.startswith("data/train")]
    return [row for shard in shards for row in pyarrow.parquet.read_table(shard, columns=["id"])["id"].to_pylist()]


def check_parts(setaccio, store, temp):
    """A shard that goes in parts, and a process that is killed between two of them."""
    drawn = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    rows_of = [json.dumps({"text": "".join(drawn.choices(letters, k=60_000))}) for _ in range(1200)]
    for key in store.keys("own/"):
        if key != "own/00.jsonl":
            store.put(key, json.dumps({"text": f"Una riga di {key}."}).encode())
    store.put("own/00.jsonl", "\n".join(rows_of).encode())
    work, out = Path(temp, "parts-work"), f"{store.scheme}://lab/out/parts"
    command = [setaccio, "build", own_recipe(store, temp), "--out", out, "--work", work, "--set", "read.task_bytes=16000000"]
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sent = 0
    while child.poll() is None and sent == 0:
        for journal in work.glob(".setaccio/uploads/**/*.parts.json"):
            try:
                sent = max(sent, len(json.loads(journal.read_text())["parts"]))
            except (OSError, ValueError):
                pass
        time.sleep(0.002)
    same("it was killed between two parts", (child.poll(), sent > 0), (None, True))
    child.kill()
    child.wait()
    run(command)
    found = stored(store, "out/parts")
    same("a build that was killed between parts", {k: v for k, v in found.items() if "/" in k}, rows(work))
    same("its largest object is of several parts", max(map(len, found.values())) > 2 * (16 << 20), True)
    same("uploads that are left", store.uploads(), [])
    run([setaccio, "pull", out, "--out", Path(temp, "parts-back")])
    same("what comes back", rows(Path(temp, "parts-back")), rows(work))


def run(command, more=()):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**os.environ, **dict(more)})
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")


def main():
    setaccio = str(Path(sys.argv[1]).absolute())
    for name in [n for n in os.environ if n.startswith(("AWS_", "AZURE_"))]:
        del os.environ[name]
    for name in sys.argv[2:] or ["s3"]:
        store = STORES[name]()
        try:
            with tempfile.TemporaryDirectory() as temp:
                check_recipes(setaccio, store, temp)
                if name == "s3":
                    check_readers(store)
                    check_failures(setaccio, store, temp)
                check_kills(setaccio, store, temp)
                check_machines(setaccio, store, temp)
                check_parts(setaccio, store, temp)
        finally:
            store.stop()
        print(f"{name}: all as expected")


if __name__ == "__main__":
    main()
