"""`python -m benchmarks [NAME ...]`: runs the benchmarks, one after the other.

Each module beside this one measures one claim in a function `measure()` that
returns rows: what, and seconds with the ratio to the first row, or a value with
its unit and a note (printed as it is measured). Every benchmark prints its table
and writes `out/benchmarks/<name>.json`. Measure on a quiet machine.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
import warnings
from pathlib import Path

import benchmarks

OUT = Path("out") / "benchmarks"


def main(names: list[str]) -> int:
    """Runs the named benchmarks, or all of them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Of libraries about the Python versions they will drop; processes inherit it.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    warnings.filterwarnings("ignore", category=FutureWarning)
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    known = [name for name in known if not name.startswith("_")]
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"benchmark {unknown[0]!r} does not exist; there are: {', '.join(known)}")
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for name in names or known:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]} ({machine})")
        rows = module.measure()
        wide = max(len(row["what"]) for row in rows)
        for row in rows:
            if "seconds" not in row:
                continue
            print(f"  {row['what']:<{wide}}  {row['seconds']:9.3f} s  {row['ratio']:8.1f} x")
        value = {"benchmark": name, "machine": machine, "rows": rows}
        (OUT / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
