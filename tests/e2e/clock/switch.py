"""Asks for tokens over the moment of a switch, which must happen once and on its second: `switch.py OFFSET SWITCH`."""

import sys
import time

from tokens import check, token


def main():
    offset, switch = int(sys.argv[1]), int(sys.argv[2])
    seen = []
    while time.time() + offset < switch + 2:
        before = time.time() + offset
        key = check(token(f"usr_{len(seen)}"), offset)
        after = time.time() + offset
        if key == "new" and after < switch or key == "old" and before >= switch + 1:
            sys.exit(f"the {key} key signed between {before} and {after}; the switch is at {switch}")
        seen.append(key)
        time.sleep(0.02)
    if seen != sorted(seen, key=("old", "new").index) or set(seen) != {"old", "new"}:
        sys.exit("the key switched more than once, or never")


if __name__ == "__main__":
    main()
