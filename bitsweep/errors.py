"""The error that is the user's to mend."""


class UserError(Exception):
    """Something outside TVM is wrong; the message is one sentence that names it and the remedy."""
