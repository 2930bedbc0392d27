//! Taking, running and reporting steps.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use serde_json::json;
use support::{handler, lease, lease_with, success, worker_of, works, Answer, FakeServer, TestWorker};
use tasker_shared::{RustStepHandlerError, TaskerError};
use tokio::sync::Semaphore;

#[test]
fn a_worker_registers_leases_runs_reports_and_says_goodbye() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).namespace("shop").handler(works("work")), 2);
    let offered = lease("work", 1);
    server.offer(offered.clone());
    let result = server.wait_for_results(1).remove(0);
    worker.stop().unwrap();

    let registration = &server.calls("register")[0];
    assert_eq!(registration.body["callables"], json!(["work"]));
    assert_eq!(registration.body["namespaces"], json!(["shop"]));
    assert_eq!(registration.body["name"], "tester");
    assert_eq!(registration.body["sdk"], "rust/0.1.0");
    assert_eq!(registration.body["lazy_results"], true);
    assert_eq!(registration.headers["user-agent"], "rust/0.1.0");
    assert_eq!(server.calls("register").len(), 1);

    let claim = &server.calls("lease")[0].body;
    assert_eq!((&claim["limit"], &claim["wait_seconds"]), (&json!(10), &json!(20.0)));
    assert_eq!(support::key_of(&result), support::key_of(&offered));
    assert_eq!((&result["success"], &result["result"]), (&json!(true), &json!({"done": true})));
    assert_eq!(result["metadata"]["worker_id"], "tester");
    assert_eq!(server.calls("deregister").len(), 1);
}

#[test]
fn no_more_is_leased_than_there_are_free_slots() {
    let server = FakeServer::start();
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let body = {
        let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
        move |step| {
            let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                success(&step, json!({}))
            }
        }
    };
    for number in 1..=12 {
        server.offer(lease("work", number));
    }
    let worker = TestWorker::start(worker_of(&server).max_concurrent(3).handler(handler("work", body)), 2);
    server.wait("three handlers", || (running.load(Ordering::SeqCst) == 3).then_some(()));
    gate.add_permits(12);
    let results = server.wait_for_results(12);
    worker.stop().unwrap();

    assert_eq!(results.len(), 12);
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let limits = server.calls("lease").iter().map(|call| call.body["limit"].as_u64().unwrap()).max();
    assert_eq!(limits, Some(3));
}

#[test]
fn a_chain_costs_one_call_a_step() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).max_concurrent(1).handler(works("work")), 2);
    server.wait_for_calls("lease", 1);
    for number in 1..=5 {
        server.offer(lease("work", number));
    }
    server.wait_for_results(5);
    let leases = server.calls("lease").len();
    worker.stop().unwrap();
    assert!(leases <= 2, "{leases} lease calls for five steps");
    assert!(server.calls("report").iter().take(4).all(|call| call.body["lease"] == 1));
}

#[test]
fn results_that_come_while_reports_are_under_way_are_reported_together() {
    let server = FakeServer::start();
    for number in 1..=40 {
        server.offer(lease("work", number));
    }
    let worker = TestWorker::start(worker_of(&server).max_concurrent(40).handler(works("work")), 2);
    server.wait_for_results(40);
    worker.stop().unwrap();
    assert!(server.calls("report").len() < 40);
}

#[test]
fn what_handlers_do_becomes_a_result() {
    let server = FakeServer::start();
    let builder = worker_of(&server)
        .handler(handler("panics", |_| async { panic!("out of cheese") }))
        .handler(handler("permanent", |_| async {
            let error = RustStepHandlerError::ExecutionError { message: "card declined".into(), retryable: false };
            Err(TaskerError::HandlerError(anyhow::Error::from(error).context("while charging")))
        }))
        .handler(handler("fails", |_| async { Err(TaskerError::HandlerError(anyhow::anyhow!("disk full"))) }));
    let worker = TestWorker::start(builder, 2);
    let ended = |callable: &str, number: i64| {
        let before =
            server.calls("report").iter().map(|call| call.body["results"].as_array().unwrap().len()).sum::<usize>();
        server.offer(lease(callable, number));
        let result = server.wait_for_results(before + 1).pop().unwrap();
        assert_eq!((&result["success"], &result["status"]), (&json!(false), &json!("failed")));
        let error = &result["error"];
        assert_eq!(error["retryable"], result["metadata"]["retryable"]);
        let text = |key: &str| error[key].as_str().unwrap().to_owned();
        (text("error_type"), error["retryable"].as_bool().unwrap(), text("message"))
    };
    let panicked = ended("panics", 1);
    assert_eq!((panicked.0.as_str(), panicked.1), ("handler_panic", false));
    assert!(panicked.2.contains("out of cheese"));
    let declined = ended("permanent", 2);
    assert_eq!((declined.0.as_str(), declined.1), ("permanent_error", false));
    assert_eq!(declined.2, "while charging: card declined");
    assert_eq!(ended("fails", 3), ("handler_error".to_owned(), true, "disk full".to_owned()));
    assert_eq!(ended("nobody", 4), ("handler_not_found".to_owned(), false, "Handler not found: nobody".to_owned()));
    worker.stop().unwrap();
}

#[test]
fn a_handler_that_runs_too_long_is_dropped_and_reported() {
    let server = FakeServer::start();
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let body = move |_| {
        let guard = CountsDrops(Arc::clone(&counter));
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    };
    let worker = TestWorker::start(worker_of(&server).handler(handler("work", body)), 2);
    server.offer(lease_with("work", 1, json!({}), json!(1)));
    let result = server.wait_for_results(1).remove(0);
    assert_eq!(result["error"]["error_type"], "handler_timeout");
    assert_eq!(result["error"]["retryable"], true);
    assert!(result["error"]["message"].as_str().unwrap().contains("1000 ms"));
    server.wait("the drop", || (dropped.load(Ordering::SeqCst) == 1).then_some(()));
    worker.stop().unwrap();
}

struct CountsDrops(Arc<AtomicUsize>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_result_that_the_server_cannot_take_fails_its_step_alone() {
    let server = FakeServer::start();
    let offered = lease("work", 1);
    let key = support::key_of(&offered);
    let refusal = json!({"step_uuid": key["step_uuid"], "lease_id": 1, "reason": "not_recordable", "detail": "NUL"});
    server
        .answer("report", Answer::ok(json!({"accepted": [], "refused": [refusal], "leases": [], "more_ready": false})));
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    server.offer(offered);
    let second = server.wait_for_results(2).remove(1);
    assert_eq!(second["error"]["error_type"], "result_refused");
    assert_eq!(second["error"]["retryable"], false);
    assert!(second["error"]["message"].as_str().unwrap().contains("NUL"));
    worker.stop().unwrap();
}

#[test]
fn a_report_that_is_wrong_is_sent_in_parts() {
    let server = FakeServer::start();
    server.answer("report", Answer::error(413, "PAYLOAD_TOO_LARGE"));
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    server.offer(lease("work", 1));
    let second = server.wait_for_results(2).remove(1);
    assert_eq!(second["error"]["error_type"], "result_refused");
    worker.stop().unwrap();
}

#[test]
fn a_result_beyond_every_limit_is_reported_as_a_failure() {
    let server = FakeServer::start();
    let body = |step| async move { success(&step, json!({"text": "x".repeat(16 * 1024 * 1024)})) };
    let worker = TestWorker::start(worker_of(&server).handler(handler("work", body)), 2);
    server.offer(lease("work", 1));
    let result = server.wait_for_results(1).remove(0);
    assert_eq!(result["error"]["error_type"], "result_refused");
    worker.stop().unwrap();
}

#[test]
fn checkpoints_are_reported_as_such_and_go_on_under_a_new_lease() {
    let server = FakeServer::start();
    let body = |step: tasker_shared::types::TaskSequenceStep| async move {
        let step_uuid = step.workflow_step.workflow_step_uuid;
        let kept = tasker_shared::messaging::StepExecutionResult::checkpoint(step_uuid, json!(5), 5, None);
        if step.get_input_or("last", false) {
            success(&step, json!({}))
        } else {
            Ok(kept)
        }
    };
    let worker = TestWorker::start(worker_of(&server).max_concurrent(1).handler(handler("work", body)), 2);
    server.offer(lease("work", 1));
    server.offer(lease_with("work", 2, json!({"last": true}), json!(null)));
    let results = server.wait_for_results(2);
    assert_eq!(results[0]["checkpoint"], json!({"cursor": 5, "items_processed": 5, "accumulated_results": null}));
    assert!(results[0].get("success").is_none());
    assert_eq!(results[1]["success"], true);
    server.wait("one step", || (worker.status().processed == 1).then_some(()));
    worker.stop().unwrap();
}
