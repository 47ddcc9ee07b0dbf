//! `bellwire-cli`: one device of one person, without a window. docs/cli.md is its reference.
//!
//! It places or answers one call, or is in one room or match, with the same engine as the desktop app, says on standard output what happens, and
//! ends with a status that says how it went. Logs go to standard error; `BELLWIRE_LOG` sets what is logged.

mod args;
mod check;
mod control;
mod events;
mod interrupt;
mod session;
mod stay;
mod usage;

use args::{Task, Usage};
use bellwire_client::{DeviceKind, devices};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// How a run went; the number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Normal = 0,
    BadUsage = 2,
    /// The server refused the sign-in or the booking.
    Refused = 3,
    /// No answer, declined, busy, or gone before it was answered.
    NotAnswered = 4,
    MediaFailed = 5,
    /// A check found something seriously wrong.
    Problems = 6,
}

/// What is logged where `BELLWIRE_LOG` says nothing. The WebRTC crates warn of each step of an ordinary call's end; the
/// PulseAudio one calls each closed stream an error.
const LOGGED: &str = "warn,webrtc=error,webrtc_ice=error,webrtc_sctp=error,webrtc_dtls=error,dtls=error,turn=error,\
                      pulseaudio=off";

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("BELLWIRE_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let exit = match args::read() {
        Ok(Task::Devices { json }) => list_devices(json),
        Ok(Task::Call(options)) => run(options.plan(session::Role::Calls), session::run),
        Ok(Task::Answer(options)) => run(options.plan(session::Role::Answers), session::run),
        Ok(Task::Room(options)) => run(options.plan(), stay::run),
        Ok(Task::Match(options)) => run(options.plan(), stay::run),
        Ok(Task::Check(options)) => run(options.plan(), check::run),
        Err(Usage::Help(text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            Exit::Normal
        }
        Err(Usage::Bad(sentence)) => bad_usage(&sentence),
    };
    ExitCode::from(exit as u8)
}

fn bad_usage(sentence: &str) -> Exit {
    eprintln!("bellwire-cli: {sentence}");
    Exit::BadUsage
}

fn run<P, R: Future<Output = Exit>>(plan: Result<P, String>, session: impl FnOnce(P) -> R) -> Exit {
    let plan = match plan {
        Ok(plan) => plan,
        Err(sentence) => return bad_usage(&sentence),
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(session(plan));
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            eprintln!("bellwire-cli: the system gives no threads: {error}");
            Exit::MediaFailed
        }
    }
}

fn list_devices(json: bool) -> Exit {
    let list = match devices() {
        Ok(list) => list,
        Err(fault) => {
            eprintln!("bellwire-cli: {}", events::device_sentence(&fault));
            return Exit::MediaFailed;
        }
    };
    let mut out = std::io::stdout();
    if json {
        let text = serde_json::to_string_pretty(&list).unwrap_or_default();
        let _ = writeln!(out, "{text}");
        return Exit::Normal;
    }
    for (kind, title) in [(DeviceKind::Input, "microphones"), (DeviceKind::Output, "speakers")] {
        let _ = writeln!(out, "{title}");
        for device in list.iter().filter(|device| device.kind == kind) {
            let mark = if device.is_default { " (default)" } else { "" };
            let _ = writeln!(out, "  {}{mark}", device.name);
        }
    }
    Exit::Normal
}
