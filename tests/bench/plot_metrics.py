#!/usr/bin/env python3
"""Draws the loss curve of training runs as SVG; needs nothing but Python 3.

usage: plot_metrics.py [-o out.svg] [--title TEXT] [--line NAME=BITS]... run/metrics.jsonl ...

Each run gives a thin line of its steps (mean of 1 % of the run), and points for its validations.
--line draws a level to compare with, as of a Markov model.
"""
import argparse
import json
import math
import os
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 40, 48
COLOURS = ["#1f5fa8", "#c2571a", "#2e7d4f", "#7b4fa3"]


def read_run(path):
    """[(bases, bits)] of the steps and of the validations."""
    steps, valid, bases_at = [], [], {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "loss" in row:
                bases_at[row["step"]] = row["bases"]
                steps.append((row["bases"], row["bits"]))
            else:
                valid.append((bases_at[row["step"]], row["valid_bits"]))
    if not steps:
        sys.exit(f"{path}: no steps")
    return steps, valid


def smoothed(points):
    """Means of stretches of a hundredth of the run."""
    size = max(1, len(points) // 100)
    out = []
    for begin in range(0, len(points), size):
        part = points[begin:begin + size]
        out.append((part[-1][0], sum(bits for _, bits in part) / len(part)))
    return out


def ticks(low, high):
    """About six round values within [low, high]."""
    step = 10.0 ** math.floor(math.log10((high - low) / 5))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 7)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class Plot:
    def __init__(self, right, low, high):
        self.right, self.low, self.high = right, low, high
        self.parts = []

    def x(self, bases):
        return LEFT + (WIDTH - LEFT - RIGHT) * bases / self.right

    def y(self, bits):
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - bits) / (self.high - self.low)

    def text(self, x, y, words, anchor="middle", more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>')

    def rule(self, x1, y1, x2, y2, style):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def axes(self, title):
        for bits in ticks(self.low, self.high):
            self.rule(LEFT, self.y(bits), WIDTH - RIGHT, self.y(bits), 'stroke="#ddd"')
            self.text(LEFT - 6, self.y(bits) + 4, f"{bits:.4g}", "end")
        for bases in ticks(0, self.right):
            self.rule(self.x(bases), HEIGHT - BOTTOM, self.x(bases), HEIGHT - BOTTOM + 4, 'stroke="#444"')
            self.text(self.x(bases), HEIGHT - BOTTOM + 18, f"{bases / 1e6:.4g}")
        self.rule(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, 'stroke="#444"')
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "bases read, millions")
        self.text(0, 0, "bits a base", more=f'transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"')
        self.text((LEFT + WIDTH - RIGHT) / 2, 20, title, more='font-size="14"')

    def run(self, name, steps, valid, colour, place):
        line = " ".join(f"{self.x(a):.1f},{self.y(min(b, self.high)):.1f}" for a, b in smoothed(steps))
        self.parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-opacity="0.6"/>')
        for bases, bits in valid:
            self.parts.append(f'<circle cx="{self.x(bases):.1f}" cy="{self.y(min(bits, self.high)):.1f}" r="3" '
                              f'fill="{colour}"/>')
        label = f"{name}: training (line), validation (points)"
        self.text(WIDTH - RIGHT - 4, TOP + 14 + 16 * place, label, "end", f'fill="{colour}"')

    def level(self, name, bits):
        self.rule(LEFT, self.y(bits), WIDTH - RIGHT, self.y(bits), 'stroke="#a33" stroke-dasharray="5 4"')
        self.text(LEFT + 6, self.y(bits) - 4, f"{name} {bits:g}", "start", 'fill="#a33"')

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
                f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def parse_level(text):
    name, _, bits = text.rpartition("=")
    return name, float(bits)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics", nargs="+", help="metrics.jsonl of a run")
    parser.add_argument("-o", "--output", default="-")
    parser.add_argument("--title", default="Training")
    parser.add_argument("--line", action="append", default=[], type=parse_level, metavar="NAME=BITS")
    args = parser.parse_args()

    runs = [read_run(path) for path in args.metrics]
    values = [bits for steps, valid in runs for _, bits in smoothed(steps) + valid] + [bits for _, bits in args.line]
    low, high = min(values), min(max(values), 2.05)  # the first steps, above the four letters' 2 bits, are cut off
    margin = 0.05 * max(high - low, 0.01)
    plot = Plot(max(steps[-1][0] for steps, _ in runs), low - margin, high + margin)
    plot.axes(args.title)
    for name, bits in args.line:
        plot.level(name, bits)
    for place, (path, (steps, valid)) in enumerate(zip(args.metrics, runs)):
        name = os.path.basename(os.path.dirname(os.path.abspath(path)))
        plot.run(name, steps, valid, COLOURS[place % len(COLOURS)], place)
    if args.output == "-":
        sys.stdout.write(plot.svg())
    else:
        with open(args.output, "w", encoding="utf-8") as out:
            out.write(plot.svg())


if __name__ == "__main__":
    main()
