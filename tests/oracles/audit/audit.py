"""What an audit's numbers are, by scipy: python tests/oracles/audit/audit.py > tests/oracles/audit/audit.json

The log-probabilities are made here by a formula, so that no model is needed. Association: S, hard and soft, the exact permutation
test of its difference, order effect, default. Pairs: Wilson's interval and the exact binomial test. Holm's method, which scipy lacks, by
its definition.
"""

import json
import math

import numpy as np
import scipy.stats as st


def made(n, templates, shift, salt):
    """Log-probabilities [n][2 templates][2], of a sine that repeats nowhere."""
    at = lambda i, j, k: math.sin(12.9898 * i + 78.233 * j + 37.719 * k + salt)
    return [[[-4 + at(i, j, 0) + shift, -4 + at(i, j, 1)] for j in range(2 * templates)] for i in range(n)]


def association(x, y):
    d = [np.mean([a - b for a, b in phrase]) for phrase in x + y]
    soft = np.tanh(np.array(d) / 2)
    half = lambda v: (np.mean(v[: len(x)]) - np.mean(v[len(x) :])) / 2
    test = st.permutation_test(
        (soft[: len(x)], soft[len(x) :]), lambda a, b: abs(np.mean(a) - np.mean(b)), permutation_type="independent",
        alternative="greater", n_resamples=np.inf,
    )
    moved = [[abs((p[i][0] - p[i][1]) - (p[i + 1][0] - p[i + 1][1])) for i in range(0, len(p), 2)] for p in x + y]
    neither = [1 - math.exp(a) - math.exp(b) for phrase in x + y for a, b in phrase]
    return {
        "x": x, "y": y, "soft": half(soft), "hard": half(np.sign(d)), "p": test.pvalue, "default": np.mean(d),
        "order_effect": np.mean(moved), "neither": np.mean(neither),
    }


def holm(p):
    order, least, out = sorted(range(len(p)), key=lambda i: p[i]), 0.0, [0.0] * len(p)
    for rank, i in enumerate(order):
        least = max(least, min(1.0, p[i] * (len(p) - rank)))
        out[i] = least
    return out


def wilson(hits, n):
    ends = st.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return [hits, n, ends.low, ends.high, st.binomtest(hits, n).pvalue]


p = [0.01, 0.04, 0.03, 0.005, 0.8, 0.03]
out = {
    "association": [association(made(6, 3, 0.4, 0), made(6, 3, 0.0, 1)), association(made(7, 1, 0.0, 2), made(5, 1, 0.0, 3))],
    "wilson": [wilson(*case) for case in [(0, 10), (7, 10), (212, 432), (432, 432)]],
    "holm": [p, holm(p)],
}
print(json.dumps(out, indent=1))
