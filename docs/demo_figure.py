#!/usr/bin/env python3
"""Draws docs/demo.svg from a demo's summary.json: python3 docs/demo_figure.py runs/demo/summary.json docs/demo.svg"""
import json
import sys

PARTS = [("lines", "lines: repeated prose"), ("natural", "natural: source code"), ("phrases", "phrases: random")]
ROWS = [("rosa", "window + ROSA", "#2563a8"), ("rosa_zeroed", "ROSA output zeroed", "#9aa5b1"),
        ("rosa_shuffled", "ROSA values shuffled", "#9aa5b1"), ("rosa_windowed", "ROSA limited to the window", "#9aa5b1"),
        ("rosa_soft_recipe", "trained by rosa_soft's recipe", "#c77d2e")]
WIDTH, LABEL, ROW, SCALE = 760, 250, 22, 420


def closed(part, name):
    if "gap_closed" not in part:  # the gap is not clearly positive
        return None
    window, teacher = part["window"]["ce"], part["teacher"]["ce"]
    return (window - part[name]["ce"]) / (window - teacher)


def main(source, target):
    summary = json.load(open(source))
    out, y = [], 34
    for key, title in PARTS:
        part = summary if key == "lines" else summary.get(key)
        if part is None:
            continue
        out.append(f'<text x="12" y="{y + 14}" font-weight="bold">{title}</text>')
        out.append(f'<text x="{LABEL}" y="{y + 14}" fill="#666">teacher {part["teacher"]["ce"]:.3f}, window only '
                   f'{part["window"]["ce"]:.3f}, window + ROSA {part["rosa"]["ce"]:.3f} nats</text>')
        y += ROW
        for name, label, color in ROWS:
            value = closed(part, name)
            bar = max(0.0, min(1.0, value or 0.0)) * SCALE
            shown = "n/a" if value is None else f"{value:.2f}"
            out.append(f'<text x="{LABEL - 10}" y="{y + 14}" text-anchor="end">{label}</text>')
            out.append(f'<rect x="{LABEL}" y="{y + 3}" width="{max(bar, 1):.1f}" height="14" fill="{color}"/>')
            out.append(f'<text x="{LABEL + bar + 6:.1f}" y="{y + 14}">{shown}</text>')
            y += ROW
        y += 12
    grid = "".join(f'<line x1="{LABEL + SCALE * i / 4}" y1="30" x2="{LABEL + SCALE * i / 4}" y2="{y - 8}" stroke="#ddd"/>'
                   f'<text x="{LABEL + SCALE * i / 4}" y="{y + 8}" text-anchor="middle" fill="#666">{i / 4:g}</text>'
                   for i in range(5))
    head = '<text x="12" y="20" font-size="15">Share of the gap between window only and teacher that is closed</text>'
    with open(target, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 18}" '
                   f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
                   f'{grid}{head}{"".join(out)}</svg>\n')


if __name__ == "__main__":
    main(*sys.argv[1:])
