//! The server of a meeting's history: [`Rooms`](crate::rooms::Rooms), and what it says to each session.

use super::{BASE, Happening, World, user};
use crate::rooms::{Entrant, Habit, LinkId, Notice, Receivers, RoomRefusal, SignalKind};
use bellwire_signaling::*;

impl World {
    pub(super) fn serve(&mut self, device: usize, id: CommandId, command: Command) -> Result<(), String> {
        if let Command::IceServers { purpose } = &command {
            let result = self.grant(device, purpose);
            let (epoch, after) = (self.devices[device].epoch, self.delay(device, 1));
            self.at(after, Happening::Granted { device, epoch, id, result });
            return Ok(());
        }
        let known = self.devices[device].handled.get(&id).copied();
        // Now and then an answer is forgotten: each command is safe to repeat.
        let result = match known.filter(|_| self.rng.u8(0..10) > 0) {
            Some(result) => result,
            None => {
                let result = self.carry_out(device, command)?;
                self.devices[device].handled.insert(id.clone(), result);
                result
            }
        };
        let epoch = self.devices[device].epoch;
        let before = self.rng.bool();
        if before {
            self.effects();
        }
        let after = self.delay(device, 1);
        self.at(after, Happening::Reply { device, epoch, id, result });
        self.effects();
        Ok(())
    }

    /// What relays there are, for a member.
    fn grant(&mut self, device: usize, purpose: &Purpose) -> Result<Vec<IceServer>, ErrorCode> {
        let Purpose::Room { room } = purpose else { return Err(ErrorCode::NotFound) };
        if self.rooms.member(room, self.devices[device].link).is_none() {
            return Err(ErrorCode::NotFound);
        }
        match self.relays {
            0 => Ok(Vec::new()),
            1 => Err(ErrorCode::Unavailable),
            _ => {
                let urls = vec!["turn:relay:3478?transport=udp".to_owned()];
                Ok(vec![IceServer { urls, username: None, credential: None }])
            }
        }
    }

    fn carry_out(&mut self, device: usize, command: Command) -> Result<Result<(), ErrorCode>, String> {
        let (link, now) = (self.devices[device].link, UnixMs(BASE + self.now));
        let handle = Handle::new(format!("h{}-{}", device, link.0)).expect("an id");
        let result = match command {
            Command::EnterRoom { room } => {
                let name = device.to_string();
                let entrant = Entrant { link, user: user(device), handle, name, habit: Habit::Native, may_open: false };
                self.rooms.enter(&room, entrant, now)
            }
            Command::LeaveRoom { room } => self.rooms.leave(link, &room, now),
            Command::RoomMuted { room, muted } => self.rooms.mute(link, &room, muted),
            Command::RemoveMember { room, member } => {
                let other = self.rooms.members(&room).find(|m| m.handle == member).map(|m| m.name.clone());
                let result = self.rooms.remove(link, &room, &member, now);
                if let (Ok(()), Some(other)) = (result, other) {
                    self.removed.insert(other.parse().expect("a number"));
                }
                result
            }
            Command::RenewMember { room, member, generation } => {
                self.count("renewals");
                self.rooms.renew(link, &room, &member, generation)
            }
            Command::DescribeTo { room, member, generation, kind, sdp } => {
                let signal = if kind == DescriptionKind::Offer { SignalKind::Offer } else { SignalKind::Answer };
                let to = self.rooms.receivers(link, &room, Some(&member), signal, Some(generation));
                if kind == DescriptionKind::Offer
                    && let Ok(to) = &to
                {
                    let other = to[0].0;
                    let key = (self.lives, link.min(other), link.max(other), generation);
                    let first = *self.offered.entry(key).or_insert(link);
                    if first != link {
                        return Err(format!("both offered in generation {generation}"));
                    }
                }
                let event =
                    |from, room, generation| Event::DescriptionFrom { room, member: from, generation, kind, sdp };
                self.pass(link, room, to, event)
            }
            Command::CandidatesTo { room, member, generation, candidates, done } => {
                let signal = SignalKind::Candidates(candidates.len() as u32);
                let to = self.rooms.receivers(link, &room, Some(&member), signal, Some(generation));
                let event =
                    |from, room, generation| Event::CandidatesFrom { room, member: from, generation, candidates, done };
                self.pass(link, room, to, event)
            }
            other => return Err(format!("a meeting asked for {other:?}")),
        };
        Ok(result.map_err(|why| match why {
            RoomRefusal::NotFound | RoomRefusal::NoSuchMember => ErrorCode::NotFound,
            RoomRefusal::Full => ErrorCode::RoomFull,
            RoomRefusal::NotHost | RoomRefusal::TooManyRooms => ErrorCode::WrongState,
            RoomRefusal::StaleGeneration => ErrorCode::StaleGeneration,
            RoomRefusal::RateLimited => ErrorCode::RateLimited,
        }))
    }

    fn pass(
        &mut self,
        from: LinkId,
        room: RoomId,
        to: Result<Receivers, RoomRefusal>,
        event: impl FnOnce(Handle, RoomId, u32) -> Event,
    ) -> Result<(), RoomRefusal> {
        let (to, generation) = to?[0];
        let from = self.rooms.member(&room, from).expect("a member sent it").handle.clone();
        self.tell(to, event(from, room, generation));
        Ok(())
    }

    pub(super) fn effects(&mut self) {
        while let Some(effect) = self.rooms.poll_effect() {
            let event = match effect.notice {
                Notice::Over(why) => Some(Event::RoomOver { room: effect.room, why }),
                Notice::Entered | Notice::Joined(_) | Notice::Departed(..) | Notice::Changed => {
                    self.rooms.view(&effect.room, effect.to).map(|view| Event::Room { view })
                }
            };
            if let Some(event) = event {
                self.tell(effect.to, event);
            }
        }
    }

    fn tell(&mut self, to: LinkId, event: Event) {
        let Some(device) = self.devices.iter().position(|there| there.link == to && !there.session_lost) else {
            return;
        };
        self.devices[device].log.push(event);
        if self.devices[device].up {
            self.deliver(device, self.devices[device].log.len() - 1);
        }
    }
}
