"""End-to-end encryption for one account; needs the extra `surfaces-matrix[e2ee]`."""
