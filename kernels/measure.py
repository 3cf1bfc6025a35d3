"""Measures on one GPU what the simulator predicts: numbers, traffic, rates; times by themselves.

    python kernels/measure.py --out kernels/runs [--budget 420] [--only SECTION ...] [--dry-run]
    python kernels/measure.py --out kernels/runs --times

Sections run in the order of `SECTIONS`, each in a process of its own, so that one that fails or
hangs takes nothing with it; what failed and what was not reached is in the record, which is written
anew after every section. The sections of counters run under Nsight Compute. A dry run goes the same
way on a CPU: kernels in Triton's interpreter on small shapes, counters and rates made up.

Attention is counted and checked, and timed with `--times` alone, which refuses to run unless the
times are predicted in `kernels/predictions/`, sealed and committed. The record names these.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, whose folder would hide modules such as `trace`
    sys.path.pop(0)
    sys.path.insert(0, str(Path(__file__).parent.parent))

from kernels import ncu, protocol, records, timing
from kernels.cases import MODULES, Case

ROWS = 64  # of a head that are compared with float64 where a whole reference is too large
TABLED = ("flash_fwd", "flash1", "unfused")  # kernels whose reference is there row by row


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def small(cases: Iterable[Case]) -> list[Case]:
    """The first case alone, small enough for the interpreter."""
    case = next(iter(cases))
    shape = {size: min(value, 64 if size in "PMT" else 2) for size, value in case.shape.items()}
    shape |= {size: 32 for size in "DEF" if size in shape}
    blocks = ("block_m", "block_n", "block_f")
    tile = {name: 32 if name in blocks else value for name, value in case.tile.items()}
    return [dataclasses.replace(case, shape=shape, tile=tile, dtype="float16")]


def check(case: Case, outputs: dict[str, Any], references: dict[str, Any]) -> dict[str, Any]:
    """Errors of each output against its reference, and whether all pass the gate."""
    import math

    from kernels.cases import errors, gate

    found = {name: errors(name, outputs[name], ref) for name, ref in references.items()}
    numbers = [number for error in found.values() for number in error.values()]
    passed = all(math.isfinite(number) and number <= gate(case) for number in numbers)
    named = {"name": case.name, "case": case.to_dict()}
    return {**named, "gate": gate(case), "errors": found, "passed": passed}


def section_device(dry_run: bool) -> dict[str, Any]:
    """The device's properties, copies in its memory, launches."""
    import torch

    from kernels import overheads

    properties: dict[str, Any] = {}
    if not dry_run:
        given = torch.cuda.get_device_properties(0)
        properties = {
            "name": given.name,
            "capability": [given.major, given.minor],
            "sms": given.multi_processor_count,
            "l2_bytes": given.L2_cache_size,
            "memory_bytes": given.total_memory,
        }
    return {
        "properties": properties,
        "copies": overheads.copies(dry_run),
        "launches": overheads.launches(dry_run),
    }


def section_numerics(name: str, dry_run: bool) -> list[dict[str, Any]]:
    """One kernel against whole float64 references."""
    from kernels.cases import kernel

    offered = kernel(name)
    cases = [case for case in protocol.numerics() if case.kernel == name]
    results = []
    for case in small(cases) if dry_run else cases:
        tensors = offered.inputs(case, device())
        written = offered.run(case, tensors)
        references = offered.reference(case, tensors)
        results.append(check(case, written, {name: references[name] for name in offered.outputs}))
    return results


def section_rows(dry_run: bool) -> list[dict[str, Any]]:
    """The protocol's own shapes with needle inputs: some rows of the first and the last head.

    Grids with heads fastest are left out: they run the same programs.
    """
    import torch

    from kernels import attention
    from kernels.cases import kernel

    results: list[dict[str, Any]] = []
    cases = [case for case in protocol.protocol() if case.order == "rows"]
    for given in small(cases) if dry_run else cases:
        if given.kernel not in TABLED:
            skipped = "no reference of single rows"
            results.append({"name": given.name, "case": given.to_dict(), "skipped": skipped})
            continue
        case = dataclasses.replace(given, inputs="needle")
        offered = kernel(case.kernel)
        tensors = offered.inputs(case, device())
        written = offered.run(case, tensors)
        queries = case.shape["P"]
        draw = torch.Generator().manual_seed(1)
        rows = torch.randint(queries, (min(ROWS, queries),), generator=draw)
        rows[0], rows[-1] = 0, queries - 1
        heads = ((0, 0), (case.shape["B"] - 1, case.shape["H"] - 1))
        pairs = [attention.reference_rows(case, tensors, b, h, rows) for b, h in heads]
        o, lse = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        at = rows.to(tensors["Q"].device)
        outputs = {
            name: torch.stack([written[name][b, h, at] for b, h in heads])
            for name in offered.outputs
        }
        references = {n: r for n, r in (("O", o), ("LSE", lse)) if n in offered.outputs}
        results.append({**check(case, outputs, references), "rows": len(rows), "heads": heads})
        del tensors, written
        torch.cuda.empty_cache()
    return results


def section_counters(cases: list[Case], dry_run: bool) -> list[dict[str, Any]]:
    """Launches each case once unobserved, then once between the profiler's start and stop.

    The manifest of what was launched: per case its inputs' sha256 and the launches.
    """
    import torch

    from kernels.cases import kernel

    on_gpu = device() == "cuda"
    manifest = []
    for case in small(cases) if dry_run else cases:
        offered = kernel(case.kernel)
        tensors = offered.inputs(case, "cpu")
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
        tensors = {name: tensor.to(device()) for name, tensor in tensors.items()}
        plan = offered.plan(case, tensors)
        for launch in plan.launches:
            launch()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaProfilerStart()
            for launch in plan.launches:
                launch()
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaProfilerStop()
        launches = [{"name": one.name, "grid": list(one.grid)} for one in plan.launches]
        named = {"name": case.name, "case": case.to_dict()}
        manifest.append({**named, "inputs_sha256": digest.hexdigest(), "launches": launches})
        del tensors, plan
        torch.cuda.empty_cache()
    return manifest


def section_rates(tables: Iterable[str], dry_run: bool) -> dict[str, Any]:
    """The named tables of `kernels.rates`; of each only the first rate in a dry run."""
    from kernels import rates

    results = {}
    for name in tables:
        table = list(getattr(rates, name).items())
        for key, rate in table[:1] if dry_run else table:
            results[key] = rates.measure(rate, dry_run=dry_run)
    return results


def section_clocks(dry_run: bool) -> dict[str, Any]:
    from kernels import rates

    return rates.clocks(dry_run)


def section_times(family: str, dry_run: bool) -> list[dict[str, Any]]:
    """One family of `kernels.timing`; of each kernel a small case in a dry run."""
    from kernels import stopwatch

    cases = timing.family(family)
    if dry_run:
        cases = stopwatch.one_per_kernel(cases, lambda case: small([case])[0])
    return list(stopwatch.measured(cases, dry_run))


@dataclass(frozen=True)
class Section:
    """One part of a run, in a process of its own.

    work: returns what goes into the record. limit: seconds after which it is stopped. counters:
    None, or under ncu: whether caches are emptied before each launch.
    """

    work: Callable[[bool], Any]
    limit: float
    counters: bool | None = None


def _numerics(name: str) -> Section:
    return Section(lambda dry_run: section_numerics(name, dry_run), 90)


def _counters(cases: Callable[[], list[Case]], limit: float, flush: bool = True) -> Section:
    return Section(lambda dry_run: section_counters(cases(), dry_run), limit, flush)


SECTIONS = {
    "device": Section(section_device, 60),
    "numerics flash_fwd": _numerics("flash_fwd"),
    "counters order": _counters(protocol.order, 90),
    "counters knee": _counters(protocol.knee, 120),
    "rates alone": Section(lambda dry_run: section_rates(("TENSOR", "VECTORS"), dry_run), 90),
    "rates together": Section(lambda dry_run: section_rates(("TOGETHER",), dry_run), 60),
    "counters shapes": _counters(protocol.shapes, 120),
    **{f"numerics {name}": _numerics(name) for name in MODULES if name != "flash_fwd"},
    "counters others": _counters(protocol.others, 90),
    "counters warm": _counters(protocol.warm, 60, flush=False),
    "clocks": Section(section_clocks, 60),
    "numerics of rows": Section(section_rows, 150),
}


def _times(family: str) -> Section:
    return Section(lambda dry_run: section_times(family, dry_run), 150)


TIMES = {f"times {family}": _times(family) for family in timing.FAMILIES}
EVERY = {**SECTIONS, **TIMES}


def environment() -> dict[str, Any]:
    """Versions and the GPU as it is found, in text; "absent" for what this machine has not."""
    fields = (
        "name,driver_version,clocks.current.sm,clocks.max.sm,clocks.current.memory,"
        "power.limit,temperature.gpu,ecc.mode.current"
    )
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    found: dict[str, Any] = dict.fromkeys(fields.split(","), "absent")
    if shutil.which(command[0]):
        shown = subprocess.run(command, capture_output=True, text=True)
        values = [value.strip() for value in shown.stdout.split("\n")[0].split(",")]
        if shown.returncode or len(values) != len(found):
            found["nvidia-smi"] = shown.stdout + shown.stderr
        else:
            found = dict(zip(found, values, strict=True))
    found["python"] = platform.python_version()
    for package in ("torch", "triton", "numpy"):
        found[package] = importlib.metadata.version(package)
    tool = shutil.which("ncu")
    found["ncu"] = (
        subprocess.run([tool, "--version"], capture_output=True, text=True).stdout.split("Version")
        if tool
        else ["absent"]
    )[-1].strip()
    return found


def metrics(dry_run: bool) -> dict[str, Any]:
    """The metrics that ncu has here: found, missing, and collections that could not be listed."""
    names: set[str] = set()
    unlisted = {}
    for collection in ("profiling", "launch"):
        try:
            names |= {m.split(".")[0] for m in ncu.METRICS} if dry_run else listed(collection)
        except (OSError, subprocess.SubprocessError) as error:
            unlisted[collection] = str(error)
    found, missing = ncu.available(names)
    return {"found": found, "missing": missing, "unlisted": unlisted}


def listed(collection: str) -> set[str]:
    return ncu.listed("ncu", collection)


def run(command: list[str], seconds: float, dry_run: bool) -> None:
    """Runs a command, and stops it with all that it started when the time is over.

    Raises RuntimeError with the end of what it wrote.
    """
    environment = {**os.environ, "TRITON_INTERPRET": "1" if dry_run else "0"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise RuntimeError(f"stopped after {seconds:.0f} s") from None
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {said[-3000:]}")


class Run:
    """A run in progress: the record, its file, and how one section is done."""

    def __init__(self, folder: Path, dry_run: bool, found: dict[str, Any]) -> None:
        self.dry_run = dry_run
        self.path = records.new_file(folder, "dry-run" if dry_run else found["name"])
        self.record: dict[str, Any] = {
            "schema": records.SCHEMA,
            "dry_run": dry_run,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "environment": found,
            "sources": records.sources(),
            "metrics": {},
            "sections": {},
            "failed": {},
            "not_reached": [],
        }

    def do(self, name: str, seconds: float) -> Any:
        """The result of a section, which must be over after some seconds."""
        section = EVERY[name]
        counters = section.counters is not None
        if counters and not self.record["metrics"]:
            self.record["metrics"] = metrics(self.dry_run)
        with tempfile.TemporaryDirectory() as scratch:
            result, log = Path(scratch) / "result.json", Path(scratch) / "ncu.csv"
            command = [sys.executable, __file__, "--section", name, "--out", str(result)]
            command += ["--dry-run"] * self.dry_run
            if counters and not self.dry_run:
                found = self.record["metrics"]["found"]
                command = ncu.command("ncu", log, found, bool(section.counters)) + command
            try:
                run(command, seconds, self.dry_run)
                found = json.loads(result.read_text())
                if counters and self.dry_run:
                    log.write_text(ncu.made_up(found, self.record["metrics"]["found"]))
            finally:
                if log.exists():  # also of a section that failed: the counters may be of use
                    with records.raw_file(self.path).open("a") as raw:
                        raw.write(f"{records.MARK}{name}\n{log.read_text()}\n")
            return records.join(ncu.parse(log.read_text()), found) if counters else found

    def save(self) -> None:
        partial = self.path.with_suffix(".part")
        partial.write_text(json.dumps(self.record, indent=1) + "\n")
        partial.replace(self.path)
        records.seal(self.path)


def conduct(
    this: Run,
    names: Iterable[str],
    budget: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """The named sections in order, as far as the budget of seconds goes, each saved when done."""
    start = clock()
    this.save()
    for name in names:
        left = budget - (clock() - start)
        if left <= 0:
            this.record["not_reached"].append(name)
        else:
            try:
                this.record["sections"][name] = this.do(name, min(EVERY[name].limit, left))
            except Exception as error:  # whatever it is, the sections behind it are worth having
                print(f"{name}: {error}", file=sys.stderr)
                text = re.sub(r"/[^\s\"']*/", "", str(error)[-1500:])  # of paths the last part
                this.record["failed"][name] = f"{type(error).__name__}: {text}"
        this.save()
    this.record["elapsed_s"] = round(clock() - start, 1)
    this.save()


def predicted(gpu: str, dry_run: bool) -> dict[str, Any] | None:
    """What the record of a run that measures times says of their predictions.

    Ends the program where there are none; a dry run says so and goes on.
    """
    names = [timed.name for timed in timing.times()]
    print(f"{len(names)} cases, about {sum(timing.planned().values()):.0f} s on an H200")
    try:
        return records.predictions(records.times_file("h200" if dry_run else gpu), names)
    except (OSError, ValueError) as error:
        if not dry_run:
            sys.exit(f"measure: refused: {error}")
        print(f"on a GPU this would be refused: {error}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the record")
    parser.add_argument("--budget", type=float, help="seconds; 420, of times 480 by default")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, with made-up counters")
    parser.add_argument("--times", action="store_true", help="predicted times of attention, alone")
    parser.add_argument("--only", nargs="+", choices=list(EVERY), help="these sections alone")
    parser.add_argument("--section", choices=list(EVERY), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.section:  # a process of one section: --out is the file of its result
        given.out.write_text(json.dumps(EVERY[given.section].work(given.dry_run)))
        return
    table = TIMES if given.times else SECTIONS
    others = [name for name in given.only or () if name not in table]
    if others:
        parser.error(f"{others[0]}: times are measured with --times, and nothing else is")
    found = environment()
    of_times = predicted(found["name"], given.dry_run) if given.times else None
    this = Run(given.out, given.dry_run, found)
    if given.times:
        this.record["predictions"] = of_times
    names = [name for name in table if name in (given.only or table)]
    given.budget = given.budget or (480.0 if given.times else 420.0)
    conduct(this, names, given.budget)
    done, failed = list(this.record["sections"]), this.record["failed"]
    print(f"{this.path}: {len(done)} of {len(names)} sections, {this.record['elapsed_s']} s")
    for name in failed:
        print(f"failed: {name}")
    for name in this.record["not_reached"]:
        print(f"not reached: {name}")


if __name__ == "__main__":
    main()
