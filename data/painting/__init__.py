"""The procedural painter behind ``data/make_styles.py``: compositions, brushes, glass, dots and ink."""
