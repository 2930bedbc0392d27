//! The client against a server that answers as told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{json, Value};
use tasker_client::{
    Auth, ClientError, ErrorKind, OrchestrationApiClient, OrchestrationApiConfig, StepManualAction, TaskListQuery,
    TaskRequest,
};
use tokio::net::TcpListener;
use uuid::Uuid;

/// A request that the server got: method, path with query, body, headers.
#[derive(Clone, Debug)]
struct Asked {
    line: String,
    body: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    url: String,
}

impl Server {
    /// A server that gives these answers, in this order, and then the last one again.
    async fn start(answers: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { answers: Arc::new(Mutex::new(answers.into())), url, ..Self::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = serving.clone();
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let line = format!("{} {}", request.method(), request.uri());
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        self.asked.lock().unwrap().push(Asked { line, body, headers });
        let mut answers = self.answers.lock().unwrap();
        let (status, body) = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
        Response::builder().status(status).body(Full::new(Bytes::from(body.to_string()))).unwrap()
    }

    fn client(&self) -> OrchestrationApiClient {
        OrchestrationApiClient::new(OrchestrationApiConfig::with_url(&self.url)).unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn task(status: &str) -> Value {
    json!({"task_uuid": Uuid::max(), "name": "t", "status": status, "later": "unknown key"})
}

fn error(code: &str) -> Value {
    json!({"error": {"code": code, "message": "no", "details": [{"field": "context", "message": "required"}]}})
}

#[tokio::test]
async fn a_task_with_only_a_name_has_the_defaults() {
    let server = Server::start(vec![(200, task("pending"))]).await;
    let created = server.client().create_task(TaskRequest::new("t")).await.unwrap();
    assert_eq!((created.task_uuid, created.status.as_str()), (Uuid::max(), "pending"));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/tasks");
    assert_eq!(
        asked.json(),
        json!({"name": "t", "namespace": "default", "version": "0.1.0", "context": {}, "initiator": "system",
            "source_system": "tasker-core", "reason": "Task requested"})
    );
    assert_eq!(asked.header("user-agent"), Some("rust/0.1.0"));
}

#[tokio::test]
async fn credentials_go_with_every_request() {
    for (auth, header, value) in [
        (Auth::Bearer("token".into()), "authorization", "Bearer token"),
        (Auth::ApiKey { header: "X-Mine".into(), key: "key".into() }, "x-mine", "key"),
    ] {
        let server = Server::start(vec![(200, json!({"status": "healthy"}))]).await;
        let config = OrchestrationApiConfig { auth: Some(auth), ..OrchestrationApiConfig::with_url(&server.url) };
        let health = OrchestrationApiClient::new(config).unwrap().health_check().await.unwrap();
        assert!(health.is_healthy());
        assert_eq!(server.asked()[0].header(header), Some(value));
    }
}

#[tokio::test]
async fn each_method_asks_for_what_it_says() {
    let server = Server::start(vec![(200, task("complete"))]).await;
    let (client, id) = (server.client(), Uuid::nil());
    client.get_task(id).await.unwrap();
    client.cancel_task(id).await.unwrap();
    client.get_step(id, id).await.unwrap();
    let action = StepManualAction::ResetForRetry { reason: "bank is back".into(), reset_by: "ann".into() };
    client.resolve_step_manually(id, id, &action).await.unwrap();
    client.get_template("shop", "a/b", "1.0.0").await.unwrap();
    client.list_templates(Some("shop")).await.unwrap();
    client.register_template("name: t\n").await.unwrap();
    let query = TaskListQuery { status: Some("complete".into()), page: 2, ..TaskListQuery::default() };
    client.list_tasks(&query).await.unwrap();
    let lines: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(
        lines,
        [
            format!("GET /v1/tasks/{id}"),
            format!("DELETE /v1/tasks/{id}"),
            format!("GET /v1/tasks/{id}/workflow_steps/{id}"),
            format!("PATCH /v1/tasks/{id}/workflow_steps/{id}"),
            "GET /v1/templates/shop/a%2Fb/1.0.0".to_owned(),
            "GET /v1/templates?namespace=shop".to_owned(),
            "POST /v1/templates".to_owned(),
            "GET /v1/tasks?page=2&per_page=25&status=complete".to_owned(),
        ]
    );
    let asked = server.asked();
    let reset = json!({"action_type": "reset_for_retry", "reason": "bank is back", "reset_by": "ann"});
    assert_eq!(asked[3].json(), reset);
    assert_eq!((asked[6].body.as_str(), asked[6].header("content-type")), ("name: t\n", Some("application/yaml")));
}

#[tokio::test]
async fn lists_are_read() {
    let server = Server::start(vec![(200, json!([{"name": "a", "step_name": "a", "success": true}]))]).await;
    let client = server.client();
    assert_eq!(client.list_task_steps(Uuid::nil()).await.unwrap()[0].name, "a");
    assert!(client.get_step_audit_history(Uuid::nil(), Uuid::nil()).await.unwrap()[0].success);
}

#[tokio::test]
async fn waiting_goes_on_until_the_task_rests_or_the_time_is_up() {
    let server = Server::start(vec![(200, task("steps_in_process")), (200, task("blocked_by_failures"))]).await;
    let found = server.client().wait_for_task(Uuid::nil(), Duration::from_secs(5)).await.unwrap();
    assert!(found.is_resting());
    assert_eq!(server.asked().len(), 2);

    let server = Server::start(vec![(200, task("pending"))]).await;
    let error = server.client().wait_for_task(Uuid::nil(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("pending"));
}

#[tokio::test]
async fn each_status_is_an_error_of_its_kind() {
    for (status, kind) in [
        (400, ErrorKind::InvalidRequest),
        (401, ErrorKind::CredentialsRefused),
        (403, ErrorKind::PermissionDenied),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Conflict),
        (422, ErrorKind::ValidationFailed),
        (500, ErrorKind::Other),
    ] {
        let server = Server::start(vec![(status, error("SOME"))]).await;
        let error: ClientError = server.client().get_task(Uuid::nil()).await.unwrap_err();
        assert_eq!((error.kind, error.status, error.code.as_deref()), (kind, Some(status), Some("SOME")));
        assert_eq!(error.to_string(), "no (context: required)");
        assert_eq!(server.asked().len(), 1, "{status} is not tried again");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_if_that_can_do_no_harm() {
    let away = (503, error("UNAVAILABLE"));
    let server = Server::start(vec![away.clone(), away.clone(), (200, task("complete"))]).await;
    assert!(server.client().get_task(Uuid::nil()).await.is_ok());
    assert_eq!(server.asked().len(), 3);

    let server = Server::start(vec![away.clone()]).await;
    let failed = server.client().create_task(TaskRequest::new("t")).await.unwrap_err();
    assert_eq!((failed.kind, server.asked().len()), (ErrorKind::Unavailable, 1));

    let server = Server::start(vec![away, (200, task("pending"))]).await;
    server.client().create_task(TaskRequest::new("t").idempotency_key("k")).await.unwrap();
    let asked = server.asked();
    assert_eq!((&asked[0].json()["idempotency_key"], &asked[0].json()["return_existing"]), (&json!("k"), &Value::Null));
    assert_eq!(asked[1].json()["return_existing"], true);
}

#[tokio::test]
async fn no_answer_and_no_answer_of_tasker_are_told_apart() {
    let config = OrchestrationApiConfig { max_retries: 0, ..OrchestrationApiConfig::with_url("http://127.0.0.1:1") };
    let error = OrchestrationApiClient::new(config).unwrap().health_check().await.unwrap_err();
    assert_eq!((error.kind, error.is_temporary()), (ErrorKind::Connection, true));

    let server = Server::start(vec![(200, json!("a page"))]).await;
    let error = server.client().get_task(Uuid::nil()).await.unwrap_err();
    assert_eq!((error.kind, error.is_temporary()), (ErrorKind::Other, false));
}
