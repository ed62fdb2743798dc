"""Renders pipelines/templates with jinja2, set up as transformers does for chat templates.

    pip install jinja2==3.1.6
    python tests/oracles/chat_templates.py > tests/oracles/chat_templates.json
"""

import json
from pathlib import Path

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATES = Path(__file__).resolve().parents[2] / "pipelines" / "templates"
CHATS = {
    "one exchange": [("user", "Che ore sono?"), ("assistant", "Le sette.")],
    "with a system prompt": [("system", "Sii breve."), ("user", " Ciao \n"), ("assistant", "\nCiao a te. ")],
    "several turns": [("user", "Uno"), ("assistant", "1"), ("user", "Due\n\ne tre"), ("assistant", "2\n3")],
    "braces and quotes": [("user", "{{ x }} {% y %} 'a' \"b\" <tag> & è 🙂"), ("assistant", "\\n resta \\n")],
}


def refuse(message):
    raise TemplateError(message)


def main():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.globals["raise_exception"] = refuse
    cases = []
    for path in sorted(TEMPLATES.glob("*.jinja")):
        template = env.from_string(path.read_text(encoding="utf-8"))
        tokens = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
        if path.stem.startswith("text-"):
            text = "Un documento.\nDue righe. "
            cases.append({"template": path.name, "case": "a document", "text": text, "rendered": template.render(text=text, **tokens)})
            continue
        for name, turns in CHATS.items():
            messages = [{"role": role, "content": content} for role, content in turns]
            rendered = template.render(messages=messages, add_generation_prompt=False, **tokens)
            cases.append({"template": path.name, "case": name, "messages": messages, "rendered": rendered})
    print(json.dumps(cases, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
