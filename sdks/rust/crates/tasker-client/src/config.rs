//! Where a client finds the server and what it shows there.

use std::env;
use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, AUTHORIZATION};

use crate::error::ClientError;

/// The server's URL if none is set.
pub const DEFAULT_URL: &str = "http://localhost:8080";

/// The header that carries an API key if none is set.
pub const DEFAULT_API_KEY_HEADER: &str = "X-API-Key";

/// What a client shows to be let in. Its `Debug` form hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// A token, sent as `Authorization: Bearer`.
    Bearer(String),
    /// An API key, sent in a header of its own.
    ApiKey {
        /// The header's name.
        header: String,
        /// The key.
        key: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::Bearer(_) => formatter.write_str("Bearer(…)"),
            Auth::ApiKey { header, .. } => write!(formatter, "ApiKey({header}: …)"),
        }
    }
}

/// How a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrchestrationApiConfig {
    /// The server; `http://localhost:8080` by default.
    pub base_url: String,
    /// Milliseconds until a request counts as failed, beyond the time that it asks the server to wait; 30,000 by
    /// default.
    pub timeout_ms: u64,
    /// Most repeats of a request that failed for a passing reason; 3 by default.
    pub max_retries: u32,
    /// The credential; none by default.
    pub auth: Option<Auth>,
}

impl Default for OrchestrationApiConfig {
    fn default() -> Self {
        Self { base_url: DEFAULT_URL.to_owned(), timeout_ms: 30_000, max_retries: 3, auth: None }
    }
}

impl OrchestrationApiConfig {
    /// The defaults, with another server.
    pub fn with_url(base_url: impl Into<String>) -> Self {
        Self { base_url: base_url.into(), ..Self::default() }
    }

    /// Reads `TASKER_ORCHESTRATION_URL`, `TASKER_ORCHESTRATION_TIMEOUT_MS`, and the credential: the first of
    /// `TASKER_ORCHESTRATION_AUTH_TOKEN`, `TASKER_AUTH_TOKEN` and `TASKER_API_KEY` (which is sent in the header that
    /// `TASKER_API_KEY_HEADER` names). An empty variable counts as absent.
    ///
    /// # Errors
    /// [`ClientError`] of kind `InvalidRequest` if a variable has a value that cannot be used.
    pub fn from_env() -> Result<Self, ClientError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    /// The same, from anything that knows variables.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut config = Self::default();
        if let Some(url) = given("TASKER_ORCHESTRATION_URL") {
            config.base_url = url;
        }
        if let Some(text) = given("TASKER_ORCHESTRATION_TIMEOUT_MS") {
            config.timeout_ms = text.parse().ok().filter(|&milliseconds| milliseconds > 0).ok_or_else(|| {
                ClientError::invalid(format!(
                    "TASKER_ORCHESTRATION_TIMEOUT_MS must be a number of milliseconds above 0, not {text:?}"
                ))
            })?;
        }
        let token = given("TASKER_ORCHESTRATION_AUTH_TOKEN").or_else(|| given("TASKER_AUTH_TOKEN"));
        let header = given("TASKER_API_KEY_HEADER").unwrap_or_else(|| DEFAULT_API_KEY_HEADER.to_owned());
        config.auth =
            token.map(Auth::Bearer).or_else(|| given("TASKER_API_KEY").map(|key| Auth::ApiKey { header, key }));
        config.checked_url()?;
        Ok(config)
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The server's URL without a slash at its end.
    ///
    /// # Errors
    /// [`ClientError`] of kind `InvalidRequest` if it is no URL of a server.
    pub fn checked_url(&self) -> Result<String, ClientError> {
        let wrong = || {
            ClientError::invalid(format!(
                "the server's URL must begin with http:// or https:// and name a host, not {:?}",
                self.base_url
            ))
        };
        let url = reqwest::Url::parse(&self.base_url).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong());
        }
        Ok(self.base_url.trim_end_matches('/').to_owned())
    }

    /// The headers that go with every request.
    ///
    /// # Errors
    /// [`ClientError`] of kind `InvalidRequest` if the credential cannot be sent in a header.
    pub fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let (name, text) = match &self.auth {
            None => return Ok(headers),
            Some(Auth::Bearer(token)) => (AUTHORIZATION, format!("Bearer {token}")),
            Some(Auth::ApiKey { header, key }) => {
                let name = HeaderName::from_bytes(header.as_bytes())
                    .map_err(|_| ClientError::invalid(format!("{header:?} is no name of a header")))?;
                (name, key.clone())
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| ClientError::invalid("the credential has characters that no header can carry".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<OrchestrationApiConfig, ClientError> {
        OrchestrationApiConfig::from_variables(|name| {
            variables.iter().find(|(each, _)| *each == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_means_the_defaults() {
        assert_eq!(read(&[]).unwrap(), OrchestrationApiConfig::default());
    }

    #[test]
    fn the_orchestration_token_comes_before_the_token_and_the_token_before_the_key() {
        let key = ("TASKER_API_KEY", "k");
        let token = ("TASKER_AUTH_TOKEN", "t");
        let own = ("TASKER_ORCHESTRATION_AUTH_TOKEN", "o");
        assert_eq!(read(&[key, token, own]).unwrap().auth, Some(Auth::Bearer("o".into())));
        assert_eq!(read(&[key, token]).unwrap().auth, Some(Auth::Bearer("t".into())));
        let auth = read(&[key, ("TASKER_API_KEY_HEADER", "X-Mine")]).unwrap().auth;
        assert_eq!(auth, Some(Auth::ApiKey { header: "X-Mine".into(), key: "k".into() }));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named() {
        for (name, value) in [("TASKER_ORCHESTRATION_URL", "server:8080"), ("TASKER_ORCHESTRATION_TIMEOUT_MS", "soon")]
        {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(value), "{error}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let config = read(&[("TASKER_API_KEY", "very-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
