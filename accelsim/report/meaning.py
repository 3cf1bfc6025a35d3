"""What the measures of a sweep mean, and in which unit the page shows them."""

from __future__ import annotations

from dataclasses import dataclass

WAITS = {
    "data": "another unit's result",
    "slot": "room in a buffer",
    "bandwidth": "a transfer",
    "order": "an order that the mapping asks for",
    "issue": "another unit of the cluster, or an instance being started",
    "launch": "its instance had not begun",
    "tail": "nothing: its last task had ended, the run had not",
}


@dataclass(frozen=True)
class Meaning:
    """unit: as shown, without a prefix. factor: from the stored number to that unit.

    prefixed: whether the page may put k, M, m, µ before the unit. about: one sentence.
    """

    unit: str = ""
    factor: float = 1.0
    prefixed: bool = False
    about: str = ""

    @property
    def stored(self) -> str:
        """The unit of the stored number; "" of counts."""
        return _STORED.get((self.unit, self.factor), self.unit)


_SECONDS = ("s", 1.0, True)
_BYTES = ("B", 1.0, True)
_JOULE = ("J", 1e-12, True)
_AREA = ("mm²", 1e-6, False)
_SHARE = ("%", 100.0, False)
_RATE = ("FLOP/s", 1e12, True)
_STORED = {
    ("B", 1.0): "bytes",
    ("B/s", 1.0): "bytes/s",
    ("J", 1e-12): "pJ",
    ("mm²", 1e-6): "um^2",
    ("%", 100.0): "share",
    ("FLOP/s", 1e12): "TFLOP/s",
}

_EXACT = {
    "seconds": Meaning(*_SECONDS, about="time of the runs of a point, one after another"),
    "cycles": Meaning(about="clock cycles of the runs of a point"),
    "dram_bytes": Meaning(*_BYTES, about="bytes to and from the outermost level"),
    "energy_pj": Meaning(*_JOULE, about="energy, a register file of one element per unit"),
    "energy_all_registers_pj": Meaning(*_JOULE, about="energy, all register files counted"),
    "tflops": Meaning(*_RATE, about="floating-point operations a second, two per multiply-add"),
    "flops": Meaning("FLOP", 1.0, True, "floating-point operations, two per multiply-accumulate"),
    "peak_tflops": Meaning(*_RATE, about="most that the machine's units do in a second"),
    "dram_bytes_per_second": Meaning("B/s", 1.0, True, "bandwidth of the outermost level"),
    "area_um2": Meaning(*_AREA, about="area of the chip"),
    "bound_seconds": Meaning(*_SECONDS, about="no mapping of this cascade is faster here"),
    "bound_traffic_bytes": Meaning(*_BYTES, about="no mapping of this cascade moves less here"),
    "tiles": Meaning(about="tiles in all, of the ranks that predicates tie"),
    "tiles_visited": Meaning(about="tiles with a point in them"),
    "tiles_in_part": Meaning(about="tiles that a predicate leaves in part"),
    "points": Meaning(about="points of the ranks that predicates tie"),
    "points_kept": Meaning(about="points that predicates keep"),
    "bound_tiles": Meaning("×", about="speedup over all tiles, were nothing else to change"),
    "bound_points": Meaning("×", about="speedup over all points, were nothing else to change"),
    "not_a_number": Meaning(about="1 where a value that is not a number ended the run"),
}
_BEGINNING = {
    "area_um2_": Meaning(*_AREA, about="area of a part"),
    "energy_pj_": Meaning(*_JOULE, about="energy of a part"),
    "utilization_": Meaning(*_SHARE, about="share of a unit's elements × time at work"),
    "wait_share_": Meaning(*_SHARE, about="share of the time that a unit stood idle, by cause"),
    "busy_seconds_": Meaning(*_SECONDS, about="time that a unit or the memory channel was busy"),
    "capacity_kib_": Meaning("KiB", about="capacity of a level"),
    "traffic_bytes_": Meaning(*_BYTES, about="bytes of a tensor into or out of a level"),
    "visits_": Meaning(about="tiles visited in an iteration of a loop"),
    "error_": Meaning(about="norm of the difference / norm against float64"),
    "worst_row_": Meaning(about="norm of the difference / norm, of the worst row"),
    "not_finite_": Meaning(about="values that are not finite in one of the two alone"),
}


def meaning(measure: str) -> Meaning:
    """What a measure means; without a unit and a sentence where it is not known."""
    name = measure.rsplit(".", 1)[-1]  # RUN.MEASURE: of one run alone
    found = _EXACT.get(name)
    if found is None:
        found = next((m for start, m in _BEGINNING.items() if name.startswith(start)), Meaning())
    if name != measure and found.about:
        about = f"of the run {measure.rsplit('.', 1)[0]}: {found.about}"
        return Meaning(found.unit, found.factor, found.prefixed, about)
    return found
