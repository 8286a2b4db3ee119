"""Drift: what a value costs, how often nothing is taken for something, and how soon something is seen.

Run: python bench/drift.py (some fifteen minutes; --short: two). Beside evidently, river (ADWIN, KSWIN) and scipy, all
as they come: evidently by its default choice of test and threshold, river by its default parameters, scipy's KS test
(chi-square for the categories) at p < 0.05. The peers come with ``pip install -e '.[peers]'``; one that is missing is
named. Prints tables and writes bench/results/drift.json.

Data: ten independent normal features and one of five categories; a reference, then windows. A false alarm is a quiet
window in which any feature is flagged. Detection is of the feature that moved, in the first window after the change and
in any of the first five; then every value after the change is shifted. Since each stands at another point between
missing and crying wolf, ours is measured as it comes, and for each peer with its rate set (on other quiet windows than
those counted) so that it raises some fewer false alarms than that peer; then without a smallest effect. river's
detectors take a stream and are fed the reference first, KSWIN, which is slow, the end of it.
"""

import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nightcrew as nc

FEATURES = 10
SHARES = {"a": 0.4, "b": 0.25, "c": 0.2, "d": 0.1, "e": 0.05}
MOVED = {"a": 0.35, "b": 0.3, "c": 0.2, "d": 0.1, "e": 0.05}
CHANGES = {"0.1 sd": 0.1, "0.2 sd": 0.2, "0.5 sd": 0.5, "5 points of a category": None}
LEAD_IN = 4
WINDOWS_AFTER = 5
QUIET_STREAM = 20
"""Quiet windows that share a reference."""
Columns = dict[str, Any]
Flags = Callable[[Columns], set[str]]


@dataclass
class Plan:
    """How much is measured."""

    reference: int
    window: int
    quiet: int
    trials: int
    slow: int


@dataclass
class Contender:
    """One way to look. ``single``: each feature by itself, so for detection it is given only the one that moves.

    ``stream``: it is fed quiet windows before the change, too. ``slow``: measured on fewer windows.
    """

    name: str
    begin: Callable[[Columns], Flags]
    single: bool = False
    stream: bool = False
    slow: bool = False


@dataclass
class Row:
    """What became of one contender."""

    name: str
    quiet: int = 0
    false: int = 0
    trials: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    within: dict[str, int] = field(default_factory=dict)

    @property
    def false_rate(self) -> float:
        return self.false / max(self.quiet, 1)


def drawn(dice: np.random.Generator, size: int, change: float | None = 0.0) -> Columns:
    """Columns of ``size`` values; ``change`` moves the first feature, None the categories."""
    found: Columns = {f"f{number}": dice.normal(size=size) for number in range(FEATURES)}
    found["f0"] += change or 0.0
    shares = MOVED if change is None else SHARES
    picked = dice.choice(len(shares), p=list(shares.values()), size=size)
    found["category"] = np.array(list(shares), dtype=object)[picked].tolist()
    return found


def ours(rate: float, window: int, *, batch: bool, least: bool = True) -> Callable[[Columns], Flags]:
    """Nightcrew's; without ``least`` also what is too small to matter is told, as the peers do."""

    def begin(reference: Columns) -> Flags:
        smallest = (0.05, 1.0) if least else (0.0, 0.0)
        drift = nc.Drift.from_records(reference, rate=rate, every=window, min_shift=smallest[0], min_points=smallest[1])
        if batch:
            return lambda columns: {one.feature for one in drift.check(columns).moved}
        return lambda columns: {one.feature for report in drift.update(columns) for one in report.moved}

    return begin


def scipy_ks(reference: Columns) -> Flags:
    from scipy.stats import chi2_contingency, ks_2samp

    def flags(columns: Columns) -> set[str]:
        found = {
            name
            for name, values in columns.items()
            if name != "category" and ks_2samp(reference[name], values).pvalue < 0.05
        }
        if "category" not in columns:
            return found
        counts = [[sample["category"].count(name) for name in SHARES] for sample in (reference, columns)]
        return found | ({"category"} if chi2_contingency(counts).pvalue < 0.05 else set())

    return flags


def river(kind: str) -> Callable[[Columns], Flags]:
    def begin(reference: Columns) -> Flags:
        from river import drift

        make = getattr(drift, kind)
        # A stream of categories is one of zeros and ones for each of them.
        watched = {name: [make() for _ in (SHARES if name == "category" else "x")] for name in reference}

        def flags(columns: Columns) -> set[str]:
            found = set()
            for name, detectors in watched.items():
                values = columns.get(name)
                if values is None:
                    continue
                streams = (
                    [[float(one == label) for one in values] for label in SHARES]
                    if name == "category"
                    else [list(map(float, values))]
                )
                for detector, stream in zip(detectors, streams, strict=True):
                    for value in stream:
                        detector.update(value)
                        if detector.drift_detected:
                            found.add(name)
            return found

        flags(reference if kind == "ADWIN" else {name: values[-500:] for name, values in reference.items()})
        return flags

    return begin


def evidently_tests(reference: Columns) -> Flags:
    """The tests that evidently's report chooses, without the report around them, which takes a second."""
    import pandas as pd  # type: ignore[import-untyped]
    from evidently.legacy.calculations.stattests.registry import _get_default_stattest
    from evidently.legacy.core import ColumnType

    before = {name: pd.Series(values) for name, values in reference.items()}

    def flags(columns: Columns) -> set[str]:
        found = set()
        for name, values in columns.items():
            kind = ColumnType.Categorical if name == "category" else ColumnType.Numerical
            now = pd.Series(values)
            if _get_default_stattest(before[name], now, kind)(before[name], now, kind, None).drifted:
                found.add(name)
        return found

    return flags


def evidently_report(reference: Columns) -> Flags:
    """Its public interface; used for the cost, and to check that the above finds the same."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = [name for name in reference if name != "category"]
    made = DataDefinition(numerical_columns=columns, categorical_columns=["category"])
    before = Dataset.from_pandas(pd.DataFrame(reference), data_definition=made)

    def flags(window: Columns) -> set[str]:
        now = Dataset.from_pandas(pd.DataFrame(window), data_definition=made)
        found = set()
        for metric in Report([DataDriftPreset()]).run(now, before).dict()["metrics"]:
            if metric["config"]["type"].endswith("ValueDrift"):
                value, limit = float(metric["value"]), metric["config"]["threshold"]
                distance = "distance" in metric["config"]["method"]
                if (value >= limit) if distance else (value < limit):
                    found.add(metric["config"]["column"])
        return found

    return flags


def installed() -> set[str]:
    found = {name for name in ("evidently", "river", "scipy") if importlib.util.find_spec(name)}
    if "evidently" in found:
        import pandas.core.dtypes.common as common  # type: ignore[import-untyped]

        if not hasattr(common, "infer_dtype_from_object"):  # evidently 0.7 with pandas 3: of a test that we do not run
            common.infer_dtype_from_object = None
        try:
            import evidently  # noqa: F401
        except ImportError as error:
            print(f"evidently: not measured, it cannot be imported here: {error}")
            found.discard("evidently")
    for name in {"evidently", "river"} - found:
        print(f"{name}: not measured, it is not installed (pip install -e '.[peers]')")
    return found


def rate_for(false_rate: float, plan: Plan, *, batch: bool) -> float:
    """A rate with which ours raises fewer false alarms than ``false_rate`` a window."""
    if not false_rate:
        return 0.0001
    least = []
    for stream in range(max(plan.quiet // QUIET_STREAM, 1)):
        dice = np.random.default_rng([5, stream])
        drift = nc.Drift.from_records(drawn(dice, plan.reference), rate=0.99, every=plan.window)
        for _ in range(QUIET_STREAM):
            columns = drawn(dice, plan.window)
            for report in [drift.check(columns)] if batch else drift.update(columns):
                least.append(min(one.adjusted for several in report.tested.values() for one in several))
    return min(float(np.quantile(least, 0.75 * false_rate)), 0.99)


def characteristics(contenders: list[Contender], plan: Plan) -> list[Row]:
    """False alarms over quiet windows, and detections of each change; the same data for all."""
    rows = [Row(one.name) for one in contenders]
    streams = max(plan.quiet // QUIET_STREAM, 1)
    for stream in range(streams):
        dice = np.random.default_rng([1, stream])
        reference = drawn(dice, plan.reference)
        flags = [one.begin(reference) if not one.slow or stream < plan.slow else None for one in contenders]
        for place in range(plan.quiet // streams):
            columns = drawn(dice, plan.window)
            for row, flag, one in zip(rows, flags, contenders, strict=True):
                if flag is not None and (not one.slow or place == 0):
                    row.false += bool(flag(columns))
                    row.quiet += 1
    for place, (change, by) in enumerate(CHANGES.items()):
        feature = "category" if by is None else "f0"
        for trial in range(plan.trials):
            detect(contenders, rows, plan, change, feature, np.random.default_rng([2, place, trial]), trial)
    return rows


def detect(
    contenders: list[Contender], rows: list[Row], plan: Plan, change: str, feature: str, dice: np.random.Generator,
    trial: int,
) -> None:  # fmt: skip
    """One change: who sees it in the first window after it, and who within five."""
    reference = drawn(dice, plan.reference)
    taking = [(row, one) for row, one in zip(rows, contenders, strict=True) if not one.slow or trial < plan.slow]
    flags = [one.begin({feature: reference[feature]} if one.single else reference) for _, one in taking]
    seen = [False] * len(taking)
    for after in range(-LEAD_IN, WINDOWS_AFTER):
        columns = drawn(dice, plan.window, CHANGES[change] if after >= 0 else 0.0)
        for place, (row, one) in enumerate(taking):
            if (after < 0 and not one.stream) or seen[place] or (one.slow and after != 0):
                continue
            found = flags[place]({feature: columns[feature]} if one.single else columns)
            seen[place] = after >= 0 and feature in found
            if after == 0:
                row.first[change] = row.first.get(change, 0) + seen[place]
    for place, (row, _) in enumerate(taking):
        row.within[change] = row.within.get(change, 0) + seen[place]
        row.trials[change] = row.trials.get(change, 0) + 1


def cost(begin: Callable[[Columns], Flags], plan: Plan, rounds: int) -> float:
    """Nanoseconds a value of the window; the fastest of several rounds counts, since noise only adds."""
    dice = np.random.default_rng(3)
    flags = begin(drawn(dice, plan.reference))
    best = float("inf")
    for _ in range(rounds):
        columns = drawn(dice, plan.window)
        began = time.perf_counter()
        flags(columns)
        best = min(best, time.perf_counter() - began)
    return best / (plan.window * len(columns)) * 1e9


def measured(plan: Plan, there: set[str]) -> list[Row]:
    contenders = [
        Contender("nightcrew, batches, as it comes", ours(0.001, plan.window, batch=True)),
        Contender("nightcrew, a stream, as it comes", ours(0.001, plan.window, batch=False), stream=True),
        Contender("scipy KS / chi-square, p < 0.05", scipy_ks, single=True),
    ]
    if "evidently" in there:
        contenders.append(Contender("evidently, its default tests", evidently_tests, single=True))
    if "river" in there:
        contenders.append(Contender("river ADWIN", river("ADWIN"), single=True, stream=True))
        contenders.append(Contender("river KSWIN", river("KSWIN"), single=True, slow=True))
    first = characteristics(contenders, plan)
    matched = []
    for row in first[2:]:
        for batch in (True, False):
            rate = rate_for(row.false_rate, plan, batch=batch)
            name = f"  nightcrew, {'batches' if batch else 'a stream'}, rate {rate:.2g}"
            begin = ours(rate, plan.window, batch=batch, least=False)
            matched.append(Contender(name, begin, stream=not batch))
    second = characteristics(matched, plan)
    rows = first[:2]
    for place, row in enumerate(first[2:]):
        rows += [row, *second[2 * place : 2 * place + 2]]
    return rows


def shown(plan: Plan, rows: list[Row]) -> None:
    print(f"\nReference of {plan.reference:,}, windows of {plan.window:,}, {FEATURES + 1} features.")
    heads = "".join(f"{change.replace(' of a category', ''):>16}" for change in CHANGES)
    print(f"{'':<46} {'false alarms':>14}   seen in the first window / within five")
    print(f"{'':<46} {'a window':>14}{heads}")
    for row in rows:
        cells = []
        for change in CHANGES:
            first, within = (100 * part[change] / row.trials[change] for part in (row.first, row.within))
            cells.append(f"{first:.0f} / {within:.0f} %")
        print(f"{row.name:<46} {row.false:>5} of {row.quiet:>5}" + "".join(f"{cell:>16}" for cell in cells))


def main() -> None:
    """Measure all."""
    short = "--short" in sys.argv
    warnings.simplefilter("ignore")
    there = installed()
    plans = (
        [Plan(10_000, 1_000, 100, 20, 1)]
        if short
        else [Plan(20_000, 5_000, 1_000, 100, 3), Plan(10_000, 1_000, 1_000, 100, 3)]
    )
    big = plans[0]
    costs = {
        "nightcrew, a batch": cost(ours(0.001, big.window, batch=True), big, 20),
        "nightcrew, a stream": cost(ours(0.001, big.window, batch=False), big, 40),
        "scipy KS": cost(scipy_ks, big, 5),
    }
    if "river" in there:
        costs["river ADWIN"] = cost(river("ADWIN"), big, 3)
        costs["river KSWIN"] = cost(river("KSWIN"), Plan(1_000, 100, 0, 0, 0), 2)
    if "evidently" in there:
        costs["evidently, its tests alone"] = cost(evidently_tests, big, 5)
        costs["evidently, its report"] = cost(evidently_report, big, 3)
    print(f"{'a value of a window costs':<46} {'ns':>14} {'times ours':>12}")
    least = costs["nightcrew, a stream"]
    for name, found in costs.items():
        print(f"{name:<46} {found:>14,.0f} {found / least:>12,.1f}")
    results: dict[str, Any] = {"ns_a_value": costs, "characteristic": []}
    for plan in plans:
        if "evidently" in there:
            dice = np.random.default_rng(4)
            reference, window = drawn(dice, plan.reference), drawn(dice, plan.window, 0.2)
            same = evidently_tests(reference)(window) == evidently_report(reference)(window)
            print(f"\nevidently's tests alone say {'the same as' if same else 'OTHER THAN'} its report")
        rows = measured(plan, there)
        shown(plan, rows)
        results["characteristic"].append({"plan": vars(plan), "rows": [vars(row) for row in rows]})
    target = Path(__file__).parent / "results" / "drift.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
