//! A call between `bellwire-cli` and a page in Chromium: the native protocol and WebRTC of an implementation that is
//! not ours. Either one dials; each must hear the other.

#[path = "browser/older.rs"]
mod older;
mod support;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::{PATIENCE, Speeches, assert_heard, folder, serve, until};
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use xtask::cli::{Cli, Setup, Task, has_network, wav};
use xtask::rig::Driver;
use xtask::server::{Seeded, Server};

/// How much each must have heard before the call ends: most of what the other says.
const LISTEN_SECONDS: f64 = 10.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_page_calls_and_both_hear_each_other() -> Result<()> {
    call("page-calls", Task::Answer).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_page_is_called_and_both_hear_each_other() -> Result<()> {
    call("page-is-called", Task::Call).await
}

/// The page is the client of the booking, bellwire-cli the provider.
async fn call(name: &str, task: Task) -> Result<()> {
    let dir = folder(&format!("browser/{name}"))?;
    let speeches = Speeches::make(&dir)?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    let driver = Driver::chromium(&dir.join("chromedriver.log"))?;
    let browser = open_browser(&driver, &dir, &speeches.client).await?;
    let talked = talk(&browser, task, &dir, &server, &seeded, &speeches).await;
    // The browser ends whatever came of the call.
    let quit = browser.quit().await;
    talked?;
    quit?;
    Ok(())
}

async fn talk(
    browser: &WebDriver,
    task: Task,
    dir: &Path,
    server: &Server,
    seeded: &Seeded,
    speeches: &Speeches,
) -> Result<()> {
    browser.goto(serve(&xtask::root().join("tests/browser"))?).await?;
    let start = json!({
        "server": server.url(), "token": seeded.client.token, "booking": seeded.booking, "dials": task == Task::Answer
    });
    until("the page has loaded", async || {
        Ok(browser.execute("return 'Peer' in window", []).await?.json().as_bool().filter(|loaded| *loaded))
    })
    .await?;
    browser.execute("window.peer = new Peer(arguments[0])", [start]).await?;
    let heard = dir.join("provider-hears.wav");
    let mut cli = Cli::start(Setup {
        profile: "debug",
        dir,
        name: "provider",
        task,
        server,
        person: &seeded.provider,
        booking: &seeded.booking,
        input: wav(&speeches.provider),
        output: wav(&heard),
        extra: Vec::new(),
        env: Vec::new(),
    })?;

    until("the page is connected", async || {
        Ok(field(browser, "phase").await?.as_str().filter(|p| *p == "connected").map(drop))
    })
    .await?;
    cli.wait_for_state("connected", PATIENCE)?;
    until("the page has heard enough", async || {
        let seconds = browser.execute("return peer.samples / peer.rate", []).await?.json().as_f64();
        Ok(seconds.filter(|seconds| *seconds >= LISTEN_SECONDS))
    })
    .await?;
    let page_heard = save_recording(browser, dir).await?;

    // Whoever called hangs up.
    if task == Task::Answer {
        browser.execute("peer.hang_up()", []).await?;
    } else {
        cli.end();
    }
    let ending = until("the page knows that the call has ended", async || {
        Ok(Some(field(browser, "ending").await?).filter(Value::is_object))
    })
    .await?;
    let ended = cli.wait_for("the end", PATIENCE, |event| event["event"] == "ended")?;
    ensure!(cli.wait(PATIENCE)?.success(), "bellwire-cli did not end normally");
    ensure!(ending["reason"] == "hung_up" && ended["reason"] == "hung_up", "ended with {ending} and {ended}");
    ensure!(ending["duration_ms"] == ended["duration_ms"], "two durations of one call: {ending} and {ended}");
    let faults = field(browser, "faults").await?;
    ensure!(faults == json!([]), "the page met faults: {faults}");

    assert_heard("the page hears bellwire-cli", &speeches.provider, &page_heard)?;
    assert_heard("bellwire-cli hears the page", &speeches.client, &heard)
}

async fn field(browser: &WebDriver, name: &str) -> Result<Value> {
    Ok(browser.execute(format!("return peer.{name}"), []).await?.json().clone())
}

async fn save_recording(browser: &WebDriver, dir: &Path) -> Result<PathBuf> {
    let recording = browser.execute("return peer.recording()", []).await?.json().clone();
    let rate = recording["rate"].as_u64().context("the page's recording has no rate")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(recording["base64"].as_str().unwrap_or_default())?;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: u32::try_from(rate)?,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let wav = dir.join("page-hears.wav");
    let mut writer = hound::WavWriter::create(&wav, spec)?;
    for sample in bytes.chunks_exact(2) {
        writer.write_sample(i16::from_le_bytes([sample[0], sample[1]]))?;
    }
    writer.finalize()?;
    Ok(wav)
}

/// A browser with nothing of its own: no network but ours, a file as its microphone.
async fn open_browser(driver: &Driver, dir: &Path, speech: &Path) -> Result<WebDriver> {
    let mut capabilities = DesiredCapabilities::chrome();
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let microphone = format!("--use-file-for-fake-audio-capture={}", speech.display());
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
        &microphone,
        &profile,
    ] {
        capabilities.add_arg(argument)?;
    }
    if !has_network() {
        capabilities.add_arg("--allow-loopback-in-peer-connection")?;
    }
    WebDriver::new(&driver.url, capabilities).await.context("Chromium does not start")
}
