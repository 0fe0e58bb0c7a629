"""Shows Surfaces on one machine with nothing prepared."""
