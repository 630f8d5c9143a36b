#!/usr/bin/env python3
"""Checks the table of powers of ten against integers of any length; with --print prints it."""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "src" / "base" / "powers_of_ten.c"
POWER_MIN, POWER_MAX = -292, 324


def rounded_up(k):
    """The smallest integer that is at least 10^k times the power of two that gives it 128 bits."""
    numerator, denominator = (10**k, 1) if k >= 0 else (1, 10**-k)
    shift = 128 - (numerator.bit_length() - denominator.bit_length())
    while True:
        scaled = numerator << shift if shift >= 0 else numerator
        divisor = denominator if shift >= 0 else denominator << -shift
        if scaled // divisor < 1 << 128:
            return -(-scaled // divisor)
        shift -= 1


def rows():
    for k in range(POWER_MIN, POWER_MAX + 1):
        g = rounded_up(k)
        yield g >> 64, g & 2**64 - 1


def main():
    if "--print" in sys.argv:
        for high, low in rows():
            print(f"    {{ 0x{high:016x}, 0x{low:016x} }},")
        return
    found = [(int(h, 16), int(l, 16)) for h, l in re.findall(r"\{ 0x([0-9a-f]{16}), 0x([0-9a-f]{16}) \}", SOURCE.read_text())]
    assert found == list(rows()), "the table is not that of --print"
    print(f"{len(found)} powers of ten are right")


if __name__ == "__main__":
    main()
