"""The command line, one module per command, each with `add_parser(commands)` and `main(arguments)`."""
