"""The guard: order of its parts, what it raises, what it gives; sync and async alike."""

import asyncio
import inspect
import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from typing_extensions import TypedDict

import nightcrew as nc
from nightcrew.reliability import (
    AUDIT,
    Attempt,
    BreakerOpenError,
    ContractError,
    RetriesExhaustedError,
    ReviewNeededError,
    Tally,
    Truncated,
    estimate_tokens,
    is_audit,
    no_waits,
    registered,
    truncate_to,
    worth_retrying,
)

NOW = nc.Retry(attempts=3, base=0)


class Tx(BaseModel):
    id: str
    amount: float


class Failing:
    """Raises what it is given in turn, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, value: Any) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return value


@pytest.fixture(params=["sync", "async"])
def result(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Guards a function and gives the Result of one call, sync or async."""

    def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if request.param == "sync":
            return nc.guard(function, **options).result(*arguments)

        async def awaited(*given: Any) -> Any:
            await asyncio.sleep(0)
            return function(*given)

        guarded: Any = nc.guard(awaited, **options)
        return asyncio.run(guarded.result(*arguments))

    return run


def test_value_passes_with_its_confidence(result: Callable[..., Any]) -> None:
    got = result(lambda _: nc.Prediction("fine", 0.75), "x")
    assert (got.status, got.value.value, got.confidence, got.level, got.attempts) == ("accepted", "fine", 0.75, 0, 1)
    assert result(lambda _: {"confidence": 0.5}, "x").confidence == 0.5
    assert result(lambda _: 3, "x").confidence is None


def test_input_that_breaks_its_contract_is_not_tried_and_gets_no_fallback(result: Callable[..., Any]) -> None:
    work, other = Failing(), Failing()
    got = result(work, {"id": "a", "amount": "x"}, contract=Tx, fallback=other)
    assert (got.status, got.failure.kind, work.calls, other.calls) == ("failed", "permanent.contract", 0, 0)


def test_function_is_given_what_the_contract_made(result: Callable[..., Any]) -> None:
    assert result(lambda tx: tx.amount, {"id": "a", "amount": "2.5"}, contract=Tx).value == 2.5


def test_output_that_breaks_its_contract_goes_to_the_fallback(result: Callable[..., Any]) -> None:
    got = result(lambda _: {"id": "a"}, "x", returns=Tx, fallback=lambda _: {"id": "b", "amount": 1}, retry=NOW)
    assert (got.status, got.level, got.value, got.attempts) == ("fallback", 1, Tx(id="b", amount=1), 2)
    assert "amount: this field is missing" in got.reason


@pytest.mark.parametrize("confidence", [1.5, -0.1, float("nan"), "sure"])
def test_confidence_that_is_none_is_a_broken_contract(result: Callable[..., Any], confidence: Any) -> None:
    got = result(lambda _: nc.Prediction(1, confidence), "x")
    assert (got.status, got.failure.kind) == ("failed", "permanent.contract")


def test_levels_are_tried_in_order_and_named(result: Callable[..., Any]) -> None:
    def second(_: Any) -> str:
        raise KeyError("no table")

    def rule(_: Any) -> str:
        return "by rule"

    got = result(Failing(ConnectionResetError("gone"), ConnectionResetError("gone")), "x",
                 retry=nc.Retry(attempts=2, base=0), fallback=[second, rule])  # fmt: skip
    assert (got.level, got.made_by, got.value, got.attempts) == (2, "rule", "by rule", 4)
    assert got.failure.kind == "transient.network", "why the function itself was given up"


def test_all_levels_failing_gives_the_first_failure(result: Callable[..., Any]) -> None:
    got = result(Failing(FileNotFoundError("model.bin")), "x", fallback=Failing(KeyError("k")))
    assert (got.status, got.failure.kind, got.attempts) == ("failed", "permanent.not_found", 2)


def test_gate_holds_and_a_broken_gate_holds_too(result: Callable[..., Any]) -> None:
    assert result(lambda _: 1, "x", gate=lambda _r, _v: "look at it").reason == "look at it"
    held = result(lambda _: nc.Prediction(1, 0.4), "x", gate=nc.Gate(confidence=0.8))
    assert (held.status, held.reason) == ("review", "confidence 0.4 is below 0.8")
    assert result(lambda _: 1, "x", gate=nc.Gate(confidence=0.8)).reason == "the confidence is not known"
    for broken in (lambda _r, _v: 1 / 0, lambda _r, _v: True, lambda _r, _v: ""):
        assert result(lambda _: 1, "x", gate=broken).reason.startswith("the gate failed")
    assert result(lambda _: 1, "x", gate=lambda _r, _v: None).status == "accepted"


def test_held_fallback_keeps_its_level(result: Callable[..., Any]) -> None:
    got = result(Failing(KeyError("k")), "x", fallback=lambda _: 1, gate=lambda _r, _v: "look")
    assert (got.status, got.level, got.reason) == ("review", 1, "look")


def test_partial_says_what_is_missing(result: Callable[..., Any]) -> None:
    got = result(lambda _: nc.Partial([1], "one of two pages"), "x")
    assert (got.status, got.value, got.notice) == ("partial", [1], "one of two pages")


def test_input_too_long_is_cut_once_with_a_notice(result: Callable[..., Any]) -> None:
    asked: list[int] = []

    def model(text: str) -> str:
        asked.append(len(text))
        if len(text) > 400:
            raise TooLong("maximum context length is 100 tokens")
        return "summary"

    got = result(model, "word " * 1000, truncate=100, retry=NOW)
    assert (got.status, got.value, got.attempts, len(asked)) == ("partial", "summary", 2, 2)
    assert "the input was cut at the end" in got.notice
    still = result(model, "word " * 1000, truncate=1000, retry=NOW, fallback=lambda _: "none")
    assert (still.status, still.level, still.notice) == ("fallback", 1, "")


class TooLong(Exception):
    status_code = 400


def test_one_observation_a_call(result: Callable[..., Any]) -> None:
    seen: list[nc.Observation] = []
    result(lambda _: nc.Prediction(1, 0.5), "x", observe=seen.append, name="fine")
    result(Failing(KeyError("k")), "x", observe=seen.append, name="broken")
    result(Failing(KeyError("k")), "x", observe=seen.append, name="saved", fallback=lambda _: 1)
    result(lambda _: 1, {"id": 1}, observe=seen.append, name="refused", contract=Tx)
    assert [(one.name, one.status, one.kind, one.level) for one in seen] == [
        ("fine", "accepted", None, 0),
        ("broken", "failed", "bug", 0),
        ("saved", "fallback", "bug", 1),
        ("refused", "failed", "permanent.contract", 0),
    ]
    assert all(one.seconds >= 0 for one in seen)


def test_tally_counts_by_name_status_and_class() -> None:
    tally = Tally()
    guarded = nc.guard(Failing(KeyError("k")), name="work", observe=tally)
    guarded.result(1)
    guarded.result(1)
    assert tally.calls == {("work", "failed", "bug"): 1, ("work", "accepted", None): 1}


def test_called_like_the_function_it_gives_the_value_or_raises() -> None:
    assert nc.guard(lambda x: x + 1)(1) == 2
    with pytest.raises(KeyError):
        nc.guard(Failing(KeyError("k")))(1)
    with pytest.raises(ContractError):
        nc.guard(lambda x: x, contract=Tx)({})
    with pytest.raises(ReviewNeededError, match="look") as held:
        nc.guard(lambda x: x, gate=lambda _r, _v: "look")(7)
    assert held.value.result is not None
    assert held.value.result.value == 7
    gone = [ConnectionResetError("gone") for _ in range(3)]
    with pytest.raises(RetriesExhaustedError, match="failed 3 times; at last: gone") as raised:
        nc.guard(Failing(*gone), retry=NOW, name="work")(1)
    assert raised.value.__cause__ is gone[-1]
    with pytest.raises(ConnectionResetError):
        nc.guard(Failing(ConnectionResetError("gone")), retry=None)(1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_interruption_is_no_failure(error: BaseException) -> None:
    with pytest.raises(type(error)):
        nc.guard(Failing(error), retry=NOW, fallback=lambda _: 1).result(1)


def test_cancellation_is_no_failure() -> None:
    async def endless(_: int) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        guarded: Any = nc.guard(endless, retry=NOW, fallback=lambda _: 1)
        task = asyncio.create_task(guarded(1))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_it_is_still_a_function() -> None:
    @nc.guard(retry=None)
    def work(number: int, *, twice: bool = False) -> int:
        """Works."""
        return number * (2 if twice else 1)

    @nc.guard
    async def later(number: int) -> int:
        return number

    plain: Any = work
    assert inspect.isfunction(plain)
    assert inspect.iscoroutinefunction(later)
    assert (plain.__name__, plain.__doc__) == ("work", "Works.")
    assert str(inspect.signature(plain)) == "(number: int, *, twice: bool = False) -> int"
    assert work(2, twice=True) == 4
    assert work.result(2, twice=True).value == 4
    assert asyncio.run(later(3)) == 3

    class Model:
        @nc.guard
        def predict(self, x: int) -> int:
            return x + 1

    bound: Any = Model()
    assert bound.predict(1) == 2


def test_production_takes_its_contract_from_the_annotation_and_a_breaker_of_its_own() -> None:
    @nc.production
    def score(tx: Tx) -> float:
        return tx.amount

    assert score({"id": "a", "amount": 2}) == 2.0  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="amount"):
        score({"id": "a"})  # type: ignore[arg-type]

    class Given(TypedDict):
        n: int

    @nc.production(retry=NOW)
    def typed(given: Given) -> int:
        return given["n"]

    assert typed({"n": 3}) == 3
    with pytest.raises(ContractError):
        typed({"m": 3})  # type: ignore[typeddict-item]

    @nc.production(retry=NOW)
    def free(text: str) -> str:
        return text

    assert free("a") == "a"


def test_nested_guards_do_not_multiply() -> None:
    inner_calls = 0

    @nc.guard(retry=NOW)
    def inner(_: int) -> None:
        nonlocal inner_calls
        inner_calls += 1
        raise TimeoutError("slow")

    assert nc.guard(lambda x: inner(x), retry=NOW).result(1).attempts == 3
    assert inner_calls == 3
    inner_calls = 0
    nc.guard(lambda x: inner(x), retry=None).result(1)
    assert inner_calls == 3, "an outer guard that does not retry leaves it to the inner one"


class TestRetry:
    def test_each_wait_is_told_and_grows_to_the_cap(self) -> None:
        told: list[Attempt] = []
        slept: list[float] = []
        retry = nc.Retry(attempts=6, base=1, cap=4, deadline=99, on_retry=told.append, sleep=slept.append,
                         rng=random.Random(3))  # fmt: skip
        nc.guard(Failing(*[TimeoutError("t")] * 9), retry=retry).result(1)
        assert [one.number for one in told] == [1, 2, 3, 4, 5]
        assert [one.delay for one in told] == slept
        assert all(wait <= most for wait, most in zip(slept, (1, 2, 4, 4, 4), strict=True))

    @given(st.integers(1, 200), st.floats(0, 50), st.floats(0, 100), st.one_of(st.none(), st.floats(0, 1000)))
    def test_delay_is_within_its_bounds(self, number: int, base: float, cap: float, after: float | None) -> None:
        delay = nc.Retry(base=base, cap=cap, rng=random.Random(1)).delay(number, after)
        assert (after or 0) <= delay <= max(cap, after or 0)

    def test_no_waits_in_tests(self) -> None:
        slept: list[float] = []
        with no_waits():
            nc.guard(Failing(TimeoutError("t")), retry=nc.Retry(base=100, deadline=1e9, sleep=slept.append)).result(1)
        assert slept == [0.0]

    @pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base": -1}, {"deadline": 0}])
    def test_wrong_options_say_so(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="a Retry has"):
            nc.Retry(**wrong)

    def test_worth_retrying_is_for_what_no_guard_has_retried(self) -> None:
        assert worth_retrying(TimeoutError("t"))
        assert not worth_retrying(KeyError("k"))
        assert not worth_retrying(RetriesExhaustedError("done"))
        assert not worth_retrying(ReviewNeededError("held"))


class TestBreaker:
    def test_opens_waits_probes_and_closes(self) -> None:
        now = 0.0
        breaker: Any = nc.Breaker("b", failures=2, window=10, reset=30, clock=lambda: now)
        down = Failing(*[TimeoutError("t")] * 3)
        guarded = nc.guard(down, retry=None, breaker=breaker)
        guarded.result(1)
        assert breaker.state == "closed"
        guarded.result(1)
        assert breaker.state == "open"
        refused: Any = guarded.result(1)
        assert (refused.failure.kind, refused.failure.retry_after, down.calls) == ("transient.overloaded", 30.0, 2)
        assert isinstance(refused.error, BreakerOpenError)
        now = 31.0
        assert breaker.state == "half_open"
        guarded.result(1)
        assert (breaker.state, down.calls) == ("open", 3)
        now = 62.0
        assert guarded.result(1).status == "accepted"
        assert breaker.state == "closed"

    def test_only_so_many_probe_at_once(self) -> None:
        now = 0.0
        breaker = nc.Breaker(failures=1, reset=5, half_open=1, clock=lambda: now)
        breaker.failed()
        now = 6.0
        assert breaker.allow()
        assert not breaker.allow()

    def test_permanent_failures_and_old_ones_do_not_open_it(self) -> None:
        now = 0.0
        breaker = nc.Breaker(failures=2, window=10, clock=lambda: now)
        guarded = nc.guard(Failing(KeyError("a"), KeyError("b"), KeyError("c")), retry=None, breaker=breaker)
        for _ in range(3):
            guarded.result(1)
        assert breaker.state == "closed"
        breaker.failed()
        now = 11.0
        breaker.failed()
        assert breaker.state == "closed"

    def test_is_shared_by_name(self) -> None:
        mine = nc.Breaker("shared-by-name", failures=1).share()
        nc.guard(Failing(TimeoutError("t")), retry=None, breaker="shared-by-name").result(1)
        assert mine.state == "open"


class TestTruncate:
    @given(st.text(max_size=400), st.integers(6, 200), st.sampled_from(["head", "tail", "both"]))
    def test_never_over_the_limit(self, text: str, limit: int, keep: Any) -> None:
        def words(given: str) -> int:
            return len(given)

        cut = truncate_to(text, limit, count=words, keep=keep, marker="~")
        assert words(cut.text) <= limit
        assert (cut.notice is None) == (cut.text == text)
        assert not cut.estimated

    def test_estimate_is_stated(self) -> None:
        cut = truncate_to("word " * 1000, 100)
        assert cut.estimated
        assert cut.notice is not None
        assert "about" in cut.notice
        assert estimate_tokens(cut.text) <= 90
        assert truncate_to("short", 100) == Truncated("short", None, 2, True)

    def test_ends_are_kept_as_asked(self) -> None:
        text = "a" * 50 + "z" * 50
        assert truncate_to(text, 11, count=len, keep="head", marker="~").text == "a" * 10 + "~"
        assert truncate_to(text, 11, count=len, keep="tail", marker="~").text == "~" + "z" * 10
        assert truncate_to(text, 11, count=len, keep="both", marker="~").text == "a" * 5 + "~" + "z" * 5

    def test_no_room_says_so(self) -> None:
        with pytest.raises(ValueError, match="leaves no room"):
            truncate_to("a" * 100, 2, count=len)


class TestGate:
    def test_samples_at_its_rate_and_says_blind_audit(self) -> None:
        gate = nc.Gate(sample=0.1, rng=random.Random(5))
        held = [gate.check(None, 1, 0.9) for _ in range(5000)]
        assert 400 < sum(reason is not None for reason in held) < 600
        assert all(is_audit(reason) for reason in held if reason)
        assert AUDIT == "blind audit"

    @pytest.mark.parametrize("wrong", [{"confidence": 2}, {"sample": -1}])
    def test_wrong_options_say_so(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            nc.Gate(**wrong)


class TestClassify:
    def test_user_can_register_a_class_or_a_name(self) -> None:
        class Busy(Exception):
            pass

        class Busier(Busy):
            pass

        assert nc.classify(Busier("b")).kind == "bug"
        with registered(Busy, nc.FailureClass.OVERLOADED):
            assert nc.classify(Busier("b")).kind == "transient.overloaded"
            with registered(f"{__name__}:{Busier.__qualname__}", lambda _: nc.FailureClass.AUTH):
                assert nc.classify(Busier("b")).kind == "permanent.auth"
            with registered(Busier, lambda _: None):
                assert nc.classify(Busier("b")).kind == "transient.overloaded"

    def test_wrapper_that_says_nothing_is_told_by_its_cause(self) -> None:
        class ToolError(Exception):
            pass

        wrapped = ToolError("tool failed")
        wrapped.__cause__ = ConnectionResetError("gone")
        assert nc.classify(wrapped).kind == "transient.network"
        known = KeyError("k")
        known.__cause__ = ConnectionResetError("gone")
        assert nc.classify(FileNotFoundError("f")).kind == "permanent.not_found"

    def test_message_is_one_line_and_short(self) -> None:
        found = nc.classify(ValueError("a\nb " + "x" * 5000))
        assert "\n" not in found.message
        assert len(found.message) == 500

    def test_failures_can_be_pickled(self) -> None:
        found = nc.classify(TimeoutError("t"))
        assert pickle.loads(pickle.dumps(found)) == found


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def broken(*_: Any) -> Any:
    raise RuntimeError("the hook is down")


class TestNeverRaises:
    """``result`` gives a Result whatever those around the call do; they are warned about."""

    def test_observer_and_hook_that_fail_change_nothing(self, result: Callable[..., Any]) -> None:
        work = Failing(TimeoutError("t"))
        with pytest.warns(UserWarning, match="the hook is down"):
            got = result(work, 1, observe=broken, retry=nc.Retry(base=0, on_retry=broken))
        assert (got.status, got.attempts, work.calls) == ("accepted", 2, 2)
        with pytest.warns(UserWarning, match="observer"):
            assert result(Failing(KeyError("k")), 1, observe=broken).failure.kind == "bug"

    def test_error_that_cannot_be_told_and_a_circle_of_causes(self, result: Callable[..., Any]) -> None:
        assert result(Failing(Mute()), 1).failure.message == "Mute"
        one, two = Mute(), Mute()
        one.__cause__, two.__cause__ = two, one
        assert result(Failing(one), 1).failure.kind == "bug"

    def test_rule_that_fails_is_passed_over(self, result: Callable[..., Any]) -> None:
        with registered(TimeoutError, broken), pytest.warns(UserWarning, match="rule for TimeoutError"):
            assert result(Failing(TimeoutError("t")), 1, retry=None).failure.kind == "transient.timeout"


def test_contract_holds_for_an_argument_given_by_name() -> None:
    @nc.guard(contract=Tx)
    def work(tx: Any) -> float:
        return float(tx.amount)

    assert work(tx={"id": "a", "amount": 2}) == 2.0
    with pytest.raises(ContractError, match="amount"):
        work(tx={"id": "a"})


def test_async_fallback_of_a_sync_function_is_refused() -> None:
    async def later(_: int) -> int:
        return 1

    with pytest.raises(ValueError, match="later is async"):
        nc.guard(lambda _: 1, fallback=later)
