"""What a configuration that cannot work raises."""


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another."""
