#!/usr/bin/env python3
"""Personal data planted in sentences, and what only looks like it, for the rule `personal_data`.

    pip install python-stdnum==2.2 phonenumbers==9.0.43
    python tests/oracles/personal_data.py      # writes personal_data.json beside itself

Codes are made by a seeded generator; python-stdnum says which are right (codice fiscale, partita IVA, IBAN, cards by Luhn) and
phonenumbers which numbers there can be. A test of `filters/src/personal` masks every sentence: what is planted must be found whole, and nothing
of what only looks like it.
"""

import ipaddress
import json
import random
import string
from pathlib import Path

import phonenumbers
from stdnum import iban, luhn
from stdnum.it import codicefiscale, iva

EACH = 130
rng = random.Random(7)
letters = lambda n, of=string.ascii_uppercase: "".join(rng.choice(of) for _ in range(n))
digits = lambda n: letters(n, string.digits)


def until(make, good):
    while True:
        value = make()
        if good(value):
            return value


def codice_fiscale():
    day = rng.randint(1, 28) + rng.choice((0, 40))
    start = f"{letters(6)}{digits(2)}{rng.choice('ABCDEHLMPRST')}{day:02}{letters(1, 'ABCDEFGHILMZ')}{digits(3)}"
    return start + codicefiscale.calc_check_digit(start)


def wrong_last(value, of):
    return value[:-1] + rng.choice([c for c in of if c != value[-1]])


def partita_iva():
    start = f"{rng.randint(1, 9_999_999):07}{rng.randint(1, 100):03}"
    return start + luhn.calc_check_digit(start)


def italian_iban():
    bank = digits(5) + digits(5) + digits(12)
    # The CIN is the check letter of a codice fiscale over the 22 characters after it.
    account = codicefiscale.calc_check_digit(bank) + bank
    return f"IT{iban.calc_check_digits('IT00' + account)}{account}"


def card():
    start = rng.choice(("4", "51", "55", "2221", "6011")) + digits(15)
    start = start[:15]
    return start + luhn.calc_check_digit(start)


def email():
    name = rng.choice(("anna", "m.rossi", "info", "ordini+2024", "g_verdi", "x-y"))
    return f"{name}{rng.randint(1, 99)}@{letters(6, string.ascii_lowercase)}.{rng.choice(('it', 'example.com', 'gov.it'))}"


def public_ip():
    make = lambda: str(ipaddress.IPv4Address(rng.getrandbits(32)))
    return until(make, lambda a: ipaddress.ip_address(a).is_global and not ipaddress.ip_address(a).is_multicast)


def phone(kind):
    def make():
        number = "3" + letters(1, "23489") + digits(8) if kind == "mobile" else "0" + rng.choice(("2", "6", "81", "11")) + digits(7)
        return phonenumbers.parse(number, "IT")

    number = until(make, phonenumbers.is_valid_number)
    return phonenumbers.format_number(number, rng.choice((0, 1, 2)))


def grouped(value, sizes):
    parts, at = [], 0
    for size in sizes:
        parts.append(value[at : at + size])
        at += size
    return " ".join(part for part in [*parts, value[at:]] if part)


cases = []


def plant(kind, before, value, after="."):
    cases.append({"kind": kind, "text": before + value + after, "found": value})


def decoy(text):
    cases.append({"text": text})


for i in range(EACH):
    code = codice_fiscale()
    assert codicefiscale.is_valid(code), code
    plant("codice_fiscale", ("Codice fiscale ", "nato a Bari, ", "(CF: ")[i % 3], code if i % 2 else code.lower(), (".", ", residente", ")")[i % 3])
    number = partita_iva()
    assert iva.is_valid(number), number
    plant("partita_iva", ("P.IVA ", "partita IVA: ", "P. Iva n. ")[i % 3], number)
    account = italian_iban()
    assert iban.is_valid(account), account
    plant("iban", "Bonifico su ", account if i % 2 else grouped(account, [4] * 6))
    payment = card()
    assert luhn.is_valid(payment), payment
    plant("card", "carta ", payment if i % 2 else grouped(payment, [4, 4, 4]))
    plant("email", ("scrivi a ", "<", "mail:")[i % 3], email(), (" subito", ">", ".")[i % 3])
    plant("ip", ("indirizzo IP ", "accesso dall'IP ", "server ")[i % 3], public_ip(), (".", ", ieri", " (log)")[i % 3])
    plant("phone", ("tel. ", "Cell: ", "telefono ")[i % 3], phone("mobile" if i % 2 else "fixed"))
    plate = letters(2, "ABCDEFGHJKLMNPRSTVWXYZ") + digits(3) + letters(2, "ABCDEFGHJKLMNPRSTVWXYZ")
    plant("plate", ("targa ", "un furgone targato ", "targata ")[i % 3], plate if i % 2 else grouped(plate, [2, 3]))
    # What looks like it and is not.
    bad = until(lambda: wrong_last(codice_fiscale(), string.ascii_uppercase), lambda c: not codicefiscale.is_valid(c))
    decoy(f"Codice articolo {bad} in catalogo.")
    bad = until(lambda: digits(11), lambda c: not iva.is_valid(c))
    decoy(f"Ordine n. {digits(11)} e P.IVA {bad} errata.")
    bad = until(lambda: wrong_last(italian_iban(), string.digits), lambda c: not iban.is_valid(c))
    decoy(f"Riferimento {bad} non valido.")
    bad = until(lambda: digits(16), lambda c: not luhn.is_valid(c))
    decoy(f"Codice a barre {bad}.")
    decoy(f"Il {rng.randint(1, 28):02}/{rng.randint(1, 12):02}/{rng.randint(1990, 2024)} alle {rng.randint(0, 23)}:{rng.randint(10, 59)}, prezzo {rng.randint(1, 9)}.{digits(3)},{digits(2)} euro.")
    decoy(f"Vedi la sezione {rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)} della versione {rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 20)}.")
    decoy(f"Articolo {letters(2)}{digits(3)}{letters(2)}, lotto {digits(9)}, ISBN 978-88-{digits(4)}-{digits(3)}-{digits(1)}.")

path = Path(__file__).with_suffix(".json")
lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
print(len(cases), "cases,", sum("found" in case for case in cases), "planted")
