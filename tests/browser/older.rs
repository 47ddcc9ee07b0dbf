//! Apps of the five older systems as pages in a browser, each with its own client library: two of them end in a connection
//! with sound both ways; and of the booked calls and the rooms one of the two is `bellwire-cli`.

use super::open_browser;
use crate::support::{PATIENCE, Speeches, assert_heard, folder, serve, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use thirtyfour::{WebDriver, WindowHandle};
use xtask::cli::{Cli, Setup, Task, bind_arguments, wav};
use xtask::rig::{Driver, Process, tethered, wait_for};
use xtask::server::{Person, Seeded, Server};

/// Joules of `totalAudioEnergy` (full scale for a second is 1) that only speech makes; silence and comfort noise stay
/// far below.
const SPEECH: f64 = 0.002;
const PACKETS: u64 = 100;
/// How much of the page's speech `bellwire-cli` records.
const LISTEN: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn random_match_with_relay() -> Result<()> {
    two_pages("000", |person, _| json!({ "token": person.token })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn random_chat_gateway() -> Result<()> {
    two_pages("001", |person, _| json!({ "token": person.token })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn channel_relay() -> Result<()> {
    two_pages("002", |person, _| json!({ "token": person.token, "user": person.id, "room": "pages" })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn multi_peer_rooms() -> Result<()> {
    two_pages("003", |person, _| json!({ "token": person.token, "room": "pages" })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn booking_calls() -> Result<()> {
    two_pages("004", |person, seeded| {
        json!({ "token": person.token, "booking": seeded.booking, "calls": person.id == seeded.client.id })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn booking_call_to_bellwire_cli() -> Result<()> {
    booking_call("004-calls-cli", Task::Answer).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn booking_call_from_bellwire_cli() -> Result<()> {
    booking_call("004-called-by-cli", Task::Call).await
}

/// The page is the client of the booking, bellwire-cli the provider.
async fn booking_call(name: &str, task: Task) -> Result<()> {
    let stage = Stage::set(name).await?;
    let (server, seeded, dir) = (&stage.server, &stage.seeded, &stage.dir);
    let played = async {
        let calls = task == Task::Answer;
        let start = json!({ "token": seeded.client.token, "booking": seeded.booking, "calls": calls });
        let page = stage.page("004", start).await?;
        let recording = dir.join("cli-hears.wav");
        let mut cli = Cli::start(Setup {
            profile: "debug",
            dir,
            name: "provider",
            task,
            server,
            person: &seeded.provider,
            booking: &seeded.booking,
            input: wav(&stage.speeches.provider),
            output: wav(&recording),
            extra: Vec::new(),
            env: Vec::new(),
        })?;
        stage.hears(&page).await?;
        cli.wait_for_state("connected", PATIENCE)?;
        tokio::time::sleep(LISTEN).await;
        cli.end();
        until("the page knows that the call has ended", async || {
            let ending = stage.browser.execute("return window.ending ?? null", []).await?.json().clone();
            Ok(ending.as_str().map(str::to_owned))
        })
        .await?;
        assert_heard("bellwire-cli hears the page", &stage.speeches.client, &recording)
    };
    let played = played.await;
    stage.close().await?;
    played
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn room_with_bellwire_cli() -> Result<()> {
    let stage = Stage::set("003-cli").await?;
    let (server, seeded, dir) = (&stage.server, &stage.seeded, &stage.dir);
    let played = async {
        let page = stage.page("003", json!({ "token": seeded.client.token, "room": "mixed" })).await?;
        until("the page is in the room", async || {
            let joined = stage.browser.execute("return window.joined ?? false", []).await?.json().clone();
            Ok((joined == true).then_some(()))
        })
        .await?;
        let (token, events, recording) =
            (dir.join("cli.token"), dir.join("cli-events.json"), dir.join("cli-hears.wav"));
        std::fs::write(&token, &seeded.provider.token)?;
        let mut command = tethered(xtask::built("debug", "bellwire-cli"));
        command.args(["room", "--server", &server.url(), "--room", "mixed", "--events", "json", "--token-file"]);
        command.arg(&token).args(["--input", &wav(&stage.speeches.provider), "--output", &wav(&recording)]);
        command.args(bind_arguments());
        let mut cli = Process::spawn_apart(command, "bellwire-cli", &events, &dir.join("cli.log"))?;
        stage.hears(&page).await?;
        wait_for("bellwire-cli hears the page", PATIENCE, || {
            ensure!(!cli.has_ended(), "bellwire-cli has ended; see {}", events.display());
            Ok(std::fs::read_to_string(&events)?.contains("\"member_heard\"").then_some(()))
        })?;
        tokio::time::sleep(LISTEN).await;
        cli.end();
        assert_heard("bellwire-cli hears the page", &stage.speeches.client, &recording)
    };
    let played = played.await;
    stage.close().await?;
    played
}

/// Two pages of one system, as the two people of the demo.
async fn two_pages(system: &str, start: impl Fn(&Person, &Seeded) -> Value) -> Result<()> {
    let stage = Stage::set(system).await?;
    let played = async {
        let first = stage.page(system, start(&stage.seeded.client, &stage.seeded)).await?;
        let second = stage.page(system, start(&stage.seeded.provider, &stage.seeded)).await?;
        for page in [&first, &second] {
            stage.hears(page).await?;
        }
        Ok(())
    };
    let played = played.await;
    stage.close().await?;
    played
}

/// A server, a browser, and the pages over HTTP.
struct Stage {
    dir: PathBuf,
    speeches: Speeches,
    server: Server,
    seeded: Seeded,
    pages: String,
    browser: WebDriver,
    _driver: Driver,
}

impl Stage {
    async fn set(name: &str) -> Result<Self> {
        let dir = folder(&format!("browser/older-{name}"))?;
        let speeches = Speeches::make(&dir)?;
        let server = Server::start("debug", &dir)?;
        let seeded = server.seed_demo()?;
        let pages = serve(&pages(&dir)?)?;
        let driver = Driver::chromium(&dir.join("chromedriver.log"))?;
        let browser = open_browser(&driver, &dir, &speeches.client).await?;
        Ok(Self { dir, speeches, server, seeded, pages, browser, _driver: driver })
    }

    /// Opens a page of that system in a tab of its own and starts it.
    async fn page(&self, system: &str, mut start: Value) -> Result<WindowHandle> {
        let tab = self.browser.new_window().await?;
        self.browser.switch_to_window(tab.clone()).await?;
        self.browser.goto(format!("{}/{system}.html", self.pages)).await?;
        until("the page has loaded", async || {
            let loaded = self.browser.execute("return 'start' in window && 'sound' in window", []).await?;
            Ok((*loaded.json() == true).then_some(()))
        })
        .await?;
        start["url"] = json!(format!("http://{}", self.server.address));
        self.browser.execute("window.start(arguments[0])", [start]).await?;
        Ok(tab)
    }

    /// Waits until this page is connected and has played speech of the other.
    async fn hears(&self, page: &WindowHandle) -> Result<()> {
        self.browser.switch_to_window(page.clone()).await?;
        let begun = std::time::Instant::now();
        loop {
            let heard = self.browser.execute("return window.heard()", []).await?.json().clone();
            ensure!(heard["faults"] == json!([]), "the page met faults: {heard}");
            if heard["state"] == "connected"
                && heard["energy"].as_f64().unwrap_or_default() >= SPEECH
                && heard["packets"].as_u64().unwrap_or_default() >= PACKETS
            {
                println!("the page hears: {heard}");
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the page does not hear the other: {heard}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The browser ends whatever came of it.
    async fn close(self) -> Result<()> {
        Ok(self.browser.quit().await?)
    }
}

/// A folder with the pages and the library that they load.
fn pages(dir: &Path) -> Result<PathBuf> {
    let packages = xtask::target().join("xtask/node/older-clients");
    std::fs::create_dir_all(&packages)?;
    let turn = std::fs::File::create(packages.join("turn"))?;
    turn.lock()?;
    let source = xtask::root().join("crates/server/tests/server/older/js");
    let lock = std::fs::read_to_string(source.join("package-lock.json"))?;
    let mark = packages.join("installed");
    if std::fs::read_to_string(&mark).ok().as_ref() != Some(&lock) {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(source.join(file), packages.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&packages);
        let output = npm.output().context("`npm` is installed: it brings the older apps' client")?;
        ensure!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&mark, lock)?;
    }
    let pages = dir.join("pages");
    std::fs::create_dir_all(&pages)?;
    for entry in std::fs::read_dir(xtask::root().join("tests/browser/older"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), pages.join(entry.file_name()))?;
    }
    let library = packages.join("node_modules/socket.io-client/dist/socket.io.min.js");
    std::fs::copy(library, pages.join("socket.io.min.js"))?;
    Ok(pages)
}
