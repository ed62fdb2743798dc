"""Rows and tasks for lm-evaluation-harness, written for these tests: multiple choice, rolling perplexity, generation.

    from tasks import write      # write(FOLDER) puts tasks and rows there
"""

import json
import subprocess
from pathlib import Path

CHOICE = [
    ("Quale animale fa il miele?", ["l'ape", "il gatto", "la rana", "il cavallo"], 0),
    ("In quale stagione cadono le foglie?", ["in autunno", "in primavera", "in estate"], 0),
    ("Che cosa si usa per separare la farina dalla crusca?", ["un martello", "un setaccio", "una lampada"], 1),
    ("Quanti lati ha un triangolo?", ["due", "tre", "quattro", "cinque"], 1),
    ("Dove vivono i pesci?", ["nell'acqua", "sugli alberi", "nel deserto"], 0),
    ("Di che colore è la neve?", ["nera", "verde", "bianca"], 2),
    ("Chi cura i malati?", ["il medico", "il fornaio", "il sarto"], 0),
    ("Che cosa misura il termometro?", ["il peso", "la temperatura", "il tempo"], 1),
]
ENDINGS = [
    ("La nonna mette l'impasto nel forno e", ["aspetta che il pane sia pronto.", "parte per la luna con il gatto.", "nuota."], 0),
    ("Il treno entra in stazione, le porte si aprono e", ["i passeggeri scendono.", "la neve canta piano.", "tre per due fa sei."], 0),
    ("Piove forte, perciò Marta prende", ["l'ombrello prima di uscire.", "il mare e lo piega in quattro.", "un sasso che legge."], 0),
    ("Il bambino ha perso le chiavi e", ["le cerca sotto il letto.", "il tetto è di zucchero e vola.", "quindi."], 0),
]
SUMS = [(2, 3), (4, 5), (1, 6), (7, 2), (3, 3), (8, 1)]
TEXT = (
    "Ogni mattina il fornaio accende il forno prima dell'alba. La farina passa per il setaccio, perché i grumi restano "
    "nella rete e la crusca non finisce nel pane. Poi l'acqua, il sale e il lievito, e una lunga attesa. Quando il paese "
    "si sveglia, il profumo è già nelle strade. "
)

TASKS = {
    "st_choice": """task: st_choice
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/choice.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Domanda: {{question}}\\nRisposta:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "st_endings": """task: st_endings
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/endings.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "st_rolling": """task: st_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/text.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
""",
    "st_sums": """task: st_sums
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/sums.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "Quanto fa {{a}} + {{b}}? La risposta è"
doc_to_target: "{{sum}}"
generation_kwargs: {until: ["Quanto"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match}]
""",
}


def write(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "choice": [{"question": q, "choices": c, "answer": a} for q, c, a in CHOICE],
        "endings": [{"question": q, "choices": c, "answer": a} for q, c, a in ENDINGS],
        # Longer than the model's window.
        "text": [{"text": TEXT.strip()}, {"text": (TEXT * 9).strip()}],
        "sums": [{"a": a, "b": b, "sum": str(a + b)} for a, b in SUMS],
    }
    for name, lines in rows.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")
    return sorted(TASKS)


def make(setaccio, folder):
    """The run whose base is served."""
    built, run = Path(folder) / "sft", Path(folder) / "run"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([setaccio, "build", "sft-mix", "--out", built], **quiet)
    subprocess.run(
        [setaccio, "train", "tiny", "--out", run, "--max-steps", "1", "--set", f'data.train=["{built}"]'], **quiet)
    return run


def samples(results):
    """What each request of a run was answered, in order."""
    out = {}
    for task, rows in sorted(results["samples"].items()):
        answers = []
        for row in sorted(rows, key=lambda row: row["doc_id"]):
            for resp in row["resps"]:
                answers += [resp] if isinstance(resp, (list, tuple)) and len(resp) == 2 else list(resp)
        out[task] = [list(a) if isinstance(a, (list, tuple)) else a for a in answers]
    return out
