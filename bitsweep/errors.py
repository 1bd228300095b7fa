"""The error that is the user's to mend, and how it tells another one."""


class UserError(Exception):
    """Something outside TVM is wrong; the message is one sentence that names it and the remedy."""


def in_a_line(error: BaseException) -> str:
    """Return an error's type and the first line of what it says, of which PyTorch's have many."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
