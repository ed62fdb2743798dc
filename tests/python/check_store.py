"""Builds from and to a bucket of moto, which real clients look into.

    python tests/python/check_store.py SETACCIO

SETACCIO is a program with the feature `store`. The main recipes are built from the samples in a bucket and put into another; rows are
the same bytes as those of a folder, `boto3` finds every file at the size and hash of the ledger, and `pyarrow` reads the shards where
they lie. A build that is killed goes on; a second one takes the first one's place, and no part of an upload is left. Exits 1 at the
first thing that is not as expected.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import boto3
import pyarrow.fs
import pyarrow.parquet
from moto.server import ThreadedMotoServer

RECIPES = ["sft-mix", "dpo-mix", "adapt-it", "clean-web-it"]


def same(what, found, expected):
    if found != expected:
        found, expected = (repr(value)[:300] for value in (found, expected))
        raise AssertionError(f"{what}: found {found}, expected {expected}")


def rows(folder):
    files = [path for sub in ("data", "rejects") for path in Path(folder, sub).iterdir()]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def objects(s3, bucket, prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {key[len(prefix) :]: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def stored(s3, out):
    current = json.loads(s3.get_object(Bucket="lab", Key=f"{out}/current.json")["Body"].read())
    return objects(s3, "lab", f"{out}/{current['folder']}/")


def check_recipes(setaccio, s3, temp):
    for name in RECIPES:
        recipe = Path("pipelines", f"{name}.toml")
        text = recipe.read_text()
        for source in tomllib.loads(text)["source"]:
            key = f"{source['name']}/{source['files'][0].replace('**/', '').replace('*', 'x')}"
            sample = recipe.parent.joinpath(source["samples"]).read_bytes()
            Path(temp, name, key).parent.mkdir(parents=True, exist_ok=True)
            Path(temp, name, key).write_bytes(sample)
            s3.put_object(Bucket="lab", Key=f"in/{name}/{key}", Body=sample)
        more = ["--set", "decontamination.missing=skip"] if "[decontamination]" in text else []
        here, work = Path(temp, name + "-here"), Path(temp, name + "-work")
        run([setaccio, "build", recipe, "--from", Path(temp, name), "--out", here, *more])
        run([setaccio, "build", recipe, "--from", f"s3://lab/in/{name}", "--out", f"s3://lab/out/{name}", "--work", work, *more])
        found = stored(s3, f"out/{name}")
        same(f"rows of {name}", {key: value for key, value in found.items() if "/" in key}, rows(here))
        ledger = json.loads(found["ledger.json"])
        for file in ledger["files"]:
            same(file["path"], hashlib.sha256(found[file["path"]]).hexdigest(), file["sha256"])
        run([setaccio, "verify", f"s3://lab/out/{name}"])
        print(f"{name}: {len(found)} objects")


def check_readers(s3, endpoint):
    current = json.loads(s3.get_object(Bucket="lab", Key="out/sft-mix/current.json")["Body"].read())
    store = pyarrow.fs.S3FileSystem(endpoint_override=endpoint.removeprefix("http://"), scheme="http", region="us-east-1")
    shards = f"lab/out/sft-mix/{current['folder']}/data"
    table = pyarrow.parquet.read_table(shards, filesystem=store)
    ledger = json.loads(s3.get_object(Bucket="lab", Key=f"out/sft-mix/{current['folder']}/ledger.json")["Body"].read())
    same("rows that pyarrow reads", table.num_rows, sum(split["rows"] for split in ledger["splits"]))


def check_kills(setaccio, s3, temp):
    recipe = Path(temp, "own.toml")
    recipe.write_text(
        "name = 'own'\ntitle = 'Own'\nabout = 'A test.'\nkind = 'text'\n[[source]]\nname = 'web'\nschema = 'text'\n"
        "path = 's3://lab/own'\nlicense = 'mit'\nlanguage = 'it'\n[dedup]\n[read]\ntask_bytes = 20000\n"
    )
    for number in range(40):
        lines = [json.dumps({"text": f"La riga {number} {i} parla del mare e del cielo di ieri. " * 20}) for i in range(50)]
        s3.put_object(Bucket="lab", Key=f"own/{number:02}.jsonl", Body="\n".join(lines).encode())
    whole = Path(temp, "own-here")
    run([setaccio, "build", recipe, "--out", whole])
    command = [setaccio, "build", recipe, "--out", "s3://lab/out/own", "--work", Path(temp, "own-work"), "--jobs", "1"]
    for wait in (0.2, 0.5, 1.0):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
    run(command)
    same("a build that was killed", {k: v for k, v in stored(s3, "out/own").items() if "/" in k}, rows(whole))
    first = set(objects(s3, "lab", "out/own/"))
    s3.put_object(Bucket="lab", Key="own/00.jsonl", Body=json.dumps({"text": "Un'altra riga, del tutto nuova."}).encode())
    run(command)
    second = set(objects(s3, "lab", "out/own/"))
    same("objects of the build before", {key for key in first & second if key != "current.json"}, set())
    same("uploads that are left", s3.list_multipart_uploads(Bucket="lab").get("Uploads", []), [])


def run(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")


def main():
    setaccio = str(Path(sys.argv[1]).absolute())
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1"
    )
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="lab")
    with tempfile.TemporaryDirectory() as temp:
        check_recipes(setaccio, s3, temp)
        check_readers(s3, endpoint)
        check_kills(setaccio, s3, temp)
    server.stop()
    print("stores: all as expected")


if __name__ == "__main__":
    main()
