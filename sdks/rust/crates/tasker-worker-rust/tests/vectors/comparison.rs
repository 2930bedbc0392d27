//! Whether a result is the expected one, by the rules of the vectors.

use serde_json::{Map, Value};

/// The places where what is sent to the server may have more keys than expected.
const OPEN_PLACES: [&str; 6] =
    ["", "/error", "/metadata", "/metadata/custom", "/orchestration_metadata", "/orchestration_metadata/headers"];

/// Says what is wrong with a result, if anything is.
pub fn compare(vector: &Map<String, Value>, actual: &Value) -> Result<(), String> {
    for pointer in texts(vector.get("absent")) {
        if actual.pointer(pointer).is_some_and(|value| !value.is_null()) {
            return Err(format!("there must be nothing at {pointer}: {actual}"));
        }
    }
    let rules =
        Rules { is_sent: is_sent(vector["op"].as_str().unwrap_or_default()), included: texts(vector.get("include")) };
    rules.check(vector.get("expect").unwrap_or(&Value::Null), actual, "")
}

fn is_sent(operation: &str) -> bool {
    operation.starts_with("api_") || ["execute", "handler_timeout", "worker_shutdown"].contains(&operation)
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

struct Rules<'a> {
    is_sent: bool,
    included: Vec<&'a str>,
}

impl Rules<'_> {
    fn check(&self, expected: &Value, actual: &Value, place: &str) -> Result<(), String> {
        let differs = || Err(format!("at {place:?}: expected {expected}, got {actual}"));
        match (expected, actual) {
            (Value::Object(conditions), _) if conditions.keys().any(|key| key.starts_with('$')) => {
                if holds(conditions, actual) {
                    Ok(())
                } else {
                    differs()
                }
            }
            (Value::Object(expected), Value::Object(actual)) => self.check_object(expected, actual, place),
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                let pairs = expected.iter().zip(actual).enumerate();
                pairs.into_iter().try_for_each(|(index, (expected, actual))| {
                    self.check(expected, actual, &format!("{place}/{index}"))
                })
            }
            (Value::Number(one), Value::Number(other))
                if one == other || one.as_f64() == other.as_f64() && !(one.is_i64() && other.is_i64()) =>
            {
                Ok(())
            }
            _ if expected == actual => Ok(()),
            _ => differs(),
        }
    }

    fn check_object(
        &self,
        expected: &Map<String, Value>,
        actual: &Map<String, Value>,
        place: &str,
    ) -> Result<(), String> {
        for (key, value) in expected {
            self.check(value, actual.get(key).unwrap_or(&Value::Null), &format!("{place}/{key}"))?;
        }
        let extra = actual.iter().find(|(key, value)| !value.is_null() && !expected.contains_key(*key));
        match extra {
            Some((key, value)) if !self.may_have_more(place) => {
                Err(format!("at {place:?}: {key:?} is not expected: {value}"))
            }
            _ => Ok(()),
        }
    }

    fn may_have_more(&self, place: &str) -> bool {
        let below =
            |pointer: &str| place.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.is_sent && OPEN_PLACES.contains(&place) || self.included.iter().any(|pointer| below(pointer))
    }
}

/// Whether a text has what is said about it.
fn holds(conditions: &Map<String, Value>, actual: &Value) -> bool {
    let Some(text) = actual.as_str() else {
        return false;
    };
    conditions.iter().all(|(condition, value)| match condition.as_str() {
        "$contains" => texts(Some(value)).iter().all(|part| text.contains(part)),
        "$excludes" => !texts(Some(value)).iter().any(|part| text.contains(part)),
        "$length" => value.as_u64() == u64::try_from(text.chars().count()).ok(),
        _ => false,
    })
}
