"""What the operator asked for: the config is read and checked, and the plugins that it names are found."""
