//! What an all-seeing observer knows of one device's ways through the network, and what must be true of them.

use crate::endpoint::{CallNow, Input, MediaCommand, MediaEvent, Output, Route, State, UserCommand};
use crate::grant::WAIT_MS;
use bellwire_signaling::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A connection under way is left alone for this long at least.
const LEFT_ALONE_MS: u64 = 4_000;
const STORM_MS: u64 = 10_000;
/// Requests within [`STORM_MS`] that nothing from outside asked for.
const STORM: usize = 8;

#[derive(Default)]
pub(super) struct Ways {
    pub(super) relay_only: bool,
    /// When the newest connection of each call was named to this device.
    named: BTreeMap<CallId, (u32, u64)>,
    asked: BTreeMap<CommandId, CallId>,
    answered: BTreeSet<CallId>,
    /// Of the connections that stand.
    opened: BTreeMap<u32, u64>,
    dead: BTreeSet<u32>,
    renewals: BTreeSet<CommandId>,
    renewed: VecDeque<u64>,
    /// Changes from outside that may ask for a connection by themselves.
    changes: VecDeque<u64>,
    /// By when a change of the network must have been answered by a new connection.
    due: Option<u64>,
}

impl Ways {
    /// `slack`: what the messages between may take.
    pub(super) fn fed(&mut self, input: &Input, shown: Option<&CallNow>, linked: bool, slack: u64, now: u64) {
        match input {
            Input::Server(Event::Call { view }) => {
                let connection = match &view.phase {
                    Phase::Connecting { connection }
                    | Phase::Connected { connection, .. }
                    | Phase::Reconnecting { connection, .. } => connection,
                    Phase::Inviting { .. } | Phase::Ringing { .. } | Phase::Elsewhere {} | Phase::Ended { .. } => {
                        return;
                    }
                };
                let named = self.named.entry(view.call.clone()).or_insert((0, now));
                if connection.generation > named.0 {
                    *named = (connection.generation, now);
                }
            }
            Input::Reply { id, .. } => self.answered.extend(self.asked.remove(id)),
            Input::Command(UserCommand::RelayOnly(only)) => {
                self.relay_only = *only;
                self.changes.push_back(now);
            }
            Input::NetworkChanged => {
                self.changes.push_back(now);
                let talks = shown.is_some_and(|call| {
                    matches!(call.state, State::Connecting | State::Connected | State::Reconnecting { .. })
                });
                if talks && linked && !self.opened.is_empty() {
                    self.due.get_or_insert(now + 1_000 + slack);
                }
            }
            Input::LinkUp { .. } | Input::LinkDown => {
                self.changes.push_back(now);
                self.due = None;
            }
            Input::Media(MediaEvent::Stalled { generation } | MediaEvent::Failed { generation }) => {
                self.dead.insert(*generation);
            }
            Input::Media(MediaEvent::Flowing { generation }) => {
                self.dead.remove(generation);
            }
            Input::Command(_) | Input::Server(_) | Input::Media(_) | Input::Timeout => {}
        }
    }

    pub(super) fn put_out(&mut self, output: &Output, call: Option<&CallId>, now: u64) -> Result<(), String> {
        match output {
            Output::Send(ClientFrame::Command { id, command: Command::Renew { generation, .. } }) => {
                if !self.renewals.insert(id.clone()) {
                    return Ok(());
                }
                self.renewed.push_back(now);
                self.forget_before(now.saturating_sub(STORM_MS + 1_500));
                if self.renewed.len() > STORM + 2 * self.changes.len() {
                    return Err("ways: a storm of renewals".into());
                }
                let opened = self.opened.get(generation).filter(|_| !self.dead.contains(generation));
                let since = |at: u64| self.changes.back().is_some_and(|change| *change >= at);
                if opened.is_some_and(|at| now < at + LEFT_ALONE_MS && !since(*at)) {
                    return Err("ways: a connection under way was given up too early".into());
                }
            }
            Output::Send(ClientFrame::Command {
                id,
                command: Command::IceServers { purpose: Purpose::Call { call } },
            }) => {
                self.asked.insert(id.clone(), call.clone());
            }
            Output::Media(MediaCommand::Open { generation, route }) => {
                let named = call.and_then(|call| self.named.get(call));
                let waited = named.is_none_or(|(newest, at)| newest > generation || now >= at + WAIT_MS);
                if !waited && !call.is_some_and(|call| self.answered.contains(call)) {
                    return Err("ways: a connection was opened before the relays could be known".into());
                }
                if self.relay_only && *route != Route::RelayOnly {
                    return Err("ways: a connection could go directly against the wish".into());
                }
                self.opened.insert(*generation, now);
                self.dead.remove(generation);
                self.due = None;
            }
            Output::Media(MediaCommand::Close) => {
                self.opened.clear();
                self.dead.clear();
                self.due = None;
            }
            Output::Media(_) | Output::Send(_) | Output::Notice(_) => {}
        }
        Ok(())
    }

    /// The device or the server cannot do anything for a while.
    pub(super) fn excuse(&mut self) {
        self.due = None;
    }

    pub(super) fn check(&self, now: u64) -> Result<(), String> {
        match self.due {
            Some(due) if due < now => Err("ways: the network changed, and no connection was begun".into()),
            Some(_) | None => Ok(()),
        }
    }

    fn forget_before(&mut self, at: u64) {
        self.renewed.retain(|renewed| *renewed >= at);
        while self.changes.len() > 1 && self.changes.front().is_some_and(|change| *change < at) {
            self.changes.pop_front();
        }
    }
}
