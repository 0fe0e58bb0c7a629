"""What agents of models may do: which tools, for whom, asked for by whom, and run once."""
