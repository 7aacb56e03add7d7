"""Faults on a whole installation, under load: run by `make chaos`."""

import importlib.util

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["*"]
