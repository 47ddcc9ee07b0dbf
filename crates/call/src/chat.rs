//! Text beside the voice: the lines of a call or a room, and what each far side has of them.
//!
//! The owner tells [`Chat`] which far sides there are and when text reaches them, and sends the frames that it answers
//! with. A line goes to everybody who is there when it is said, now or as soon as text reaches them, and again until it is
//! answered. It counts as delivered once somebody has it and nobody whom text reaches lacks it.
//!
//! Left out: who may say something to whom, and what carries the frames.

use bellwire_signaling::{ChatFrame, Handle, limits};
use std::collections::{BTreeMap, VecDeque};
use thiserror::Error;

/// Lines that one far side has not answered.
pub const UNANSWERED: usize = 64;
/// Lines that are shown; the oldest are forgotten first.
pub const SHOWN: usize = limits::CHAT_LINES;
/// Lines of one far side by which a repeat is known: more than can be unanswered there.
const REMEMBERED: usize = 2 * UNANSWERED;

#[derive(Default)]
pub struct Chat {
    lines: VecDeque<Line>,
    said: u64,
    far: BTreeMap<u32, Far>,
}

/// One line, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `None`: ours.
    pub from: Option<Handle>,
    /// As they were called then; empty for ours.
    pub name: String,
    pub text: String,
    /// Ours: everybody whom text reached has it. Those of others always.
    pub delivered: bool,
    /// Counts ours from 1; 0 for those of others.
    number: u64,
    reached: bool,
    handed_out: bool,
}

#[derive(Default)]
struct Far {
    /// Text reaches them now.
    open: bool,
    /// It did before.
    was_open: bool,
    made: u32,
    /// Ours that they did not answer: the frame's id, the line's number, the text.
    unanswered: VecDeque<(u32, u64, String)>,
    /// Theirs, newest last. An app that was started again counts from 1 again, with other words.
    known: VecDeque<(u32, String)>,
    /// Answers that could not be sent when they were due: text reached us before ours reached them.
    owed: VecDeque<u32>,
}

/// Why a line was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChatRefusal {
    #[error("a line holds some text")]
    Empty,
    #[error("a line has at most {} bytes", limits::CHAT_TEXT)]
    TooLong,
    #[error("too much of what was said is not delivered")]
    TooMuchUndelivered,
}

impl Chat {
    pub fn new() -> Self {
        Self::default()
    }

    /// Says a line: what is to be sent now, and to whom.
    pub fn say(&mut self, text: &str) -> Result<Vec<(u32, ChatFrame)>, ChatRefusal> {
        if text.trim().is_empty() {
            return Err(ChatRefusal::Empty);
        }
        if text.len() > limits::CHAT_TEXT {
            return Err(ChatRefusal::TooLong);
        }
        if self.far.values().any(|far| far.open && far.unanswered.len() >= UNANSWERED) {
            return Err(ChatRefusal::TooMuchUndelivered);
        }
        self.said += 1;
        let mut frames = Vec::new();
        for (leg, far) in &mut self.far {
            far.made += 1;
            if far.unanswered.len() >= UNANSWERED {
                // Never reached: the newest are worth most when that changes.
                far.unanswered.pop_front();
            }
            far.unanswered.push_back((far.made, self.said, text.to_owned()));
            if far.open {
                frames.push((*leg, ChatFrame::Text { id: far.made, text: text.to_owned() }));
            }
        }
        keep(&mut self.lines, Line::ours(text.to_owned(), self.said));
        Ok(frames)
    }

    /// A far side is there. Nothing of what was said before is for them.
    pub fn joined(&mut self, leg: u32) {
        self.far.entry(leg).or_default();
    }

    pub fn gone(&mut self, leg: u32) {
        self.far.remove(&leg);
        self.settle();
    }

    /// Text reaches them, on one more connection: what they did not answer is sent again.
    pub fn opened(&mut self, leg: u32) -> Vec<ChatFrame> {
        let Some(far) = self.far.get_mut(&leg) else { return Vec::new() };
        (far.open, far.was_open) = (true, true);
        let owed = std::mem::take(&mut far.owed).into_iter().map(|id| ChatFrame::Delivered { id });
        let ours = far.unanswered.iter().map(|(id, _, text)| ChatFrame::Text { id: *id, text: text.clone() });
        owed.chain(ours).collect()
    }

    /// Nothing comes from them any more.
    pub fn interrupted(&mut self, leg: u32) {
        if let Some(far) = self.far.get_mut(&leg) {
            far.open = false;
            self.settle();
        }
    }

    /// Something comes again, on the connection that was there.
    pub fn resumed(&mut self, leg: u32) -> Vec<ChatFrame> {
        match self.far.get(&leg) {
            Some(far) if far.was_open && !far.open => self.opened(leg),
            Some(_) | None => Vec::new(),
        }
    }

    /// A frame of a far side, and how they are called: the answer to send.
    pub fn received(&mut self, leg: u32, frame: ChatFrame, from: &Handle, name: &str) -> Option<ChatFrame> {
        let far = self.far.get_mut(&leg)?;
        match frame {
            ChatFrame::Text { id, text } => {
                if text.trim().is_empty() || text.len() > limits::CHAT_TEXT {
                    return None;
                }
                if !far.known.iter().any(|(known, words)| *known == id && *words == text) {
                    if far.known.len() == REMEMBERED {
                        far.known.pop_front();
                    }
                    far.known.push_back((id, text.clone()));
                    let line = Line::of(from.clone(), name.to_owned(), text);
                    keep(&mut self.lines, line);
                }
                if far.open {
                    return Some(ChatFrame::Delivered { id });
                }
                if far.owed.len() < UNANSWERED {
                    far.owed.push_back(id);
                }
                None
            }
            ChatFrame::Delivered { id } => {
                let at = far.unanswered.iter().position(|(known, _, _)| *known == id)?;
                let (_, number, _) = far.unanswered.remove(at)?;
                if let Some(line) = self.lines.iter_mut().find(|line| line.number == number) {
                    line.reached = true;
                }
                self.settle();
                None
            }
        }
    }

    /// Oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    pub fn reaches(&self, leg: u32) -> bool {
        self.far.get(&leg).is_some_and(|far| far.open)
    }

    /// Our delivered lines, each once.
    pub fn take_delivered(&mut self) -> Vec<String> {
        let news = self.lines.iter_mut().filter(|line| line.number > 0 && line.delivered && !line.handed_out);
        news.map(|line| {
            line.handed_out = true;
            line.text.clone()
        })
        .collect()
    }

    /// [`Self::take_delivered`] begins anew.
    pub fn take_all_again(&mut self) {
        self.lines.iter_mut().for_each(|line| line.handed_out = false);
    }

    /// Lines that somebody has and nobody who can be reached lacks are delivered, for good.
    fn settle(&mut self) {
        let far = &self.far;
        for line in self.lines.iter_mut().filter(|line| line.reached && !line.delivered) {
            let lacks = |far: &Far| far.open && far.unanswered.iter().any(|(_, number, _)| *number == line.number);
            line.delivered = !far.values().any(lacks);
        }
    }
}

impl Line {
    fn ours(text: String, number: u64) -> Self {
        let name = String::new();
        Self { from: None, name, text, delivered: false, number, reached: false, handed_out: false }
    }

    fn of(from: Handle, name: String, text: String) -> Self {
        Self { from: Some(from), name, text, delivered: true, number: 0, reached: false, handed_out: false }
    }
}

fn keep(lines: &mut VecDeque<Line>, line: Line) {
    if lines.len() == SHOWN {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(id: u32, text: &str) -> ChatFrame {
        ChatFrame::Text { id, text: text.into() }
    }

    fn from() -> Handle {
        Handle::new("h").unwrap()
    }

    fn shown(chat: &Chat) -> Vec<(String, bool)> {
        chat.lines().map(|line| (format!("{}{}", line.name, line.text), line.delivered)).collect()
    }

    fn open(legs: &[u32]) -> Chat {
        let mut chat = Chat::new();
        for leg in legs {
            chat.joined(*leg);
            assert_eq!(chat.opened(*leg), []);
        }
        chat
    }

    #[test]
    fn a_line_is_delivered_when_all_whom_it_can_reach_have_it() {
        let mut chat = open(&[1, 2]);
        chat.joined(3);
        assert_eq!(chat.say("hello").unwrap(), [(1, text(1, "hello")), (2, text(1, "hello"))]);
        assert_eq!(chat.received(1, ChatFrame::Delivered { id: 1 }, &from(), "A"), None);
        assert_eq!(shown(&chat), [("hello".to_owned(), false)]);
        assert_eq!(chat.take_delivered(), [""; 0]);
        chat.gone(2);
        assert_eq!(shown(&chat), [("hello".to_owned(), true)]);
        assert_eq!(chat.take_delivered(), ["hello"]);
        assert_eq!(chat.take_delivered(), [""; 0]);
        chat.take_all_again();
        assert_eq!(chat.take_delivered(), ["hello"]);
        // Late, the third gets it as well.
        assert_eq!(chat.opened(3), [text(1, "hello")]);
        assert_eq!(shown(&chat), [("hello".to_owned(), true)]);
    }

    #[test]
    fn nobody_to_reach_means_not_delivered() {
        let mut chat = open(&[1]);
        chat.interrupted(1);
        assert_eq!(chat.say("into the dark").unwrap(), []);
        chat.gone(1);
        assert_eq!(shown(&chat), [("into the dark".to_owned(), false)]);
    }

    #[test]
    fn what_was_not_answered_is_sent_again_on_the_next_connection_and_shown_once() {
        let (mut here, mut there) = (open(&[0]), open(&[7]));
        let first = here.say("one").unwrap().remove(0).1;
        here.say("two").unwrap();
        let answer = there.received(7, first, &from(), "Ben: ").unwrap();
        // The answer is lost with the connection, as is the second line.
        assert_eq!(answer, ChatFrame::Delivered { id: 1 });
        here.interrupted(0);
        assert_eq!(here.resumed(7), []);
        let again = here.resumed(0);
        assert_eq!(again, [text(1, "one"), text(2, "two")]);
        for frame in again {
            let answer = there.received(7, frame, &from(), "Ben: ").unwrap();
            assert_eq!(here.received(0, answer, &from(), ""), None);
        }
        assert_eq!(shown(&there), [("Ben: one".to_owned(), true), ("Ben: two".to_owned(), true)]);
        assert_eq!(shown(&here), [("one".to_owned(), true), ("two".to_owned(), true)]);
        assert_eq!(here.opened(0), []);
    }

    #[test]
    fn an_answer_waits_until_text_can_be_sent() {
        let mut chat = Chat::new();
        chat.joined(1);
        assert_eq!(chat.received(1, text(1, "early"), &from(), ""), None);
        assert_eq!(shown(&chat), [("early".to_owned(), true)]);
        assert_eq!(chat.opened(1), [ChatFrame::Delivered { id: 1 }]);
        assert_eq!(chat.opened(1), []);
    }

    #[test]
    fn a_far_side_that_was_started_again_is_shown_though_it_counts_from_one() {
        let mut chat = open(&[0]);
        for words in ["before", "before", "after"] {
            assert_eq!(chat.received(0, text(1, words), &from(), ""), Some(ChatFrame::Delivered { id: 1 }));
        }
        assert_eq!(shown(&chat), [("before".to_owned(), true), ("after".to_owned(), true)]);
    }

    #[test]
    fn what_nobody_answers_and_what_is_shown_stays_bounded() {
        let mut chat = open(&[0]);
        chat.joined(1);
        for n in 0..UNANSWERED {
            chat.say(&n.to_string()).unwrap();
        }
        assert_eq!(chat.say("more"), Err(ChatRefusal::TooMuchUndelivered));
        chat.gone(0);
        for n in 0..2 * SHOWN {
            chat.say(&n.to_string()).unwrap();
        }
        assert_eq!(chat.lines().count(), SHOWN);
        assert_eq!(chat.opened(1).len(), UNANSWERED);
        assert_eq!(chat.say(" \n"), Err(ChatRefusal::Empty));
        assert_eq!(chat.say(&"x".repeat(limits::CHAT_TEXT + 1)), Err(ChatRefusal::TooLong));
        assert_eq!(chat.received(1, text(1, &"x".repeat(limits::CHAT_TEXT + 1)), &from(), ""), None);
        assert_eq!(chat.received(5, text(1, "a stranger"), &from(), ""), None);
    }
}
