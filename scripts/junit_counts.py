"""Count the tests of a JUnit report: `junit_counts.py REPORT` prints "PASSED FAILED SKIPPED".

An error outside of a test (a fixture, a file that does not import) counts as a failure.
"""

import sys
import xml.etree.ElementTree as ET


def main() -> None:
    total = failed = skipped = 0
    for suite in ET.parse(sys.argv[1]).iter("testsuite"):  # noqa: S314  # our own pytest wrote it
        total += int(suite.get("tests", "0"))
        failed += int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        skipped += int(suite.get("skipped", "0"))
    sys.stdout.write(f"{max(0, total - failed - skipped)} {failed} {skipped}\n")


if __name__ == "__main__":
    main()
