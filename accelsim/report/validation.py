"""A validation as lines of text."""

from __future__ import annotations

from accelsim.validate.report import Report

MOST_SHOWN = 40


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
