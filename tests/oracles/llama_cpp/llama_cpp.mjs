// What a real llama.cpp makes of the GGUF files that ours writes.
//
//     npm install --ignore-scripts --prefix ~/.cache/setaccio-llama node-llama-cpp     (outside of the repository)
//     SETACCIO_ORACLE_OUT=/tmp/gguf cargo test -p setaccio-train --test oracles -- --ignored llama_cpp::write_for
//     node tests/oracles/llama_cpp/llama_cpp.mjs ~/.cache/setaccio-llama /tmp/gguf [NAME.gguf ...]
//
// Writes llama_cpp.json beside it; where files are named, the others keep what it says. For every NAME.gguf of the folder: its SHA-256, whether a text starts with BOS, and
// for each of ten Italian prompts the ids that llama.cpp cuts it into and the tokens that it goes on with, the most
// probable one each time, without sampling. For lora-base.gguf: logits [5][64] of the ids of peft_files.json, without
// and with lora.gguf; with lora-tables.gguf, an adapter upon embedding and head (tables_peft/llama_cpp). Keys and values of the attention are kept in f32, as ours does.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const [packages, folder, ...named] = process.argv.slice(2).map((p) => p.replace(/^~/, homedir()));
const entry = path.join(packages, "node_modules/node-llama-cpp/dist/index.js");
const { getLlama } = await import(pathToFileURL(entry));
const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, maxThreads: 1, logLevel: "error" });
const PROMPTS = JSON.parse(readFileSync(path.join(HERE, "prompts.json")));
const IDS = JSON.parse(readFileSync(path.join(HERE, "../train/peft_files.json"))).ids;
const EXACT = {
    contextSize: 128, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
};

const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

async function greedy(sequence, ids, n) {
    await sequence.clearHistory();
    const written = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        written.push(token);
        if (written.length === n) break;
    }
    return written;
}

async function logits(model, lora) {
    const context = await model.createContext(lora ? { ...EXACT, lora } : EXACT);
    const asked = IDS.map((id) => [id, { generateNext: { logits: true } }]);
    const found = await context.getSequence().controlledEvaluate(asked);
    await context.dispose();
    const row = ({ next }) => [...next.logits].sort((a, b) => a[0] - b[0]).map(([, x]) => Number(x.toPrecision(9)));
    return found.map(row);
}

const JSON_FILE = path.join(HERE, "llama_cpp.json");
const before = named.length > 0 && existsSync(JSON_FILE) ? JSON.parse(readFileSync(JSON_FILE)) : {};
const all = readdirSync(folder).filter((name) => name.endsWith(".gguf") && !["lora.gguf", "lora-tables.gguf"].includes(name));
const found = {};
for (const name of named.length > 0 ? named : all) {
    const file = path.join(folder, name);
    const model = await llama.loadModel({ modelPath: file });
    const one = (found[name] = { sha256: sha256(file) });
    if (name === "lora-base.gguf") {
        const [lora, tables] = ["lora.gguf", "lora-tables.gguf"].map((name) => path.join(folder, name));
        Object.assign(one, { lora: sha256(lora), plain: await logits(model), adapted: await logits(model, lora) });
        Object.assign(one, { lora_tables: sha256(tables), tables: await logits(model, tables) });
    } else {
        const { shouldPrependBosToken: bos, bos: first } = model.tokens;
        one.bos = bos;
        one.prompts = [];
        const sequence = (await model.createContext(EXACT)).getSequence();
        for (const text of PROMPTS) {
            // Tokens that swallow the white space behind them, and what GPT-4o's way cuts otherwise than Llama's.
            const swallow = name.startsWith("swallow");
            const other = name.startsWith("phi4-mini") ? `${text} I'LL DON'T caffèLatte CITTÀ/VIA 12345 HTMLParser Àncora//\n` : text;
            const asked = swallow ? `<|user|>\n ${text}<|end|> \n<|endoftext|> ${text} </s>\t<|assistant|>  ${text}` : other;
            const ids = model.tokenize(asked, swallow);
            const whole = bos ? [first, ...ids] : ids;
            one.prompts.push({ ids, greedy: await greedy(sequence, whole, name.startsWith("smollm2") ? 8 : 12) });
        }
    }
    await model.dispose();
    console.log(name, "asked");
}

// One line for each list of numbers.
const out = Object.fromEntries(Object.entries({ ...before, ...found }).sort(([a], [b]) => (a < b ? -1 : 1)));
const text = JSON.stringify(out, null, 1).replace(/\[\s+(-?[\d.e+-]+(?:,\s+-?[\d.e+-]+)*)\s+\]/g, (_, list) => `[${list.replace(/\s+/g, "")}]`);
writeFileSync(JSON_FILE, text + "\n");
process.exit(0);
