"""`python -m homeport` is the command `homeport`."""

from homeport.cli import main

main()
