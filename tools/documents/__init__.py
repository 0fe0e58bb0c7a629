"""Makes the generated pages of the documents."""
