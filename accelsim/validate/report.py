"""What a validation found, tier by tier. Plain records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MOST_SHOWN = 40
Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Tier:
    """One way of holding the simulator against the kernels.

    reason: why it was skipped. checked: what held, in words. faults: what did not; any of them
    fails the tier. misses: predictions that did not come out, which fail nothing. unchecked: what
    this tier cannot see. times: of attention, predicted and measured, a case each.
    """

    name: str
    status: Status
    reason: str = ""
    checked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    times: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    tiers: list[Tier]

    @property
    def ok(self) -> bool:
        return all(tier.status != "failed" for tier in self.tiers)

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "tiers": [asdict(tier) for tier in self.tiers]}


def skipped(name: str, reason: str, unchecked: list[str]) -> Tier:
    return Tier(name, "skipped", reason=reason, unchecked=unchecked)


def judged(
    name: str,
    checked: list[str],
    faults: list[str],
    unchecked: list[str],
    misses: list[str] | None = None,
) -> Tier:
    """A tier that ran: failed if there is a fault."""
    status: Status = "failed" if faults else "passed"
    return Tier(name, status, "", checked, faults, misses or [], unchecked)


def lines(report: Report) -> list[str]:
    """Tier by tier: the verdict, faults and misses first, then what held and what was not seen."""
    out = []
    for tier in report.tiers:
        reason = f": {tier.reason}" if tier.reason else ""
        out.append(f"{tier.status.upper()}  {tier.name}{reason}")
        for title, found in (("fault", tier.faults), ("missed prediction", tier.misses)):
            out += [f"  {title}: {one}" for one in found[:MOST_SHOWN]]
            if len(found) > MOST_SHOWN:
                out.append(f"  and {len(found) - MOST_SHOWN:,} more (--json has all)")
        out += [f"  {one}" for one in tier.checked]
        out += [f"  not checked: {one}" for one in tier.unchecked]
    return out
