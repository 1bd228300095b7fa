"""The error that is no bug: this network cannot be had in these settings."""


class NotQuantizable(ValueError):
    """The quantizer refuses a module, or a setting for it; the message is one sentence why."""
