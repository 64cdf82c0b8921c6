"""The errors that end a command with one sentence instead of a traceback."""

_LONGEST = 2000  # characters of a message, which may quote what a file holds


class UserError(ValueError):
    """Bad input or use. The message says what is wrong, where, and how to mend it (exit code 2).

    It is one line that a terminal can show, whatever it quotes: control characters are escaped, and the middle of
    a very long one is left out.
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        if not text.isprintable():
            text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        if len(text) > _LONGEST:  # last: escaped, a character has up to ten
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
        super().__init__(text)


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is NaN or infinite (exit code 1)."""

    def __init__(self, *, epoch: int, step: int, loss: float, cause: str = "") -> None:
        self.epoch, self.step, self.loss, self.cause = epoch, step, loss, cause
        super().__init__(
            f"the loss became {loss} at step {step} of epoch {epoch}{cause and f': {cause}'}; "
            "try a smaller --optimizer.learning-rate or --clip.norm 1"
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
