//! What of the text beside the voice has been seen.

use bellwire_client::ChatNow;

#[derive(Clone, Debug, Default)]
pub struct TextSeen {
    pub open: bool,
    /// Lines of others that came while the panel was closed.
    pub unread: u32,
    /// Lines that the client holds no more: numbers go on from there.
    pub forgotten: u32,
}

impl TextSeen {
    pub fn open(&mut self, open: bool) {
        self.open = open;
        if open {
            self.unread = 0;
        }
    }

    /// The text of one talk, before and now: new lines stand at its end, and the oldest may be gone.
    pub fn take(&mut self, before: &[ChatNow], now: &[ChatNow]) {
        let gone = (0..=before.len()).find(|gone| goes_on(&before[*gone..], now)).unwrap_or(before.len());
        let kept = before.len() - gone;
        self.forgotten = self.forgotten.saturating_add(count(gone));
        if !self.open {
            let new = now[kept..].iter().filter(|line| line.from.is_some()).count();
            self.unread = self.unread.saturating_add(count(new));
        }
    }
}

/// Whether `now` begins with these lines, delivered by now or not.
fn goes_on(before: &[ChatNow], now: &[ChatNow]) -> bool {
    let same = |(old, new): (&ChatNow, &ChatNow)| old.from == new.from && old.text == new.text;
    before.len() <= now.len() && before.iter().zip(now).all(same)
}

fn count(lines: usize) -> u32 {
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_client::Handle;

    fn lines(text: &str) -> Vec<ChatNow> {
        let line = |word: &str| ChatNow {
            from: (!word.starts_with('>')).then(|| Handle::new("h1").unwrap()),
            name: String::new(),
            text: word.to_owned(),
            delivered: true,
        };
        text.split_whitespace().map(line).collect()
    }

    #[track_caller]
    fn check(before: &str, now: &str, expected: (u32, u32)) {
        let mut seen = TextSeen::default();
        seen.take(&lines(before), &lines(now));
        assert_eq!((seen.unread, seen.forgotten), expected, "{before} -> {now}");
    }

    #[test]
    fn lines_of_others_are_unread_until_the_panel_is_opened() {
        check("", "", (0, 0));
        check("", "a", (1, 0));
        check("a", "a a", (1, 0));
        check("a", "a >b", (0, 0));
        check("a b c", "b c d", (1, 1));
        check("a b c", "d e f", (3, 3));
        let mut seen = TextSeen { unread: 2, ..TextSeen::default() };
        seen.open(true);
        seen.take(&lines("a"), &lines("a b"));
        seen.open(false);
        assert_eq!(seen.unread, 0);
    }
}
