"""Reads Autobahn's index.json, prints `N passed, N failed`, and fails unless every case is as good as it can be."""

from __future__ import print_function

import json
import sys

# The RFC leaves the outcome of these open.
MAY_BE_INFORMATIONAL = ("7.1.6", "7.13.1", "7.13.2")


def is_good(case, outcome):
    allowed = ("OK", "INFORMATIONAL") if case in MAY_BE_INFORMATIONAL else ("OK",)
    return outcome["behavior"] in allowed and outcome["behaviorClose"] in allowed


def main(path):
    with open(path) as index:
        cases = json.load(index).get("ringhall", {})
    numbers = lambda case: [int(part) for part in case.split(".")]
    bad = sorted((case for case in cases if not is_good(case, cases[case])), key=numbers)
    for case in bad:
        print("case %s: %s, close %s" % (case, cases[case]["behavior"], cases[case]["behaviorClose"]))
    print("Autobahn: %d passed, %d failed" % (len(cases) - len(bad), len(bad)))
    return 1 if bad or not cases else 0


sys.exit(main(sys.argv[1]))
