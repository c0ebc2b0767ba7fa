"""Runs the Python examples of one page, as its reader would: in a process of their own.

A block whose first line is a comment that names a file, such as ``# shop/app.py``, is
written to that file below the current directory; with ``, below the rest`` after the
name it is added at the end. Any other block runs at once, after those before it.

    python tests/run_page.py docs/how-to/app-factory.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from sybil import Document, Example, Region, Sybil
from sybil.parsers.myst import PythonCodeBlockParser

_FILE = re.compile(r"# (?P<path>[\w/]+\.py)(?P<more>, below the rest)?\n")


class PagePythonParser(PythonCodeBlockParser):
    """Finds the Python blocks of a page, and tells files from statements."""

    def __call__(self, document: Document) -> Iterable[Region]:
        """Yield the blocks, each with what evaluates it."""
        for region in super().__call__(document):
            if isinstance(region.parsed, str) and _FILE.match(region.parsed):
                region.evaluator = write_file
            yield region


def write_file(example: Example) -> None:
    """Write the block to the file that its first line names."""
    named = _FILE.match(example.parsed)
    path = Path(named["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if named["more"] else "w") as file:
        file.write(example.parsed)


def parse(page: Path) -> Document:
    """Return *page* with its examples."""
    return Sybil(parsers=[PagePythonParser()]).parse(page)


def run(page: Path) -> None:
    """Run the examples of *page*, which see each other's names, in this process."""
    document = parse(page)
    module = ModuleType("page")
    sys.modules["page"] = module
    module.__file__ = str(page)
    document.namespace = vars(module)
    for example in document.examples():
        example.evaluate()


if __name__ == "__main__":
    sys.path[0] = ""
    run(Path(sys.argv[1]))
