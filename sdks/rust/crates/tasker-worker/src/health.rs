//! The health checks of a worker, over HTTP.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::status::{SharedStatus, WorkerState, WorkerSystemStatus};

/// Answers health checks until it is dropped.
pub(crate) async fn serve(listener: TcpListener, status: Arc<SharedStatus>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: that passes.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &status.read());
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that hangs up is not our concern.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(method: &Method, path: &str, status: &WorkerSystemStatus) -> Response<Full<Bytes>> {
    const JSON: &str = "application/json";
    if method != Method::GET && method != Method::HEAD {
        return reply(StatusCode::METHOD_NOT_ALLOWED, JSON, json!({"error": "only GET is allowed"}).to_string());
    }
    let is_ready = status.status == WorkerState::Running;
    let state = if is_ready { "ready" } else { "not_ready" };
    let short = |word: &str| json!({"status": word, "worker_id": status.worker_id}).to_string();
    match path {
        "/health" => reply(StatusCode::OK, JSON, short("healthy")),
        "/health/live" => reply(StatusCode::OK, JSON, short("alive")),
        "/health/ready" => {
            let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = json!({"status": state, "worker_id": status.worker_id, "reason": status.status});
            reply(code, JSON, body.to_string())
        }
        "/health/detailed" => reply(StatusCode::OK, JSON, json!(status).to_string()),
        "/metrics" => reply(StatusCode::OK, "text/plain; version=0.0.4", metrics(status)),
        _ => reply(StatusCode::NOT_FOUND, JSON, json!({"error": "there is no such page"}).to_string()),
    }
}

fn metrics(status: &WorkerSystemStatus) -> String {
    format!(
        "# TYPE tasker_worker_steps_total counter\n\
         tasker_worker_steps_total{{outcome=\"succeeded\"}} {}\n\
         tasker_worker_steps_total{{outcome=\"failed\"}} {}\n\
         # TYPE tasker_worker_running_handlers gauge\n\
         tasker_worker_running_handlers {}\n\
         # TYPE tasker_worker_connected gauge\n\
         tasker_worker_connected {}\n",
        status.processed - status.failed,
        status.failed,
        status.active,
        u8::from(status.connected),
    )
}

fn reply(status: StatusCode, kind: &str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
