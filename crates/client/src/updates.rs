//! The way from a client's loop to its one reader: in order, bounded, and never waited for by the loop.

use crate::report::Recorder;
use crate::{Snapshot, Update};
use bellwire_call::{MediaCommand, MediaEvent};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Updates that were not read yet. What overflows is thrown away oldest first: meters and statistics, then snapshots
/// that are not the newest, then the rest.
const UNREAD: usize = 256;

/// The reader's end. Not reading it stops nothing: the newest snapshot says everything that matters.
pub struct Updates(Arc<Shared>);

/// The loop's end; dropping it ends the reader's. What passes is written down for the support bundle.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    recorder: Mutex<Recorder>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    unread: VecDeque<Update>,
    over: bool,
}

pub(crate) fn channel() -> (Outbox, Updates) {
    let shared = Arc::new(Shared { queue: Mutex::default(), changed: Notify::new() });
    (Outbox { shared: shared.clone(), recorder: Mutex::default() }, Updates(shared))
}

impl Updates {
    /// The next update; nothing once the client has ended. Safe to cancel.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut queue = self.0.lock();
                if let Some(update) = queue.unread.pop_front() {
                    return Some(update);
                }
                if queue.over {
                    return None;
                }
            }
            changed.await;
        }
    }
}

impl Outbox {
    pub(crate) fn push(&self, update: Update) {
        self.recorder().note(&update, Instant::now());
        self.shared.push(update);
    }

    /// What the call's sound is told, and says, for the support bundle alone.
    pub(crate) fn note_command(&self, command: &MediaCommand) {
        self.recorder().note_command(command, Instant::now());
    }

    pub(crate) fn note_event(&self, event: &MediaEvent) {
        self.recorder().note_event(event, Instant::now());
    }

    /// Writes the newest call's report into a file, on a thread of its own. [`Update::ReportSaved`] follows.
    pub(crate) fn save_report(&self, path: PathBuf) {
        let text = self.recorder().newest();
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            let saved = match text {
                Some(text) => std::fs::write(&path, text).map(|()| path).map_err(|why| why.to_string()),
                None => Err("there was no call to report".into()),
            };
            shared.push(Update::ReportSaved(saved));
        });
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn push(&self, update: Update) {
        self.lock().push(update);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, update: Update) {
        if let Some(outdated) = self.unread.iter().rposition(|unread| replaces(&update, unread)) {
            self.unread.remove(outdated);
        }
        if self.unread.len() == UNREAD {
            let last_snapshot = self.unread.iter().rposition(|unread| matches!(unread, Update::Snapshot(_)));
            let expendable = self
                .unread
                .iter()
                .position(is_fleeting)
                .or_else(|| self.unread.iter().position(|u| matches!(u, Update::Snapshot(_))))
                .filter(|at| Some(*at) != last_snapshot)
                .unwrap_or(0);
            self.unread.remove(expendable);
        }
        self.unread.push_back(update);
    }
}

fn is_fleeting(update: &Update) -> bool {
    matches!(update, Update::Level { .. } | Update::Stats(_) | Update::MemberStats { .. })
}

/// A meter replaces a meter. A snapshot replaces one in which call and link stood at the same point, so that a reader
/// that lags still sees each state that they went through.
fn replaces(new: &Update, old: &Update) -> bool {
    match (new, old) {
        (Update::Level { .. }, Update::Level { .. }) | (Update::Stats(_), Update::Stats(_)) => true,
        (Update::MemberStats { member: new, .. }, Update::MemberStats { member: old, .. }) => new == old,
        (Update::Snapshot(new), Update::Snapshot(old)) => same_point(new, old),
        _ => false,
    }
}

fn same_point(new: &Snapshot, old: &Snapshot) -> bool {
    let call = |snapshot: &Snapshot| {
        snapshot.call.as_ref().map(|call| (call.booking.clone(), call.state.clone(), call.muted, call.peer_muted))
    };
    let room = |snapshot: &Snapshot| {
        snapshot.room.as_ref().map(|room| {
            let members = room.members.iter().map(|member| (member.member.clone(), member.sound, member.muted));
            (room.room.clone(), room.over, room.muted, members.collect::<Vec<_>>())
        })
    };
    new.link == old.link && new.search == old.search && call(new) == call(old) && room(new) == room(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(input: f32) -> Update {
        Update::Level { input, output: 0.0 }
    }

    #[tokio::test]
    async fn a_reader_that_lags_gets_the_newest_meter_and_every_refusal_in_order() {
        let (outbox, mut updates) = channel();
        let refused = |n| Update::Refused { code: crate::ErrorCode::RateLimited, retry_after_ms: Some(n) };
        outbox.push(level(0.1));
        outbox.push(refused(1));
        outbox.push(level(0.2));
        outbox.push(refused(2));
        drop(outbox);
        let mut seen = Vec::new();
        while let Some(update) = updates.next().await {
            seen.push(format!("{update:?}"));
        }
        let expected = [refused(1), level(0.2), refused(2)].map(|update| format!("{update:?}"));
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn what_nobody_reads_stays_bounded_and_loses_meters_first() {
        let (outbox, mut updates) = channel();
        outbox.push(level(0.5));
        for n in 0..2 * UNREAD as u64 {
            outbox.push(Update::Refused { code: crate::ErrorCode::RateLimited, retry_after_ms: Some(n) });
        }
        drop(outbox);
        let mut seen = 0;
        while let Some(update) = updates.next().await {
            assert!(!is_fleeting(&update));
            seen += 1;
        }
        assert_eq!(seen, UNREAD);
    }
}
