"""Errors that say more than that a value is wrong."""


class UnknownSettingError(ValueError):
    """A key that the config does not have, or a value that cannot be its value: wrong whatever else is set."""
