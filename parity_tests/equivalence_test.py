import numpy as np
import pytest
from scipy import stats

from parity_tests.equivalence import tost

MARGIN = 0.005
THEIRS = np.random.default_rng(0).normal(0.9, 0.02, size=20)
NOISE = np.random.default_rng(1).normal(size=20)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)  # mean 0 and spread 1 exactly, so that each case is what it says


@pytest.mark.parametrize(
    ("bias", "spread", "pairs", "holds"),
    [
        (0.0, 0.0, 20, True),
        (0.0, 0.004, 20, True),
        (0.003, 0.004, 20, True),
        (0.004, 0.004, 20, False),  # inside the margin, but not shown to be
        (0.006, 0.0, 20, False),
        (-0.006, 0.001, 20, False),
        (0.0, 0.02, 20, False),  # too much spread to know
        (0.0, 0.004, 2, False),  # too few pairs to know
    ],
)
def test_bias_spread_and_too_few_pairs_count_against_equivalence(
    bias: float, spread: float, pairs: int, holds: bool
) -> None:
    result = tost((THEIRS + bias + spread * NOISE)[:pairs], THEIRS[:pairs], margin=MARGIN)
    assert result.holds is holds
    assert result.low <= result.mean <= result.high


@pytest.mark.parametrize("bias", np.linspace(-0.006, 0.006, 13))
@pytest.mark.parametrize("spread", [0.001, 0.005, 0.011, 0.02])
def test_the_interval_is_two_one_sided_tests(bias: float, spread: float) -> None:
    ours = THEIRS + bias + spread * NOISE
    above = stats.ttest_rel(ours, THEIRS - MARGIN, alternative="greater").pvalue
    below = stats.ttest_rel(ours, THEIRS + MARGIN, alternative="less").pvalue
    assert tost(ours, THEIRS, margin=MARGIN).holds is bool(max(above, below) < 0.05)


@pytest.mark.parametrize("differences", [[0.1], [0.1, np.nan]])
def test_what_cannot_be_tested_is_refused(differences: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two pairs of finite values"):
        tost(np.array(differences), np.zeros(len(differences)), margin=MARGIN)
