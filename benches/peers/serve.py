"""Time to the first token and tokens a second of the server, transformers and llama.cpp: see benches/serve.sh.

    python benches/peers/serve.py SETACCIO MODEL.gguf LLAMA_PACKAGES PROMPT NEW
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


LLAMA = """
const [packages, file, ids, count, threads] = JSON.parse(process.argv[1]);
const { getLlama } = await import("file://" + packages + "/node_modules/node-llama-cpp/dist/index.js");
const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, maxThreads: threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: 1024, threads, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" });
const sequence = context.getSequence();
let best = null;
for (let i = 0; i < 3; i++) {
    await sequence.clearHistory();
    const began = performance.now();
    let first = 0, n = 0;
    for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        if (!n++) first = performance.now() - began;
        if (n === count) break;
    }
    const whole = performance.now() - began;
    if (!best || whole < best[1]) best = [first, whole];
}
console.log(JSON.stringify([best[0] / 1000, (count - 1) / (best[1] - best[0]) * 1000]));
process.exit(0);
"""


def llama_cpp(packages, model, ids, new):
    told = json.dumps([packages, model, ids, new, THREADS])
    done = subprocess.run(["node", "--input-type=module", "-e", LLAMA, told], capture_output=True, text=True)
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if "Error" in line] or ["no reason is told"]
        return "llama.cpp", None, why[0][:80]
    first, rate = json.loads(done.stdout.strip().splitlines()[-1])
    return "llama.cpp", first, rate


def main(setaccio, model, packages, prompt, new):
    new = int(new)
    ids = [(i * 7919) % 40000 + 100 for i in range(int(prompt))]
    rows, through = ours(setaccio, model, ids, new)
    rows.append(transformers(model, ids, new))
    rows.append(llama_cpp(packages, model, ids, new))
    print(f"\n| {prompt} tokens of prompt, {new} new, f32 | seconds to the first token | tokens/s after it |\n|---|---:|---:|")
    for name, first, rate in rows:
        print(f"| {name} | {first:.2f} | {rate:.1f} |" if first else f"| {name} | not run: {rate} | |")
    print("\n| clients | tokens/s of all |\n|---:|---:|")
    for clients, rate in through:
        print(f"| {clients} | {rate:.1f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
