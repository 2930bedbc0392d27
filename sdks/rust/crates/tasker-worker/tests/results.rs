//! Results that leases omit because of their size.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};

use serde_json::{json, Value};
use support::{handler, key_of, lease, lease_without, success, worker_of, works, Answer, FakeServer, TestWorker};
use tasker_shared::types::TaskSequenceStep;
use tasker_worker::worker::handlers::StepHandler;
use uuid::Uuid;

/// A handler that returns the results that it is given.
fn tells_results() -> Arc<dyn StepHandler> {
    handler("work", |step: TaskSequenceStep| async move { success(&step, json!(step.dependency_results)) })
}

fn result_of_analyze() -> Value {
    json!({
        "step_uuid": Uuid::new_v4(), "success": true, "status": "completed", "error": null,
        "result": {"cursors": [{"batch_id": "001", "start_cursor": 0.1, "end_cursor": 18446744073709551615u64}]},
        "metadata": {"custom": {"checked_by": "curl"}}, "orchestration_metadata": null,
    })
}

/// The results in the order of their leases.
fn by_lease(mut results: Vec<Value>) -> Vec<Value> {
    results.sort_by_key(|result| result["lease_id"].as_i64());
    results
}

#[test]
fn a_handler_sees_what_its_lease_omits_as_if_it_had_come_with_it() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    for (number, analyze) in [(1, result_of_analyze()), (3, json!({"a": "bare value"})), (5, json!("text"))] {
        let omitting = lease_without("work", number, Uuid::new_v4(), &["analyze"]);
        let mut inline = lease("work", number + 1);
        inline["task_sequence_step"]["dependency_results"] = json!({"analyze": analyze});
        server.give_result("analyze", analyze);
        server.offer(omitting.clone());
        server.offer(inline);
        let count = usize::try_from(number).unwrap();
        let results = by_lease(server.wait_for_results(count + 1));
        let told = |index: usize| -> Value {
            let mut told = results[index]["result"]["analyze"].clone();
            if number > 1 {
                told["metadata"] = json!(null); // a bare value's is made up of the time at which it was read
            }
            told
        };
        assert_eq!(told(count - 1), told(count));
        assert!(!told(count)["result"].is_null());
        let asked = &server.calls("results").pop().unwrap().body;
        assert_eq!(asked["names"], json!(["analyze"]));
        assert_eq!(key_of(asked), key_of(&omitting));
    }
    worker.stop().unwrap();
}

#[test]
fn all_leases_of_a_task_share_one_call_until_it_is_re_run_and_other_tasks_do_not() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    let (task, other) = (Uuid::new_v4(), Uuid::new_v4());
    for number in 1..=5 {
        server.offer(lease_without("work", number, task, &["analyze"]));
    }
    server.wait("five steps", || (worker.status().active == 5).then_some(()));
    server.give_result("analyze", result_of_analyze());
    server.wait_for_results(5);
    server.offer(lease_without("work", 6, task, &["analyze"]));
    server.wait_for_results(6);
    assert_eq!(server.calls("results").len(), 1);
    server.offer(lease_without("work", 7, other, &["analyze"]));
    server.wait_for_results(7);
    assert_eq!(server.calls("results").len(), 2);
    let mut re_run = lease_without("work", 8, task, &["analyze"]);
    re_run["reruns"] = json!(1);
    server.offer(re_run);
    let results = server.wait_for_results(8);
    assert_eq!(server.calls("results").len(), 3);
    assert!(results.iter().all(|result| result["result"]["analyze"]["metadata"]["custom"]["checked_by"] == "curl"));
    worker.stop().unwrap();
}

#[test]
fn a_step_that_left_no_result_is_absent() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    server.give_result("analyze", json!(null));
    server.give_result("count", result_of_analyze());
    server.offer(lease_without("work", 1, Uuid::new_v4(), &["analyze", "count"]));
    let told = server.wait_for_results(1)[0]["result"].clone();
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["count"]);
    worker.stop().unwrap();
}

#[test]
fn a_lease_that_is_lost_while_it_waits_leaves_the_call_to_the_others() {
    let server = FakeServer::start().with_lease_seconds(3.0);
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    let task = Uuid::new_v4();
    let lost = lease_without("work", 1, task, &["analyze"]);
    server.offer(lost.clone());
    server.wait_for_calls("results", 1);
    server.offer(lease_without("work", 2, task, &["analyze"]));
    server.wait("two steps", || (worker.status().active == 2).then_some(()));
    server.take_away(&lost, true);
    // Its slot is free again.
    server.wait("one step", || (worker.status().active == 1).then_some(()));
    server.give_result("analyze", result_of_analyze());
    let results = server.wait_for_results(1);
    assert_eq!((&results[0]["lease_id"], &results[0]["success"]), (&json!(2), &json!(true)));
    assert_eq!(server.calls("results").len(), 1);
    worker.stop().unwrap();
    assert_eq!(server.calls("report").len(), 1);
}

#[test]
fn a_refusal_fails_the_attempt_in_whose_name_was_asked_and_no_other() {
    let server = FakeServer::start();
    server.answer("results", Answer::error(503, "UNAVAILABLE").with_header("retry-after", "1"));
    server.answer("results", Answer::error(409, "LEASE_LOST"));
    server.give_result("analyze", result_of_analyze());
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    let task = Uuid::new_v4();
    server.offer(lease_without("work", 1, task, &["analyze"]));
    server.offer(lease_without("work", 2, task, &["analyze"]));
    let results = by_lease(server.wait_for_results(2));
    let error = &results[0]["error"];
    assert_eq!((&error["error_type"], &error["retryable"]), (&json!("result_unavailable"), &json!(true)));
    assert_eq!(error["message"], "the result of step 'analyze' cannot be fetched: told to answer LEASE_LOST");
    assert_eq!(results[1]["success"], true);
    let asked: Vec<Value> = server.calls("results").iter().map(|call| call.body["lease_id"].clone()).collect();
    assert_eq!(asked, [1, 1, 2]);
    worker.stop().unwrap();
}

#[test]
fn a_server_that_is_away_is_asked_again() {
    let server = FakeServer::start();
    for status in [503, 500, 429] {
        server.answer("results", Answer::error(status, "AWAY"));
    }
    server.give_result("analyze", result_of_analyze());
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    server.offer(lease_without("work", 1, Uuid::new_v4(), &["analyze"]));
    assert_eq!(server.wait_for_results(1)[0]["success"], true);
    assert_eq!(server.calls("results").len(), 4);
    worker.stop().unwrap();
}

#[test]
fn waiting_for_a_result_counts_into_the_time_limit() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    let mut limited = lease_without("work", 1, Uuid::new_v4(), &["analyze"]);
    limited["task_sequence_step"]["step_definition"]["timeout_seconds"] = json!(1);
    server.offer(limited);
    let result = server.wait_for_results(1).remove(0);
    assert_eq!(result["error"]["error_type"], "handler_timeout");
    server.wait("the slot", || (worker.status().active == 0).then_some(()));
    worker.stop().unwrap();
}

#[test]
fn a_lease_is_kept_while_it_waits_for_a_result() {
    let server = FakeServer::start().with_lease_seconds(1.5);
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    let offered = lease_without("work", 1, Uuid::new_v4(), &["analyze"]);
    server.offer(offered.clone());
    let beats = server.wait_for_calls("heartbeat", 3);
    assert!(beats.iter().all(|call| call.body["leases"] == json!([key_of(&offered)])));
    server.give_result("analyze", result_of_analyze());
    assert_eq!(server.wait_for_results(1)[0]["success"], true);
    worker.stop().unwrap();
}

#[test]
fn a_worker_that_is_not_known_any_more_registers_again_and_lets_go_of_what_waited() {
    let server = FakeServer::start();
    server.answer("results", Answer::error(410, "WORKER_UNKNOWN"));
    server.give_result("analyze", result_of_analyze());
    let worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    let task = Uuid::new_v4();
    server.offer(lease_without("work", 1, task, &["analyze"]));
    server.wait_for_calls("register", 2);
    server.offer(lease_without("work", 2, task, &["analyze"]));
    let results = server.wait_for_results(1);
    assert_eq!((&results[0]["lease_id"], &results[0]["success"]), (&json!(2), &json!(true)));
    let asked: Vec<String> = server.calls("results").into_iter().map(|call| call.worker).collect();
    assert_eq!(asked, ["worker-1", "worker-2"]);
    worker.stop().unwrap();
}

#[test]
fn results_are_fetched_while_a_handler_blocks_the_only_thread() {
    let server = FakeServer::start();
    let (unblock, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let begun = Arc::new(AtomicUsize::new(0));
    let blocks = {
        let begun = Arc::clone(&begun);
        handler("block", move |step| {
            begun.fetch_add(1, Ordering::SeqCst);
            let _ = blocked.lock().unwrap().recv();
            async move { success(&step, json!({})) }
        })
    };
    let worker = TestWorker::start(worker_of(&server).handler(blocks).handler(tells_results()), 1);
    server.offer(lease("block", 1));
    server.wait("the handler", || (begun.load(Ordering::SeqCst) == 1).then_some(()));
    server.offer(lease_without("work", 2, Uuid::new_v4(), &["analyze"]));
    server.wait_for_calls("results", 1);
    server.give_result("analyze", result_of_analyze());
    unblock.send(()).unwrap();
    assert!(server.wait_for_results(2).iter().all(|result| result["success"] == true));
    worker.stop().unwrap();
}

#[test]
fn a_stopping_worker_still_fetches_for_the_steps_that_it_has() {
    let server = FakeServer::start();
    let mut worker = TestWorker::start(worker_of(&server).handler(tells_results()), 2);
    server.offer(lease_without("work", 1, Uuid::new_v4(), &["analyze"]));
    server.wait_for_calls("results", 1);
    worker.begin_to_stop();
    server.wait_for_calls("recover", 1);
    server.give_result("analyze", result_of_analyze());
    assert_eq!(server.wait_for_results(1)[0]["success"], true);
    worker.stop().unwrap();
}
