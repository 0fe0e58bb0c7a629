"""Commands of Surfaces for conversations, contexts and staged files."""
