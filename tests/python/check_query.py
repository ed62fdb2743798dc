"""The answers of `setaccio query`, beside those of duckdb over the same files.

    python tests/python/check_query.py SETACCIO OUT [OUT ...] RUN

SETACCIO is a program with the feature `query`, each OUT a build, RUN a run. duckdb reads shards, rejects and metrics where they lie; what comes
of `ledger.json` is made rows of here. Questions by hand are asked of each build that has their columns, then many that are put together of
columns, conditions and aggregates. Files that `--output` writes are read by duckdb again. Exits 1 at the first thing that is not as expected.
"""

import csv
import itertools
import json
import math
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb

from server import same

# Each for both, or as setaccio and as duckdb say it. Rows are compared without their order where a question has none.
OF_BUILDS = [
    "SELECT rule, count(*) AS n FROM rejects GROUP BY rule",
    "SELECT split, source, count(*) AS n, count(language) AS known FROM shards GROUP BY split, source ORDER BY n DESC, source, split",
    # Every rule of the ledger beside the rows that lie in the rejects.
    "SELECT l.stage, l.rule, l.source, l.dropped, count(r.rule) AS there FROM ledger AS l LEFT JOIN rejects AS r "
    "ON l.stage = r.stage AND l.rule = r.rule AND l.source = r.source GROUP BY l.stage, l.rule, l.source, l.dropped",
    "SELECT stage, sum(rows_in) AS rows_in, sum(rows_out) AS rows_out, sum(rows_in) - sum(rows_out) AS lost FROM stages GROUP BY stage",
    "SELECT s.stage, s.source, s.rows_in - s.rows_out AS lost, d.dropped FROM stages AS s JOIN "
    "(SELECT stage, source, sum(dropped) AS dropped FROM ledger GROUP BY stage, source) AS d ON s.stage = d.stage AND s.source = d.source",
    # Text functions.
    "SELECT rule, upper(rule) AS u, length(rule) AS n, substr(rule, 2, 3) AS s, split_part(rule, 'e', 1) AS at, replace(rule, '_', '-') AS r, "
    "lower(stage) || ':' || rule AS both_ FROM (SELECT DISTINCT stage, rule FROM rejects) AS d ORDER BY rule, stage",
    "SELECT count(*) AS n FROM rejects WHERE detail LIKE '%, at %' AND rule NOT LIKE 'x%'",
    "SELECT id, left(id, 6) AS a, right(id, 4) AS b, starts_with(id, '0') AS zero FROM shards WHERE id LIKE '0%' ORDER BY id",
    ("SELECT source, count(*) AS n FROM shards WHERE regexp_like(id, '^[0-7]+[a-f]') GROUP BY source",
     "SELECT source, count(*) AS n FROM shards WHERE regexp_matches(id, '^[0-7]+[a-f]') GROUP BY source"),
    # What is null.
    "SELECT count(*) AS n, count(row_group) AS in_groups, count(raw) AS raw, count(DISTINCT file) AS files FROM rejects",
    "SELECT coalesce(language, 'none') AS l, count(*) AS n, sum(CASE WHEN id IS NULL THEN 1 ELSE 0 END) AS unread FROM rejects GROUP BY 1",
    "SELECT file, row, row_group FROM rejects WHERE row_group IS NULL ORDER BY file, row LIMIT 7",
    "SELECT row_group, min(row) AS a, max(row) AS z FROM rejects GROUP BY row_group ORDER BY row_group NULLS FIRST",
    # Sets, subqueries, windows.
    "SELECT id FROM shards WHERE id IN (SELECT id FROM rejects) ORDER BY id",
    "SELECT source FROM shards UNION SELECT source FROM rejects ORDER BY source",
    "SELECT source FROM rejects EXCEPT SELECT source FROM shards",
    "WITH n AS (SELECT source, rule, count(*) AS rows_ FROM rejects GROUP BY source, rule) "
    "SELECT source, rule, rows_ FROM n CROSS JOIN (SELECT max(rows_) AS most FROM n) AS m WHERE rows_ = most ORDER BY source, rule",
    "SELECT source, rule, n, rank() OVER (PARTITION BY source ORDER BY n DESC) AS place FROM "
    "(SELECT source, rule, count(*) AS n FROM rejects GROUP BY source, rule) AS g ORDER BY source, place, rule",
    "SELECT rule, count(*) AS n FROM rejects GROUP BY rule HAVING count(*) > 1 ORDER BY n DESC, rule LIMIT 2 OFFSET 1",
    "SELECT path, rows, bytes FROM files ORDER BY path",
    # The first of those that are ordered, the same column twice among what orders them.
    "SELECT rule, count(*) AS n FROM rejects GROUP BY rule ORDER BY n DESC, rule LIMIT 3",
    "SELECT rule, count(*) AS n FROM rejects GROUP BY rule ORDER BY count(*) DESC, rule",
    "SELECT rule FROM rejects UNION SELECT source FROM rejects ORDER BY 1 LIMIT 2",
    "SELECT id FROM shards ORDER BY id, id LIMIT 2",
    "SELECT a.rule, b.stage FROM rejects AS a JOIN ledger AS b ON a.rule = b.rule ORDER BY a.rule, b.stage LIMIT 5",
    # What is negative.
    "SELECT count(*) - 1000 AS n FROM shards",
    "SELECT row FROM rejects WHERE row - 10 < 0 ORDER BY row",
    "SELECT -1 * row AS r FROM rejects ORDER BY r LIMIT 1",
    "SELECT source, count(DISTINCT language) - 2 AS n FROM rejects GROUP BY source ORDER BY n, source",
    "SELECT rule, file, row, row_number() OVER (PARTITION BY rule, file ORDER BY row) - 3 AS k FROM "
    "(SELECT DISTINCT rule, row, file FROM rejects) AS d ORDER BY rule, file, k",
    "SELECT sum(row > 20) - 100 AS n FROM rejects",
    # A name of two things, many words.
    "WITH chosen AS (SELECT * FROM shards WHERE language = 'it') SELECT count(*) AS n FROM chosen",
    "SELECT count(*) AS n FROM (SELECT id FROM shards UNION ALL SELECT id FROM rejects) AS u",
    "SELECT count(*) AS n FROM rejects WHERE " + " OR ".join(f"id LIKE '%{word:03x}%'" for word in range(400)),
    "SELECT split, measure, total, rows, total * 1.0 / rows AS mean FROM lengths WHERE rows > 0",
]
OF_TEXTS = [
    "SELECT source, count(*) AS n, sum(length(text)) AS characters, min(length(text)) AS a, max(length(text)) AS z, avg(length(text)) AS mean "
    "FROM shards GROUP BY source",
    ("SELECT id, octet_length(text) - length(text) AS more FROM shards ORDER BY more DESC, id LIMIT 5",
     "SELECT id, strlen(text) - length(text) AS more FROM shards ORDER BY more DESC, id LIMIT 5"),
    "SELECT median(length(text)) AS half FROM shards",
    "SELECT avg(length(text) - 900) AS mean, max(length(text) * 10000000) AS most FROM shards",
    "SELECT count(*) AS n FROM rejects WHERE length(rule) - 9 > 0",
    "SELECT sum(length(a.text)) AS s FROM shards AS a CROSS JOIN shards AS b CROSS JOIN shards AS c",
    "SELECT count(*) AS n FROM shards WHERE text ILIKE '%perch\u00e9%'",
]
OF_CHATS = [
    ("SELECT array_length(messages) AS turns, count(*) AS n FROM shards GROUP BY 1",
     "SELECT len(messages) AS turns, count(*) AS n FROM shards GROUP BY 1"),
    ("SELECT m.role AS role, count(*) AS n, sum(length(m.content)) AS characters FROM shards CROSS JOIN UNNEST(messages) AS m GROUP BY m.role",
     "SELECT m.role AS role, count(*) AS n, sum(length(m.content)) AS characters FROM (SELECT UNNEST(messages) AS m FROM shards) GROUP BY m.role"),
    "SELECT id, f.role AS role, length(f.content) AS n FROM (SELECT id, messages[1] AS f FROM shards) AS s ORDER BY n DESC, id LIMIT 10",
    ("SELECT role, source, count(*) AS n FROM (SELECT source, m.role AS role, m.content AS content FROM shards CROSS JOIN UNNEST(messages) AS m) AS t "
     "WHERE content LIKE '%?%' GROUP BY role, source",
     "SELECT m.role AS role, source, count(*) AS n FROM (SELECT source, UNNEST(messages) AS m FROM shards) WHERE m.content LIKE '%?%' GROUP BY 1, 2"),
]
OF_PAIRS = [
    ("SELECT array_length(prompt) AS p, array_length(chosen) AS c, count(*) AS n FROM shards GROUP BY 1, 2",
     "SELECT len(prompt) AS p, len(chosen) AS c, count(*) AS n FROM shards GROUP BY 1, 2"),
    "SELECT count(*) AS longer FROM (SELECT chosen[1] AS c, rejected[1] AS r FROM shards) AS s WHERE length(c.content) > length(r.content)",
]
OF_RUNS = [
    "SELECT count(*) AS lines, max(step) AS last, count(loss) AS trained, count(eval_loss) AS evaluated FROM metrics",
    "SELECT step, loss, learning_rate, num_tokens FROM metrics WHERE loss IS NOT NULL ORDER BY step",
    "SELECT avg(loss) AS mean, min(loss) AS least, max(grad_norm) AS norm, sum(num_tokens) AS tokens FROM metrics",
    "SELECT a.step, a.loss, b.eval_loss FROM metrics AS a JOIN metrics AS b ON a.step = b.step WHERE a.loss IS NOT NULL AND b.eval_loss IS NOT NULL",
    "SELECT step % 2 AS odd, count(*) AS n, avg(loss) AS loss FROM metrics WHERE loss > 0 GROUP BY 1 ORDER BY 1",
    "SELECT step, number, length(prompt) AS p, text FROM samples ORDER BY step, number",
]

AGGREGATES = ["count(*)", "count({0})", "min({0})", "max({0})", "count(DISTINCT {0})"]
CONDITIONS = ["1 = 1", "{0} IS NULL", "{0} IS NOT NULL", "{1} IS NULL OR {0} = {0}", "NOT ({0} IS NULL AND {1} IS NULL)"]


def ask(setaccio, folder, sql, *more):
    done = subprocess.run([setaccio, "query", folder, sql, *more], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{sql}: {done.stderr}")
    return done.stdout


def value(v):
    """Numbers as floats or ints, whatever their width."""
    if isinstance(v, Decimal):
        v = int(v) if v == int(v) else float(v)
    if isinstance(v, float):
        if not math.isfinite(v):
            return None
        return float(f"{v:.11g}")
    if isinstance(v, dict):
        return {k: value(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [value(x) for x in v]
    return v


def rows(found, sql):
    found = [tuple(value(v) for v in row) for row in found]
    return found if "ORDER BY" in sql.split(")")[-1] else sorted(found, key=repr)


def check(setaccio, folder, base, question):
    ours, theirs = question if isinstance(question, tuple) else (question, question)
    said = json.loads(ask(setaccio, folder, ours, "--format", "json"))
    cursor = base.execute(theirs)
    names = [column[0] for column in cursor.description]
    expected = rows(cursor.fetchall(), theirs)
    for row in said:
        same(f"columns of {ours}", list(row), names)
    same(f"{folder}: {ours}", rows([list(row.values()) for row in said], ours), expected)
    return len(expected)


def table(base, name, records, columns):
    """A table of records, made here and not by setaccio."""
    base.execute(f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})")
    for record in records:
        base.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", [record.get(column) for column in columns])


def build(folder):
    base = duckdb.connect()
    files = sorted((folder / "data").iterdir())
    parts = [f"SELECT *, '{path.name.split('-')[0]}' AS split FROM read_parquet('{path}')" for path in files]
    base.execute(f"CREATE VIEW shards AS {' UNION ALL '.join(parts)}")
    dropped = [str(path) for path in sorted((folder / "rejects").iterdir())]
    base.execute(f"CREATE VIEW rejects AS SELECT * FROM read_parquet({dropped!r})")
    ledger = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    counts = ["dropped", "dropped_bytes", "rows_edited", "lines_dropped", "lines_edited"]
    flows = ["rows_in", "bytes_in", "rows_out", "bytes_out"]
    rules = [
        {"stage": stage["stage"], "rule": rule["rule"], "source": flow["source"], **dict.fromkeys(counts, 0), **of}
        for stage in ledger["stages"]
        for rule in stage["rules"]
        for flow in stage["sources"]
        for of in [next((of for of in rule["sources"] if of["source"] == flow["source"]), {})]
    ]
    names = dict.fromkeys(["stage", "rule", "source"], "VARCHAR")
    table(base, "ledger", rules, {**names, **dict.fromkeys(counts, "BIGINT")})
    stages = [{"stage": stage["stage"], **flow} for stage in ledger["stages"] for flow in stage["sources"]]
    table(base, "stages", stages, {"stage": "VARCHAR", "source": "VARCHAR", **dict.fromkeys(flows, "BIGINT")})
    table(base, "files", ledger["files"], {"path": "VARCHAR", "rows": "BIGINT", "bytes": "BIGINT"})
    table(base, "lengths", ledger["lengths"], {"split": "VARCHAR", "measure": "VARCHAR", "rows": "BIGINT", "total": "BIGINT"})
    return base


def run(folder):
    base = duckdb.connect()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    written = [line for line in lines if "samples" in line]
    lines = [line for line in lines if "samples" not in line]
    whole = {"step", "num_tokens", "eval_num_tokens"}
    columns = {name: "BIGINT" if name in whole else "DOUBLE" for line in lines for name in line}
    table(base, "metrics", lines, columns)
    samples = [{"step": line["step"], "number": i, **sample} for line in written for i, sample in enumerate(line["samples"])]
    table(base, "samples", samples, {"step": "BIGINT", "number": "BIGINT", "prompt": "VARCHAR", "text": "VARCHAR"})
    return base


def put_together(base):
    """Questions of every pair of plain columns, a condition and an aggregate in turn."""
    turn = itertools.cycle(itertools.product(AGGREGATES, CONDITIONS))
    for name, keep in [("rejects", {"stage", "rule", "source", "language", "row_group", "row", "file"}), ("shards", {"source", "language", "split"})]:
        there = [row[0] for row in base.execute(f"DESCRIBE {name}").fetchall() if row[0] in keep]
        for a, b in itertools.permutations(there, 2):
            aggregate, condition = next(turn)
            yield f"SELECT {a}, {aggregate.format(b)} AS x FROM {name} WHERE {condition.format(b, a)} GROUP BY {a}"


def check_files(setaccio, folder, base):
    sql = "SELECT rule, detail, row_group, row, file FROM rejects ORDER BY file, row, rule"
    expected = rows(base.execute(sql).fetchall(), sql)
    with tempfile.TemporaryDirectory() as temp:
        for name, read in [("rows.parquet", "read_parquet"), ("rows.jsonl", "read_json"), ("rows.json", "read_json")]:
            file = Path(temp, name)
            ask(setaccio, folder, sql, "--output", file)
            found = base.execute(f"SELECT rule, detail, row_group, row, file FROM {read}('{file}')").fetchall()
            same(name, rows(found, sql), expected)
        file = Path(temp, "rows.csv")
        ask(setaccio, folder, sql, "--output", file)
        with file.open(encoding="utf-8", newline="") as lines:
            found = [(r, d, int(g) if g else None, int(n), f) for r, d, g, n, f in list(csv.reader(lines))[1:]]
        same("rows.csv", found, expected)
        # All of a build, with what is nested in its rows.
        file = Path(temp, "all.parquet")
        ask(setaccio, folder, "SELECT * FROM shards ORDER BY id, split", "--output", file)
        both = [f"SELECT * FROM {source} ORDER BY id, split" for source in (f"read_parquet('{file}')", "shards")]
        same(f"all rows of {folder}", *(rows(base.execute(sql).fetchall(), "ORDER BY") for sql in both))


def main(setaccio, *folders):
    *outs, last = map(Path, folders)
    asked = found = 0
    for out in outs:
        base = build(out)
        columns = {row[0] for row in base.execute("DESCRIBE shards").fetchall()}
        own = [(OF_TEXTS, "text"), (OF_CHATS, "messages"), (OF_PAIRS, "chosen")]
        questions = [*OF_BUILDS, *itertools.chain.from_iterable(qs for qs, column in own if column in columns), *put_together(base)]
        for question in questions:
            found += check(setaccio, out, base, question)
        asked += len(questions)
        check_files(setaccio, out, base)
    base = run(last)
    for question in OF_RUNS:
        found += check(setaccio, last, base, question)
    print(f"{asked + len(OF_RUNS)} questions of {len(outs)} builds and a run: {found} rows as duckdb {duckdb.__version__} has them")


if __name__ == "__main__":
    main(*sys.argv[1:])
