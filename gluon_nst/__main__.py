"""``python -m gluon_nst`` is ``gluon-nst``."""

from gluon_nst.cli import main

if __name__ == "__main__":
    main()
