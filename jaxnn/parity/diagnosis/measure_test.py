import numpy as np
import pytest

from jaxnn.parity.diagnosis.measure import FORMATS, distance, few_examples, fit, narrowest

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("name", "dtype"), [("float16", np.float16), ("float32", np.float32)])
def test_rounding_is_numpy_s(name, dtype):
    x = RANDOM.normal(size=2000) * 10.0 ** RANDOM.integers(-12, 6, size=2000)
    with np.errstate(over="ignore"):
        assert np.array_equal(FORMATS[name].rounded(x), x.astype(dtype).astype(np.float64))


def test_rounding_to_bfloat16_keeps_eight_bits():
    assert FORMATS["bfloat16"].rounded(np.array([1 + 2**-8, 1 + 3 * 2**-8, 2**-7 + 2**-20])).tolist() == [
        1.0,  # ties go to even
        1 + 2**-6,
        2**-7,
    ]
    assert FORMATS["tfloat32"].rounded(np.array([1 + 2**-10 + 2**-12]), truncated=True).tolist() == [1 + 2**-10]


def test_the_narrowest_format_that_holds_all():
    x = RANDOM.normal(size=100)
    assert narrowest(x) is None
    for name in ("bfloat16", "float16", "float32"):
        found = narrowest(FORMATS[name].rounded(x))
        assert found is not None and found.name == name


def test_distance_is_a_share_of_the_largest_magnitude():
    assert distance(np.array([1.0, 4.0]), np.array([1.0, 3.0])) == 0.25
    assert distance(np.zeros(2), np.zeros(3)) == np.inf
    assert distance(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert distance(np.array([1.0, np.nan]), np.array([np.nan, 1.0])) == np.inf
    assert distance(np.array([1.0, 2.0]), np.array([1.0, np.inf])) == np.inf


def test_a_fit_leaves_a_thousandth_or_a_few_roundings():
    reference, observed = np.array([1.0, 2.0]), np.array([1.0, 2.2])
    assert fit(observed + 1e-5, reference, observed, rounding=0.0) is not None
    assert fit(observed + 1e-3, reference, observed, rounding=0.0) is None
    assert fit(observed + 1e-3, reference, observed, rounding=1e-3) is not None
    assert fit(observed + 1e-1, reference, observed, rounding=1.0) is None  # half of the difference is left
    assert fit(observed, observed, observed, rounding=1.0) is None  # there is nothing to explain


def test_the_worst_example_is_among_the_few():
    reference = RANDOM.normal(size=(50, 10))
    observed = reference.copy()
    observed[37] += 1
    chosen = few_examples(observed, reference, elements=100)(np.arange(50))
    assert len(chosen) == 10 and chosen[0] == 37
