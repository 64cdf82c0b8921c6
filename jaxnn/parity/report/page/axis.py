"""A logarithmic axis on which errors of exactly zero, and those that are not finite, have places of their own."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

DECADE = 1000
"""Units of a decade, fine enough that a position read back from a drawing gives two digits of the error."""
_SHARE = 0.1  # of the decades' length: the place for zero below them, and that for NaN and infinity above
_LOWEST = -18  # less than a rounding of float64: what is smaller still is drawn at the low end
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """From 10^low to 10^high, with room for zero below and for NaN and infinity above where there are any."""

    low: int
    high: int
    zero: bool = False
    unbounded: bool = False

    @property
    def size(self) -> int:
        return self.above + DECADE * (self.high - self.low) + self.below

    @property
    def below(self) -> int:
        return self._place if self.zero else 0

    @property
    def above(self) -> int:
        return self._place if self.unbounded else 0

    @property
    def _place(self) -> int:
        return max(DECADE // 2, round(_SHARE * DECADE * (self.high - self.low)))

    def place(self, value: float) -> int:
        """Where ``value`` is, in units from the low end."""
        if not math.isfinite(value):
            return self.size - self.above // 4
        if value <= 0:
            return self.below // 4
        decades = min(max(math.log10(value), self.low), self.high) - self.low
        return self.below + round(DECADE * decades)

    def ticks(self, at_most: int = 7, *, apart: float = 0.05) -> list[tuple[float, str]]:
        """Labels and where they stand, as shares of the axis from the low end, each ``apart`` from that of zero."""
        stride = math.ceil((self.high - self.low + 1) / at_most)
        powers = range(self.low, self.high + 1, stride)
        marks = [(self.below + DECADE * (power - self.low), power_of_ten(power)) for power in powers]
        if self.zero:
            zero = self.place(0.0)
            marks = [(zero, "0"), *((place, label) for place, label in marks if place - zero > apart * self.size)]
        if self.unbounded:
            marks.append((self.place(math.nan), "∞"))
        return [(place / self.size, label) for place, label in marks]


def around(values: Iterable[float]) -> Axis:
    """The axis on which all of ``values`` have their place, the largest of them below its end."""
    values = list(values)
    powers = [math.log10(value) for value in values if 0 < value < math.inf] or [-1.0]
    high = math.floor(max(powers)) + 1
    low = min(max(math.floor(min(powers)), _LOWEST), high - 1)
    return Axis(low, high, zero=0.0 in values, unbounded=not all(map(math.isfinite, values)))


def power_of_ten(power: int) -> str:
    return "1" if power == 0 else "10" + str(power).translate(_SUPERSCRIPT)
