"""The arithmetic of `leeboard compare`, against its sources."""

import numpy as np
import pytest
from leeboard.pipelines.compare.columns import blocks
from leeboard.pipelines.compare.fits import Layout, least_squares, quantile
from leeboard.pipelines.compare.judge import holm
from leeboard.pipelines.compare.shares import ShareEffect, paired_share_difference
from scipy import stats


def test_without_groups_the_standard_error_is_welchs():
    rng = np.random.default_rng(18)
    first, second = rng.standard_normal(30), 2 * rng.standard_normal(50) + 1
    y, side = np.concatenate([first, second]), np.repeat([0, 1], [30, 50])
    fitted = least_squares(y, np.column_stack([np.ones(80), side]), 1, Layout(side, (np.arange(80),)))
    welch = stats.ttest_ind(second, first, equal_var=False)
    assert fitted.estimate / fitted.errors[0].se == pytest.approx(welch.statistic)
    assert fitted.errors[0].df == pytest.approx(welch.df)
    student = stats.ttest_ind(second, first)
    assert fitted.estimate / fitted.errors[1].se == pytest.approx(student.statistic)
    assert fitted.errors[1].df == pytest.approx(student.df)


def test_the_interval_of_shares_is_newcombes():
    """Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10."""
    for (x, n), (y, m), expected in (((56, 70), (48, 80), (0.0524, 0.3339)), ((9, 10), (3, 10), (0.1705, 0.8090))):
        effect = ShareEffect(x / n - y / m, None, 0.0, 1e9, (y / m, x / n), (m, n))
        assert effect.interval(0.05) == pytest.approx(expected, abs=5e-5)


def test_the_paired_shares_are_mcnemars_and_their_interval_is_bonett_and_prices():
    base, candidate = np.repeat([0.0, 1.0, 0.0, 1.0], [40, 12, 3, 45]), np.repeat([0.0, 0.0, 1.0, 1.0], [40, 12, 3, 45])
    layout = Layout(np.zeros(100, np.int64), (np.arange(100),))
    effect = paired_share_difference(base, candidate, layout, balanced=True)
    assert effect.p_value == pytest.approx(stats.binomtest(3, 15).pvalue)
    z = quantile(0.05, effect.df)
    added = z * z / 4
    worse, better = (12 + added) / (100 + 2 * added), (3 + added) / (100 + 2 * added)
    half = z * np.sqrt((worse + better - (worse - better) ** 2) / (100 + 2 * added))
    assert effect.interval(0.05) == pytest.approx((better - worse - half, better - worse + half))


def test_holm_adjusts_and_judges_at_its_own_levels():
    adjusted, levels = holm([0.01, 0.04, None, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert levels == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 2, 0.05 / 4])


def test_blocks_are_neighbours_of_equal_size():
    assert np.bincount(blocks(400)).tolist() == [16] * 25
    assert blocks(3).tolist() == [0, 1, 2]
    assert set(np.bincount(blocks(1234)).tolist()) == {49, 50}
