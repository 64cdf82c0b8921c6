"""The errors that end a command with one sentence instead of a traceback."""


class UserError(ValueError):
    """Bad input or use. The message says what is wrong, where, and how to mend it (exit code 2)."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is NaN or infinite (exit code 1)."""

    def __init__(self, *, epoch: int, step: int, loss: float, cause: str = "") -> None:
        self.epoch, self.step, self.loss, self.cause = epoch, step, loss, cause
        super().__init__(
            f"the loss became {loss} at step {step} of epoch {epoch}{cause and f': {cause}'}; "
            "try a smaller --optimizer.learning-rate, --clip.norm 1 or --on-nan skip"
        )

    def because(self, cause: str) -> "NonFiniteLossError":
        return NonFiniteLossError(epoch=self.epoch, step=self.step, loss=self.loss, cause=cause)


class Interrupted(Exception):
    """Training was asked to stop and has written a checkpoint (exit code 128 + the signal)."""

    def __init__(self, run: object, *, step: int) -> None:
        self.step = step
        super().__init__(f"interrupted after step {step}; `jaxnn train --resume --out {run}` continues there")


class Ended(Exception):
    """The command has to end with exit code ``code``, after one sentence."""

    def __init__(self, message: object, code: int) -> None:
        super().__init__(str(message))
        self.code = code
