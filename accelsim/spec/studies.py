"""The typed records of a study's files: sweeps, figures, and what times are held against."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StrictBool, StrictFloat, Tag

from accelsim.spec.records import Record
from accelsim.spec.scalars import Name, Rate, Text


class RunSpec(Record):
    """One run of a sweep's point.

    mapping: a shipped one or a .yaml file. set: PATH=VALUE, as on the command line. formats: where
    the sweep executes, TENSOR=FORMAT, TENSOR.accumulate=FORMAT, TENSOR.LEVEL=FORMAT. scale: where
    it executes, input -> what its drawn values are multiplied by.
    """

    mapping: Text | None = None
    set: list[Text] = Field(default_factory=list)
    formats: list[Text] = Field(default_factory=list)
    scale: dict[Name, Rate] = Field(default_factory=dict)


class CaseSpec(Record):
    """What holds for some points of a sweep.

    when: axis -> a value or several: points at which every axis has one of them; all unless said.
    workload: a shipped one or a .yaml file. runs: name -> a run of each of these points.
    """

    when: dict[Name, Any] = Field(default_factory=dict)
    workload: Text | None = None
    runs: dict[Name, RunSpec] = Field(default_factory=dict)


class ExecuteSpec(Record):
    """Runs are executed on numbers in place of simulated. seed: of their inputs."""

    seed: Annotated[int, Field(strict=True, ge=0)] = 0


class AxisSpec(Record):
    """An axis that says more than a list of its values. Just one of values, range and powers.

    values: a list of them. range: first and last number. step: how far apart numbers of a range are
    (1). powers: first and last number or quantity. of: how many times the one before each power is
    (2). when: axis before this one -> its value or values at which this one is there. set: a
    setting's path, which has the axis' value in all runs.
    """

    values: list[Any] | None = None
    range: list[Any] | None = None
    step: Any = None
    powers: list[Any] | None = None
    of: Any = None
    when: dict[Name, Any] = Field(default_factory=dict)
    set: Text | None = None


AxisForm = Annotated[
    Annotated[list[Any], Tag("[list]")] | Annotated[AxisSpec, Tag("[axis]")],
    Discriminator(lambda value: "[axis]" if isinstance(value, dict | AxisSpec) else "[list]"),
]


class SweepBudgetSpec(Record):
    """What one run of a sweep may spend; another run, with --resume, goes on.

    points: at most so many are run, the first of those that are left. seconds: of wall time, after
    which no more are begun.
    """

    points: Annotated[int, Field(strict=True, ge=1)] | None = None
    seconds: Rate | None = None


class SweepSpec(Record):
    """A study's sweep file: one point per combination of the values of its axes.

    sweep: its name. axes: name -> its values. cases: all that apply to a point, in order; a later
    mapping or workload replaces an earlier one, settings are added. The runs of a point follow one
    another. {AXIS} in a setting stands for the value. base: a sweep file whose axes and cases come
    first. columns: name -> measure (docs/studies.md), of a point or of one run (RUN.MEASURE). warm:
    caches begin each launch as the same launch has left them before. execute: one run a point, on
    numbers.
    constraints: expressions over axes, which leave points out, or over measures, which mark them.
    objectives: column or measure -> what is looked for. budget: of one run. breakdown: columns for
    what each unit, level and part takes, too, for a report.
    """

    sweep: Name
    description: str = ""
    source: Text
    base: Text | None = None
    warm: StrictBool = False
    execute: ExecuteSpec | None = None
    breakdown: StrictBool = False
    axes: dict[Name, AxisForm] = Field(default_factory=dict)
    cases: list[CaseSpec] = Field(default_factory=list)
    columns: dict[Text, Text] = Field(default_factory=dict)
    constraints: list[Text] = Field(default_factory=list)
    objectives: dict[Text, Literal["min", "max"]] = Field(default_factory=dict)
    budget: SweepBudgetSpec = Field(default_factory=SweepBudgetSpec)


class PublishedSpec(Record):
    """Published points beside a plot.

    file: a CSV file. y: its column of values. columns: axis -> its column, where called otherwise.
    title: in the legend.
    """

    file: Text
    y: Text
    title: Text = "published"
    columns: dict[Name, Text] = Field(default_factory=dict)


class PlotSpec(Record):
    """One figure of a report. Rows in which y is empty (a value that is not a number) are left out.

    title: above it. rows: a sweep file. x: an axis. y: a measure or several. unit: of what is
    drawn. series, panel: an axis. kind: how points are drawn. log: axes that are logarithmic.
    published: points beside ours. where: points that are shown.

    over: a point of an axis by which all are divided. inverse: divided the other way round
    (speed-ups).
    """

    title: Text
    rows: Text
    x: Name
    y: Text | Annotated[list[Text], Field(min_length=1)]
    unit: str = ""
    series: Name | None = None
    panel: Name | None = None
    where: dict[Name, Any] = Field(default_factory=dict)
    over: dict[Name, Any] = Field(default_factory=dict)
    inverse: StrictBool = False
    kind: Literal["lines", "bars"] = "lines"
    log: list[Literal["x", "y"]] = Field(default_factory=list)
    published: PublishedSpec | None = None


class FiguresSpec(Record):
    """A study's figures.

    figures: the study's name. labels: what published files call a value -> what sweeps call it.
    plots: one figure each. titles: column of a sweep -> what axes,
    panels and legends call it.
    """

    figures: Name
    description: str = ""
    source: Text
    labels: dict[Text, Any] = Field(default_factory=dict)
    titles: dict[Name, Text] = Field(default_factory=dict)
    plots: Annotated[list[PlotSpec], Field(min_length=1)]


class FamilySpec(Record):
    """Published times of one kernel on one machine, and the sweep that predicts them.

    title: of its table. machine: a shipped one. rows: a sweep file. unit: of published values.
    published: a CSV with a column of each of its axes, `value` (seconds or TFLOP/s) and, for
    TFLOP/s, `batch` and `heads`. mean_percent, worst_percent: what errors are held to; None where
    they are only reported. missing: what the prediction leaves out.
    """

    title: Text
    source: Text
    machine: Name
    rows: Text
    published: Text
    unit: Literal["seconds", "TFLOP/s"]
    mean_percent: StrictFloat | None = None
    worst_percent: StrictFloat | None = None
    missing: str = ""


class NumberSpec(Record):
    """A number of a family's machine, calibrated on one published row, which is then not scored.

    set: where it stands, with {value} for it. family: of that row. at: the row. least, most:
    between which it is looked for.
    """

    set: Annotated[list[Text], Field(min_length=1)]
    family: Name
    at: dict[Name, Any]
    least: StrictFloat
    most: StrictFloat


class VariantSpec(Record):
    """Another machine or mapping to predict with.

    families: those that are predicted. set: PATH=VALUE, as on the command line. at: values of axes,
    or lists of them: rows that are predicted; all unless said. again: numbers that are calibrated
    again.
    """

    families: Annotated[list[Name], Field(min_length=1)]
    at: dict[Name, Any] = Field(default_factory=dict)
    set: list[Text] = Field(default_factory=list)
    again: list[Name] = Field(default_factory=list)


class ValidationSpec(Record):
    """What predicted times are held against.

    validation: the study's name. families: published times, by kernel. calibrated: numbers that are
    found from one published row each. mechanisms: variants with parts of the model left out.
    sensitivity: variants with other numbers.
    """

    validation: Name
    description: str = ""
    source: Text
    families: dict[Name, FamilySpec]
    calibrated: dict[Name, NumberSpec] = Field(default_factory=dict)
    mechanisms: dict[Text, VariantSpec] = Field(default_factory=dict)
    sensitivity: dict[Text, VariantSpec] = Field(default_factory=dict)
