//! Templates, handlers that come later, health checks.

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{json, Value};
use support::{lease, worker_of, works, Answer, FakeServer, TestWorker};
use tasker_worker::worker::handlers::{ResolverChainRegistry, StepHandlerRegistry};
use tasker_worker::WorkerError;
use uuid::Uuid;

/// A directory with two templates, one of them deeper.
fn templates() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("tasker-templates-{}", Uuid::new_v4()));
    fs::create_dir_all(directory.join("deeper")).unwrap();
    fs::write(directory.join("a.yaml"), "name: a\n").unwrap();
    fs::write(directory.join("deeper/b.yml"), "name: b\n").unwrap();
    fs::write(directory.join("notes.txt"), "no template").unwrap();
    directory
}

#[test]
fn templates_are_registered_as_they_are_and_say_what_is_served() {
    let server = FakeServer::start();
    let directory = templates();
    let worker =
        TestWorker::start(worker_of(&server).namespace("extra").templates(&directory).handler(works("work")), 2);
    let sent = server.wait_for_calls("templates", 2);
    assert_eq!(sent.iter().map(|call| call.body.clone()).collect::<Vec<_>>(), [json!("name: a\n"), json!("name: b\n")]);
    assert!(sent.iter().all(|call| call.headers["content-type"] == "application/yaml"));
    let registration = server.wait_for_calls("register", 1).remove(0).body;
    assert_eq!(registration["namespaces"], json!(["extra", "shop"]));
    // `elsewhere`, which the templates call, too, is left to other workers.
    assert_eq!(registration["callables"], json!(["work"]));
    worker.stop().unwrap();
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_template_that_may_not_be_registered_is_left_out() {
    let server = FakeServer::start();
    let directory = templates();
    server.answer("templates", Answer::error(403, "FORBIDDEN"));
    let worker = TestWorker::start(worker_of(&server).templates(&directory).handler(works("work")), 2);
    server.wait_for_calls("lease", 1);
    assert_eq!(server.calls("templates").len(), 2);
    worker.stop().unwrap();
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_template_that_conflicts_or_is_not_valid_keeps_the_worker_from_starting() {
    let findings = json!([{"field": "steps", "message": "line 3: there are none"}]);
    for (answer, told) in [
        (Answer::error(409, "CONFLICT"), "told to answer CONFLICT"),
        (Answer::error(422, "INVALID").with_details(findings), "line 3: there are none"),
    ] {
        let server = FakeServer::start();
        let directory = templates();
        server.answer("templates", answer);
        let worker = TestWorker::start(worker_of(&server).templates(&directory).handler(works("work")), 2);
        let error = worker.stop().unwrap_err();
        assert!(matches!(error, WorkerError::Template(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("a.yaml") && text.contains(told), "{text}");
        assert!(server.calls("register").is_empty());
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn handlers_that_are_registered_later_are_served_with_the_same_id() {
    let server = FakeServer::start();
    let registry = Arc::new(ResolverChainRegistry::new());
    let shared: Arc<dyn StepHandlerRegistry> = registry.clone();
    let worker = TestWorker::start(worker_of(&server).registry(shared).health_bind("127.0.0.1:0"), 2);
    assert!(server.calls("register").is_empty());
    assert_eq!(serde_json::to_value(worker.status().status).unwrap(), "no_handlers");

    registry.register("first", works("first"));
    let first = server.wait_for_calls("register", 1).remove(0).body;
    assert_eq!((&first["callables"], first.get("worker_id")), (&json!(["first"]), None));
    registry.register("second", works("second"));
    let second = server.wait_for_calls("register", 2).remove(1).body;
    assert_eq!((&second["callables"], &second["worker_id"]), (&json!(["first", "second"]), &json!("worker-1")));
    server.offer(lease("second", 1));
    assert_eq!(server.wait_for_results(1)[0]["success"], true);
    worker.stop().unwrap();
}

#[test]
fn the_health_checks_say_whether_steps_are_taken() {
    let server = FakeServer::start();
    let worker = TestWorker::start(worker_of(&server).health_bind("127.0.0.1:0").handler(works("work")), 2);
    let address = worker.health_address();
    let get = |path: &str| -> (u16, String) {
        let url = format!("http://{address}{path}");
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    server.offer(lease("work", 1));
    server.wait("one step", || (worker.status().processed == 1).then_some(()));
    assert_eq!(get("/health").0, 200);
    assert_eq!(get("/health/live").0, 200);
    assert_eq!(get("/health/ready").0, 200);
    let detailed: Value = serde_json::from_str(&get("/health/detailed").1).unwrap();
    assert_eq!((&detailed["processed"], &detailed["handlers"]), (&json!(1), &json!(["work"])));
    let metrics = get("/metrics").1;
    assert!(metrics.contains("tasker_worker_steps_total{outcome=\"succeeded\"} 1\n"), "{metrics}");
    assert!(metrics.contains("tasker_worker_connected 1\n"), "{metrics}");
    assert_eq!(get("/nothing").0, 404);

    server.answer("report", Answer::error(503, "UNAVAILABLE").with_header("retry-after", "3600"));
    server.offer(lease("work", 2));
    server.wait("the outage", || (get("/health/ready").0 == 503).then_some(()));
    assert!(get("/metrics").1.contains("tasker_worker_connected 0\n"));
    // The report waits for its server, so nobody waits for the worker here.
    drop(worker);
}
