"""What a benchmark gives: text for people, JSON for programs, and a picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .figures import Figure
from .findings import Finding
from .table import figures_table, findings_table
from .verify import Verdict

_PACKAGES = (
    *("blinker", "celery", "kombu", "redis", "flask", "sqlalchemy"),
    *("rq", "dramatiq", "huey", "taskiq", "celery-signal-receivers", "gunicorn"),
)


@dataclass(slots=True, kw_only=True)
class Report:
    """All that was measured."""

    figures: list[Figure] = field(default_factory=list)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    """By part."""

    verdicts: list[Verdict] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Contenders and parts that were left out, and why."""

    @property
    def is_right(self) -> bool:
        """Whether all that was sent has run."""
        return all(verdict.is_right for verdict in self.verdicts)

    @property
    def text(self) -> str:
        """Tables for a terminal."""
        return "\n\n".join(filter(None, self._sections()))

    def _sections(self) -> list[str]:
        return [
            figures_table(self.figures) if self.figures else "",
            "\n".join(map(_verdict_line, self.verdicts)),
            "\n".join(f"{name}: left out, {why}" for name, why in self.missing.items()),
            *(
                f"{part}\n{findings_table(findings)}"
                for part, findings in self.findings.items()
                if findings
            ),
        ]

    def write(self, folder: Path) -> None:
        """Write the text and the JSON into *folder*."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.txt").write_text(self.text + "\n")
        (folder / "report.json").write_text(json.dumps(self._facts(), indent=1) + "\n")

    def _facts(self) -> Mapping[str, object]:
        return {
            "python": platform.python_version(),
            "machine": platform.platform(),
            "versions": _versions(_PACKAGES),
            "figures": [asdict(one) for one in self.figures],
            "findings": {
                part: [asdict(one) for one in findings]
                for part, findings in self.findings.items()
            },
            "verified": [asdict(one) for one in self.verdicts],
            "left_out": self.missing,
        }


def _verdict_line(verdict: Verdict) -> str:
    if verdict.is_right:
        return (
            f"{verdict.contender}: a worker has run all {verdict.expected:,}, once each"
        )
    return (
        f"{verdict.contender}: NOT RIGHT, of {verdict.expected:,} handlers "
        f"{verdict.missing:,} have not run, and {verdict.wrong:,} runs were one too many "
        f"or had other arguments; its figures do not count\n{verdict.words}"
    )


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
