"""Intervals and tests against closed forms, published tables and cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals import statistics


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (5, 10, 0.1871, 0.8129),  # tables of exact binomial limits
        (1, 20, 0.0013, 0.2487),
        (10, 100, 0.0490, 0.1762),
        (8, 500, 0.0069, 0.0313),
    ],
)
def test_clopper_pearson_agrees_with_published_tables(successes: int, trials: int, low: float, high: float) -> None:
    assert statistics.clopper_pearson(successes, trials) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("trials", [1, 7, 59, 1000])
def test_clopper_pearson_has_closed_forms_at_the_ends(trials: int) -> None:
    edge = 0.025 ** (1 / trials)
    assert statistics.clopper_pearson(0, trials) == pytest.approx((0.0, 1 - edge), abs=1e-9)
    assert statistics.clopper_pearson(trials, trials) == pytest.approx((edge, 1.0), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_an_impossible_share_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        statistics.clopper_pearson(successes, trials)


def test_binomial_tail_is_the_sum_of_its_terms() -> None:
    wanted = sum(math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in range(4, 13))
    assert statistics.binomial_upper_tail(4, 12, 0.3) == pytest.approx(wanted, rel=1e-12)


def test_auroc_counts_pairs_and_halves_ties() -> None:
    assert statistics.auroc([0.9, 0.4], [0.5, 0.4]) == 2.5 / 4
    assert statistics.auroc([3.0, 2.0], [1.0]) == 1.0
    assert math.isnan(statistics.auroc([], [0.5]))


def test_bootstrap_draws_documents_and_not_questions() -> None:
    """GIVEN one document all right and one all wrong. THEN the interval is as wide as two draws are."""
    values, clusters = [1.0] * 50 + [0.0] * 50, ["a"] * 50 + ["b"] * 50
    together = statistics.estimate(values, clusters)
    assert (together.mean, together.low, together.high, together.clusters) == (0.5, 0.0, 1.0, 2)
    apart = statistics.estimate(values, [str(i) for i in range(100)])
    assert apart.low is not None
    assert apart.high is not None
    assert 0.38 < apart.low < 0.44
    assert 0.56 < apart.high < 0.62


def test_one_document_gives_no_interval() -> None:
    alone = statistics.estimate([1.0, 0.0, 1.0], ["a"] * 3)
    assert (alone.mean, alone.low, alone.high) == (pytest.approx(2 / 3), None, None)
    assert statistics.bootstrap(lambda index: 1.0, ["a", "a"]) == (None, None)


def test_the_mean_weighs_questions_and_not_documents() -> None:
    assert statistics.estimate([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]).mean == 0.75


def test_bootstrap_of_a_statistic_covers_its_value() -> None:
    scores = np.linspace(0, 1, 40)

    def mean(index: np.ndarray) -> float:
        return float(scores[index].mean())

    low, high = statistics.bootstrap(mean, [str(i // 2) for i in range(40)])
    assert low is not None
    assert high is not None
    assert low < 0.5 < high


def test_risk_coverage_steps_over_ties() -> None:
    points = statistics.risk_coverage([0.9, 0.5, 0.5, 0.1], [False, True, False, True])
    assert points == [(0.25, 0.0, 0.9), (0.75, pytest.approx(1 / 3), 0.5), (1.0, 0.5, 0.1)]
    assert statistics.area_under_risk(points) == pytest.approx(0.25 * 0 + 0.5 / 3 + 0.25 * 0.5)
    assert math.isnan(statistics.area_under_risk([]))


def test_a_threshold_needs_enough_answers_to_promise_anything() -> None:
    """58 answers without an error cannot show 5 % at 95 % confidence (0.95^58 > 0.05), 59 can."""
    assert statistics.threshold_for([0.8] * 58, [False] * 58, risk=0.05) is None
    assert statistics.threshold_for([0.8] * 59, [False] * 59, risk=0.05) == 0.0


def test_a_threshold_stops_at_the_first_that_fails() -> None:
    """GIVEN errors between two runs of right answers. THEN the lower run is not reached by jumping over them."""
    confidences = [0.9] * 100 + [0.6] * 40 + [0.3] * 2000
    wrong = [False] * 100 + [True] * 40 + [False] * 2000
    assert statistics.threshold_for(confidences, wrong, risk=0.05) == pytest.approx(0.61)


def test_the_guarantee_is_judged_on_the_other_half() -> None:
    clusters = [f"d{i % 20}" for i in range(400)]
    confidences = [0.9 if i % 4 else 0.2 for i in range(400)]
    wrong = [c < 0.5 for c in confidences]
    found = statistics.guarantee(confidences, wrong, clusters, risk=0.05)
    assert (found.coverage, found.wrong, found.error) == (0.75, 0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 300))
    hopeless = statistics.guarantee([0.5] * 400, [i % 2 == 0 for i in range(400)], clusters, risk=0.05)
    assert (hopeless.answered, hopeless.error, hopeless.thresholds) == (0, None, (None, None))


def test_halves_keep_documents_whole() -> None:
    half = statistics._halves(["a"] * 6 + ["b"] * 3 + ["c"] * 3)
    assert half["b"] == half["c"] != half["a"]


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert statistics.mcnemar(9, 1) == pytest.approx(2 * (math.comb(10, 9) + 1) / 2**10)
    assert statistics.mcnemar(0, 0) == 1.0
    assert statistics.mcnemar(3, 3) == 1.0


def test_paired_difference_on_a_case_worked_by_hand() -> None:
    """Three documents that all gain: of the eight ways to flip signs, two are as extreme."""
    found = statistics.difference([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], ["a", "b", "c"])
    assert (found.difference, found.wins, found.losses, found.p) == (1.0, 3, 0, 0.25)
    assert found.mcnemar == pytest.approx(0.25)
    assert statistics.difference([0.2, 0.4], [0.3, 0.4], ["a", "b"]).mcnemar is None


def test_equal_configurations_do_not_differ() -> None:
    found = statistics.difference([1.0, 0.0], [1.0, 0.0], ["a", "b"])
    assert (found.difference, found.p, found.mcnemar) == (0.0, 1.0, 1.0)


def test_permutation_finds_what_is_there_and_not_what_is_not() -> None:
    rng = np.random.default_rng(1)
    before = (rng.random(400) < 0.5).astype(float)
    better = np.maximum(before, (rng.random(400) < 0.2).astype(float))
    other = (rng.random(400) < 0.5).astype(float)
    documents = [f"d{i % 40}" for i in range(400)]
    assert statistics.difference(before.tolist(), better.tolist(), documents).p < 0.001
    assert statistics.difference(before.tolist(), other.tolist(), documents).p > 0.05


def test_holm_corrects_in_order() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_quantiles_by_nearest_rank() -> None:
    assert [statistics.quantile([4.0, 1.0, 3.0, 2.0], share) for share in (0.5, 0.75, 0.99)] == [2.0, 3.0, 4.0]
