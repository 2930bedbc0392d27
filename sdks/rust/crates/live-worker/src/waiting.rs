//! Handlers that take their time, and tell others about it in files.

use std::fs::OpenOptions;
use std::future::pending;
use std::io::{self, Write};
use std::path::Path;
use std::process::id;
use std::time::Duration;

use serde_json::json;
use tasker_worker_rust::step_handlers::RustStepHandlerRegistry;
use tokio::time::sleep;

use crate::handler;
use crate::plain::success;

const LOOK: Duration = Duration::from_millis(20);

pub fn register(registry: &RustStepHandlerRegistry) {
    registry.register::<Wait>();
    registry.register::<Block>();
    registry.register::<Hold>();
    registry.register::<Slow>();
}

/// Appends a line to a file that others may append to, too.
pub fn append(path: &str, line: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

/// Notes that it was dropped.
struct NoteWhenDropped(String);

impl Drop for NoteWhenDropped {
    fn drop(&mut self) {
        append(&self.0, "cancelled").expect("the signal file can be written");
    }
}

handler!(
    /// Runs until it is cancelled.
    Wait, "live_wait", |step| {
        let file: String = step.get_input("signal_file")?;
        append(&file, "started")?;
        let _note = NoteWhenDropped(file);
        pending().await
    }
);

handler!(
    /// Keeps its thread to itself for a while.
    Block, "live_block", |step| {
        if let Ok(file) = step.get_input::<String>("signal_file") {
            append(&file, &format!("started {}", id()))?;
        }
        std::thread::sleep(Duration::try_from_secs_f64(step.get_input("block_seconds")?)?);
        Ok(success(step, json!({"blocked": true})))
    }
);

handler!(
    /// Runs until a file is there.
    Hold, "live_hold", |step| {
        let (signal, release): (String, String) = (step.get_input("signal_file")?, step.get_input("release_file")?);
        append(&signal, &format!("started {}", id()))?;
        while !Path::new(&release).exists() {
            sleep(LOOK).await;
        }
        Ok(success(step, json!({"pid": id()})))
    }
);

handler!(
    /// Takes long, but only the first time.
    Slow, "live_slow", |step| {
        if step.is_retry() {
            return Ok(success(step, json!({"attempts": step.retry_count() + 1})));
        }
        sleep(Duration::try_from_secs_f64(step.get_input("seconds")?)?).await;
        Ok(success(step, json!({"slow": true})))
    }
);
