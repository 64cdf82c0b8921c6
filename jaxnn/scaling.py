"""How a table's columns are standardized; runs keep it, so that other rows can be treated alike."""

from dataclasses import dataclass

import numpy as np
import pydantic
from jaxtyping import Float32


@dataclass(frozen=True)
class Scaling:
    """Of each column ``mean`` and ``std``, the population's standard deviation; 0 where the column is constant.

    Raises ValueError if there are not as many of the one as of the other.
    """

    mean: tuple[pydantic.FiniteFloat, ...]
    std: tuple[pydantic.FiniteFloat, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means, but {len(self.std)} standard deviations")

    @classmethod
    def of(cls, rows: Float32[np.ndarray, "rows columns"]) -> "Scaling":
        """That of these rows, in float64, in which equal float32 numbers add up without rounding: 0 is exact."""
        wide = rows.astype(np.float64)
        return cls(tuple(wide.mean(axis=0).tolist()), tuple(wide.std(axis=0).tolist()))

    def apply(self, rows: Float32[np.ndarray, "rows columns"]) -> Float32[np.ndarray, "rows columns"]:
        """(row - mean) / std, in float64 until it is rounded; 0 where std is 0."""
        mean, std = np.array(self.mean), np.array(self.std)
        return np.where(std == 0, 0, (rows - mean) / np.where(std == 0, 1, std)).astype(np.float32)
