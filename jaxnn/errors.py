"""The errors that end a command with one sentence instead of a traceback."""

import unicodedata

_LONGEST = 2000  # characters of a message, which may quote what a file holds


class UserError(ValueError):
    """Bad input or use. The message says what is wrong, where, and how to mend it (exit code 2).

    It is one line that a terminal can show, whatever it quotes: control characters are escaped, and the middle of
    a very long one is left out.
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        if not text.isprintable():
            text = "".join(c if c.isprintable() else _escaped(c) for c in text)
        if len(text) > _LONGEST:  # last: escaped, a character has up to ten
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
        super().__init__(text)


def printable(text: str) -> str:
    """``text`` as a terminal may show it: escaped are control characters, which it would obey, and lone surrogates.

    Not so in a UserError, format characters stay: names in some scripts need them.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is NaN or infinite (exit code 1); ``cause``: the first tensor that was, and where."""

    def __init__(self, *, epoch: int, step: int, loss: float, cause: str = "") -> None:
        self.epoch, self.step, self.loss, self.cause = epoch, step, loss, cause
        super().__init__(self._said(f": {cause}" if cause else ""))

    @property
    def brief(self) -> str:
        """Without the cause."""
        return self._said("")

    def because(self, cause: str) -> "NonFiniteLossError":
        return NonFiniteLossError(epoch=self.epoch, step=self.step, loss=self.loss, cause=cause)

    def _said(self, cause: str) -> str:
        return (
            f"the loss became {self.loss} at step {self.step} of epoch {self.epoch}{cause}; "
            "try a smaller --optimizer.learning-rate or --clip.norm 1"
        )


class Interrupted(Exception):
    """Training was asked to stop (exit code 128 + the signal).

    It has written a checkpoint of ``step``; None: it was ended before it could.
    """

    def __init__(self, run: object, *, step: int | None = None) -> None:
        self.step = step
        command = f"`jaxnn train --resume --out {run}`"
        if step is None:
            super().__init__(f"interrupted; {command} goes on from its newest checkpoint")
        else:
            super().__init__(f"interrupted after step {step}; {command} continues there")


class Ended(Exception):
    """The command has to end with exit code ``code``, after one sentence."""

    def __init__(self, message: object, code: int) -> None:
        super().__init__(str(message))
        self.code = code


def first_line(error: BaseException) -> str:
    """What a library's error says first, without the lines that follow; its class if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
