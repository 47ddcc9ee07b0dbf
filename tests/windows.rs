//! Two real windows, each at a desk of its own with a virtual display, microphone and speaker, driven by WebDriver.
//!
//! Pictures of every step are left in target/screenshots.

mod support;

use anyhow::{Context, Result, ensure};
use bellwire_client::recording::level_dbfs;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{PATIENCE, Speeches, assert_heard, folder, make_room, until};
use thirtyfour::prelude::*;
use thirtyfour::{Capabilities, WindowHandle};
use xtask::cli::{bind_arguments, wav};
use xtask::rig::{Desk, Driver, Plugged, Process, tethered, wait_for};
use xtask::server::{Seeded, Server};

const MICROPHONE: &str = "microphone";
const SPEAKER: &str = "speaker";

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
    let dir = folder("windows/no-microphone")?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    let client = App::open(&dir, "client", &[&seeded.client.link], Devices::SpeakerAlone).await?;
    let provider = App::open(&dir, "provider", &[&seeded.provider.link], Devices::Both).await?;
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
    let dir = folder("windows/pulled-out")?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    let client = App::open(&dir, "client", &[&seeded.client.link], Devices::Both).await?;
    let provider = App::open(&dir, "provider", &[&seeded.provider.link], Devices::Both).await?;
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
    let recording = provider.desk.sound.record(SPEAKER, &dir.join("provider-hears.wav"))?;
    let mut speech = client.desk.sound.play(MICROPHONE, &speeches.client)?;
    ensure!(speech.wait(PATIENCE)?.success(), "the speech was not played");
    assert_heard("the provider hears the client", &speeches.client, &recording.stop())?;
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
    client.press("#mute").await?;
    until("the button shows that it is muted", async || {
        Ok(Some(client.mark("#mute", "aria-pressed").await?).filter(|pressed| pressed == "true"))
    })
    .await?;
    until("the other one is told", async || {
        Ok(Some(provider.text("#peer-muted").await?).filter(|text| !text.is_empty()))
    })
    .await?;
    client.picture("call", "5-muted")?;
    let recording = provider.desk.sound.record(SPEAKER, &dir.join("provider-hears-muted.wav"))?;
    let mut speech = client.desk.sound.play(MICROPHONE, &speeches.client)?;
    ensure!(speech.wait(PATIENCE)?.success(), "the speech was not played");
    let muted = level_dbfs(&recording.stop(), 0, 60_000)?;
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

/// A `bellwire-cli` in a room or a match; dropping it ends it.
struct Guest {
    process: Process,
    events: PathBuf,
}

impl Guest {
    fn start(dir: &Path, task: &[&str], says: &Path, writes: &str) -> Result<Self> {
        let (events, log) = (dir.join("guest-events.json"), dir.join("guest.log"));
        let mut command = tethered(xtask::built("debug", "bellwire-cli"));
        command.args(task).args(["--events", "json", "--say", writes, "--input", &wav(says)]);
        command.args(["--output", &wav(&dir.join("guest-hears.wav"))]).args(bind_arguments());
        let process = Process::spawn_apart(command, "bellwire-cli", &events, &log)?;
        Ok(Self { process, events })
    }

    fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        wait_for(what, PATIENCE, || {
            let text = std::fs::read_to_string(&self.events)?;
            let said = text.lines().filter_map(|line| serde_json::from_str(line).ok()).any(|event| wanted(&event));
            ensure!(said || !self.process.has_ended(), "the guest ended without it; see {}", self.events.display());
            Ok(said.then_some(()))
        })
    }
}

/// What a desk has before the app is started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Devices {
    Both,
    SpeakerAlone,
}

/// The desktop app at a desk of its own. Dropping it ends its session, then the app, then the desk.
struct App {
    name: &'static str,
    web: WebDriver,
    main: WindowHandle,
    log: PathBuf,
    _driver: Driver,
    microphone: Option<[Plugged; 2]>,
    desk: Desk,
}

impl App {
    async fn open(dir: &Path, name: &'static str, arguments: &[&str], devices: Devices) -> Result<Self> {
        let desk = Desk::start(&dir.join(name))?;
        desk.sound.plug_speaker(SPEAKER)?;
        let microphone = match devices {
            Devices::Both => Some(desk.sound.plug_microphone(MICROPHONE)?),
            Devices::SpeakerAlone => None,
        };
        let log = dir.join(format!("{name}.log"));
        let driver = Driver::webkit(&log, desk.env())?;
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.extend(bind_arguments());
        let mut capabilities = Capabilities::new();
        let app = json!({ "binary": xtask::built("debug", "bellwire"), "args": all });
        capabilities.set("webkitgtk:browserOptions", app)?;
        let web = WebDriver::builder(&driver.url, capabilities)
            .request_timeout(Duration::from_secs(60))
            .await
            .with_context(|| format!("the app does not start; see {}", log.display()))?;
        let main = web.window().await?;
        Ok(Self { name, web, main, log, _driver: driver, microphone, desk })
    }

    /// Waits until the window shows this screen.
    async fn on(&self, screen: &str) -> Result<()> {
        let what = format!("the {} sees the screen {screen}", self.name);
        let seen = until(&what, async || {
            let now = self.web.execute("return document.body.dataset.screen", []).await?.json().clone();
            Ok((now == screen).then_some(()))
        })
        .await;
        if seen.is_err() {
            self.picture("failed", screen)?;
        }
        seen
    }

    /// Presses a button once it can be pressed.
    async fn press(&self, button: &str) -> Result<()> {
        until(&format!("the {} presses {button}", self.name), async || {
            let element = self.web.find(By::Css(button)).await?;
            Ok(if element.is_enabled().await? { Some(element.click().await?) } else { None })
        })
        .await
    }

    /// Presses a button of a window that goes away by it, and returns to the main one.
    async fn press_away(&self, button: &str) -> Result<()> {
        let element = self.web.find(By::Css(button)).await?;
        // The window may be gone before the driver has seen the press through.
        if let Err(error) = element.click().await
            && !error.to_string().contains("no such window")
        {
            return Err(error.into());
        }
        Ok(self.web.switch_to_window(self.main.clone()).await?)
    }

    async fn type_into(&self, field: &str, text: &str) -> Result<()> {
        let element = self.web.find(By::Css(field)).await?;
        element.clear().await?;
        Ok(element.send_keys(text).await?)
    }

    async fn type_keys(&self, field: &str, key: Key) -> Result<()> {
        Ok(self.web.find(By::Css(field)).await?.send_keys(key).await?)
    }

    /// Ctrl+Shift and a letter, wherever the focus is.
    async fn chord(&self, letter: &str) -> Result<()> {
        let body = self.web.find(By::Css("body")).await?;
        Ok(body.send_keys(Key::Control + Key::Shift + letter).await?)
    }

    async fn pick_person(&self, role: &str) -> Result<()> {
        until(&format!("the {} is among the people", self.name), async || {
            for person in self.web.find_all(By::Css("[data-person]")).await? {
                if person.text().await?.contains(role) {
                    return Ok(Some(person.click().await?));
                }
            }
            Ok(None)
        })
        .await
    }

    async fn has_card(&self, seeded: &Seeded) -> Result<()> {
        until(&format!("the {} sees the booking", self.name), async || {
            let card = format!("[data-booking=\"{}\"]", seeded.booking);
            self.web.find(By::Css(card)).await?;
            Ok(Some(()))
        })
        .await
    }

    async fn text(&self, element: &str) -> Result<String> {
        Ok(self.web.find(By::Css(element)).await?.text().await?)
    }

    /// The driver takes what is cut off with an ellipsis for invisible, and gives no text of it.
    async fn content(&self, element: &str) -> Result<String> {
        Ok(self.web.find(By::Css(element)).await?.prop("textContent").await?.unwrap_or_default())
    }

    async fn mark(&self, element: &str, attribute: &str) -> Result<String> {
        let value = self.web.find(By::Css(element)).await?.attr(attribute).await?;
        value.with_context(|| format!("{element} has no {attribute}"))
    }

    /// Waits for a text that says something: one sentence at least.
    async fn sentence(&self, element: &str) -> Result<String> {
        until(&format!("the {} is told in {element}", self.name), async || {
            Ok(Some(self.text(element).await?).filter(|text| text.ends_with('.')))
        })
        .await
    }

    async fn notice(&self, id: &str) -> Result<()> {
        let said = self.sentence(&format!("[data-notice=\"{id}\"] .words")).await;
        if said.is_err() {
            self.picture("failed", id)?;
        }
        println!("{}: {}", self.name, said?);
        Ok(())
    }

    /// Waits until the check says this.
    async fn says(&self, line: &str) -> Result<()> {
        until(&format!("the check says {line}"), async || {
            Ok((self.mark("#trial-line", "data-verdict").await? == line).then_some(()))
        })
        .await
    }

    async fn no_notice(&self, id: &str) -> Result<()> {
        until(&format!("the {} is told no more: {id}", self.name), async || {
            let notices = self.web.find_all(By::Css(format!("[data-notice=\"{id}\"]"))).await?;
            Ok(notices.is_empty().then_some(()))
        })
        .await
    }

    /// Waits until the page shows that both talk.
    async fn shows_levels(&self) -> Result<()> {
        let levels = "const style = document.documentElement.style; \
                      return ['--own', '--voice'].every((name) => Number(style.getPropertyValue(name)) > 0.3)";
        until(&format!("the {} sees that both talk", self.name), async || {
            Ok((self.web.execute(levels, []).await?.json() == true).then_some(()))
        })
        .await
    }

    /// The window that comes up when somebody calls.
    async fn incoming_window(&self) -> Result<WindowHandle> {
        until(&format!("a window rings at the {}", self.name), async || {
            Ok(self.web.windows().await?.into_iter().find(|window| *window != self.main))
        })
        .await
    }

    /// What a person at this desk sees.
    fn picture(&self, test: &str, step: &str) -> Result<()> {
        let folder = xtask::target().join("screenshots");
        std::fs::create_dir_all(&folder)?;
        self.desk.screenshot(&folder.join(format!("{test}-{step}-{}.png", self.name)))
    }
}
