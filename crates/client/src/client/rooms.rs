//! The loop's part for rooms, matches and text: between the meeting, the texts, the sound and the person.

use super::{Loop, Next};
use crate::link::Urgency;
use crate::{State, Update};
use bellwire_call::meeting::{self, MemberSound, Output, Wish};
use bellwire_call::{Input, MediaEvent, UserCommand};
use bellwire_media::{Leg, Stats};
use bellwire_signaling::{ErrorCode, Side};

impl Loop {
    pub(super) fn wish(&mut self, wish: Wish) -> Next {
        self.feed_room(meeting::Input::Wish(wish))
    }

    pub(super) fn feed_room(&mut self, input: meeting::Input) -> Next {
        self.meeting.handle(input, self.now());
        Next::Changed
    }

    pub(super) fn refuse(&mut self, code: ErrorCode) -> Next {
        self.outbox.push(Update::Refused { code, retry_after_ms: None });
        Next::Same
    }

    /// Carries out what the meeting wants.
    pub(super) fn settle_room(&mut self) {
        while let Some(output) = self.meeting.poll_output() {
            match output {
                Output::Send(frame) => self.send(frame),
                Output::Sound(command) => {
                    self.note_gone(&command);
                    self.sound.room(command);
                }
                Output::Refused { code, retry_after_ms } => self.outbox.push(Update::Refused { code, retry_after_ms }),
            }
        }
    }

    /// Follows who is there to be written to, and hands in what shall be kept.
    pub(super) fn settle_texts(&mut self) {
        self.texts.follow_room(self.meeting.room().as_ref());
        self.texts.follow_call(self.endpoint.call());
        let lines = self.texts.lines_to_keep(self.endpoint.call());
        if !lines.is_empty() {
            for lines in lines {
                self.feed(Input::Command(UserCommand::ChatLines(lines)));
            }
            while let Some(output) = self.endpoint.poll_output() {
                self.carry_out(output);
            }
        }
    }

    /// One thing at a time: a call is placed or taken outside of rooms and of the queue.
    pub(super) fn leave_rooms(&mut self) {
        self.wish(Wish::Leave);
        self.wish(Wish::StopSearching);
        self.wish(Wish::Dismiss);
        self.settle_room();
    }

    pub(super) fn is_in_room(&self) -> bool {
        self.meeting.room().is_some_and(|room| room.over.is_none())
    }

    pub(super) fn room_urgency(&self) -> Urgency {
        let Some(room) = self.meeting.room().filter(|room| room.over.is_none()) else { return Urgency::Calm };
        let lost = room.members.iter().any(|member| match member.sound {
            MemberSound::Lost => true,
            MemberSound::Connecting | MemberSound::Heard => false,
        });
        if lost { Urgency::SoundLost } else { Urgency::Call }
    }

    /// In a call of this person's own doing: one that rings here is none yet.
    pub(super) fn is_in_call(&self) -> bool {
        self.endpoint.call().is_some_and(|call| match call.state {
            State::Ringing => call.you == Side::Caller,
            State::Inviting | State::Connecting | State::Connected | State::Reconnecting { .. } => true,
            State::Elsewhere | State::Ended { .. } => false,
        })
    }

    pub(super) fn rings_here(&self) -> bool {
        self.endpoint.call().is_some_and(|call| call.state == State::Ringing && call.you == Side::Callee)
    }

    // Text.

    pub(super) fn say(&mut self, text: &str) -> Next {
        match self.texts.say(text, self.is_in_room(), self.endpoint.call()) {
            Ok(frames) => {
                frames.into_iter().for_each(|(leg, frame)| self.sound.send_text(leg, frame));
                Next::Changed
            }
            Err(code) => self.refuse(code),
        }
    }

    pub(super) fn text_reaches(&mut self, leg: u32) {
        let frames = self.texts.opened(leg);
        frames.into_iter().for_each(|frame| self.sound.send_text(leg, frame));
    }

    pub(super) fn take_text(&mut self, leg: u32, text: &str) {
        if let Some(reply) = self.texts.received(leg, text) {
            self.sound.send_text(leg, reply);
        }
    }

    /// What the flow of sound says of the text that goes beside it.
    pub(super) fn note_flow(&mut self, leg: u32, event: &MediaEvent) {
        match event {
            MediaEvent::Flowing { .. } => {
                let frames = self.texts.resumed(leg);
                frames.into_iter().for_each(|frame| self.sound.send_text(leg, frame));
            }
            MediaEvent::Stalled { .. } | MediaEvent::Failed { .. } => self.texts.interrupted(leg),
            MediaEvent::Opened { .. }
            | MediaEvent::Description { .. }
            | MediaEvent::Candidates { .. }
            | MediaEvent::Path { .. } => {}
        }
    }

    // What the sound engine says of each far side.

    pub(super) fn tell_stats(&mut self, leg: u32, stats: Box<Stats>) {
        if leg == Leg::CALL.0 {
            return self.outbox.push(Update::Stats(stats));
        }
        let Some(room) = self.meeting.room() else { return };
        if let Some(member) = room.members.into_iter().find(|member| member.leg == leg) {
            self.outbox.push(Update::MemberStats { member: member.member, stats });
        }
    }

    /// Who is gone does not speak.
    fn note_gone(&mut self, command: &meeting::SoundCommand) {
        match command {
            meeting::SoundCommand::Drop { leg } => {
                self.speaking.remove(&Some(*leg));
            }
            meeting::SoundCommand::Close => self.speaking.clear(),
            meeting::SoundCommand::Warm
            | meeting::SoundCommand::IceServers(_)
            | meeting::SoundCommand::Open { .. }
            | meeting::SoundCommand::Offer { .. }
            | meeting::SoundCommand::SetRemote { .. }
            | meeting::SoundCommand::AddCandidates { .. }
            | meeting::SoundCommand::Mute(_) => {}
        }
    }
}
