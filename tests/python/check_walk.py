"""A person's way from files of their own to a data set on a Hub, every count taken again by Python.

    python tests/python/check_walk.py TEST_HUB SETACCIO

TEST_HUB and SETACCIO are programs. Questions and answers in CSV, chats with tools in JSON lines and Dolly's samples become one
data set, first whole, then mixed 35 : 35 : 30; a folder of texts becomes another. What must be kept and dropped is counted here,
with Python's csv and json modules, from the files alone; `datasets` reads what `setaccio push` put on the Hub. Exits 1 at the
first thing that is not as expected.
"""

import csv
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from check_hub import environment, same

ROOT = Path(__file__).resolve().parents[2]

CITIES = ["Bari", "Torino", "Napoli", "Genova", "Trieste", "Cagliari", "Palermo", "Ancona"]

RECIPE = """
name = "walk"
title = "Questions, chats with tools, and Dolly"
about = "Rows of one's own beside a sample of the Hub."
kind = "chat"

[[source]]
name = "questions"
schema = "alpaca"
path = "questions.csv"
rename = {{ instruction = "domanda", output = "risposta" }}
language = "it"
{questions}

[[source]]
name = "chats"
schema = "messages"
path = "chats/*.jsonl"
language = "it"
{chats}

[[source]]
name = "dolly"
schema = "dolly"
repo = "databricks/databricks-dolly-15k"
revision = "main"
files = ["*.jsonl"]
samples = "../data/samples/databricks_dolly_15k.jsonl"
license = "cc-by-sa-3.0"
language = "en"
{dolly}

[[filter]]
rule = "roles"

[[filter]]
rule = "answer"

[dedup]

[output.keep]
tema = "string"
"""

TEXTS = """
name = "texts"
title = "A folder of texts"
about = "One document a file."
kind = "text"

[[source]]
name = "texts"
schema = "text"
path = "texts"
language = "it"

[dedup]
"""


def write_questions(path):
    """140 records: 20 are said twice in other capitals, 10 have no answer; quotes, separators and line ends inside fields."""
    rows = []
    for i in range(110):
        city = CITIES[i % len(CITIES)]
        rows.append((f"Quanti abitanti ha {city}, nel quartiere {i}?", f'Ne ha "circa" {i * 37};\npiù o meno, {city}.', "luoghi"))
    rows += [(question.upper(), answer.upper(), topic) for question, answer, topic in rows[:20]]
    rows += [(f"Domanda senza risposta, numero {i}?", "", "vuote") for i in range(10)]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["domanda", "risposta", "tema"])
        writer.writerows(rows)


def write_chats(folder):
    """80 chats in two files, 60 with tools, and one call in each of those."""
    tools = [{"type": "function", "function": {"name": "meteo", "description": "Il tempo che fa < qui & ora",
              "parameters": {"type": "object", "properties": {"luogo": {"type": "string"}}, "required": ["luogo"]}}}]
    chats = []
    for i in range(80):
        city = CITIES[i % len(CITIES)]
        turns = [{"role": "user", "content": f"Che tempo fa a {city} il giorno {i}?"}]
        if i < 60:
            arguments = {"luogo": city, "giorno": i, "alba": i % 2 == 0}
            call = {"id": f"c{i}", "type": "function", "function": {"name": "meteo", "arguments": json.dumps(arguments)}}
            turns += [{"role": "assistant", "content": None if i % 3 else "", "tool_calls": [call]},
                      {"role": "tool", "tool_call_id": f"c{i}", "name": "meteo", "content": '{"cielo": "sereno"}'}]
        turns.append({"role": "assistant", "content": f"A {city} è sereno: l'aria è a {i} gradi."})
        chats.append({"messages": turns} | ({"tools": tools} if i < 60 else {}))
    folder.mkdir()
    for name, part in (("a.jsonl", chats[:50]), ("b.jsonl", chats[50:])):
        (folder / name).write_text("".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in part))


def write_texts(folder):
    """30 texts, of which five repeat others."""
    folder.mkdir()
    for i in range(30):
        (folder / f"testo-{i:02}.txt").write_text(f"Il testo numero {i % 25} parla di {CITIES[i % 25 % 8]}.\nHa due righe.\n")


def folded(text):
    return " ".join(text.split()).lower()


def expected(folder):
    """What must be kept of each source, as the text of its turns, folded."""
    with (folder / "questions.csv").open(newline="", encoding="utf-8-sig") as file:
        records = list(csv.DictReader(file, delimiter=";"))
    answered = [r for r in records if r["risposta"].strip()]
    questions = {(folded(r["domanda"]), folded(r["risposta"])) for r in answered}
    chats = [json.loads(line) for path in sorted((folder / "chats").iterdir()) for line in path.read_text().splitlines()]
    dolly = [json.loads(line) for line in (ROOT / "data/samples/databricks_dolly_15k.jsonl").read_text().splitlines()]
    return records, questions, chats, dolly


def build(setaccio, folder, name, text):
    (folder / f"{name}.toml").write_text(text)
    out = folder / "out" / name
    command = [setaccio, "build", folder / f"{name}.toml", "--out", out, "--json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    json.loads(said)
    subprocess.run([setaccio, "verify", out], check=True, stdout=subprocess.DEVNULL)
    return out


def rows_of(out, part):
    import pyarrow.parquet as pq

    return [row for path in sorted((out / part).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def check_whole(setaccio, folder):
    records, questions, chats, dolly = expected(folder)
    out = build(setaccio, folder, "whole", RECIPE.format(questions="", chats="", dolly=""))
    kept, dropped = rows_of(out, "data"), rows_of(out, "rejects")
    read = Counter(row["source"] for row in kept + dropped)
    same("rows read", dict(read), {"questions": len(records), "chats": len(chats), "dolly": len(dolly)})
    mine = [row for row in kept if row["source"] == "questions"]
    found = {(folded(row["messages"][0]["content"]), folded(row["messages"][1]["content"])) for row in mine}
    same("questions kept", (len(mine), found), (len(questions), questions))
    same("topics", {row["tema"] for row in mine}, {"luoghi"})
    reasons = Counter(row["rule"] for row in dropped if row["source"] == "questions")
    same("questions dropped", dict(reasons), {"answer": 10, "dedup": len(records) - 10 - len(questions)})
    check_chats(kept, chats)
    return out, len(kept)


def check_chats(rows, chats):
    """Every chat is there, with its calls, ids, names and tools."""
    def said(turns, tools):
        turns = [
            (t["role"], t["content"] or "", t.get("tool_call_id"), t.get("name"),
             [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in t.get("tool_calls") or []])
            for t in turns
        ]
        tools = json.loads(tools) if isinstance(tools, str) else tools
        return json.dumps([turns, tools], ensure_ascii=False)

    found = sorted(said(row["messages"], row["tools"]) for row in rows if row["source"] == "chats")
    same("chats", found, sorted(said(chat["messages"], chat.get("tools")) for chat in chats))


def check_mix(setaccio, folder):
    weights = {"questions": 'weight = 35', "chats": 'weight = 35', "dolly": 'weight = 30'}
    out = build(setaccio, folder, "mix", RECIPE.format(**weights))
    rows = rows_of(out, "data")
    sources = Counter(row["source"] for row in rows)
    for source, share in (("questions", 0.35), ("chats", 0.35), ("dolly", 0.30)):
        assert abs(sources[source] - share * len(rows)) <= 1.5, f"{source} is {sources[source]} of {len(rows)}, not {share}"
    card = (out / "README.md").read_text()
    assert "local files" in card, "the card does not say where the rows came from"
    return len(rows)


def check_texts(setaccio, folder):
    out = build(setaccio, folder, "texts", TEXTS)
    kept = rows_of(out, "data")
    same("texts", len(kept), 25)
    texts = {path.read_text() for path in (folder / "texts").iterdir()}
    assert all(row["text"] in texts for row in kept), "a text is not that of its file"


def main(hub, setaccio):
    with tempfile.TemporaryDirectory() as temporary, subprocess.Popen(
        [hub], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        folder = Path(temporary)
        endpoint, write, _ = process.stdout.readline().split()
        environment(endpoint, write, folder / "hf")
        try:
            write_questions(folder / "questions.csv")
            write_chats(folder / "chats")
            write_texts(folder / "texts")
            out, rows = check_whole(setaccio, folder)
            mixed = check_mix(setaccio, folder)
            check_texts(setaccio, folder)
            import datasets

            subprocess.run([setaccio, "push", out, "anna/walk"], check=True, stdout=subprocess.DEVNULL)
            pulled = datasets.load_dataset("anna/walk", split="train")
            same("rows on the Hub", pulled.num_rows, rows)
            check_chats(list(pulled), expected(folder)[2])
        finally:
            process.stdin.close()
    print(f"{rows} rows from CSV, chats with tools and Dolly, {mixed} in the mix, 25 texts: every count agrees")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
