import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import optim

GRADIENTS = {"w": jnp.asarray([[3.0, 0.0]]), "b": jnp.asarray([-4.0])}


@pytest.mark.parametrize(("max_norm", "scale"), [(10.0, 1.0), (1.0, 1 / (5 + 1e-6)), (0.5, 0.5 / (5 + 1e-6))])
def test_by_norm_scales_all_leaves_together_and_only_down(max_norm, scale):
    clipped, norm = optim.clip_grad_norm(GRADIENTS, max_norm)
    assert norm == 5.0
    for name, gradient in GRADIENTS.items():
        np.testing.assert_allclose(clipped[name], scale * gradient, rtol=1e-6)


def test_by_value_limits_each_element():
    clipped = optim.clip_grad_value(GRADIENTS, 3.5)
    np.testing.assert_array_equal(clipped["w"], [[3.0, 0.0]])
    np.testing.assert_array_equal(clipped["b"], [-3.5])
