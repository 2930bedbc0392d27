//! The signals that stop a worker.

use tokio::sync::watch;
use tracing::info;

use crate::logging::TARGET;

/// Stops the worker at the first signal, and ends the process at the second.
#[cfg(unix)]
pub(crate) async fn stop_on_signals(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{signal, SignalKind};

    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    loop {
        let number = tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
        };
        if stop.send_replace(true) {
            std::process::exit(128 + number);
        }
        info!(target: TARGET, signal = number, "worker_stopping");
    }
}

/// Stops the worker at the first Ctrl-C, and ends the process at the second.
#[cfg(not(unix))]
pub(crate) async fn stop_on_signals(stop: watch::Sender<bool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.send_replace(true) {
            std::process::exit(130);
        }
        info!(target: TARGET, signal = 2, "worker_stopping");
    }
}
