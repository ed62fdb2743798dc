"""Time to the first token and tokens a second of the server, transformers and llama.cpp: see benches/serve.sh.

    python benches/peers/serve.py SETACCIO MODEL.gguf PROMPT NEW
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
THREADS = os.cpu_count()


def ask(url, body):
    """Seconds to the first token, seconds in all, and tokens."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=900)
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps({**body, "stream": True, "temperature": 0, "logprobs": 0}))
    answer = connection.getresponse()
    first, tokens = None, 0
    for line in answer:
        if line.startswith(b"data: {"):
            logprobs = json.loads(line[6:])["choices"][0]["logprobs"]
            if logprobs and logprobs["tokens"]:
                first = first or time.perf_counter() - began
                tokens += len(logprobs["tokens"])
    connection.close()
    return first, time.perf_counter() - began, tokens


def ours(setaccio, model, ids, new):
    command = [setaccio, "serve", model, "--port", "0", "--jobs", str(THREADS), "--device", "cpu", "--kv-cache", "4096"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = next(found[1] for line in server.stderr if (found := re.match(r"(http://\S+)/v1", line)))
    threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
    body = lambda i: {"prompt": [i % 1000 + 1000, *ids[1:]], "max_tokens": new}  # noqa: E731
    ask(url, {"prompt": ids[:8], "max_tokens": 2})
    first, whole, tokens = min((ask(url, body(i)) for i in range(3)), key=lambda t: t[1])
    rows = [("setaccio serve", first, (tokens - 1) / (whole - first))]
    through = []
    for clients in (1, 8, 32):
        counts = []
        work = lambda n: counts.append(ask(url, {"prompt": [n + 2000, *ids[1:64]], "max_tokens": new})[2])  # noqa: E731
        threads = [threading.Thread(target=work, args=(clients * 100 + n,)) for n in range(clients)]
        began = time.perf_counter()
        [t.start() for t in threads]
        [t.join() for t in threads]
        through.append((clients, sum(counts) / (time.perf_counter() - began)))
    server.send_signal(signal.SIGTERM)
    server.wait()
    return rows, through


def transformers(model, ids, new):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    folder, name = str(Path(model).parent), Path(model).name
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    prompt = torch.tensor([ids])
    with torch.inference_mode():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            loaded.generate(prompt, max_new_tokens=1, do_sample=False)
            first = time.perf_counter() - began
            began = time.perf_counter()
            loaded.generate(prompt, max_new_tokens=new, min_new_tokens=new, do_sample=False)
            times.append((time.perf_counter() - began, first))
    whole, first = min(times)
    return "transformers, PyTorch", first, (new - 1) / (whole - first)


def llama_cpp(model, ids, new):
    """By its server, as ours is asked, one request after another."""
    try:
        import xllamacpp
    except ImportError as error:
        return "llama.cpp", None, str(error)
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.cache_prompt = 1024, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.port, params.verbosity = 0, 0
    server = xllamacpp.Server(params)
    address = server.listening_address.removeprefix("http://")
    best = None
    for _ in range(3):
        connection = http.client.HTTPConnection(address, timeout=900)
        asked = {"prompt": ids, "n_predict": new, "temperature": 0, "ignore_eos": True, "cache_prompt": False, "stream": True}
        began = time.perf_counter()
        connection.request("POST", "/completion", json.dumps(asked), {"Content-Type": "application/json"})
        first, tokens = None, 0
        for line in connection.getresponse():
            if line.startswith(b"data: {"):
                told = json.loads(line[6:])
                if told.get("tokens") or (told.get("content") and not told.get("stop")):
                    first = first or time.perf_counter() - began
                tokens = told.get("tokens_predicted", tokens)
        whole = time.perf_counter() - began
        connection.close()
        if tokens != new:
            return "llama.cpp", None, f"{tokens} tokens instead of {new}"
        best = min(best or (whole, first), (whole, first))
    whole, first = best
    return f"llama.cpp (xllamacpp {version('xllamacpp')})", first, (new - 1) / (whole - first)


def main(setaccio, model, prompt, new):
    new = int(new)
    ids = [(i * 7919) % 40000 + 100 for i in range(int(prompt))]
    rows, through = ours(setaccio, model, ids, new)
    rows.append(transformers(model, ids, new))
    rows.append(llama_cpp(model, ids, new))
    print(f"\n| {prompt} tokens of prompt, {new} new, f32 | seconds to the first token | tokens/s after it |\n|---|---:|---:|")
    for name, first, rate in rows:
        print(f"| {name} | {first:.2f} | {rate:.1f} |" if first else f"| {name} | not run: {rate} | |")
    print("\n| clients | tokens/s of all |\n|---:|---:|")
    for clients, rate in through:
        print(f"| {clients} | {rate:.1f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
