//! Blocks and reports on their way to the store. Whoever makes one does not wait for it.

use crate::store::Store;
use crate::store::company::KeptReport;
use bellwire_signaling::{Complaint, UnixMs, UserId};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::warn;

/// Those that wait for the store. People make few of them; one more than these is lost, with a line in the log.
const WAITING: usize = 1_024;

enum Record {
    Block { person: UserId, other: UserId, at: UnixMs },
    Report(KeptReport),
}

pub(super) struct Records(mpsc::Sender<Record>);

impl Records {
    /// Ends when this is dropped.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let (sender, mut waiting) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            while let Some(record) = waiting.recv().await {
                let kept = match &record {
                    Record::Block { person, other, at } => store.add_block(person, other, *at).await,
                    Record::Report(report) => store.add_report(report).await,
                };
                if let Err(e) = kept {
                    warn!(error = %e, "a block or a report could not be stored");
                }
            }
        });
        Self(sender)
    }

    pub(super) fn block(&self, person: UserId, other: UserId, at: UnixMs) {
        self.put(Record::Block { person, other, at });
    }

    pub(super) fn report(&self, person: UserId, other: UserId, complaint: Complaint, made_at: UnixMs) {
        metrics::counter!("bellwire_reports_total").increment(1);
        self.put(Record::Report(KeptReport { person, other, complaint, made_at }));
    }

    fn put(&self, record: Record) {
        if self.0.try_send(record).is_err() {
            warn!("a block or a report is lost: the store is too slow");
        }
    }
}
