"""Whether and when a request is made again."""

from hypothesis import given
from hypothesis import strategies as st

from tasker_core.client.retries import LONGEST_RETRY_AFTER, PASSING_STATUSES, Failure, RetryPolicy

STATUSES = st.none() | st.sampled_from(sorted(PASSING_STATUSES)) | st.integers(300, 599)
SECONDS = st.floats(0, 120)
FAILURES = st.one_of(
    st.just(Failure(unsent=True)),
    st.just(Failure()),
    st.builds(Failure, status=STATUSES, retry_after=st.none() | SECONDS),
)
MOMENTS = {
    "failure": FAILURES,
    "retries": st.integers(0, 1_000_000),
    "elapsed": SECONDS,
    "chance": st.floats(0, 1),
}
POLICIES = st.builds(RetryPolicy, max_retries=st.integers(0, 10), budget=st.floats(0, 240))


@given(POLICIES, st.booleans(), st.fixed_dictionaries(MOMENTS))
def test_no_more_repeats_than_allowed_and_none_that_begins_too_late(policy, repeatable, moment):
    pause = policy.pause(moment["failure"], repeatable=repeatable, **_rest(moment))
    if pause is not None:
        assert moment["retries"] < policy.max_retries
        assert pause >= 0
        assert moment["elapsed"] + pause <= policy.budget


@given(POLICIES, st.fixed_dictionaries(MOMENTS))
def test_what_must_not_happen_twice_is_repeated_only_if_it_was_never_sent(policy, moment):
    pause = policy.pause(moment["failure"], repeatable=False, **_rest(moment))
    assert pause is None or moment["failure"].unsent


@given(POLICIES, st.booleans(), st.fixed_dictionaries(MOMENTS))
def test_a_final_answer_is_never_asked_for_again(policy, repeatable, moment):
    pause = policy.pause(moment["failure"], repeatable=repeatable, **_rest(moment))
    status = moment["failure"].status
    assert pause is None or status is None or status in PASSING_STATUSES


@given(POLICIES, st.fixed_dictionaries(MOMENTS))
def test_nobody_comes_back_before_the_server_asked_them_to(policy, moment):
    pause = policy.pause(moment["failure"], repeatable=True, **_rest(moment))
    asked = moment["failure"].retry_after
    if pause is not None and asked is not None:
        assert asked <= pause <= asked + 5.0
        assert asked <= LONGEST_RETRY_AFTER


def test_pauses_are_spread_from_nothing_to_twice_the_one_before():
    policy = RetryPolicy(max_retries=10, budget=1000)
    longest = [
        policy.pause(Failure(status=503), repeatable=True, retries=retries, elapsed=0, chance=1.0)
        for retries in range(7)
    ]
    shortest = policy.pause(Failure(status=503), repeatable=True, retries=6, elapsed=0, chance=0.0)

    assert longest == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert shortest == 0.0


def _rest(moment):
    return {name: moment[name] for name in ("retries", "elapsed", "chance")}
