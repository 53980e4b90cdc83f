"""What was measured, what it is held against, and what must be reached."""

import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


def median(samples: list[float]) -> float:
    return statistics.median(samples)


@dataclass
class Line:
    name: str
    # Measured in turns with the limit; empty where there is none.
    ours: list[float]
    limit: list[float]
    unit: str
    limit_unit: str
    # Whether more is better.
    rate: bool = True
    must: float | None = None
    aim: float | None = None
    # What it must not be more than by itself, in its unit.
    most: float | None = None
    # Peaks of memory, in kilobytes.
    memory: list[int] = field(default_factory=list)

    def ratio(self) -> float | None:
        if not self.limit:
            return None
        return median(self.ours) / median(self.limit)

    def missed(self) -> str | None:
        """How it misses what must be reached, if it does."""
        ratio = self.ratio()
        if self.most is not None and median(self.ours) > self.most:
            return f"{number(median(self.ours))} {self.unit} are more than {self.most} {self.unit}"
        if self.must is None or ratio is None or (ratio >= self.must if self.rate else ratio <= self.must):
            return None
        return f"{ratio:.2f} misses {self.must}, which must be reached"

    def control(self) -> float | None:
        """The limit against itself: what a ratio may differ by without a reason."""
        odd, even = self.limit[::2], self.limit[1::2]
        return median(odd) / median(even) if odd and even else None


class Report:
    # Of any one process of ours.
    MEMORY_MUST, MEMORY_AIM = 150, 64

    def __init__(self, quick: bool):
        self.quick = quick
        self.lines: list[Line] = []
        self.load = Path("/proc/loadavg").read_text().split()[:3]

    def add(self, line: Line) -> None:
        self.lines.append(line)

    def missed(self) -> list[str]:
        missed = [f"{it.name}: {said}" for it in self.lines if (said := it.missed())]
        for line in self.lines:
            if line.memory and max(line.memory) > self.MEMORY_MUST * 1024:
                missed.append(f"{line.name}: {max(line.memory) // 1024} MB are more than {self.MEMORY_MUST} MB")
        return missed

    def markdown(self) -> str:
        rows = [self.described(), "", "| what | ours | against | ratio | must | aim | A/A | peak memory |"]
        rows.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for line in self.lines:
            ratio, control = line.ratio(), line.control()
            within = "" if line.rate else "≤ "
            cells = [
                line.name,
                samples(line.ours, line.unit),
                samples(line.limit, line.limit_unit) if line.limit else "",
                f"**{ratio:.2f}**" if ratio is not None else "stated",
                f"≤ {line.most} {line.unit}" if line.most else f"{within}{line.must}" if line.must else "",
                f"{within}{line.aim}" if line.aim else "",
                f"{control:.2f}" if control else "",
                f"{max(line.memory) // 1024} MB" if line.memory else "",
            ]
            rows.append("| " + " | ".join(cells) + " |")
        rows += ["", f"Memory must stay under {self.MEMORY_MUST} MB; the aim is {self.MEMORY_AIM} MB."]
        return "\n".join(rows)

    def described(self) -> str:
        def said(*command: str) -> str:
            done = subprocess.run(command, capture_output=True, text=True)
            return done.stdout.strip() or "unknown"

        cpu = next((it for it in Path("/proc/cpuinfo").read_text().splitlines() if it.startswith("model name")), ":?")
        commit = said("git", "rev-parse", "--short", "HEAD")
        if said("git", "status", "--porcelain") != "unknown":
            commit += ", modified"
        parts = [
            f"{cpu.split(':', 1)[1].strip()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
            f"{said(os.environ['TOOLS'] + '/postgres-16/bin/postgres', '--version')}, {said('rustc', '--version')}",
            f"rowcall {commit}; load average before: {' '.join(self.load)}" + ("; --quick" if self.quick else ""),
        ]
        return "  \n".join(parts)

    def json(self) -> str:
        lines = [{**vars(it), "ratio": it.ratio(), "missed": it.missed()} for it in self.lines]
        return json.dumps({"machine": self.described(), "lines": lines}, indent=2)

    @staticmethod
    def write(path: str, text: str) -> None:
        Path(path).write_text(text + "\n")


def samples(values: list[float], unit: str) -> str:
    """The median, and the range where there is one."""
    middle = f"{number(median(values))} {unit}"
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
