#!/usr/bin/env python3
"""Prints the JSON of a Google Benchmark program as a table: medians over the repeats.

    bench/table.py FILE.json
    bench/table.py --pivot FILE.json

With --pivot, names that differ before their first slash only share a row: CPU time an item, in ns, and in brackets the
ratio to the row's last column (the smallest).

wall and CPU are times of one iteration; spread is the standard deviation of the CPU time over the repeats, as a share of
its mean; "ns / item" is what the program counts. Counters of the program follow.
"""
import json
import statistics
import sys

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
# What Google Benchmark writes of every benchmark; the rest are counters.
KNOWN = {"name", "run_name", "run_type", "family_index", "per_family_instance_index", "repetitions", "repetition_index",
         "threads", "iterations", "real_time", "cpu_time", "time_unit", "items_per_second", "bytes_per_second", "label",
         "aggregate_name", "aggregate_unit"}


def time_text(seconds):
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def row(name, runs):
    unit = SECONDS[runs[0]["time_unit"]]
    wall = [run["real_time"] * unit for run in runs]
    cpu = [run["cpu_time"] * unit for run in runs]
    spread = statistics.stdev(cpu) / statistics.mean(cpu) if len(cpu) > 1 and statistics.mean(cpu) > 0 else 0.0
    cells = {"benchmark": name, "wall": time_text(statistics.median(wall)), "CPU": time_text(statistics.median(cpu)),
             "spread": f"{100 * spread:.0f} %"}
    if "items_per_second" in runs[0]:
        cells["ns / item"] = f"{1e9 / statistics.median(run['items_per_second'] for run in runs):.2f}"
    for counter in sorted(set(runs[0]) - KNOWN):
        if isinstance(runs[0][counter], (int, float)):
            cells[counter] = f"{statistics.median(run[counter] for run in runs):.4g}"
    return cells


def pivot(runs):
    """Rows of CPU times an item, by what follows the first slash of the name; the cheapest column last."""
    cells = {}
    for name, repeats in runs.items():
        column, _, rest = name.partition("/")
        cells.setdefault(rest, {})[column] = 1e9 / statistics.median(run["items_per_second"] for run in repeats)
    columns = sorted({column for row in cells.values() for column in row},
                     key=lambda column: -statistics.median(row[column] for row in cells.values() if column in row))
    rows = []
    for rest, row_cells in cells.items():
        last = row_cells.get(columns[-1])
        texts = {"benchmark": rest}
        for column in columns:
            if column in row_cells:
                ratio = f" ({row_cells[column] / last:.3g})" if last and column != columns[-1] else ""
                texts[column] = f"{row_cells[column]:.4g}{ratio}"
        rows.append(texts)
    return ["benchmark", *columns], rows


def print_table(columns, rows):
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for cells in rows:
        print("| " + " | ".join(cells.get(column, "") for column in columns) + " |")


def main(path, is_pivot):
    with open(path, encoding="utf-8") as file:
        benchmarks = json.load(file)["benchmarks"]
    runs = {}
    for run in benchmarks:
        if run["run_type"] == "iteration" and not run.get("error_occurred"):
            runs.setdefault(run["run_name"], []).append(run)
    rows = [row(name, repeats) for name, repeats in runs.items()]
    if not rows:
        print("no benchmark ran")
        return
    if is_pivot:
        print_table(*pivot(runs))
        return
    columns = list(dict.fromkeys(column for cells in rows for column in cells))
    print_table(columns, rows)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--pivot"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    main(arguments[0], "--pivot" in sys.argv)
