"""Conditions such as ``sat_ratio<0.9`` that make an evaluation fail. Parsed, never executed.

    [row:][set/]figure[.statistic] < number        also <= > >= == !=

``color:sat_ratio<0.9``, ``stress/de00_mean.worst>8``, ``color:stress/de00_mean.worse>3``. Without a row the condition
holds for every run, without a set for every set. Statistics: mean (default), median, min, max, worst, and worse (the
number of images that got worse than the reference's).
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from basicsr.engine.errors import UserError
from plugins.color_fidelity.evaluation import Evaluation, format_figure
from plugins.color_fidelity.fidelity import FIGURES

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SUMMARY_FIELDS = {"mean": "mean", "median": "median", "min": "minimum", "max": "maximum", "worst": "worst"}
STATISTICS = (*_SUMMARY_FIELDS, "worse")
_RULE = re.compile(
    r"(?:(?P<row>.+):)?(?:(?P<set>[^:]+)/)?(?P<key>\w+)(?:\.(?P<stat>\w+))?\s*"
    r"(?P<op><=|>=|==|!=|<|>)\s*(?P<limit>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
)


@dataclass(frozen=True)
class Rule:
    """A parsed condition; ``row`` and ``set`` are None where it does not name one."""

    text: str
    row: str | None
    set: str | None
    key: str
    statistic: str
    operator: str
    limit: float


def parse_rule(text: str) -> Rule:
    """Parse a condition.

    Raises:
        UserError: If it is malformed or names an unknown figure or statistic.
    """
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"--fail-if '{text}' is not a condition. Right: 'sat_ratio<0.9', 'run:set/de00_mean.worst>8' "
            f"([run:][set/]figure[.statistic] with one of {' '.join(_OPERATORS)} and a number)"
        )
    key, statistic = match["key"], match["stat"] or "mean"
    _check_name(text, "figure", key, list(FIGURES))
    _check_name(text, "statistic", statistic, list(STATISTICS))
    return Rule(text, match["row"], match["set"], key, statistic, match["op"], float(match["limit"]))


def _check_name(text: str, kind: str, name: str, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        advice = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(f"--fail-if '{text}': there is no {kind} '{name}'; {advice}there are: {', '.join(known)}")


def failures(result: Evaluation, rules: list[Rule]) -> list[str]:
    """The conditions that hold, one sentence for each run and set where they do; empty if the evaluation passes.

    An undefined figure (no saturated pixel in any image) cannot pass a condition, so it counts as a failure.

    Raises:
        UserError: If a condition names a row or set that was not evaluated, or ``worse`` without a reference.
    """
    texts = []
    for rule in rules:
        rows = _named(rule, "run", rule.row, result.rows) or result.runs or result.rows
        sets = _named(rule, "set", rule.set, result.sets) or result.sets
        places = [(row, name) for row in rows for name in sets if result.select(row, name)]
        if not places:
            raise UserError(f"--fail-if '{rule.text}': '{rule.row}' has no image in the set '{rule.set}'")
        for row, name in places:
            value = _value(result, rule, row, name)
            if math.isnan(value):
                texts.append(f"{rule.text}: {row}, {name}: {rule.key} is not defined on any image")
            elif _OPERATORS[rule.operator](value, rule.limit):
                digits = FIGURES[rule.key].digits + 1
                texts.append(
                    f"{rule.text}: {row}, {name}: {rule.key} ({rule.statistic}) is {format_figure(value, digits)}"
                )
    return texts


def _named(rule: Rule, kind: str, name: str | None, known: list[str]) -> list[str]:
    if name is None:
        return []
    if name not in known:
        raise UserError(f"--fail-if '{rule.text}': there is no {kind} '{name}'; there are: {', '.join(known)}")
    return [name]


def _value(result: Evaluation, rule: Rule, row: str, set_name: str) -> float:
    if rule.statistic == "worse":
        return float(result.change(row, set_name, rule.key).worse)
    summary = result.summary(row, set_name)
    figures: dict[str, float] = getattr(summary, _SUMMARY_FIELDS[rule.statistic])
    return figures[rule.key]
