//! The text of a call, as far as both parties want it kept in the call's record.

use crate::sides::Sides;
use bellwire_signaling::limits::{CHAT_LINES, CHAT_TEXT};
use bellwire_signaling::{ChatLine, ErrorCode, KeepChat, Side, UnixMs};
use serde::{Deserialize, Serialize};

/// Lines are taken only while both want them kept. Whoever no longer does has all of them thrown away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptChat {
    keep: Sides<bool>,
    lines: Vec<ChatLine>,
}

impl KeptChat {
    /// Whether that is another wish than before.
    pub fn set_keep(&mut self, side: Side, keep: bool) -> bool {
        if !keep {
            self.lines.clear();
        }
        std::mem::replace(self.keep.of_mut(side), keep) != keep
    }

    pub fn add(&mut self, by: Side, lines: &[String], at: UnixMs) -> Result<(), ErrorCode> {
        if !self.keep.both() {
            return Err(ErrorCode::WrongState);
        }
        if self.lines.len() + lines.len() > CHAT_LINES || lines.iter().any(|line| line.len() > CHAT_TEXT) {
            return Err(ErrorCode::TooLarge);
        }
        self.lines.extend(lines.iter().map(|text| ChatLine { by, at, text: text.clone() }));
        Ok(())
    }

    pub fn keep_of(&self, side: Side) -> KeepChat {
        KeepChat { you: *self.keep.of(side), peer: *self.keep.of(side.other()) }
    }

    pub fn lines(&self) -> &[ChatLine] {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_only_while_both_want_it() {
        let mut chat = KeptChat::default();
        let line = ["words".to_owned()];
        assert_eq!(chat.add(Side::Caller, &line, UnixMs(1)), Err(ErrorCode::WrongState));
        assert!(chat.set_keep(Side::Caller, true));
        assert!(!chat.set_keep(Side::Caller, true));
        assert_eq!(chat.add(Side::Caller, &line, UnixMs(1)), Err(ErrorCode::WrongState));
        assert!(chat.set_keep(Side::Callee, true));
        assert_eq!(chat.add(Side::Caller, &line, UnixMs(2)), Ok(()));
        assert_eq!(chat.lines(), [ChatLine { by: Side::Caller, at: UnixMs(2), text: "words".into() }]);
        assert_eq!(chat.keep_of(Side::Caller), KeepChat { you: true, peer: true });
        assert!(chat.set_keep(Side::Callee, false));
        assert!(chat.lines().is_empty());
        assert_eq!(chat.keep_of(Side::Callee), KeepChat { you: false, peer: true });
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut chat = KeptChat::default();
        chat.set_keep(Side::Caller, true);
        chat.set_keep(Side::Callee, true);
        let long = ["x".repeat(CHAT_TEXT + 1)];
        assert_eq!(chat.add(Side::Caller, &long, UnixMs(0)), Err(ErrorCode::TooLarge));
        let many = vec![String::from("x"); CHAT_LINES + 1];
        assert_eq!(chat.add(Side::Caller, &many, UnixMs(0)), Err(ErrorCode::TooLarge));
        assert!(chat.lines().is_empty());
    }
}
