"""What the fields of a recipe have to hold."""

import dataclasses
from typing import Any

from jaxnn.errors import UserError

_LARGEST = 3.4e38  # of float32; NaN fails every comparison


def require(holds: bool, name: str, value: object, must: str) -> None:
    if not holds:
        raise UserError(f"{name} must be {must}, but it is {value!r}")


def is_positive(value: float) -> bool:
    return 0 < value <= _LARGEST


def is_not_negative(value: float) -> bool:
    return 0 <= value <= _LARGEST


def only_for(config: Any, group: str, users_of: dict[str, tuple[str, ...]]) -> None:
    """Refuses an option that was changed although the named choice does not read it."""
    for option in dataclasses.fields(config):
        users = users_of.get(option.name)
        changed = getattr(config, option.name) != option.default
        if users is not None and config.name not in users and changed:
            raise UserError(
                f"{group}.{option.name} has no effect with {group}.name {config.name!r}; "
                f"it belongs to {', '.join(users)}"
            )
