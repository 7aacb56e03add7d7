"""What datasets cost at a million rows, out, in and looked at: one entry for the parts that measure it.

    python -m benchmarks.datasets exports --pairs 1000000 --completions 2 4 9 --forms preference rankings
    python -m benchmarks.datasets imports --rows 1000000 --steps near prefix cap
    python -m benchmarks.datasets explorer --database sqlite --items 1000000 --rankings 1000000

`python -m benchmarks.datasets exports --help` says what a part measures, and what can be chosen.
"""

import argparse
import sys
from importlib import import_module

PARTS = {
    "exports": "how fast, and in how much memory, a million comparisons go out",
    "imports": "how fast, and in how much memory, a million prompts come in",
    "explorer": "how long the explorer's pages take with a million rows behind them",
}


def main() -> None:
    described = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.datasets", description=__doc__, formatter_class=described
    )
    parts = parser.add_subparsers(dest="part", required=True)
    for name, measures in PARTS.items():
        parts.add_parser(name, help=measures, add_help=False)
    chosen = parser.parse_args(sys.argv[1:2]).part
    # Only this one: what another part needs must not be in the memory that is measured.
    import_module(f"benchmarks.{chosen}").main(f"{parser.prog} {chosen}", sys.argv[2:])


if __name__ == "__main__":
    main()
