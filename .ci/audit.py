"""Compare every pinned package with the advisories that are public. `make audit` runs it.

Three ends: nothing is known against any of them; something is; or nobody could be asked: that is said, and no success.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = ("-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip", "--format", "json",
           "--progress-spinner", "off")  # fmt: skip
FOUND, UNASKED = 1, 2


def main() -> int:
    ran = subprocess.run([sys.executable, *COMMAND], cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = (ran.stderr.strip().splitlines() or ["no reason was given"])[-1]
        print(f"The advisory service can't be reached: nothing was compared ({said}).", file=sys.stderr)
        return UNASKED
    return told(packages)


def told(packages: list[dict[str, object]]) -> int:
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if len(unknown) == len(packages):
        print("The advisory service can't be reached from here: it knows none of the packages. Nothing was compared.",
              file=sys.stderr)  # fmt: skip
        return UNASKED
    wrong = [(each, hole) for each in packages for hole in each.get("vulns", [])]  # type: ignore[attr-defined]
    for each, hole in wrong:
        mended = ", ".join(hole["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {hole['id']}, mended in {mended}")
    if unknown:
        print(f"Not compared, for the service does not know them: {', '.join(map(str, unknown))}.")
    print(f"{len(packages) - len(unknown)} packages were compared; {len(wrong)} advisories speak of them.")
    return FOUND if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
