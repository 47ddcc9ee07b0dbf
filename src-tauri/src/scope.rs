//! Whether a token is good for all that its person may do, or for one booking or room alone.
//!
//! It only decides what is offered: the server decides what is done, and nothing here trusts a token. One that cannot be
//! read is taken for a narrow one.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bellwire_client::Token;
use serde::Deserialize;

/// What a token of Bellwire's says that it is limited to.
#[derive(Deserialize)]
struct Limits {
    booking: Option<serde::de::IgnoredAny>,
    room: Option<serde::de::IgnoredAny>,
}

pub fn is_whole_person(token: &Token) -> bool {
    let limits = token.reveal().split('.').nth(1).and_then(|claims| {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice::<Limits>(&claims).ok()
    });
    limits.is_some_and(|limits| limits.booking.is_none() && limits.room.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claims: &str, expected: bool) {
        let token = Token::new(format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))).unwrap();
        assert_eq!(is_whole_person(&token), expected, "{claims}");
    }

    #[test]
    fn only_a_token_without_a_booking_and_a_room_is_for_the_whole_person() {
        check(r#"{"sub":"u1","exp":1}"#, true);
        check(r#"{"sub":"u1","booking":"b1"}"#, false);
        check(r#"{"sub":"u1","room":"r1"}"#, false);
        check("no json", false);
        assert!(!is_whole_person(&Token::new("t").unwrap()));
    }
}
