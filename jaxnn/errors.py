"""The errors that end a command with one sentence instead of a traceback."""


class UserError(ValueError):
    """Bad input or use. The message says what is wrong, where, and how to mend it (exit code 2)."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is NaN or infinite (exit code 1)."""

    def __init__(self, *, epoch: int, step: int, loss: float) -> None:
        self.epoch, self.step, self.loss = epoch, step, loss
        super().__init__(
            f"the loss became {loss} at step {step} of epoch {epoch}; "
            "try a smaller --optimizer.learning-rate or --clip.norm 1"
        )


class Interrupted(Exception):
    """Training was asked to stop and has written a checkpoint (exit code 130, or 143 after SIGTERM)."""

    def __init__(self, *, step: int, signal: int = 2) -> None:
        self.step, self.signal = step, signal
        super().__init__(f"interrupted after step {step}; the same command with --resume continues there")


class ChildError(Exception):
    """The PyTorch process ended with exit code ``code`` after it said why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
