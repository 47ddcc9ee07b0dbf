//! Checks before a call: who checks with which echo peer.
//!
//! An echo peer is a process of its own (`bellwire-echo`) that signs in with a token of [`Scope::Echo`] and answers the
//! offers that it is handed; this server carries descriptions between the two and never touches sound. Nothing is stored.
//! The lock is held for moments, and what is told goes by the switchboard's mailbox.

use crate::app::App;
use crate::auth::Scope;
use crate::clock;
use crate::closing::{refusal, refusal_until};
use crate::lobby::Device;
use crate::relay;
use bellwire_call::Who;
use bellwire_signaling::{
    CandidateLine, CheckId, CheckPath, Command, ErrorCode, Event, IceServer, Purpose, Reach, Reply, Sdp, UnixMs,
    UserId, WireError,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// The longest check.
const LONGEST_MS: u64 = 3 * 60_000;
/// Checks that one person may begin in a minute.
const A_MINUTE: usize = 6;
const MINUTE_MS: u64 = 60_000;
/// Checks at once, of all people: each costs the echo peers one connection.
const MOST: usize = 200;
/// Offers of one check: one a way, and some that were lost.
const OFFERS: u32 = 12;
/// Candidates that are passed on.
const CANDIDATES: usize = 32;
/// When one who finds no echo peer, or too many others, may ask again.
const RETRY_MS: u64 = 5_000;
const SWEEP: Duration = Duration::from_secs(1);
/// Persons whose beginnings are remembered; those a minute old are forgotten when there are more.
const REMEMBERED: usize = 1_024;

#[derive(Default)]
pub struct Checks(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those that said that they serve, with their socket's number.
    echoes: Vec<(Who, u64)>,
    checks: HashMap<CheckId, Live>,
    begun: HashMap<UserId, VecDeque<UnixMs>>,
}

struct Live {
    who: Who,
    number: u64,
    echo: Who,
    until: UnixMs,
    offers: u32,
}

/// What is to be told, once the lock is given back.
type Letters = Vec<(Who, Event)>;

impl Checks {
    /// Carries out a command about checks.
    pub fn command(&self, app: &App, device: &Device<'_>, command: &Command) -> Result<Reply, WireError> {
        let echo = *device.scope == Scope::Echo;
        match command {
            Command::StartCheck {} if !echo => self.start(app, device),
            Command::CheckOffer { check, path, sdp } if !echo => self.offer(app, device, check, *path, sdp),
            Command::EndCheck { check } if !echo => self.end(app, device, check),
            Command::IceServers { purpose: Purpose::Check { check } } if !echo => {
                self.lock().own(check, device.who)?;
                let (servers, lifetime_ms) = relay::grant(app, device.who.user.as_str(), clock::now());
                Ok(Reply::IceServers { servers, lifetime_ms })
            }
            Command::ServeChecks {} if echo => Ok(self.serve(device)),
            Command::AnswerCheck { check, path, sdp } if echo => self.answer(app, device, check, *path, sdp),
            // Another's business: of the echo peer for an app, of apps for the echo peer, or none of this.
            Command::StartCheck {}
            | Command::CheckOffer { .. }
            | Command::EndCheck { .. }
            | Command::IceServers { .. }
            | Command::ServeChecks {}
            | Command::AnswerCheck { .. }
            | Command::Bookings {}
            | Command::History { .. }
            | Command::Invite { .. }
            | Command::Ringing { .. }
            | Command::Accept { .. }
            | Command::Decline { .. }
            | Command::HangUp { .. }
            | Command::Ready { .. }
            | Command::Describe { .. }
            | Command::Candidates { .. }
            | Command::Hearing { .. }
            | Command::Renew { .. }
            | Command::Muted { .. }
            | Command::KeepChat { .. }
            | Command::ChatLines { .. }
            | Command::Health { .. }
            | Command::Quality { .. }
            | Command::Readiness { .. }
            | Command::EnterRoom { .. }
            | Command::LeaveRoom { .. }
            | Command::RoomMuted { .. }
            | Command::LockRoom { .. }
            | Command::RemoveMember { .. }
            | Command::RenewMember { .. }
            | Command::DescribeTo { .. }
            | Command::CandidatesTo { .. }
            | Command::Search {}
            | Command::StopSearching {}
            | Command::Skip {}
            | Command::Block { .. }
            | Command::Report { .. } => Err(refusal(ErrorCode::NotFound)),
        }
    }

    /// The device's socket of this number is gone: its checks are over.
    pub fn lost(&self, app: &App, who: &Who, number: u64) {
        let mut state = self.lock();
        state.echoes.retain(|echo| *echo != (who.clone(), number));
        let served = state.echoes.iter().any(|(echo, _)| echo == who);
        let letters =
            state.end_where(|live| (live.who == *who && live.number == number) || (live.echo == *who && !served));
        drop(state);
        tell(app, letters);
    }

    /// Ends what has gone on for too long, until told to stop.
    pub async fn keep_time(app: Arc<App>, stop: CancellationToken) {
        let mut sweep = tokio::time::interval(SWEEP);
        while stop.run_until_cancelled(sweep.tick()).await.is_some() {
            let now = clock::now();
            let letters = app.checks.lock().end_where(|live| live.until <= now);
            tell(&app, letters);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, app: &App, device: &Device<'_>) -> Result<Reply, WireError> {
        let now = clock::now();
        let mut state = self.lock();
        state.may_begin(&device.who.user, now)?;
        // One a device: a new one takes the place of the old.
        let letters = state.end_where(|live| live.who == *device.who);
        let busy = |echo: &Who| state.checks.values().filter(|live| live.echo == *echo).count();
        let freest = state.echoes.iter().map(|(echo, _)| echo).min_by_key(|echo| busy(echo)).cloned();
        let result = match freest {
            Some(echo) if state.checks.len() < MOST => {
                let check = CheckId::from_bits(rand::random());
                let (who, until) = (device.who.clone(), now.plus(LONGEST_MS));
                let live = Live { who, number: device.number, echo, until, offers: 0 };
                state.checks.insert(check.clone(), live);
                metrics::counter!("bellwire_checks_total").increment(1);
                Ok(Reply::Check { check })
            }
            Some(_) => Err(refusal_until(ErrorCode::Unavailable, RETRY_MS)),
            None => Err(refusal(ErrorCode::Unavailable)),
        };
        drop(state);
        tell(app, letters);
        result
    }

    fn offer(
        &self,
        app: &App,
        device: &Device<'_>,
        check: &CheckId,
        path: CheckPath,
        sdp: &Sdp,
    ) -> Result<Reply, WireError> {
        let sdp = admitted(sdp, app.config.dev).ok_or_else(|| refusal(ErrorCode::BadFrame))?;
        let echo = {
            let mut state = self.lock();
            let live = state.own(check, device.who)?;
            live.offers += 1;
            if live.offers > OFFERS {
                return Err(refusal(ErrorCode::RateLimited));
            }
            live.echo.clone()
        };
        let servers = servers_for(path, relay::grant(app, check.as_str(), clock::now()).0);
        tell(app, vec![(echo, Event::CheckOffered { check: check.clone(), path, sdp, servers })]);
        Ok(Reply::Done {})
    }

    fn end(&self, app: &App, device: &Device<'_>, check: &CheckId) -> Result<Reply, WireError> {
        let mut state = self.lock();
        state.own(check, device.who)?;
        let live = state.checks.remove(check);
        drop(state);
        tell(app, live.map(|live| (live.echo, Event::CheckOver { check: check.clone() })).into_iter().collect());
        Ok(Reply::Done {})
    }

    fn serve(&self, device: &Device<'_>) -> Reply {
        let mut state = self.lock();
        state.echoes.retain(|(who, _)| who != device.who);
        state.echoes.push((device.who.clone(), device.number));
        info!(device = %device.who.device, "an echo peer answers checks");
        Reply::Done {}
    }

    fn answer(
        &self,
        app: &App,
        device: &Device<'_>,
        check: &CheckId,
        path: CheckPath,
        sdp: &Sdp,
    ) -> Result<Reply, WireError> {
        let who = {
            let state = self.lock();
            let live = state.checks.get(check).filter(|live| live.echo == *device.who);
            live.ok_or_else(|| refusal(ErrorCode::NotFound))?.who.clone()
        };
        tell(app, vec![(who, Event::CheckAnswer { check: check.clone(), path, sdp: sdp.clone() })]);
        Ok(Reply::Done {})
    }
}

impl State {
    /// The check, if it is this device's; one of others is as one that does not exist.
    fn own(&mut self, check: &CheckId, who: &Who) -> Result<&mut Live, WireError> {
        self.checks.get_mut(check).filter(|live| live.who == *who).ok_or_else(|| refusal(ErrorCode::NotFound))
    }

    fn may_begin(&mut self, user: &UserId, now: UnixMs) -> Result<(), WireError> {
        if self.begun.len() > REMEMBERED {
            self.begun.retain(|_, begun| begun.back().is_some_and(|at| now.since(*at) < MINUTE_MS));
        }
        let begun = self.begun.entry(user.clone()).or_default();
        begun.retain(|at| now.since(*at) < MINUTE_MS);
        match begun.front() {
            Some(first) if begun.len() >= A_MINUTE => {
                Err(refusal_until(ErrorCode::RateLimited, (MINUTE_MS - now.since(*first)).max(1)))
            }
            Some(_) | None => {
                begun.push_back(now);
                Ok(())
            }
        }
    }

    fn end_where(&mut self, over: impl Fn(&Live) -> bool) -> Letters {
        let ended = self.checks.extract_if(|_, live| over(live));
        ended
            .flat_map(|(check, live)| [live.who, live.echo].map(|who| (who, Event::CheckOver { check: check.clone() })))
            .collect()
    }
}

fn tell(app: &App, letters: Letters) {
    for (to, event) in letters {
        if !app.switchboard.event(to, event) {
            debug!("a word about a check found the switchboard full");
        }
    }
}

/// By a direct way the echo peer uses no relay either.
fn servers_for(path: CheckPath, mut servers: Vec<IceServer>) -> Vec<IceServer> {
    if path == CheckPath::Direct {
        servers.iter_mut().for_each(|server| server.urls.retain(|url| url.starts_with("stun:")));
        servers.retain(|server| !server.urls.is_empty());
    }
    servers
}

/// The description without candidates that no echo peer should send to: it stands where the server does, and near what
/// is nobody's business.
fn admitted(sdp: &Sdp, dev: bool) -> Option<Sdp> {
    let mut left = CANDIDATES;
    let mut admits = |line: &str| {
        let Some(candidate) = line.trim_end().strip_prefix("a=candidate:") else { return true };
        let Ok(candidate) = CandidateLine::new(format!("candidate:{candidate}")) else { return false };
        let reaches = match candidate.reach() {
            Reach::Link | Reach::Name => false,
            Reach::Machine => dev,
            Reach::Network => true,
        };
        left = left.saturating_sub(usize::from(reaches));
        reaches && left > 0
    };
    let lines: String = sdp.as_str().split_inclusive('\n').filter(|line| admits(line)).collect();
    Sdp::new(lines).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_peer_is_sent_to_no_address_of_the_link_or_of_its_own_machine() {
        let sdp = |addresses: &[&str]| {
            let lines: String = addresses.iter().map(|a| format!("a=candidate:1 1 udp 1 {a} 9 typ host\r\n")).collect();
            let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\nm=audio 9 X 0\r\n";
            Sdp::new(format!("{head}{lines}a=mid:0\r\n")).expect("a description")
        };
        let all = ["192.0.2.1", "169.254.169.254", "fe80::1", "127.0.0.1", "::1", "x.local", "10.0.0.7"];
        assert_eq!(admitted(&sdp(&all), false), Some(sdp(&["192.0.2.1", "10.0.0.7"])));
        assert_eq!(admitted(&sdp(&all), true), Some(sdp(&["192.0.2.1", "127.0.0.1", "::1", "10.0.0.7"])));
    }

    #[test]
    fn six_checks_a_minute_are_enough() {
        let mut state = State::default();
        let user = UserId::new("u").expect("an id");
        for n in 0..6 {
            assert!(state.may_begin(&user, UnixMs(n * 1_000)).is_ok());
        }
        let refused = state.may_begin(&user, UnixMs(10_000)).expect_err("too many");
        assert_eq!((refused.code, refused.retry_after_ms), (ErrorCode::RateLimited, Some(50_000)));
        assert!(state.may_begin(&user, UnixMs(60_000)).is_ok());
    }
}
