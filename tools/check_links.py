"""Says which links of the Markdown files lead nowhere, and which pages the book leaves out: check_links.py. No network.

A link to a file must name one that git knows; an anchor must be a heading of its page, as GitHub and mdBook name it.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*\b(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", re.M | re.S)
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.M)


def anchors(page):
    """The names of a page's headings; of equal ones the second is name-1."""
    found, seen = set(), {}
    for title in HEADING.findall(FENCE.sub("", page)):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").replace("*", "")
        slug = "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", page))


def main():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    files = {name for name in listed if name and (ROOT / name).exists()}
    folders = {str(parent) for name in files for parent in Path(name).parents}
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in files if name.endswith(".md")}
    dead, links = [], 0
    for name, page in sorted(pages.items()):
        prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page))
        for target in (a or b for a, b in LINK.findall(prose)):
            if re.match(r"[a-z]+:", target):
                continue
            links += 1
            path, _, anchor = unquote(target).partition("#")
            to = Path(name).parent.joinpath(path) if path else Path(name)
            parts = []
            for part in to.parts:  # without touching the disk: a link out of the repository is dead
                if part == ".." and parts:
                    parts.pop()
                elif part != ".":
                    parts.append(part)
            to = "/".join(parts) or "."
            if to not in files and to not in folders:
                dead.append(f"{name}: {target} is not there")
            elif anchor and anchor not in anchors(pages.get(to, "")):
                dead.append(f"{name}: {target}: no such heading in {to}")
    book = {"docs/" + target for target, _ in LINK.findall(pages.get("docs/SUMMARY.md", ""))}
    for name in sorted(pages):
        if name.startswith("docs/") and name != "docs/SUMMARY.md" and name not in book:
            dead.append(f"{name} is not in docs/SUMMARY.md")
    if dead:
        sys.exit("\n".join(dead))
    print(f"{links} links in {len(pages)} pages")


main()
