"""`python -m ckptkit` is the command line."""

from ckptkit.cli import main

main()
