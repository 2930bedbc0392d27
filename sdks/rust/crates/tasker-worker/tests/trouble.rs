//! Outages, lost leases, refused credentials, blocked handlers.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{handler, key_of, lease, success, worker_of, works, Answer, FakeServer, TestWorker};
use tasker_worker::WorkerError;
use tokio::sync::Semaphore;

struct CountsDrops(Arc<AtomicUsize>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A handler that never ends by itself, and what counts its beginnings and its drops.
fn endless(name: &str) -> (Arc<dyn tasker_worker::worker::handlers::StepHandler>, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, drops) = (Arc::clone(&begun), Arc::clone(&dropped));
    let made = handler(name, move |_| {
        begins.fetch_add(1, Ordering::SeqCst);
        let guard = CountsDrops(Arc::clone(&drops));
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    (made, begun, dropped)
}

fn is(counter: &Arc<AtomicUsize>, number: usize) -> impl FnMut() -> Option<()> {
    let counter = Arc::clone(counter);
    move || (counter.load(Ordering::SeqCst) == number).then_some(())
}

#[test]
fn after_lost_contact_the_worker_waits_as_told_and_recovers_what_it_never_heard_of() {
    let server = FakeServer::start();
    server.answer("lease", Answer::error(503, "UNAVAILABLE").with_header("retry-after", "1"));
    let unheard = lease("work", 7);
    server.grant_unheard(unheard.clone());
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    let result = server.wait_for_results(1).remove(0);
    assert_eq!(key_of(&result), key_of(&unheard));
    let (failed, recovered) = (server.calls("lease")[0].at, server.calls("recover")[0].at);
    assert!(recovered - failed >= Duration::from_secs(1));
    server.wait_for_calls("lease", 2);
    worker.stop().unwrap();
}

#[test]
fn a_result_whose_report_failed_is_sent_again() {
    let server = FakeServer::start();
    server.answer("report", Answer::error(500, "INTERNAL"));
    server.answer("report", Answer::error(502, "BAD_GATEWAY"));
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    server.offer(lease("work", 1));
    let results = server.wait_for_results(3);
    assert!(results.iter().all(|result| result == &results[0]));
    let times: Vec<Instant> = server.calls("report").iter().map(|call| call.at).collect();
    assert!(times[1] - times[0] >= Duration::from_millis(200));
    assert!(times[2] - times[1] >= Duration::from_millis(400));
    server.wait("the count", || (worker.status().processed == 1).then_some(()));
    worker.stop().unwrap();
}

#[test]
fn a_worker_that_is_not_known_any_more_stops_its_handlers_and_registers_again() {
    let server = FakeServer::start().with_lease_seconds(1.5);
    let (endless, begun, dropped) = endless("endless");
    let worker = TestWorker::start(worker_of(&server).handler(endless).handler(works("work")), 2);
    server.offer(lease("endless", 1));
    server.wait("the handler", is(&begun, 1));
    server.answer("heartbeat", Answer::error(410, "WORKER_UNKNOWN"));
    server.wait("the drop", is(&dropped, 1));
    let registrations = server.wait_for_calls("register", 2);
    assert!(registrations[1].body.get("worker_id").is_none());
    server.offer(lease("work", 2));
    let result = server.wait_for_results(1).remove(0);
    assert_eq!(result["lease_id"], 2);
    assert_eq!(server.calls("report")[0].worker, "worker-2");
    worker.stop().unwrap();
}

#[test]
fn refused_credentials_end_the_worker() {
    for status in [401, 403] {
        let server = FakeServer::start();
        server.answer("register", Answer::error(status, "REFUSED"));
        let error = TestWorker::start(worker_of(&server).handler(works("work")), 2).stop().unwrap_err();
        assert!(matches!(error, WorkerError::Refused(_)), "{error:?}");
        assert_eq!(error.exit_code(), 4);
    }
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    server.wait_for_calls("lease", 1);
    server.answer("report", Answer::error(401, "UNAUTHORIZED"));
    server.offer(lease("work", 1));
    server.wait("the end", || (!worker.status().running).then_some(()));
    assert_eq!(worker.stop().unwrap_err().exit_code(), 4);
}

#[test]
fn a_server_that_is_not_there_is_waited_for_and_then_given_up() {
    let server = FakeServer::start();
    server.answer("register", Answer::error(503, "UNAVAILABLE"));
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    server.wait_for_calls("lease", 1);
    worker.stop().unwrap();

    let nowhere = worker_of(&server).engine_url("http://127.0.0.1:1").wait_for(Duration::from_millis(400));
    let error = TestWorker::start(nowhere.handler(works("work")), 2).stop().unwrap_err();
    assert!(matches!(error, WorkerError::ServerUnavailable(_)), "{error:?}");
    assert_eq!(error.exit_code(), 5);
}

#[test]
fn leases_are_kept_while_a_handler_blocks_the_only_thread() {
    let server = FakeServer::start().with_lease_seconds(0.6);
    let blocked = handler("block", |step| async move {
        std::thread::sleep(Duration::from_secs(2));
        success(&step, json!({}))
    });
    let worker = TestWorker::start(worker_of(&server).handler(blocked), 1);
    let offered = lease("block", 1);
    server.offer(offered.clone());
    let result = server.wait_for_results(1).remove(0);
    assert_eq!(result["success"], true);
    let reported = server.calls("report")[0].at;
    let beats: Vec<_> = server.calls("heartbeat").into_iter().filter(|call| call.at < reported).collect();
    assert!(beats.len() >= 5, "{} heartbeats in two seconds", beats.len());
    assert!(beats.iter().all(|call| call.body["leases"] == json!([key_of(&offered)])));
    worker.stop().unwrap();
}

#[test]
fn lost_and_cancelled_leases_drop_their_handlers_and_report_nothing() {
    for cancelled in [false, true] {
        let server = FakeServer::start().with_lease_seconds(3.0);
        let (endless, begun, dropped) = endless("endless");
        let worker = TestWorker::start(worker_of(&server).max_concurrent(1).handler(endless).handler(works("work")), 2);
        let offered = lease("endless", 1);
        server.offer(offered.clone());
        server.wait("the handler", is(&begun, 1));
        server.take_away(&offered, cancelled);
        server.wait("the drop", is(&dropped, 1));
        // Its slot is free again.
        server.offer(lease("work", 2));
        assert_eq!(server.wait_for_results(1)[0]["lease_id"], 2);
        worker.stop().unwrap();
    }
}

#[test]
fn a_stopping_worker_lets_handlers_end_and_reports_them_before_it_says_goodbye() {
    let server = FakeServer::start();
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let waits = {
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        handler("waits", move |step| {
            begun.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                success(&step, json!({}))
            }
        })
    };
    let mut worker = TestWorker::start(worker_of(&server).max_concurrent(2).handler(waits), 2);
    server.offer(lease("waits", 1));
    server.wait("the handler", is(&begun, 1));
    server.wait_for_calls("lease", 2);
    worker.begin_to_stop();
    // The lease call that was hung up may have been granted, so what is held is looked up.
    server.wait_for_calls("recover", 1);
    server.offer(lease("waits", 2));
    gate.add_permits(1);
    let report = server.wait_for_calls("report", 1).remove(0);
    assert_eq!(report.body["lease"], 0);
    assert_eq!(report.body["results"][0]["success"], true);
    worker.stop().unwrap();
    let goodbye = server.calls("deregister")[0].at;
    assert!(goodbye >= report.at);
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[test]
fn what_a_hung_up_lease_call_was_granted_is_given_back() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).handler(works("work")), 2);
    server.wait_for_calls("lease", 1);
    let unheard = lease("work", 9);
    server.grant_unheard(unheard.clone());
    worker.stop().unwrap();
    assert_eq!(server.calls("release")[0].body["leases"], json!([key_of(&unheard)]));
}

#[test]
fn handlers_that_do_not_end_in_time_are_reported_to_be_tried_elsewhere_at_once() {
    let server = FakeServer::start();
    let (endless, begun, dropped) = endless("endless");
    let worker = TestWorker::start(worker_of(&server).shutdown_timeout(Duration::from_millis(300)).handler(endless), 2);
    server.offer(lease("endless", 1));
    server.wait("the handler", is(&begun, 1));
    worker.stop().unwrap();
    let result = &server.calls("report")[0].body["results"][0];
    assert_eq!(result["error"]["error_type"], "worker_shutdown");
    assert_eq!(result["error"]["retryable"], true);
    assert_eq!(result["metadata"]["custom"]["retry_after_seconds"], 0);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
