"""The web pages among the samples: `@@ url timestamp expected [cases]` lines, each followed by the page's text."""

from pathlib import Path
from typing import NamedTuple

from clean_mc4_it import clean

SRC = Path(__file__).resolve().parent


class Page(NamedTuple):
    url: str
    timestamp: str
    expected: str
    cases: list
    text: str


def read_pages(name):
    """The pages of the file `name`."""
    pages = []
    for block in ("\n" + (SRC / name).read_text(encoding="utf-8")).split("\n@@ ")[1:]:
        header, text = block.split("\n", 1)
        url, timestamp, expected, *cases = header.split()
        pages.append(Page(url, timestamp, expected, cases[0].split(",") if cases else [], text.rstrip("\n")))
    return pages


def annals():
    """A chronicle of more than 50,000 characters, for the upper bound on length. Each year combines parts of lists
    whose lengths have no common divisor, so that no two years read the same."""
    weather = ("L'inverno fu mite e la neve non superò i tetti", "Le piogge di maggio gonfiarono il torrente",
               "Una gelata tardiva bruciò le gemme dei meli", "L'estate fu asciutta e i pozzi calarono di due braccia",
               "La grandine risparmiò il paese ma non i vigneti", "Il vento di marzo scoperchiò tre fienili",
               "La prima neve cadde già alla metà di ottobre")
    works = ("il consiglio deliberò di rifare il selciato della piazza", "si mise mano al tetto della chiesa",
             "fu aperta la strada nuova per il mulino", "il ponte di legno venne sostituito con uno di pietra",
             "la scuola ebbe finalmente una stufa per ogni aula")
    people = ("Nacquero ventidue bambini e morirono diciannove persone, la più anziana a novantuno anni",
              "Partirono per l'America undici uomini, e due di loro fecero ritorno prima di Natale",
              "Il medico condotto cambiò residenza e per sei mesi si dovette scendere in città",
              "Il maestro Bernardi andò in pensione dopo trentotto anni e ricevette in dono un orologio",
              "La levatrice assistette un parto di gemelli durante la processione",
              "Giunse da fuori un orologiaio che riparò il campanile in cambio di vitto e alloggio",
              "La banda ebbe quattro strumenti nuovi grazie a una colletta tra gli emigrati",
              "Un incendio distrusse la casa dei Ferraris, che i vicini ricostruirono in una sola stagione",
              "Si contarono in paese ottantaquattro capre, trentuno muli e un solo cavallo",
              "Il parroco annotò che alla fiera non si era mai vista tanta gente",
              "La filanda assunse trenta ragazze e aumentò la paga di dieci centesimi")
    harvest = ("Il raccolto delle castagne fu abbondante", "La vendemmia diede poco vino ma forte",
               "Il fieno bastò appena fino ad aprile")
    years = (f"Anno {year}. {weather[i % 7]}, e {works[i % 5]}. {people[i % 11]}. {harvest[i % 3]}."
             for i, year in enumerate(range(1761, 1991)))
    text = "\n".join(["Annali di Pietrafosca", "Trascrizione integrale", *years, "Fine della trascrizione"])
    return Page("https://www.annali-pietrafosca.example/trascrizione-integrale", "2016-05-05T05:05:05Z", "length", [], text)


def raw_pages():
    return [*read_pages("mc4_raw_it.txt"), annals()]


def raw_rows():
    """Rows in the layout of mC4 as Parquet."""
    return [{"url": p.url, "text": p.text, "timestamp": p.timestamp} for p in raw_pages()]


def clean_rows():
    """Rows in the layout of gsarti/clean_mc4_it."""
    return [{"text": p.text, "timestamp": p.timestamp, "url": p.url} for p in read_pages("clean_mc4_it.txt")]


def culturax_pages(language):
    """The pages of `culturax_LANGUAGE.txt`: `@@ url date time source expected` lines, each followed by the page's text."""
    pages = []
    for block in ("\n" + (SRC / f"culturax_{language}.txt").read_text(encoding="utf-8")).split("\n@@ ")[1:]:
        header, text = block.split("\n", 1)
        url, date, time, source, expected = header.split()
        row = {"text": text.rstrip("\n"), "timestamp": f"{date} {time}", "url": url, "source": source}
        pages.append((row, expected))
    return pages


def culturax_rows(language):
    """Rows in the layout of CulturaX."""
    return [row for row, _ in culturax_pages(language)]


def culturax_expected():
    """The verdict stated in the source."""
    return [
        {"file": f"culturax_{language}.parquet", "index": index, "url": row["url"], "expected": expected}
        for language in ("it", "en")
        for index, (row, expected) in enumerate(culturax_pages(language))
    ]


def raw_expected():
    """The verdict is the one stated in the source; kept_lines (0-based) and edited_by come from the oracle."""
    rows = []
    for page in raw_pages():
        kept, acted, _ = clean(page.text)
        row = {"url": page.url, "expected": page.expected, "cases": page.cases, "edited_by": sorted(acted)}
        if page.expected == "keep":
            row["kept_lines"] = [index for index, _ in kept]
        rows.append(row)
    return rows


def clean_expected():
    """The verdict stated in the source."""
    return [{"url": p.url, "expected": p.expected} for p in read_pages("clean_mc4_it.txt")]
