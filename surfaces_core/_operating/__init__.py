"""What operators see of a host and do to it."""
