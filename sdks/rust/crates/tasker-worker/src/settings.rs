//! How a worker runs.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tasker_client::OrchestrationApiConfig;

use crate::error::WorkerError;
use crate::logging::LogFormat;

/// Where templates are if nothing else is said.
const DEFAULT_TEMPLATES: &str = "config/tasks";

/// Most handlers at once.
const MOST_CONCURRENT: usize = 10_000;

/// How a worker runs. [`WorkerSettings::from_env`] reads everything from the environment.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The server and the credential.
    pub server: OrchestrationApiConfig,
    /// The worker's name in the history; `hostname-pid` by default.
    pub worker_id: String,
    /// Namespaces to take steps from, besides those of the templates; with neither, from everywhere.
    pub namespaces: Vec<String>,
    /// Handlers at once; 10 by default.
    pub max_concurrent: usize,
    /// How long a handler may run if its step has no `timeout_seconds`; 300 s by default.
    pub handler_timeout: Duration,
    /// How long running handlers have once the worker stops; 30 s by default.
    pub shutdown_timeout: Duration,
    /// How long to wait at the start for a server that is not there yet; 60 s by default.
    pub wait_for: Duration,
    /// A template file, or a directory of them, to register at the start; `config/tasks` by default, if it exists.
    pub templates: Option<PathBuf>,
    /// `HOST:PORT` of the health checks; none by default.
    pub health_bind: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl WorkerSettings {
    /// Reads the environment:
    ///
    /// | Variable | Setting |
    /// |---|---|
    /// | `TASKER_ORCHESTRATION_URL`, `TASKER_ORCHESTRATION_AUTH_TOKEN`, `TASKER_AUTH_TOKEN`, `TASKER_API_KEY`, `TASKER_API_KEY_HEADER` | `server` |
    /// | `TASKER_WORKER_ID`, `TASKER_INSTANCE_ID` | `worker_id` |
    /// | `TASKER_NAMESPACE`, several separated by commas | `namespaces` |
    /// | `TASKER_MAX_CONCURRENT` | `max_concurrent` |
    /// | `TASKER_SHUTDOWN_TIMEOUT`, in seconds | `shutdown_timeout` |
    /// | `TASKER_WAIT_FOR`, in seconds | `wait_for` |
    /// | `TASKER_TEMPLATE_PATH` | `templates` |
    /// | `TASKER_WORKER_HEALTH_BIND` | `health_bind` |
    /// | `TASKER_LOG_FORMAT` | `log_format` |
    ///
    /// # Errors
    /// [`WorkerError::Settings`] if a variable has a value that cannot be used.
    pub fn from_env() -> Result<Self, WorkerError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same, from anything that knows variables. An empty one counts as absent.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, WorkerError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let server = OrchestrationApiConfig::from_variables(&variable).map_err(|error| settings(error.to_string()))?;
        let namespaces = given("TASKER_NAMESPACE").unwrap_or_default();
        let log_format = given("TASKER_LOG_FORMAT").unwrap_or_default().parse();
        let default_templates = || Some(PathBuf::from(DEFAULT_TEMPLATES)).filter(|path| path.is_dir());
        Ok(Self {
            server,
            worker_id: given("TASKER_WORKER_ID").or_else(|| given("TASKER_INSTANCE_ID")).unwrap_or_else(default_name),
            namespaces: namespaces
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            max_concurrent: number("TASKER_MAX_CONCURRENT", given("TASKER_MAX_CONCURRENT"))?.unwrap_or(10),
            handler_timeout: Duration::from_secs(300),
            shutdown_timeout: seconds("TASKER_SHUTDOWN_TIMEOUT", given("TASKER_SHUTDOWN_TIMEOUT"))?
                .unwrap_or(Duration::from_secs(30)),
            wait_for: seconds("TASKER_WAIT_FOR", given("TASKER_WAIT_FOR"))?.unwrap_or(Duration::from_secs(60)),
            templates: given("TASKER_TEMPLATE_PATH").map(PathBuf::from).or_else(default_templates),
            health_bind: given("TASKER_WORKER_HEALTH_BIND"),
            log_format: log_format.map_err(|reason| settings(format!("TASKER_LOG_FORMAT: {reason}")))?,
        })
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`WorkerError::Settings`], which says what is wrong.
    pub fn check(&self) -> Result<(), WorkerError> {
        if !(1..=MOST_CONCURRENT).contains(&self.max_concurrent) {
            return Err(settings(format!(
                "max_concurrent must be from 1 to {MOST_CONCURRENT}, not {}",
                self.max_concurrent
            )));
        }
        if self.worker_id.is_empty() {
            return Err(settings("the worker's name must not be empty".to_owned()));
        }
        self.server.checked_url().map_err(|error| settings(error.to_string()))?;
        self.server.headers().map_err(|error| settings(error.to_string()))?;
        Ok(())
    }
}

fn default_name() -> String {
    let host = crate::execution::hostname().unwrap_or_else(|| "worker".to_owned());
    format!("{host}-{}", std::process::id())
}

fn number<T: FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, WorkerError> {
    text.map(|text| text.parse().map_err(|_| settings(format!("{name} must be a number, not {text:?}")))).transpose()
}

fn seconds(name: &str, text: Option<String>) -> Result<Option<Duration>, WorkerError> {
    let wrong = |seconds: f64| settings(format!("{name} must be a number of seconds, not {seconds}"));
    number::<f64>(name, text)?
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|_| wrong(seconds)))
        .transpose()
}

fn settings(reason: String) -> WorkerError {
    WorkerError::Settings(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<WorkerSettings, WorkerError> {
        WorkerSettings::from_variables(|name| {
            variables.iter().find(|(each, _)| *each == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_means_the_defaults() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.max_concurrent, 10);
        assert_eq!(settings.shutdown_timeout, Duration::from_secs(30));
        assert_eq!(settings.wait_for, Duration::from_secs(60));
        assert!(settings.namespaces.is_empty());
        assert!(settings.worker_id.ends_with(&std::process::id().to_string()));
    }

    #[test]
    fn variables_are_taken() {
        let settings = read(&[
            ("TASKER_NAMESPACE", "shop, billing,"),
            ("TASKER_INSTANCE_ID", "instance"),
            ("TASKER_MAX_CONCURRENT", "3"),
            ("TASKER_SHUTDOWN_TIMEOUT", "0.5"),
            ("TASKER_WAIT_FOR", "2.5"),
            ("TASKER_LOG_FORMAT", "json"),
        ])
        .unwrap();
        assert_eq!(settings.namespaces, ["shop", "billing"]);
        assert_eq!(settings.worker_id, "instance");
        assert_eq!(settings.max_concurrent, 3);
        assert_eq!(settings.shutdown_timeout, Duration::from_millis(500));
        assert_eq!(settings.wait_for, Duration::from_millis(2500));
        assert_eq!(settings.log_format, LogFormat::Json);
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("TASKER_MAX_CONCURRENT", "many"),
            ("TASKER_SHUTDOWN_TIMEOUT", "-1"),
            ("TASKER_WAIT_FOR", "soon"),
            ("TASKER_LOG_FORMAT", "xml"),
            ("TASKER_ORCHESTRATION_URL", "server"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.to_string().contains(value), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        let settings = read(&[("TASKER_MAX_CONCURRENT", "0")]).unwrap();
        assert!(settings.check().unwrap_err().to_string().contains("max_concurrent"));
    }
}
