//! Times as people write them (RFC 3339), for REST.

use bellwire_signaling::UnixMs;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, written as RFC 3339 in UTC and read with any offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub UnixMs);

impl Moment {
    pub fn text(self) -> Option<String> {
        let nanos = i128::from(self.0.0) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.text() {
            Some(text) => serializer.serialize_str(&text),
            None => Err(serde::ser::Error::custom("a time beyond the year 9999")),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || serde::de::Error::custom("a time is written like 2026-05-01T09:30:00Z (RFC 3339)");
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| bad())?;
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(|ms| Self(UnixMs(ms))).map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_an_offset_and_written_in_utc() {
        let check = |text: &str, expected: Option<&str>| {
            let read = serde_json::from_value::<Moment>(text.into()).ok();
            assert_eq!(read.and_then(Moment::text).as_deref(), expected, "{text}");
        };
        check("2026-05-01T09:30:00Z", Some("2026-05-01T09:30:00Z"));
        check("2026-05-01T09:30:00.250+02:00", Some("2026-05-01T07:30:00.25Z"));
        check("2026-05-01", None);
        check("1969-05-01T09:30:00Z", None);
    }
}
