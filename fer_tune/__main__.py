"""`python -m fer_tune` is `fer-tune`."""

from fer_tune.cli import main

if __name__ == "__main__":
    main()
