"""Connects a host to the terminals of its own machine: a surface behind a UNIX socket, and `surfaces chat`."""
