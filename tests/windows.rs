//! Two real windows, each at a desk of its own with a virtual display, microphone and speaker, driven by WebDriver.
//!
//! Pictures of every step are left in target/screenshots.

#[path = "windows/app.rs"]
mod app;
#[path = "windows/sound.rs"]
mod sound;
mod support;

use anyhow::{Context, Result, ensure};
use app::{App, Devices, Guest, MICROPHONE, SPEAKER};
use bellwire_client::recording::level_dbfs;
use std::path::{Path, PathBuf};
use support::{PATIENCE, Speeches, assert_heard, folder, make_room, until};
use thirtyfour::prelude::*;
use xtask::server::{Seeded, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_windows_call_and_hear_each_other() -> Result<()> {
    let dir = folder("windows/call")?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;

    // The client pastes a link; the provider is picked from the people of the development server.
    let client = App::open(&dir, "client", &[], Devices::Both).await?;
    client.on("sign-in").await?;
    client.type_into("#join-link", &seeded.client.link).await?;
    client.picture("call", "1-link-pasted")?;
    client.press("#sign-in").await?;
    client.on("home").await?;
    let provider = App::open(&dir, "provider", &["--server", &server.url()], Devices::Both).await?;
    provider.on("sign-in").await?;
    provider.press("#dev-ask").await?;
    provider.pick_person("Provider").await?;
    provider.on("home").await?;
    client.picture("call", "2-home")?;

    client.press(&format!("[data-booking=\"{}\"] button.call", seeded.booking)).await?;
    client.on("calling").await?;
    provider.on("incoming").await?;
    let ring = provider.incoming_window().await?;
    provider.picture("call", "3-incoming-main")?;
    provider.web.switch_to_window(ring).await?;
    provider.on("incoming").await?;
    provider.picture("call", "3-incoming")?;
    client.picture("call", "3-calling")?;
    provider.press_away("#accept").await?;
    for app in [&client, &provider] {
        app.on("in-call").await?;
    }

    both_hear(&dir, "call", &client, &provider, &speeches).await?;
    muting_silences(&dir, &client, &provider, &speeches).await?;

    client.press("#hang-up").await?;
    for app in [&client, &provider] {
        app.on("ended").await?;
        app.picture("call", "6-ended")?;
        ensure!(app.mark("#reason", "data-code").await? == "hung_up", "{} shows another reason", app.name);
    }
    let durations =
        (client.mark("#duration", "data-seconds").await?, provider.mark("#duration", "data-seconds").await?);
    ensure!(durations.0 == durations.1, "two durations of one call: {durations:?}");
    ensure!(durations.0.parse::<u64>()? >= 10, "a call of {} s", durations.0);

    // Called again from the other side, and accepted without a mouse.
    provider.press("#call-again").await?;
    client.on("incoming").await?;
    client.chord("a").await?;
    for app in [&client, &provider] {
        app.on("in-call").await?;
    }
    client.picture("call", "7-accepted-by-keyboard")?;
    provider.chord("e").await?;
    for app in [&client, &provider] {
        app.on("ended").await?;
    }
    no_error_logged(&[&client, &provider], &server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wrong_link_and_an_unreachable_server_are_said_and_the_app_goes_on() -> Result<()> {
    let dir = folder("windows/sign-in")?;
    let mut server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    let address = server.address.clone();
    server.end();

    let app = App::open(&dir, "client", &[], Devices::Both).await?;
    app.on("sign-in").await?;
    for (wrong, shot) in [("hello", "wrong-1"), ("https://example.org/join", "wrong-2")] {
        app.type_into("#join-link", wrong).await?;
        app.press("#sign-in").await?;
        let said = app.sentence("#sign-in-problem").await?;
        println!("{wrong}: {said}");
        app.picture("sign-in", shot)?;
    }
    app.type_into("#join-link", &seeded.client.link).await?;
    app.press("#sign-in").await?;
    until("the server is said to be out of reach", async || {
        Ok(Some(app.sentence("#sign-in-problem").await?).filter(|said| said.contains("cannot be reached")))
    })
    .await?;
    app.picture("sign-in", "unreachable")?;

    // The same server comes back, at the same address: nobody has to do anything.
    let _server = Server::start_at("debug", &dir, &address)?;
    app.on("home").await?;
    app.has_card(&seeded).await?;
    app.picture("sign-in", "reached")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_check_hears_a_sentence_plays_it_back_and_ends_in_a_verdict() -> Result<()> {
    let dir = folder("windows/check")?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start_with("debug", &dir, &["--listen", "127.0.0.1:0", "--echo"])?;
    let seeded = server.seed_demo()?;
    let app = App::open(&dir, "client", &[&seeded.client.link], Devices::Both).await?;
    app.on("home").await?;
    // This desk's microphone is all zeros while nothing is played into it, which would count as switched off. So somebody
    // talks in the room, and that is a noise.
    let _room = app.desk.sound.play(MICROPHONE, &speeches.client)?;
    app.press("#start-check").await?;
    app.on("trial").await?;
    app.says("trial_speak").await?;
    app.picture("check", "1-speak")?;
    let recording = app.desk.sound.record(SPEAKER, &dir.join("client-hears.wav"))?;
    let _speech = app.desk.sound.play(MICROPHONE, &speeches.client)?;
    until("the meter moves", async || {
        let level = "return Number(document.documentElement.style.getPropertyValue('--own')) > 0.3";
        Ok((app.web.execute(level, []).await?.json() == true).then_some(()))
    })
    .await?;
    app.says("trial_listen").await?;
    app.picture("check", "2-listen")?;
    until("there is a verdict", async || {
        let verdict = app.mark("#trial-line", "data-verdict").await?;
        Ok(["trial_ready", "trial_remarks", "trial_problems"].contains(&verdict.as_str()).then_some(()))
    })
    .await?;
    app.picture("check", "3-verdict")?;
    let (verdict, faults) = (app.mark("#trial-line", "data-verdict").await?, app.content("#trial-faults").await?);
    println!("{verdict}: {faults}; {}", app.content("#trial-paths").await?);
    let others = app.web.find_all(By::Css("[data-fault]:not([data-fault=fault_noisy])")).await?;
    ensure!(others.is_empty(), "the check finds faults where none are: {faults}");
    ensure!(!app.web.find_all(By::Css("[data-path]")).await?.is_empty(), "no way through the network is shown");
    let heard = level_dbfs(&recording.stop(), 0, 60_000)?;
    ensure!(heard > -60.0, "nothing was played back: {heard:.0} dBFS");
    let body = app.web.find(By::Css("body")).await?;
    body.send_keys(Key::Escape + "").await?;
    app.on("home").await?;
    no_error_logged(&[&app], &server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_missing_microphone_is_said_and_used_once_plugged_in() -> Result<()> {
    let Pair { dir, speeches, server: _server, seeded, client, provider } =
        Pair::open("windows/no-microphone", Devices::SpeakerAlone).await?;
    client.on("home").await?;
    client.press("#check").await?;
    client.on("check").await?;
    until("the check says that there is no microphone", async || {
        Ok(Some(client.mark("#verdict", "data-verdict").await?).filter(|verdict| verdict == "check_no_microphone"))
    })
    .await?;
    client.picture("no-microphone", "check")?;
    client.press("#check-done").await?;

    call_and_accept(&client, &provider, &seeded).await?;
    client.notice("microphone_missing").await?;
    client.picture("no-microphone", "in-call")?;
    client.desk.sound.plug_microphone(MICROPHONE)?;
    client.no_notice("microphone_missing").await?;
    both_hear(&dir, "no-microphone", &client, &provider, &speeches).await?;
    provider.press("#hang-up").await?;
    client.on("ended").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_microphone_pulled_out_in_a_call_is_said_and_the_call_goes_on() -> Result<()> {
    let Pair { dir, speeches, server: _server, seeded, client, provider } =
        Pair::open("windows/pulled-out", Devices::Both).await?;
    call_and_accept(&client, &provider, &seeded).await?;

    for part in client.microphone.context("the client began with a microphone")? {
        client.desk.sound.unplug(part)?;
    }
    client.notice("microphone_unplugged").await?;
    client.picture("pulled-out", "unplugged")?;
    client.on("in-call").await?;
    provider.on("in-call").await?;
    client.desk.sound.plug_microphone(MICROPHONE)?;
    client.no_notice("microphone_unplugged").await?;

    // Plugged in again, it is heard again.
    let heard = said(&client, &speeches.client, &provider, SPEAKER, &dir.join("provider-hears.wav"))?;
    assert_heard("the provider hears the client", &speeches.client, &heard)?;
    client.press("#hang-up").await?;
    provider.on("ended").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_window_and_a_program_meet_in_a_room() -> Result<()> {
    let dir = folder("windows/room")?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    let links = make_room(&server.address, &seeded.operator_key, "Evening group", &["Ana Moreno", "Bo Andersson"])?;
    let host = App::open(&dir, "host", &[&links[0]], Devices::Both).await?;
    host.on("room").await?;
    println!("alone in the room: {}", host.sentence("#room-empty").await?);
    host.picture("room", "1-alone")?;

    let mut guest = Guest::start(&dir, &["room", "--link", &links[1]], &speeches.client, "Can you read this?")?;
    let bo = ".member:not(.own)";
    until("the guest is a member", async || {
        Ok((host.content(&format!("{bo} .peer")).await? == "Bo Andersson").then_some(()))
    })
    .await?;
    let speaks = "const voice = Number(document.documentElement.style.getPropertyValue('--voice')); \
                  return voice > 0.3 && document.querySelector('.member.speaking:not(.own)') !== null";
    until("the window shows that the guest speaks", async || {
        Ok((host.web.execute(speaks, []).await?.json() == true).then_some(()))
    })
    .await?;
    host.picture("room", "2-guest-speaks")?;

    // Text, both ways, by keyboard alone.
    until("the text is counted", async || {
        Ok(Some(host.content("#text").await?).filter(|label| label.contains("1 new")))
    })
    .await?;
    host.chord("t").await?;
    until("the guest's line is shown", async || {
        Ok((host.content(".text-row:not(.own) .what").await? == "Can you read this?").then_some(()))
    })
    .await?;
    host.type_into("#text-line", "<b>Yes</b>").await?;
    host.type_keys("#text-line", Key::Enter).await?;
    guest.wait_for("the host's line", |event| event["event"] == "text" && event["text"] == "<b>Yes</b>")?;
    until("the line is delivered", async || {
        host.web.find(By::Css(".text-row.own [data-state=text_delivered]")).await?;
        Ok(Some(()))
    })
    .await?;
    host.picture("room", "3-text")?;
    host.type_keys("#text-line", Key::Escape).await?;
    until("the text is closed", async || {
        Ok((!host.web.find(By::Css("#text-panel")).await?.is_displayed().await?).then_some(()))
    })
    .await?;

    host.chord("m").await?;
    guest.wait_for("the host is muted", |event| event["event"] == "member_muted" && event["muted"] == true)?;

    host.press(&format!("{bo} summary")).await?;
    host.picture("room", "4-remove")?;
    host.press(&format!("{bo} [data-remove]")).await?;
    guest.wait_for("the guest is removed", |event| event["event"] == "room_over" && event["why"] == "removed")?;
    host.sentence("#room-empty").await?;

    host.press("#leave").await?;
    host.press("#enter-room").await?;
    host.on("room").await?;
    host.picture("room", "5-entered-again")?;
    no_error_logged(&[&host], &server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_window_waits_for_the_next_person_talks_and_is_told_when_they_leave() -> Result<()> {
    let dir = folder("windows/match")?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    // A link of theirs as a person, not for one booking.
    let link = format!("bellwire://join?server={}&token={}", server.url(), seeded.provider.token);
    let provider = App::open(&dir, "provider", &[&link], Devices::Both).await?;
    provider.on("home").await?;
    provider.press("#search").await?;
    provider.on("queue").await?;
    println!("in the queue: {}", provider.text("#queue-place").await?);
    provider.picture("match", "1-queue")?;

    let token = dir.join("guest.token");
    std::fs::write(&token, &seeded.client.token)?;
    let (server_url, token) = (server.url(), token.display().to_string());
    let mut guest =
        Guest::start(&dir, &["match", "--server", &server_url, "--token-file", &token], &speeches.client, "Hello")?;
    provider.on("match").await?;
    until("the partner is heard", async || Ok(Some(provider.text("#elapsed").await?).filter(|time| !time.is_empty())))
        .await?;
    until("the partner's text is counted", async || {
        Ok(Some(provider.content("#text").await?).filter(|label| label.contains("1 new")))
    })
    .await?;
    provider.picture("match", "2-match")?;
    guest.process.end();
    provider.on("match-over").await?;
    println!("after it: {}", provider.text("#parted").await?);
    provider.picture("match", "3-over")?;

    provider.press("#find-next").await?;
    provider.on("queue").await?;
    provider.press("#stop-searching").await?;
    provider.on("home").await?;
    no_error_logged(&[&provider], &server)
}

/// A client and a provider, each at a desk and opened by their own link.
struct Pair {
    dir: PathBuf,
    speeches: Speeches,
    server: Server,
    seeded: Seeded,
    client: App,
    provider: App,
}

impl Pair {
    async fn open(test: &str, at_client: Devices) -> Result<Self> {
        let dir = folder(test)?;
        let speeches = Speeches::make(&dir)?;
        let server = Server::start("debug", &dir)?;
        let seeded = server.seed_demo()?;
        let client = App::open(&dir, "client", &[&seeded.client.link], at_client).await?;
        let provider = App::open(&dir, "provider", &[&seeded.provider.link], Devices::Both).await?;
        Ok(Self { dir, speeches, server, seeded, client, provider })
    }
}

/// What comes out of the other's speaker while one says something, into `wav`.
fn said(from: &App, speech: &Path, to: &App, speaker: &str, wav: &Path) -> Result<PathBuf> {
    let recording = to.desk.sound.record(speaker, wav)?;
    let mut speech = from.desk.sound.play(MICROPHONE, speech)?;
    ensure!(speech.wait(PATIENCE)?.success(), "the speech was not played; see {}", speech.log().display());
    Ok(recording.stop())
}

async fn mute(app: &App) -> Result<()> {
    app.press("#mute").await?;
    until("the button shows that it is muted", async || {
        Ok((app.mark("#mute", "aria-pressed").await? == "true").then_some(()))
    })
    .await
}

async fn call_and_accept(caller: &App, callee: &App, seeded: &Seeded) -> Result<()> {
    for app in [caller, callee] {
        app.on("home").await?;
    }
    caller.press(&format!("[data-booking=\"{}\"] button.call", seeded.booking)).await?;
    callee.on("incoming").await?;
    callee.press("#accept").await?;
    for app in [caller, callee] {
        app.on("in-call").await?;
    }
    Ok(())
}

/// Each speaks into their microphone at once; each must be found in what comes out of the other's speaker.
async fn both_hear(dir: &Path, test: &str, client: &App, provider: &App, speeches: &Speeches) -> Result<()> {
    let at_provider = provider.desk.sound.record(SPEAKER, &dir.join("provider-hears.wav"))?;
    let at_client = client.desk.sound.record(SPEAKER, &dir.join("client-hears.wav"))?;
    let mut from_client = client.desk.sound.play(MICROPHONE, &speeches.client)?;
    let mut from_provider = provider.desk.sound.play(MICROPHONE, &speeches.provider)?;
    for app in [client, provider] {
        app.shows_levels().await?;
        app.picture(test, "4-in-call")?;
    }
    for speech in [&mut from_client, &mut from_provider] {
        ensure!(speech.wait(PATIENCE)?.success(), "the speech was not played; see {}", speech.log().display());
    }
    let (at_provider, at_client) = (at_provider.stop(), at_client.stop());
    assert_heard("the provider hears the client", &speeches.client, &at_provider)?;
    assert_heard("the client hears the provider", &speeches.provider, &at_client)
}

async fn muting_silences(dir: &Path, client: &App, provider: &App, speeches: &Speeches) -> Result<()> {
    ensure!(client.mark("#mute", "aria-pressed").await? == "false", "muted before anybody pressed it");
    mute(client).await?;
    until("the other one is told", async || {
        Ok(Some(provider.text("#peer-muted").await?).filter(|text| !text.is_empty()))
    })
    .await?;
    client.picture("call", "5-muted")?;
    let muted = said(client, &speeches.client, provider, SPEAKER, &dir.join("provider-hears-muted.wav"))?;
    let muted = level_dbfs(&muted, 0, 60_000)?;
    let heard = level_dbfs(&dir.join("provider-hears.wav"), 0, 60_000)?;
    println!("the provider hears {heard:.0} dBFS, and {muted:.0} dBFS while the client is muted");
    ensure!(muted < heard - 30.0, "muted, {muted:.0} dBFS are heard, and {heard:.0} dBFS otherwise");
    client.press("#mute").await
}

fn no_error_logged(apps: &[&App], server: &Server) -> Result<()> {
    for log in apps.iter().map(|app| app.log.as_path()).chain([server.log()]) {
        let text = std::fs::read_to_string(log)?;
        let errors: Vec<&str> =
            text.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
        ensure!(errors.is_empty(), "{}: {errors:#?}", log.display());
    }
    Ok(())
}
