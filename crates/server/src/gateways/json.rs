//! Writing events that hold what somebody else wrote, without reading it.

use crate::clock;
use crate::http::times::Moment;
use serde::Serialize;
use serde_json::value::RawValue;

/// A JSON object, or an event that ends with one, written field by field.
pub(super) struct Object {
    text: String,
    end: &'static str,
    empty: bool,
}

impl Object {
    /// `["name",{...}]`.
    pub fn event(name: &'static str) -> Self {
        let mut text = String::with_capacity(512);
        text.push_str("[\"");
        text.push_str(name);
        text.push_str("\",{");
        Self { text, end: "}]", empty: true }
    }

    pub fn new() -> Self {
        Self { text: String::from("{"), end: "}", empty: true }
    }

    pub fn put(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        if let Ok(value) = serde_json::to_string(value) {
            self.field(name, &value);
        }
        self
    }

    pub fn raw(mut self, name: &str, value: &RawValue) -> Self {
        self.field(name, value.get());
        self
    }

    pub fn done(mut self) -> String {
        self.text.push_str(self.end);
        self.text
    }

    fn field(&mut self, name: &str, value: &str) {
        if !std::mem::take(&mut self.empty) {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text.push_str(value);
    }
}

/// The moment as JavaScript's `Date` writes it.
pub(super) fn iso_now() -> String {
    Moment(clock::now()).text().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are() {
        let raw: Box<RawValue> = serde_json::from_str(r#"{"sdp": "x"}"#).expect("JSON");
        let event = Object::event("call:offer").put("from", "h\"1").raw("offer", &raw).done();
        assert_eq!(event, r#"["call:offer",{"from":"h\"1","offer":{"sdp": "x"}}]"#);
        assert_eq!(Object::new().done(), "{}");
    }
}
