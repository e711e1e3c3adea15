"""`python -m bridge.cli`: the same as the `lockgate` command."""

from bridge.cli.app import main

if __name__ == "__main__":
    main()
