"""From sessions to a verdict: when pairs are added, and when a second session is asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from loads import LoadName
from metrics import METRICS
from session import Progress, RunTrial, Session
from verdict import Judgement, Verdict, agree, judge_session, overall


@dataclass
class Outcome:
    """What was measured, and what it means."""

    judgements: list[Judgement]
    """One for each metric: of the first session, and of the second where it was asked."""
    sessions: list[Session] = field(default_factory=list)
    by_session: list[list[Judgement]] = field(default_factory=list)
    """What each session says for itself."""

    @property
    def verdict(self) -> Verdict:
        """Of all metrics together."""
        return overall(judgement.verdict for judgement in self.judgements)


def compare(
    run_trial: RunTrial,
    pairs: int,
    floors: Mapping[str, float],
    seed: int,
    progress: Progress = lambda line: None,
    has_time: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Compares candidate and base.

    A session is `pairs` pairs for each load; those loads of which a metric is inconclusive
    then get as many again, once. What has regressed after that is asked of a second session
    with pairs and an order of its own, of those loads alone, and has regressed if that one
    says so, too (`verdict.agree`). Where `has_time` says no, neither is begun, and what they
    were to tell stays inconclusive."""

    def run_session(seed: int, loads: tuple[LoadName, ...]) -> tuple[Session, list[Judgement]]:
        session = Session(run_trial, seed, progress)
        return session, _judge_extended(session, pairs, floors, loads, progress, has_time)

    first, judgements = run_session(seed, tuple(LoadName))
    outcome = Outcome(judgements, [first], [judgements])
    regressed = [one for one in judgements if one.verdict is Verdict.REGRESSED]
    if regressed and has_time():
        keys = ", ".join(one.metric.title for one in regressed)
        progress(f"a second session, as this may have regressed: {keys}")
        second, confirming = run_session(seed + 1, _loads(regressed))
        seconds = {one.metric.key: one for one in confirming}
        outcome.sessions.append(second)
        outcome.by_session.append(confirming)
        outcome.judgements = [
            agree(one, seconds[one.metric.key]) if one.metric.key in seconds else one
            for one in judgements
        ]
    elif regressed:
        reason = "regressed in the first session, and there was no time for a second"
        outcome.judgements = [
            replace(one, verdict=Verdict.INCONCLUSIVE, reason=reason) if one in regressed else one
            for one in judgements
        ]
    return outcome


def _judge_extended(
    session: Session,
    pairs: int,
    floors: Mapping[str, float],
    loads: tuple[LoadName, ...],
    progress: Progress,
    has_time: Callable[[], bool],
) -> list[Judgement]:
    session.run(pairs, loads)
    judgements = _judge(session, floors, loads)
    open_loads = _loads([one for one in judgements if one.verdict is Verdict.INCONCLUSIVE])
    if open_loads and has_time():
        progress(f"{pairs} more pairs, as it is inconclusive: {', '.join(open_loads)}")
        session.run(pairs, open_loads)
        judgements = _judge(session, floors, loads)
    return judgements


def _judge(
    session: Session, floors: Mapping[str, float], loads: tuple[LoadName, ...]
) -> list[Judgement]:
    metrics = [metric for metric in METRICS if metric.load in loads]
    return judge_session(session.pairs(), floors, session.unmeasured(), metrics)


def _loads(judgements: list[Judgement]) -> tuple[LoadName, ...]:
    wanted = {judgement.metric.load for judgement in judgements}
    return tuple(load for load in LoadName if load in wanted)
