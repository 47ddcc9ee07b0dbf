//! The signals of one connection of a call, in the order and at the time at which each end can use them.
//!
//! What the app sends waits here until both sides are ready (rule 1), and its candidates until its own description is out;
//! what the other side sends waits until its description is out (rule 3). Nothing of one generation is sent in another.

use super::words::{Fault, Trickled};
use crate::closing::refusal;
use bellwire_signaling::limits::{CANDIDATES_A_GENERATION, CANDIDATES_A_MESSAGE};
use bellwire_signaling::{Candidate, Connection, ErrorCode, Sdp};

/// The newest generation of a call's connection, as this end's app takes part in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    pub generation: u32,
    /// This end makes the offer.
    pub offers: bool,
    /// Both sides are ready.
    pub go: bool,
    /// This end's description of this generation, once it was sent on.
    own: Option<Sdp>,
    /// It was sent on before the server was started, as far as anyone knows.
    unknown: bool,
    /// The app's own candidates that belong to no description that was sent on yet.
    waiting: Vec<Trickled>,
    done: bool,
    /// The other side's, as they were given to the app.
    theirs: Option<Sdp>,
    given: Vec<Candidate>,
    /// Those that came before their description.
    early: Vec<Candidate>,
}

/// What is to be done with a description of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send it on.
    Now,
    /// Hold it until both are ready.
    WhenReady,
    /// It was sent on before.
    Repeat,
    /// It is another one than was sent on: it belongs to a new connection.
    Renew,
}

impl Signals {
    /// Follows the server's word. True if a new generation takes the place of one that the app knows.
    pub fn follow(&mut self, connection: &Connection) -> bool {
        let renewed = connection.generation > self.generation;
        let known = self.generation > 0;
        if renewed {
            let waiting = std::mem::take(&mut self.waiting);
            *self = Self { generation: connection.generation, ..Self::default() };
            // Those that name their description may belong to the next one; of the others nobody can tell.
            self.waiting = waiting;
            if known {
                self.waiting.retain(|trickled| trickled.ufrag.is_some());
            }
        }
        if connection.generation == self.generation {
            (self.offers, self.go) = (connection.offers, connection.go);
        }
        renewed && known
    }

    /// The connection stands, or is being made, by signals of which nothing is known.
    pub fn go_on(&mut self) {
        self.unknown = true;
    }

    pub fn take_offer(&self, sdp: &Sdp) -> Result<Next, Fault> {
        if !self.offers {
            return Err(Fault::wrong_state("the caller makes the offer"));
        }
        Ok(match &self.own {
            Some(own) if own == sdp => Next::Repeat,
            Some(_) => Next::Renew,
            None if self.unknown => Next::Renew,
            None if self.go => Next::Now,
            None => Next::WhenReady,
        })
    }

    pub fn take_answer(&self, sdp: &Sdp) -> Result<Next, Fault> {
        match &self.own {
            Some(own) if !self.offers && own == sdp => Ok(Next::Repeat),
            None if !self.offers && self.theirs.is_some() => Ok(Next::Now),
            Some(_) | None => Err(Fault::wrong_state("there is no offer to answer")),
        }
    }

    /// The app's description goes out: with it, those of its candidates that belong to it, in messages.
    pub fn describe(&mut self, sdp: Sdp) -> Vec<Vec<Candidate>> {
        let (belong, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|c| belongs(c, &sdp));
        self.waiting = rest;
        self.own = Some(sdp);
        let belong: Vec<Trickled> = belong;
        let lines: Vec<Candidate> = belong.into_iter().map(|trickled| trickled.candidate).collect();
        lines.chunks(CANDIDATES_A_MESSAGE).map(<[_]>::to_vec).collect()
    }

    /// The description was refused: as if it had not been sent.
    pub fn undo_description(&mut self) {
        self.own = None;
    }

    /// A candidate of the app: to be sent on now, or not now. `held` is the app's offer that waits for its turn: what
    /// comes after it belongs to it, unless it says otherwise.
    pub fn trickle(&mut self, mut trickled: Trickled, held: Option<&Sdp>) -> Result<Option<Candidate>, Fault> {
        if let Some(held) = held
            && trickled.ufrag.is_none()
        {
            trickled.ufrag = Some(ufrags(held).next().unwrap_or_default().to_owned());
        }
        let is_next = held.is_some_and(|held| belongs(&trickled, held));
        match self.own.as_ref().filter(|_| !is_next) {
            Some(own) if belongs(&trickled, own) => return Ok(Some(trickled.candidate)),
            // Of the connection before, as far as anyone can tell.
            None if self.generation > 1 && trickled.ufrag.is_none() => return Ok(None),
            Some(_) | None => {}
        }
        if self.waiting.len() >= CANDIDATES_A_GENERATION {
            return Err(refusal(ErrorCode::RateLimited).into());
        }
        self.waiting.push(trickled);
        Ok(None)
    }

    /// The app has no more candidates. True if that is to be said now: once, and after its description.
    pub fn no_more(&mut self) -> bool {
        self.own.is_some() && !std::mem::replace(&mut self.done, true)
    }

    /// The other side's description goes to the app, and the candidates that waited for it.
    pub fn described(&mut self, sdp: Sdp) -> Vec<Candidate> {
        self.theirs = Some(sdp);
        self.given = std::mem::take(&mut self.early);
        self.given.clone()
    }

    /// Candidates of the other side: those to give to the app now.
    pub fn trickled(&mut self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        if self.theirs.is_none() {
            self.early.extend(candidates);
            return Vec::new();
        }
        if self.unanswered().is_some() {
            self.given.extend(candidates.iter().cloned());
        }
        candidates
    }

    /// The offer that the app was given and has not answered, with the candidates it was given.
    pub fn unanswered(&self) -> Option<(&Sdp, &[Candidate])> {
        let theirs = self.theirs.as_ref().filter(|_| !self.offers && self.own.is_none())?;
        Some((theirs, &self.given))
    }

    /// The app is to make an offer and has not.
    pub fn owes_offer(&self) -> bool {
        self.offers && self.own.is_none() && !self.unknown
    }
}

/// Whether a candidate is of this description, as far as the two tell (RFC 8839, 5.4).
fn belongs(trickled: &Trickled, sdp: &Sdp) -> bool {
    let Some(ufrag) = &trickled.ufrag else { return true };
    let mut named = ufrags(sdp).peekable();
    named.peek().is_none() || named.any(|one| one == ufrag)
}

fn ufrags(sdp: &Sdp) -> impl Iterator<Item = &str> {
    sdp.as_str().lines().filter_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim)
}
