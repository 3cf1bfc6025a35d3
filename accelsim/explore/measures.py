"""What a point comes to, as measures: numbers by name, over all its runs, that columns can show."""

from __future__ import annotations

from math import prod
from typing import Any

from accelsim.results import Result

Row = dict[str, Any]


def measures(results: dict[str, Result]) -> Row:
    """What a column can show: sums over the runs of a point, which follow one another.

    utilization_UNIT: share of the unit's elements x time at work.
    """
    every = list(results.values())
    seconds = sum(r.seconds for r in every)
    out: Row = {
        "dram_bytes": round(sum(_outermost(r) for r in every)),
        "cycles": sum(r.cycles for r in every),
        "seconds": seconds,
        "tflops": sum(r.flops_per_second * r.seconds for r in every) / seconds / 1e12
        if seconds
        else 0.0,
        "energy_pj": sum(r.energy_pj for r in every),
        "energy_all_registers_pj": sum(r.energy_all_registers_pj for r in every),
    }
    for unit in every[0].active:
        at_work = sum(r.active[unit] * r.seconds for r in every)
        out[f"utilization_{unit}"] = at_work / seconds if seconds else 0.0
        for einsum in {e: 0 for r in every for e in r.active_by_einsum[unit]}:
            own = sum(r.active_by_einsum[unit].get(einsum, 0.0) * r.seconds for r in every)
            out[f"utilization_{unit}_{einsum}"] = own / seconds if seconds else 0.0
    for server in every[0].busy_cycles:
        busy = sum(r.busy_cycles[server] * r.seconds / r.cycles for r in every if r.cycles)
        out[f"busy_seconds_{server}"] = busy
    for level, buffer in every[0].buffers.items():
        out[f"capacity_kib_{level}"] = buffer["capacity_bytes"] / 1024
    for part, area in every[0].area_um2.items():
        out[f"area_um2_{part}"] = area
    out["area_um2"] = sum(every[0].area_um2.values())
    return out | _against_bounds(every, seconds) | _breakdown(every, seconds) | _of_masks(every)


def _against_bounds(results: list[Result], seconds: Any) -> Row:
    """The work, what no mapping can beat, and the rates at which those bounds are reached.

    peak_tflops, dram_bytes_per_second: of the work and the traffic that must be, were each alone.
    """
    flops = sum(r.flops_per_second * r.seconds for r in results)
    of_work = sum(_seconds(r, r.bounds["compute_cycles"]) for r in results)
    of_traffic = sum(_seconds(r, r.bounds["traffic_cycles"]) for r in results)
    traffic = sum(r.bounds["traffic_bytes"] for r in results)
    return {
        "flops": flops,
        "bound_seconds": sum(_seconds(r, r.bounds["cycles"]) for r in results),
        "bound_traffic_bytes": traffic,
        "peak_tflops": flops / of_work / 1e12 if of_work else 0.0,
        "dram_bytes_per_second": traffic / of_traffic if of_traffic else 0.0,
    }


def _seconds(result: Result, cycles: Any) -> Any:
    """Cycles of a result's clock as seconds."""
    return cycles * result.ticks_per_cycle * result.seconds / result.ticks if result.ticks else 0.0


def _breakdown(results: list[Result], seconds: Any) -> Row:
    """Where time, bytes and energy go: by cause, by level and tensor, by part."""
    out: Row = {}
    for unit in results[0].active:
        for cause in results[0].wait_cycles[unit]:
            cycles = [r.wait_cycles[unit].get(cause, 0.0) for r in results]
            out[f"wait_share_{unit}_{cause}"] = _mean(results, seconds, cycles)
        cycles = [r.tail_cycles[unit] for r in results]
        out[f"wait_share_{unit}_tail"] = _mean(results, seconds, cycles)
    for result in results:
        for level, tensors in result.traffic_by_tensor.items():
            for tensor, sizes in tensors.items():
                for way, size in sizes.items():
                    name = f"traffic_bytes_{level}_{tensor}_{way}"
                    out[name] = out.get(name, 0) + size
        for part, picojoules in result.energy_by_part_pj.items():
            name = f"energy_pj_{part.replace('.', '_')}"
            out[name] = out.get(name, 0.0) + picojoules
    return out


def _mean(results: list[Result], seconds: Any, cycles: list[Any]) -> Any:
    """Cycles of each run as a share of the time of all."""
    pairs = zip(results, cycles, strict=True)
    total = sum(own * r.seconds / r.cycles for r, own in pairs if r.cycles)
    return total / seconds if seconds else 0.0


def _of_masks(results: list[Result]) -> Row:
    """What predicates leave of tiles and points, over all phases that have any.

    Ranks that no predicate ties do not multiply; counts are 0 and bounds 1 without a predicate.
    Visits per iteration of a loop: of one run only, as iterations of two are not the same.
    """
    phases = [phase["masks"] for r in results for phase in r.phases if phase["masks"]]
    out: Row = {
        "tiles": sum(prod(m["of"] for m in masks) for masks in phases),
        "tiles_visited": sum(prod(m["visited"] for m in masks) for masks in phases),
        "points": sum(prod(m["points_of"] for m in masks) for masks in phases),
        "points_kept": sum(prod(m["points"] for m in masks) for masks in phases),
    }
    whole = sum(prod(m["visited"] - m["in_part"] for m in masks) for masks in phases)
    out["tiles_in_part"] = out["tiles_visited"] - whole
    out["bound_tiles"] = out["tiles"] / out["tiles_visited"] if phases else 1.0
    out["bound_points"] = out["points"] / out["points_kept"] if phases else 1.0
    if len(results) == 1:
        for mask in (m for masks in phases for m in masks):
            for loop, visits in mask["per_iteration"].items():
                out |= {f"visits_{loop}_{which}": n for which, n in visits.items()}
    return out


def _outermost(result: Result) -> float:
    """Bytes to and from the outermost level."""
    return sum(next(iter(result.traffic_bytes.values())).values())
