"""Areas under ROC curves by scikit-learn 1.9.1, as AMI at EVALITA 2020 takes them, for eval/src/tests.rs.

    python tests/oracles/eval/auc.py > tests/oracles/eval/auc.json

200 rows with three terms, whose scores are made by a counted generator and have few digits, so that many are equal. Needs scikit-learn.
"""

import json

from sklearn.metrics import roc_auc_score

STATE = 20261128


def draw(n):
    global STATE
    STATE = (STATE * 6364136223846793005 + 1442695040888963407) % 2**64
    return (STATE >> 33) % n


rows = []
for _ in range(200):
    positive, terms = draw(2) == 1, [draw(3) == 0 for _ in range(3)]
    rows.append((positive, terms, round((draw(40) + 8 * positive + 5 * terms[1]) / 4 - 6)))


def area(wanted):
    chosen = [(positive, score) for positive, terms, score in rows if wanted(positive, terms)]
    return roc_auc_score([positive for positive, _ in chosen], [score for _, score in chosen])


def over_terms(wanted):
    return sum(area(lambda positive, terms: wanted(positive, terms[term])) for term in range(3)) / 3


print(json.dumps({
    "rows": rows,
    "auc": area(lambda *_: True),
    "auc_subgroup": over_terms(lambda _, term: term),
    "auc_bpsn": over_terms(lambda positive, term: positive != term),
    "auc_bnsp": over_terms(lambda positive, term: positive == term),
}))
