//! The desktop shell: windows, join links and settings around one [`bellwire_client::Client`].
//!
//! One loop owns everything ([`controller`]); the page's [`commands`] each send it one value; after each change it makes
//! one [`view_model::View`] by a pure function ([`show`]) and emits it. The page in `ui/` renders that and decides
//! nothing.
//!
//! It leaves out: what a call is (crates/call), sound and network (crates/client), words (`ui/messages.en.js`), and any
//! place to keep tokens: they are held in memory and gone when the app ends.

pub mod arguments;
mod commands;
mod controller;
#[cfg(test)]
mod generated;
mod known;
mod platform;
mod quality;
mod scope;
mod sentence;
mod settings;
mod show;
mod view_model;
mod windows;

use anyhow::Context;
use arguments::Arguments;
use bellwire_client::DeviceId;
use clap::Parser;
use controller::{Ask, Controller, Controls};
use settings::SettingsFile;
use tauri::{AppHandle, Manager};
use tracing_subscriber::EnvFilter;
use windows::Windows;

/// Our own steps; of the libraries what is wrong, and of the WebRTC ones only what is broken: they warn of each packet
/// that comes after a call's end. The PulseAudio one calls each closed stream an error; bellwire_media says what counts. `RUST_LOG` says otherwise.
const LOG: &str = "warn,bellwire_shell=info,bellwire_client=info,bellwire_call=info,bellwire_media=info,webrtc=error,\
                   webrtc_ice=error,webrtc_sctp=error,webrtc_dtls=error,dtls=error,turn=error,pulseaudio=off";

/// Runs the app until its end.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (controls, asks) = Controls::new();
    let mut builder = tauri::Builder::default();
    // A profile of its own is an instance of its own.
    if arguments.data_dir.is_none() {
        let controls = controls.clone();
        builder = builder.plugin(tauri_plugin_single_instance::init(move |_app, line, _dir| {
            controls.ask_from_outside(ask_of_another_start(&line));
        }));
    }
    let app = builder
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_opener::init())
        .manage(controls.clone())
        .invoke_handler(tauri::generate_handler![
            commands::page_ready,
            commands::sign_in,
            commands::find_people,
            commands::sign_in_as,
            commands::sign_out,
            commands::call,
            commands::accept,
            commands::decline,
            commands::hang_up,
            commands::toggle_mute,
            commands::unmute,
            commands::unmute,
            commands::talk,
            commands::dismiss,
            commands::check,
            commands::test_sound,
            commands::start_check,
            commands::stop_check,
            commands::look_at_check,
            commands::save_report,
            commands::set_relay_only,
            commands::set_input,
            commands::set_output,
            commands::set_ring,
            commands::use_held_output,
            commands::set_ring,
            commands::use_held_output,
            commands::set_processing,
            commands::more_history,
            commands::open_microphone_settings,
            commands::search,
            commands::stop_searching,
            commands::next_person,
            commands::block,
            commands::report,
            commands::enter_room,
            commands::leave,
            commands::lock_room,
            commands::remove_member,
            commands::open_text,
            commands::say,
            commands::keep_text,
        ])
        .setup(move |app| {
            let controller = prepare(app.handle(), &controls, asks, &arguments)?;
            tauri::async_runtime::spawn(platform::watch_signals(controls));
            tauri::async_runtime::spawn(controller.run(arguments.link, arguments.server));
            Ok(())
        })
        .build(tauri::generate_context!())
        .context("the app cannot start")?;
    app.run(|_, _| {});
    Ok(())
}

fn prepare(
    app: &AppHandle,
    controls: &Controls,
    asks: tokio::sync::mpsc::Receiver<Ask>,
    arguments: &Arguments,
) -> anyhow::Result<Controller> {
    let dir = match &arguments.data_dir {
        Some(dir) => dir.clone(),
        None => app.path().app_config_dir().context("there is no folder for settings")?,
    };
    let settings = SettingsFile::open(&dir, fresh_device)
        .with_context(|| format!("the settings in {} cannot be read or written", dir.display()))?;
    let data = arguments.data_dir.as_ref().map(|dir| dir.join("window"));
    let windows = Windows::open(app.clone(), controls.clone(), data).context("the window cannot be opened")?;
    platform::watch_links(app, controls);
    Ok(Controller::new(asks, windows, settings, arguments))
}

fn fresh_device() -> DeviceId {
    DeviceId::from_bits(rand::random())
}

/// A second start hands its link to the first instance, or brings it to the front.
fn ask_of_another_start(line: &[String]) -> Ask {
    match Arguments::try_parse_from(line) {
        Ok(Arguments { link: Some(link), .. }) => Ask::OpenLink(link),
        Ok(_) | Err(_) => Ask::ComeForward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_hands_over_its_link_or_calls_the_first_forward() {
        let ask = |line: &[&str]| {
            let line: Vec<String> = line.iter().map(ToString::to_string).collect();
            ask_of_another_start(&line)
        };
        assert!(matches!(ask(&["bellwire", "bellwire://join?x"]), Ask::OpenLink(link) if link == "bellwire://join?x"));
        assert!(matches!(ask(&["bellwire"]), Ask::ComeForward));
        assert!(matches!(ask(&["bellwire", "--nonsense"]), Ask::ComeForward));
    }
}
