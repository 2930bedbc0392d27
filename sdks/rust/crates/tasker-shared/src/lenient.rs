//! Reading what others wrote: null as absent, timestamps with or without an offset.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};

/// Reads a value, and takes null for its default.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an object whose fields may be null for their defaults; null is none.
pub(crate) fn without_nulls<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Some(mut fields) = Option::<Map<String, Value>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    fields.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(fields)).map(Some).map_err(D::Error::custom)
}

/// The same, and takes null for the default of the whole.
pub(crate) fn without_nulls_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(without_nulls(deserializer)?.unwrap_or_default())
}

/// Reads a timestamp; null is the beginning of 1970.
pub(crate) fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    Ok(optional_timestamp(deserializer)?.unwrap_or(DateTime::UNIX_EPOCH))
}

/// Reads a timestamp that may be null.
pub(crate) fn optional_timestamp<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| parse_timestamp(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a timestamp"))))
        .transpose()
}

/// A timestamp without an offset is in UTC.
fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_may_leave_out_its_offset() {
        let expected = DateTime::parse_from_rfc3339("2030-01-31T08:00:00.5Z").unwrap().to_utc();
        for text in
            ["2030-01-31T08:00:00.5Z", "2030-01-31T09:00:00.5+01:00", "2030-01-31T08:00:00.5", "2030-01-31 08:00:00.5"]
        {
            assert_eq!(parse_timestamp(text), Some(expected), "{text}");
        }
        assert_eq!(parse_timestamp("tomorrow"), None);
    }
}
