"""Drives the test Hub with the real clients, against what `setaccio push` put there, and the other way round.

    python tests/python/check_hub.py TEST_HUB SETACCIO OUT [RUN]

TEST_HUB and SETACCIO are programs, OUT a built data set, RUN a run folder. `huggingface_hub` creates repositories,
uploads folders (small files, large ones, one in parts), branches, proposes, downloads, and meets every refusal as the
exception that it has for it; `datasets.load_dataset("owner/name")` reads OUT as `setaccio push` left it, whole and
streamed; `setaccio pull` reads what `huggingface_hub` uploaded, and `huggingface_hub` finds that in the shared cache
without a network. Xet is switched off: the test Hub answers as one for clients without it. Exits 1 at the first thing
that is not as expected.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def same(what, found, expected):
    if found != expected:
        found, expected = (repr(value)[:300] for value in (found, expected))
        raise AssertionError(f"{what}: found {found}, expected {expected}")


def raises(what, error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(f"{what}: no {error.__name__}")


def environment(endpoint, token, home):
    for name in [n for n in os.environ if n.startswith(("HF_", "HUGGING"))]:
        del os.environ[name]
    os.environ.update(
        HF_ENDPOINT=endpoint,
        HF_TOKEN=token,
        HF_HOME=str(home),
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    )


def check_data(setaccio, out):
    """`datasets` reads what `setaccio push` put there."""
    import datasets
    import pyarrow.parquet as pq

    push = [setaccio, "push", out, "anna/pushed"]
    subprocess.run(push, check=True, stdout=subprocess.DEVNULL)
    again = subprocess.run(push, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "nothing to push" in again, again
    whole = datasets.load_dataset("anna/pushed")
    streamed = datasets.load_dataset("anna/pushed", streaming=True)
    splits = sorted({shard.name.split("-")[0] for shard in Path(out, "data").iterdir()})
    same("splits", sorted(whole), splits)
    for split in splits:
        shards = sorted(Path(out, "data").glob(f"{split}-*.parquet"))
        rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
        same(f"{split}: rows", list(whole[split]), rows)
        same(f"{split}: streamed rows", list(streamed[split]), rows)
    return sum(len(whole[split]) for split in splits)


def check_client(read_token):
    """`huggingface_hub` finds a Hub: up, down, and every refusal."""
    from huggingface_hub import HfApi, HfFileSystem
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi()
    same("whoami", api.whoami()["name"], "anna")
    repo = dict(repo_id="anna/python", repo_type="dataset")
    api.create_repo(**repo, private=True)
    api.create_repo(**repo, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        lines = [{"text": f"La riga numero {i} del file.", "url": "https://x.example/"} for i in range(200)]
        files = {
            "rows/a.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode(),
            "rows/deep/b.jsonl": (json.dumps({"text": "Un'altra riga ancora."}) + "\n").encode(),
            "empty.txt": b"",
            "small.bin": bytes(range(256)) * 40,
            "large.bin": os.urandom(9_500_000),
        }
        for name, content in files.items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(content)
        commit = api.upload_folder(folder_path=folder, commit_message="From Python", **repo)
        same("head", api.dataset_info("anna/python").sha, commit.oid)
        api.upload_folder(folder_path=folder, commit_message="Nothing new", **repo)
    there = set(files) | {".gitattributes"}
    same("files", set(api.list_repo_files(**repo)), there)
    tree = {entry.path: entry for entry in api.list_repo_tree(**repo, recursive=True) if hasattr(entry, "size")}
    same("sizes", {n: tree[n].size for n in files}, {n: len(c) for n, c in files.items()})
    assert tree["large.bin"].lfs and not tree["rows/a.jsonl"].lfs
    snapshot = Path(api.snapshot_download(**repo))
    same("content", {n: (snapshot / n).read_bytes() for n in files}, files)
    same("glob", HfFileSystem().glob("datasets/anna/python/rows/*.jsonl"), ["datasets/anna/python/rows/a.jsonl"])

    api.create_branch(**repo, branch="next")
    pull = api.upload_file(path_or_fileobj=b"x", path_in_repo="pull.txt", create_pr=True, **repo)
    same("pull request", pull.pr_num, 1)
    assert "pull.txt" in api.list_repo_files(**repo, revision="refs/pr/1")
    same("files after it", set(api.list_repo_files(**repo)), there)
    api.delete_file("small.bin", **repo)
    same("files after a deletion", set(api.list_repo_files(**repo)), there - {"small.bin"})
    assert len(api.list_repo_commits(**repo)) >= 3

    raises("a repository", RepositoryNotFoundError, lambda: api.dataset_info("anna/none"))
    raises("a private one", RepositoryNotFoundError, lambda: HfApi(token=read_token).dataset_info("anna/python"))
    raises("a revision", RevisionNotFoundError, lambda: api.dataset_info("anna/python", revision="none"))
    raises("a file", EntryNotFoundError, lambda: api.hf_hub_download(**repo, filename="none"))
    raises("a token that reads", HfHubHTTPError, lambda: HfApi(token=read_token).create_repo("anna/other"))
    raises("no token", HfHubHTTPError, lambda: HfApi(token=False).create_repo("anna/other"))
    return files


RECIPE = """
name = "python"
title = "From Python"
about = "A test."
kind = "text"
[[source]]
name = "python"
schema = "text"
repo = "anna/python"
revision = "main"
files = ["rows/**/*.jsonl"]
samples = "none"
license = "mit"
language = "it"
"""


def check_pull(setaccio, files, folder):
    """`setaccio` reads what `huggingface_hub` uploaded, into a cache that is Python's too."""
    recipe, home = folder / "python.toml", folder / "pulled"
    recipe.write_text(RECIPE, encoding="utf-8")
    environ = os.environ | {"HF_HOME": str(home)}
    subprocess.run([setaccio, "pull", recipe], check=True, stdout=subprocess.DEVNULL, env=environ)
    build = [setaccio, "build", recipe, "--from", "hub", "--out", folder / "built"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env=environ | {"HF_HUB_OFFLINE": "1"})
    names = [name for name in files if name.startswith("rows/")]
    code = (
        "import sys, huggingface_hub as h\n"
        "for name in sys.argv[1:]:\n"
        "    path = h.hf_hub_download('anna/python', name, repo_type='dataset')\n"
        "    sys.stdout.buffer.write(open(path, 'rb').read())\n"
        "info = h.scan_cache_dir()\n"
        "assert not info.warnings and len(info.repos) == 1, info\n"
    )
    offline = [sys.executable, "-c", code, *names]
    found = subprocess.run(offline, check=True, stdout=subprocess.PIPE, env=environ | {"HF_HUB_OFFLINE": "1"}).stdout
    same("the shared cache", found, b"".join(files[name] for name in names))


def check_run(setaccio, run):
    """`huggingface_hub` reads an adapter as `setaccio push` left it."""
    from huggingface_hub import ModelCard, hf_hub_download

    subprocess.run([setaccio, "push", run, "anna/adapter"], check=True, stdout=subprocess.DEVNULL)
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json"):
        pushed = Path(hf_hub_download("anna/adapter", name)).read_bytes()
        if name != "adapter_config.json":
            same(name, pushed, Path(run, "adapter", name).read_bytes())
    card = ModelCard.load("anna/adapter")
    same("library", card.data.library_name, "peft")
    assert '"anna/adapter"' in card.text, "the card does not say where the adapter is"


def main(hub, setaccio, out, run=None):
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
        [hub], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        endpoint, write, read = process.stdout.readline().split()
        environment(endpoint, write, Path(folder, "hf"))
        try:
            rows = check_data(setaccio, out)
            files = check_client(read)
            check_pull(setaccio, files, Path(folder))
            if run:
                check_run(setaccio, run)
        finally:
            process.stdin.close()
    print(f"{rows} rows pushed and read back; {len(files)} files up and down; the cache is shared")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
