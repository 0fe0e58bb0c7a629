"""What the `surfaces` program does when it is called."""
