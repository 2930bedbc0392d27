use std::time::{Duration, Instant};

use serde_json::json;
use tasker_shared::wire::LeaseItem;
use uuid::Uuid;

use super::{Action, Machine, Promise, Rules};
use crate::engine::call_error::CallError;
use crate::engine::protocol::{Leased, Refusal, Registered, ReportAnswer};
use crate::engine::report::{LeaseKey, Report};

const SECOND: Duration = Duration::from_secs(1);

/// A machine, and the actions that it wants done.
struct Bench {
    machine: Machine,
    now: Instant,
    actions: Vec<Action>,
}

impl Bench {
    /// A worker that is registered, and whose first lease call is under way.
    fn new(concurrency: usize) -> Self {
        let rules = Rules {
            concurrency,
            handler_timeout: 300 * SECOND,
            shutdown_timeout: 30 * SECOND,
            name: "tester".to_owned(),
        };
        let mut machine = Machine::new(rules);
        machine.callables_changed(true);
        machine.begin(registered("worker-1"));
        let mut bench = Self { machine, now: Instant::now(), actions: Vec::new() };
        bench.act();
        bench
    }

    fn act(&mut self) {
        self.actions = self.machine.act(self.now);
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.act();
    }

    /// The number and the limit of the lease call that was just decided.
    fn lease_call(&self) -> Option<(u64, usize)> {
        self.actions.iter().find_map(|action| match action {
            Action::Lease { call, limit } => Some((*call, *limit)),
            _ => None,
        })
    }

    /// Answers the lease call that was just decided.
    fn answer_lease(&mut self, leases: Vec<Leased>) {
        let (call, _) = self.lease_call().expect("a lease call");
        self.machine.on_leased(call, leases, 5 * SECOND, self.now);
        self.act();
    }

    fn fail_lease(&mut self, retry_after: Option<Duration>) {
        let (call, _) = self.lease_call().expect("a lease call");
        let error = CallError::Unavailable { reason: "away".to_owned(), retry_after };
        self.machine.on_lease_failed(call, self.machine.epoch(), error, self.now, 0.5);
        self.act();
    }

    fn returned(&mut self, key: LeaseKey) {
        self.machine.on_returned(key, Some(Report::refused(key, "stands for any result")));
        self.act();
    }

    fn report_call(&mut self) -> (Vec<Report>, Promise) {
        let found = self.actions.iter().position(|action| matches!(action, Action::Report { .. }));
        match self.actions.remove(found.expect("a report")) {
            Action::Report { reports, promise } => (reports, promise),
            _ => unreachable!(),
        }
    }

    fn has(&self, wanted: fn(&Action) -> bool) -> bool {
        self.actions.iter().any(wanted)
    }

    fn started(&self) -> usize {
        self.actions.iter().filter(|action| matches!(action, Action::Start(_))).count()
    }
}

fn registered(worker_id: &str) -> Registered {
    Registered { worker_id: worker_id.to_owned(), lease_seconds: 30.0, heartbeat_seconds: 10.0, max_wait_seconds: 30.0 }
}

fn key(lease_id: i64) -> LeaseKey {
    LeaseKey { step_uuid: Uuid::from_u128(7), lease_id }
}

fn step(lease_id: i64) -> Leased {
    let lease: LeaseItem = serde_json::from_value(json!({
        "step_uuid": key(lease_id).step_uuid, "lease_id": lease_id, "attempt": 1,
        "task_sequence_step": {"task": {}, "workflow_step": {}, "step_definition": {"timeout_seconds": 60}},
    }))
    .unwrap();
    Leased::Step(Box::new(lease))
}

fn recorded(leases: Vec<Leased>) -> ReportAnswer {
    ReportAnswer { leases, ..ReportAnswer::default() }
}

#[test]
fn claims_and_reports_together_never_promise_a_slot_twice() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.lease_call().unwrap().1, 4);
    bench.answer_lease(vec![step(1), step(2)]);
    assert_eq!((bench.started(), bench.lease_call().unwrap().1), (2, 2));
    // All others are promised to the lease call, so a report asks only for the slot that it frees.
    bench.returned(key(1));
    let (reports, promise) = bench.report_call();
    assert_eq!((reports.len(), promise.want), (1, 1));
    bench.machine.on_reported(promise, reports, recorded(vec![step(3)]), bench.now);
    bench.act();
    assert_eq!((bench.started(), bench.lease_call()), (1, None));
}

#[test]
fn a_handler_that_was_given_up_keeps_its_slot_until_it_returns() {
    let mut bench = Bench::new(1);
    bench.answer_lease(vec![step(1)]);
    bench.later(60 * SECOND);
    assert!(bench.has(|action| matches!(action, Action::Cancel(_))));
    let (reports, promise) = bench.report_call();
    assert!(reports[0].json.contains("handler_timeout"));
    assert_eq!(promise.want, 0);
    bench.machine.on_reported(promise, reports, recorded(vec![]), bench.now);
    bench.act();
    assert_eq!(bench.lease_call(), None);
    bench.machine.on_returned(key(1), None);
    bench.act();
    assert_eq!(bench.lease_call().unwrap().1, 1);
}

#[test]
fn an_answer_at_once_with_nothing_is_followed_by_a_pause() {
    let mut bench = Bench::new(1);
    let (call, _) = bench.lease_call().unwrap();
    bench.machine.on_leased(call, vec![], Duration::ZERO, bench.now);
    bench.act();
    assert_eq!(bench.lease_call(), None);
    assert_eq!(bench.machine.next_time(bench.now), Some(bench.now + SECOND));
    bench.later(SECOND);
    assert!(bench.lease_call().is_some());
}

#[test]
fn after_lost_contact_nothing_is_leased_until_everything_held_is_known() {
    let mut bench = Bench::new(2);
    bench.fail_lease(Some(3 * SECOND));
    assert!(!bench.machine.in_contact() && bench.actions.is_empty());
    bench.later(3 * SECOND);
    assert!(bench.has(|action| matches!(action, Action::Recover)));
    assert_eq!(bench.lease_call(), None);
    bench.machine.on_recovered(bench.machine.epoch(), vec![step(1)], bench.now);
    bench.act();
    assert!(bench.machine.in_contact());
    assert_eq!((bench.started(), bench.lease_call().unwrap().1), (1, 1));
}

#[test]
fn what_ends_while_the_server_looks_is_not_started_again() {
    let mut bench = Bench::new(2);
    bench.answer_lease(vec![step(1)]);
    bench.fail_lease(None);
    bench.returned(key(1));
    let (reports, promise) = bench.report_call();
    bench.later(SECOND);
    assert!(bench.has(|action| matches!(action, Action::Recover)));
    bench.machine.on_reported(promise, reports, recorded(vec![]), bench.now);
    bench.machine.on_recovered(bench.machine.epoch(), vec![step(1), step(2)], bench.now);
    bench.act();
    assert_eq!(bench.started(), 1);
    assert!(bench.has(|action| matches!(action, Action::Start(lease) if lease.lease_id == 2)));
}

#[test]
fn heartbeats_are_for_leases_that_stay_and_follow_those_that_come() {
    let beat = |bench: &Bench| {
        bench.actions.iter().find_map(|action| match action {
            Action::Heartbeat { call, leases } => Some((*call, leases.len())),
            _ => None,
        })
    };
    let mut bench = Bench::new(2);
    let (call, _) = bench.lease_call().unwrap();
    bench.machine.on_leased(call, vec![step(1)], SECOND, bench.now);
    bench.act();
    let (second_claim, _) = bench.lease_call().unwrap();
    assert_eq!(beat(&bench), None);
    bench.later(SECOND / 2);
    assert_eq!(beat(&bench).unwrap().1, 1);
    bench.later(SECOND / 2);
    assert_eq!(beat(&bench), None);

    bench.machine.on_leased(second_claim, vec![step(2)], SECOND, bench.now);
    bench.later(SECOND / 2);
    assert_eq!(beat(&bench), None);
    bench.later(SECOND / 2);
    assert!(bench.has(|action| matches!(action, Action::AbortHeartbeat)));
    let (call, leases) = beat(&bench).unwrap();
    assert_eq!(leases, 2);

    bench.machine.on_heartbeat(call, &[key(1)]);
    bench.act();
    assert!(bench.has(|action| matches!(action, Action::Cancel(lost) if *lost == key(1))));
}

#[test]
fn a_batch_that_is_wrong_is_sent_one_by_one_and_only_the_wrong_one_fails() {
    let mut bench = Bench::new(4);
    bench.answer_lease(vec![step(1), step(2)]);
    for lease_id in [1, 2] {
        let ended = Report { is_refusal: false, ..Report::refused(key(lease_id), "a result") };
        bench.machine.on_returned(key(lease_id), Some(ended));
    }
    bench.act();
    let (reports, promise) = bench.report_call();
    assert_eq!(reports.len(), 2);
    let wrong = CallError::Wrong("too large".to_owned());
    bench.machine.on_report_failed(promise, reports, bench.machine.epoch(), wrong.clone(), bench.now, 0.5);
    bench.act();
    let ((first, first_promise), (second, second_promise)) = (bench.report_call(), bench.report_call());
    assert_eq!((first.len(), second.len()), (1, 1));
    bench.machine.on_reported(first_promise, first, recorded(vec![]), bench.now);
    bench.machine.on_report_failed(second_promise, second, bench.machine.epoch(), wrong, bench.now, 0.5);
    bench.act();
    let (replaced, _) = bench.report_call();
    assert!(replaced[0].is_refusal && replaced[0].json.contains("too large"));
}

#[test]
fn a_result_that_was_recorded_or_lost_is_not_counted_twice() {
    let mut bench = Bench::new(2);
    bench.answer_lease(vec![step(1)]);
    bench.returned(key(1));
    let (reports, promise) = bench.report_call();
    let refused =
        Refusal { reason: "lease_lost".to_owned(), step_uuid: Some(key(1).step_uuid), lease_id: Some(1), detail: None };
    let answer = ReportAnswer { refused: vec![refused], ..ReportAnswer::default() };
    bench.machine.on_reported(promise, reports, answer, bench.now);
    assert_eq!((bench.machine.counts.failed, bench.machine.active()), (0, 0));
}

#[test]
fn a_worker_that_is_unknown_drops_everything_and_registers_under_a_new_number() {
    let mut bench = Bench::new(2);
    bench.answer_lease(vec![step(1)]);
    let (call, _) = bench.lease_call().unwrap();
    let before = bench.machine.epoch();
    bench.machine.on_lease_failed(call, before, CallError::WorkerUnknown, bench.now, 0.5);
    bench.act();
    assert!(bench.has(|action| matches!(action, Action::Cancel(_))));
    assert!(bench.has(|action| matches!(action, Action::Register)));
    assert!(bench.machine.registered().is_none());
    bench.machine.on_registered(registered("worker-2"));
    // An answer to a call of the old registration says nothing of the new one.
    bench.machine.on_recover_failed(before, CallError::WorkerUnknown, bench.now, 0.5);
    assert_eq!(bench.machine.registered().unwrap().worker_id, "worker-2");
}

#[test]
fn other_callables_are_registered_while_no_lease_call_asks_for_the_old_ones() {
    let mut bench = Bench::new(2);
    bench.answer_lease(vec![step(1)]);
    bench.machine.callables_changed(true);
    bench.act();
    assert!(matches!(bench.actions[..], [Action::AbortLease, Action::Register]));
    bench.machine.on_registered(registered("worker-1"));
    bench.act();
    // The call that was hung up may have been granted something.
    assert!(matches!(bench.actions[..], [Action::Recover]));
    assert!(bench.machine.in_contact());
    bench.machine.on_recovered(bench.machine.epoch(), vec![step(1)], bench.now);
    bench.act();
    assert_eq!((bench.started(), bench.lease_call().unwrap().1), (0, 1));
}

#[test]
fn a_stopping_worker_hangs_up_gives_back_and_is_done() {
    let mut bench = Bench::new(2);
    bench.machine.stop(bench.now);
    bench.act();
    assert!(bench.has(|action| matches!(action, Action::AbortLease)));
    assert!(bench.has(|action| matches!(action, Action::Recover)));
    assert!(!bench.machine.is_done());
    bench.machine.on_recovered(bench.machine.epoch(), vec![step(1)], bench.now);
    bench.act();
    assert!(bench.has(|action| matches!(action, Action::Release { .. })));
    assert!(!bench.machine.is_done());
    bench.machine.on_released(None);
    assert!(bench.machine.is_done());
}

#[test]
fn a_stopping_worker_without_its_server_gives_up_after_the_time_of_a_lease() {
    let mut bench = Bench::new(1);
    bench.answer_lease(vec![step(1)]);
    bench.machine.stop(bench.now);
    bench.later(30 * SECOND);
    assert!(bench.has(|action| matches!(action, Action::Cancel(_))));
    let (reports, promise) = bench.report_call();
    assert!(reports[0].json.contains("worker_shutdown"));
    let away = CallError::Unavailable { reason: "away".to_owned(), retry_after: None };
    bench.machine.on_report_failed(promise, reports, bench.machine.epoch(), away, bench.now, 0.5);
    bench.act();
    assert!(!bench.machine.is_done());
    bench.later(31 * SECOND);
    assert!(bench.machine.is_done());
}
