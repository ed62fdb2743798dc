"""`setaccio serve` under load and under nonsense.

    python tests/python/soak_serve.py SETACCIO [REQUESTS] [SECONDS]

REQUESTS (10,000) of mixed lengths from 32 clients, every twentieth of which goes away before it is answered: each answer must be that of
the same request alone (greedy), and memory must not grow from the first half to the second. Then bodies that are torn, mixed and
mutated for SECONDS (600): each is answered with a status that says what it is, and the server still answers. Then a SIGTERM while 16
answers are written: all of them come to their end.
"""

import http.client
import json
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "oracles/serve"))
from server import Server, same  # noqa: E402
from tasks import TEXT, make  # noqa: E402

CLIENTS = 32
WRITE = "/v1/completions"


def ask(url, path, body, leave=False):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    if leave:
        time.sleep(random.random() / 20)
        connection.close()
        return None, b""
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def resident(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def text_of(data):
    return json.loads(data)["choices"][0]["text"]


def load(server, requests):
    rng = random.Random(3)
    bodies = []
    for i in range(200):
        start = rng.randrange(len(TEXT) - 80)
        prompt = TEXT[start : start + rng.randrange(5, 80)] * rng.randrange(1, 4)
        body = {"model": ["base", "run"][i % 2], "prompt": prompt, "max_tokens": rng.randrange(1, 24), "temperature": 0}
        bodies.append(json.dumps(body))
    alone = [text_of(ask(server.url, WRITE, body)[1]) for body in bodies]
    wrong, memory, done = [], [], [0]

    def client(number):
        own = random.Random(number)
        for i in range(number, requests, CLIENTS):
            at = own.randrange(len(bodies))
            status, data = ask(server.url, WRITE, bodies[at], leave=i % 20 == 7)
            if status is not None and (status != 200 or text_of(data) != alone[at]):
                wrong.append((at, status, data[:200]))
            done[0] += 1
            if done[0] in (requests // 2, requests):
                memory.append(resident(server.process.pid))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    began = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same("wrong answers", wrong, [])
    seconds = time.time() - began
    print(f"{requests} requests in {seconds:.0f} s, {requests // 20} went away; MiB at half and at the end: "
          + ", ".join(f"{m:.0f}" for m in memory))
    assert memory[-1] < memory[0] * 1.05 + 8, "memory grows"


def nonsense(server, seconds):
    rng = random.Random(5)
    user = [{"role": "user", "content": "Ciao"}]
    seeds = {
        WRITE: [{"prompt": "Il treno", "max_tokens": 2, "logprobs": 1, "echo": True, "stop": ["a"], "n": 2, "seed": 1},
                {"prompt": [1, 2, 3], "max_tokens": 1}, {"prompt": ["a", "b"], "max_tokens": 1, "stream": True}],
        "/v1/chat/completions": [{"messages": user, "max_tokens": 2, "tools": [{}], "top_logprobs": 1, "logprobs": True}],
        "/v1/embeddings": [{"input": ["a", "b"], "dimensions": 4, "encoding_format": "base64"}],
        "/tokenize": [{"prompt": "a"}, {"messages": user}], "/detokenize": [{"tokens": [1, 2]}],
    }
    odd = [None, True, -1, 0, 1e308, 2**63, -(2**63), "", "\u0000", "é" * 50, [], {}, [None], {"a": []}, [[1], "a"], "[" * 300]

    def mutated(value):
        if rng.random() < 0.15:
            return rng.choice(odd)
        if isinstance(value, dict):
            return {key: mutated(v) for key, v in value.items() if rng.random() > 0.05}
        if isinstance(value, list):
            return [mutated(v) for v in value] * rng.choice([1, 1, 1, 0, 2])
        return value

    seen, began = {}, time.time()
    while time.time() - began < seconds:
        path = rng.choice(list(seeds))
        body = mutated(rng.choice(seeds[path]))
        if isinstance(body, dict):
            body["max_tokens"] = body.get("max_tokens") if not isinstance(body.get("max_tokens"), int) else min(3, body["max_tokens"])
        data = bytearray(json.dumps(body).encode())
        for _ in range(rng.choice([0, 0, 1, 3])):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        data = bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data)
        if path in (WRITE, "/v1/chat/completions") and b"max_tokens" not in data:
            continue
        status, answer = ask(server.url, path, data)
        seen[status] = seen.get(status, 0) + 1
        if status not in (200, 400, 404, 413):
            raise AssertionError(f"{path} {data!r}: {status} {answer[:300]!r}")
    print(f"{sum(seen.values())} odd bodies: " + ", ".join(f"{n} with {status}" for status, n in sorted(seen.items())))


def end(server):
    answers = []

    def client():
        body = json.dumps({"prompt": "Il treno", "max_tokens": 200, "temperature": 0})
        answers.append(ask(server.url, WRITE, body))

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    same("answers at the end", [status for status, _ in answers], [200] * 16)
    same("the texts", len({text_of(data) for _, data in answers}), 1)
    same("the exit code", server.process.wait(60), 0)
    print("16 answers were written to their end after SIGTERM")


def main(setaccio, requests="10000", seconds="600"):
    with tempfile.TemporaryDirectory() as folder:
        run = make(setaccio, folder)
        with Server(setaccio, run, "--kv-cache", "16") as server:
            threading.Thread(target=lambda: [None for _ in server.process.stderr], daemon=True).start()
            load(server, int(requests))
            nonsense(server, float(seconds))
            same("it still answers", ask(server.url, WRITE, json.dumps({"prompt": "a", "max_tokens": 1}))[0], 200)
            end(server)


if __name__ == "__main__":
    main(*sys.argv[1:])
