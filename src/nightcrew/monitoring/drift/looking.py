"""Looking for drift in what was measured: once a window of time, and at the end of a run.

What a look needs of the windows before lies, as counts in the cells of the reference, in one row a subject; so a look
reads only the measures since the last one. Whoever looks first does so for all workers.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.drifting import DriftSettings
from nightcrew.monitoring import query
from nightcrew.monitoring.drift.compare import Limits
from nightcrew.monitoring.drift.history import History
from nightcrew.monitoring.drift.keys import goes_on, in_parts
from nightcrew.monitoring.drift.profile import Profile, Sample
from nightcrew.monitoring.drift.references import Current, current, shown, watched
from nightcrew.monitoring.drift.wording import LONGEST, shown_name, storable_name
from nightcrew.monitoring.sketches import Distribution, Items
from nightcrew.store import drifts
from nightcrew.store.drifts import STATE, Drift
from nightcrew.store.store import Store, Tx

if TYPE_CHECKING:
    from nightcrew.monitoring.metrics import Recorder

SETTLE = timedelta(seconds=5)
"""A window is complete when it ended this long ago: writers write once a second."""

LEAST_AT_END = 1000
"""At the end of a run so many values are enough for a first reference."""

SCHEMA = "schema"
_CATCH_UP = timedelta(days=2)
_KEYS_SEEN = timedelta(hours=2)


class Change(Protocol):
    """A field that is not as it was (as the pipeline's ``FieldChange``)."""

    @property
    def field(self) -> str:
        """Its name."""
        ...

    @property
    def change(self) -> str:
        """``new``, ``missing`` or ``retyped``."""
        ...

    @property
    def rate(self) -> float:
        """In which part (0..1) of the records."""
        ...

    @property
    def was(self) -> str:
        """What it was."""
        ...

    @property
    def now(self) -> str:
        """What it is."""
        ...


@dataclass
class _State:
    """What is kept between looks: until when it was looked at, which reference, the windows, and what is open.

    ``lengths`` is, for each feature that drifts, how many windows it took to be seen; ``aside`` are features that go on
    with time, so that it is no drift that they move.
    """

    looked: datetime | None = None
    begin: datetime | None = None
    reference: str = ""
    windows: list[Sample] = field(default_factory=list)
    lengths: dict[str, int] = field(default_factory=dict)
    aside: set[str] = field(default_factory=set)

    def dump(self) -> bytes:
        doc = {
            "begin": self.begin and self.begin.isoformat(),
            "reference": self.reference,
            "windows": [one.plain() for one in self.windows],
            "lengths": self.lengths,
            "aside": sorted(self.aside),
        }
        # Whether a look is due is asked often, and stands in front.
        looked = self.looked.isoformat() if self.looked else ""
        return looked.encode() + b"\n" + zlib.compress(json.dumps(doc).encode(), 1)

    @classmethod
    def looked_at(cls, data: bytes | None) -> datetime | None:
        """Until when it was looked at; None for never, or if that cannot be read."""
        try:
            return _moment((data or b"").partition(b"\n")[0].decode())
        except ValueError:
            return None

    @classmethod
    def load(cls, data: bytes | None) -> "_State":
        """From what :meth:`dump` gave; a new one if there is nothing, or what is there is damaged."""
        if data is None:
            return cls()
        try:
            looked, _, packed = data.partition(b"\n")
            doc = json.loads(zlib.decompress(packed))
            return cls(
                _moment(looked.decode()), _moment(doc["begin"]), str(doc["reference"]),
                [Sample.of_plain(one) for one in doc["windows"]],
                {str(name): int(length) for name, length in doc["lengths"].items()}, set(map(str, doc["aside"])),
            )  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, zlib.error):
            return cls()  # Begin again, which loses windows and no reference.


def _moment(text: str | None) -> datetime | None:
    found = datetime.fromisoformat(text) if text else None
    if found is not None and found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found


def look(
    store: Store,
    subject: str,
    now: datetime,
    settings: DriftSettings,
    *,
    recorder: "Recorder | None" = None,
    ended: bool = False,
) -> list[Drift]:
    """Look at ``subject`` if a window has ended since the last look, or a run has (``ended``); gives what drifts now.

    Flush recorders before the look at the end of a run. Writes what begins, goes on and ends as rows of drifts, and the
    gauge ``drift`` of each feature: the share (0..1) of its values that moved. Cheap when nothing is due.
    """
    complete = _floor(now - SETTLE, settings.window_seconds)
    with store.read() as tx:
        before = _state_of(tx, subject)
        looked = _State.looked_at(before)
        if (looked is not None and looked >= complete and not ended) or not watched(tx, subject):
            return drifts.list(tx, subject=subject, open_only=True)
        # Reading and testing may take a second: nobody is to wait for that before he can write.
        state = _State.load(before)
        book = _looked(tx, subject, now, complete, settings, state, ended=ended)
        after = state.dump()
    if after == before and not book.lines:
        with store.read() as tx:
            return drifts.list(tx, subject=subject, open_only=True)
    with store.begin() as tx:
        # If another has looked meanwhile, or has reset the reference, what was found here is not wanted.
        current_one = _state_of(tx, subject) == before
        if current_one:
            if book.learned is not None:
                drifts.save_reference(tx, subject, book.learned.name, book.learned.doc, actor="nightcrew")
            book.write(tx)
            drifts.keep(tx, subject, STATE, after)
        found = drifts.list(tx, subject=subject, open_only=True)
    if recorder is not None and current_one:
        for name, value in book.gauges.items():
            recorder.gauge("drift", subject, value, feature=name)
    return found


def _state_of(tx: Tx, subject: str) -> bytes | None:
    found = drifts.reference(tx, subject, STATE)
    return None if found is None else found[0]


def note_changes(tx: Tx, subject: str, changes: Iterable[Change], *, seen: bool = True) -> None:
    """Turn what changed in the fields of records into drifts; one that is not among them any more is over.

    Say with ``seen`` that no record was looked at: then nothing is known to be over.
    """
    known = {one.feature: one for one in drifts.list(tx, subject=subject, open_only=True) if one.measure == SCHEMA}
    noted: set[str] = set()
    for one in changes:
        name = storable_name(one.field)
        if name in noted:
            continue
        noted.add(name)
        message = f"{shown_name(one.field)}: {one.change} in {one.rate:.0%} of the records"
        message += f" (was {_cut(one.was)}, is {_cut(one.now)})"
        found = known.pop(name, None)
        if found is None:
            drifts.begin(
                tx, subject=subject, feature=name, measure=SCHEMA, since=tx.now(), effect=100 * one.rate, p=0.0,
                message=message,
            )  # fmt: skip
        else:
            drifts.go_on(tx, found.id, effect=100 * one.rate, p=0.0, message=message)
    for gone in known.values() if seen else ():
        drifts.end(tx, gone.id, until=tx.now())


def reset(tx: Tx, subject: str, *, actor: str) -> None:
    """Forget the learned reference and what drifts; another is learned from what is measured from now on."""
    removed = False
    for one in drifts.references(tx, subject):
        if one.name in ("fixed", "rolling"):
            drifts.remove_reference(tx, subject, one.name, actor=actor)
            removed = True
    if not removed:
        drifts.remove_reference(tx, subject, "fixed", actor=actor)
    now = tx.now()
    drifts.keep(tx, subject, STATE, _State(looked=now, begin=_floor(now, 60) + timedelta(minutes=1)).dump())
    for drift in drifts.list(tx, subject=subject, open_only=True):
        drifts.end(tx, drift.id, until=now)


def _looked(
    tx: Tx, subject: str, now: datetime, complete: datetime, settings: DriftSettings, state: _State, *, ended: bool
) -> "_Book":
    """Look, and change ``state``; gives what is to be written. Only reads."""
    until = _floor(now, 60) + timedelta(minutes=1) if ended else complete
    least = min(LEAST_AT_END, settings.reference_values) if ended else settings.reference_values
    found = current(tx, subject, settings, begin=state.begin, now=until, least=least)
    if found is None:
        state.looked = max(state.looked or complete, complete)
        return _Book(tx, subject, state, History(Profile(), Limits()))
    digest = sha256_hex(found.doc)
    profile = Profile.load(found.doc, where=f"the reference {found.name} of {subject}")
    learned = _learned_until(profile)
    if digest != state.reference or not all(one.fits(profile) for one in state.windows):
        # Windows were counted in cells of another reference; a learned one holds all up to its end already.
        start = max(one for one in (learned, state.looked, complete - _CATCH_UP) if one) if state.looked else learned
        state.reference, state.windows, state.looked = digest, [], start or complete
    history = History(profile, Limits(settings.rate, settings.min_shift, settings.min_points))
    for sample in state.windows:
        history.append(sample)
    book = _Book(tx, subject, state, history, found if found.fresh else None)
    begin = max(state.looked or complete, complete - _CATCH_UP)
    if begin < complete:
        for sample in _samples(tx, subject, profile, begin, complete, settings.window_seconds):
            history.append(sample)
            book.look(sample.end or complete)
        state.looked = complete
    if ended and (state.looked or complete) < until:
        start = state.looked or complete
        for sample in _samples(tx, subject, profile, start, until, int((until - start).total_seconds())):
            book.look(now, sample)  # Not kept: it is read again, whole, when its window has ended.
    state.windows = list(history.windows)
    return book


def _learned_until(profile: Profile) -> datetime | None:
    try:
        return _moment(profile.end)
    except (ValueError, TypeError):
        return None


class _Line(NamedTuple):
    """What is to be written of one feature: that it drifts (``drift``: what to say of it), or that this is over."""

    feature: str
    at: datetime
    measure: str = ""
    effect: float = 0.0
    p: float = 0.0
    message: str = ""
    over: bool = False


@dataclass
class _Book:
    """What looks found over what is known, to be written when all is read."""

    tx: Tx
    subject: str
    state: _State
    history: History
    learned: Current | None = None
    lines: list[_Line] = field(default_factory=list)
    gauges: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what drifts so far, by which measure."""
        self._open = {name: drift.measure for name, drift in _open(self.tx, self.subject).items()}

    def look(self, at: datetime, newest: Sample | None = None) -> None:
        """Look at the windows that are kept, and ``newest`` as one more, and note what that says."""
        for one in self.history.look(newest)[0]:
            name = shown(one.feature)
            if self._goes_on(one.feature, at):
                continue
            if name not in self._open:
                self._open[name] = one.found.measure
                self.state.lengths[name] = one.length
            message = f"{shown_name(name)}: {one.effect.text}"
            since = one.since or at
            self.lines.append(_Line(name, since, one.found.measure, one.effect.size, one.found.adjusted, message))
            self.gauges[name] = one.effect.moved
        names = {shown(feature): feature for feature in self.history.profile.features}
        for name, measure in list(self._open.items()):
            length = self.state.lengths.get(name, 1)
            feature = names.get(name)
            if feature is None or feature in self.state.aside:
                self._over(name, at)  # The reference of now does not know it.
            elif self.history.calm(measure, feature, length, newest):
                self._over(name, at)
                self.history.forget(feature, keep=length)

    def write(self, tx: Tx) -> None:
        """Write it."""
        numbers = {name: drift.id for name, drift in _open(tx, self.subject).items()}
        for one in self.lines:
            number = numbers.get(one.feature)
            if one.over:
                if number is not None:
                    drifts.end(tx, numbers.pop(one.feature), until=one.at)
            elif number is not None:
                drifts.go_on(tx, number, effect=one.effect, p=one.p, message=one.message)
            else:
                numbers[one.feature] = drifts.begin(
                    tx, subject=self.subject, feature=one.feature, measure=one.measure, since=one.at,
                    effect=one.effect, p=one.p, message=one.message,
                )  # fmt: skip

    def _over(self, name: str, at: datetime) -> None:
        del self._open[name]
        self.state.lengths.pop(name, None)
        self.lines.append(_Line(name, at, over=True))
        self.gauges[name] = 0.0

    def _goes_on(self, feature: str, at: datetime) -> bool:
        """Whether a feature that moved does so by nature, as keys and times do; remembered while it is unclear."""
        if feature not in self.history.profile.numbers:
            return False
        parts = in_parts(self.tx, feature, self.subject, at - _KEYS_SEEN, at + timedelta(minutes=1))
        found = goes_on(part.numbers for part in parts)
        if found is not None:
            (self.state.aside.add if found else self.state.aside.discard)(feature)
        return feature in self.state.aside


def _open(tx: Tx, subject: str) -> dict[str, Drift]:
    """What drifts now, other than fields, by feature."""
    found = drifts.list(tx, subject=subject, open_only=True)
    return {one.feature: one for one in found if one.measure != SCHEMA}


def _samples(tx: Tx, subject: str, profile: Profile, start: datetime, end: datetime, seconds: int) -> Iterable[Sample]:
    """What was counted in each window of that time in which something was."""
    numbers: dict[int, dict[str, Distribution]] = {}
    items: dict[int, dict[str, Items]] = {}
    times: dict[int, tuple[datetime, datetime]] = {}
    for name in profile.features:
        for place, window in enumerate(query.windows(tx, name, subject, start, end, step=seconds)):
            times[place] = (window.start, window.start + timedelta(seconds=window.seconds))
            if window.numbers is not None and name in profile.numbers:
                numbers.setdefault(place, {})[name] = window.numbers
            if window.items is not None and name in profile.names:
                items.setdefault(place, {})[name] = window.items
            _count_others(name, window, profile, numbers.setdefault(place, {}), items.setdefault(place, {}))
    for place in sorted(times):
        if not numbers.get(place) and not items.get(place):
            continue
        sample = profile.count_measured(numbers.get(place, {}), items.get(place, {}))
        sample.start, sample.end = times[place]
        yield sample


def _count_others(
    name: str, window: query.Window, profile: Profile, numbers: dict[str, Distribution], items: dict[str, Items]
) -> None:
    """Count what came of a feature of another kind than the reference's as missing."""
    if name in profile.numbers and window.items is not None:
        numbers.setdefault(name, Distribution()).missing += window.items.count
    elif name in profile.names and window.numbers is not None:
        items.setdefault(name, Items()).missing += window.numbers.count


def _cut(text: str) -> str:
    return shown_name(text) if len(text) > LONGEST else storable_name(text)


def _floor(moment: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)
