"""One module a kind of document, each with `pages`. They are loaded in the child that reads a file, nowhere else."""
