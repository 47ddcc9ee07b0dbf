//! The desktop app at a desk of its own, driven by WebDriver, and a program beside it.

use crate::support::{PATIENCE, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thirtyfour::prelude::*;
use thirtyfour::{Capabilities, WindowHandle};
use xtask::cli::{bind_arguments, wav};
use xtask::rig::{Desk, Driver, Plugged, Process, tethered, wait_for};
use xtask::server::Seeded;

pub const MICROPHONE: &str = "microphone";
pub const SPEAKER: &str = "speaker";

/// A `bellwire-cli` in a room or a match; dropping it ends it.
pub struct Guest {
    pub process: Process,
    events: PathBuf,
}

impl Guest {
    pub fn start(dir: &Path, task: &[&str], says: &Path, writes: &str) -> Result<Self> {
        let (events, log) = (dir.join("guest-events.json"), dir.join("guest.log"));
        let mut command = tethered(xtask::built("debug", "bellwire-cli"));
        command.args(task).args(["--events", "json", "--say", writes, "--input", &wav(says)]);
        command.args(["--output", &wav(&dir.join("guest-hears.wav"))]).args(bind_arguments());
        let process = Process::spawn_apart(command, "bellwire-cli", &events, &log)?;
        Ok(Self { process, events })
    }

    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
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
pub enum Devices {
    Both,
    SpeakerAlone,
}

/// The desktop app at a desk of its own. Dropping it ends its session, then the app, then the desk.
pub struct App {
    pub name: &'static str,
    pub web: WebDriver,
    main: WindowHandle,
    pub log: PathBuf,
    _driver: Driver,
    pub microphone: Option<[Plugged; 2]>,
    pub desk: Desk,
}

impl App {
    pub async fn open(dir: &Path, name: &'static str, arguments: &[&str], devices: Devices) -> Result<Self> {
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
    pub async fn on(&self, screen: &str) -> Result<()> {
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
    pub async fn press(&self, button: &str) -> Result<()> {
        until(&format!("the {} presses {button}", self.name), async || {
            let element = self.web.find(By::Css(button)).await?;
            Ok(if element.is_enabled().await? { Some(element.click().await?) } else { None })
        })
        .await
    }

    /// Presses a button of a window that goes away by it, and returns to the main one.
    pub async fn press_away(&self, button: &str) -> Result<()> {
        let element = self.web.find(By::Css(button)).await?;
        // The window may be gone before the driver has seen the press through.
        if let Err(error) = element.click().await
            && !error.to_string().contains("no such window")
        {
            return Err(error.into());
        }
        Ok(self.web.switch_to_window(self.main.clone()).await?)
    }

    pub async fn type_into(&self, field: &str, text: &str) -> Result<()> {
        let element = self.web.find(By::Css(field)).await?;
        element.clear().await?;
        Ok(element.send_keys(text).await?)
    }

    pub async fn type_keys(&self, field: &str, key: Key) -> Result<()> {
        Ok(self.web.find(By::Css(field)).await?.send_keys(key).await?)
    }

    /// Ctrl+Shift and a letter, wherever the focus is.
    pub async fn chord(&self, letter: &str) -> Result<()> {
        let body = self.web.find(By::Css("body")).await?;
        Ok(body.send_keys(Key::Control + Key::Shift + letter).await?)
    }

    pub async fn pick_person(&self, role: &str) -> Result<()> {
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

    pub async fn has_card(&self, seeded: &Seeded) -> Result<()> {
        until(&format!("the {} sees the booking", self.name), async || {
            let card = format!("[data-booking=\"{}\"]", seeded.booking);
            self.web.find(By::Css(card)).await?;
            Ok(Some(()))
        })
        .await
    }

    pub async fn text(&self, element: &str) -> Result<String> {
        Ok(self.web.find(By::Css(element)).await?.text().await?)
    }

    /// The driver takes what is cut off with an ellipsis for invisible, and gives no text of it.
    pub async fn content(&self, element: &str) -> Result<String> {
        Ok(self.web.find(By::Css(element)).await?.prop("textContent").await?.unwrap_or_default())
    }

    pub async fn mark(&self, element: &str, attribute: &str) -> Result<String> {
        let value = self.web.find(By::Css(element)).await?.attr(attribute).await?;
        value.with_context(|| format!("{element} has no {attribute}"))
    }

    pub async fn property(&self, element: &str, name: &str) -> Result<String> {
        Ok(self.web.find(By::Css(element)).await?.prop(name).await?.unwrap_or_default())
    }

    /// Picks from a list, as the page sees it: the list itself is the system's, and out of the driver's reach.
    pub async fn choose(&self, list: &str, value: &str) -> Result<()> {
        let pick = "const list = document.querySelector(arguments[0]); list.value = arguments[1]; \
                    list.dispatchEvent(new Event('change', { bubbles: true })); return list.value";
        let now = self.web.execute(pick, vec![json!(list), json!(value)]).await?.json().clone();
        ensure!(now == value, "{list} has no {value}");
        Ok(())
    }

    /// Waits for a text that says something: one sentence at least.
    pub async fn sentence(&self, element: &str) -> Result<String> {
        until(&format!("the {} is told in {element}", self.name), async || {
            Ok(Some(self.text(element).await?).filter(|text| text.ends_with('.')))
        })
        .await
    }

    pub async fn notice(&self, id: &str) -> Result<()> {
        let said = self.sentence(&format!("[data-notice=\"{id}\"] .words")).await;
        if said.is_err() {
            self.picture("failed", id)?;
        }
        println!("{}: {}", self.name, said?);
        Ok(())
    }

    /// Waits until the check says this.
    pub async fn says(&self, line: &str) -> Result<()> {
        until(&format!("the check says {line}"), async || {
            Ok((self.mark("#trial-line", "data-verdict").await? == line).then_some(()))
        })
        .await
    }

    pub async fn no_notice(&self, id: &str) -> Result<()> {
        until(&format!("the {} is told no more: {id}", self.name), async || {
            let notices = self.web.find_all(By::Css(format!("[data-notice=\"{id}\"]"))).await?;
            Ok(notices.is_empty().then_some(()))
        })
        .await
    }

    /// Waits until the page shows that both talk.
    pub async fn shows_levels(&self) -> Result<()> {
        let levels = "const style = document.documentElement.style; \
                      return ['--own', '--voice'].every((name) => Number(style.getPropertyValue(name)) > 0.3)";
        until(&format!("the {} sees that both talk", self.name), async || {
            Ok((self.web.execute(levels, []).await?.json() == true).then_some(()))
        })
        .await
    }

    /// The window that comes up when somebody calls.
    pub async fn incoming_window(&self) -> Result<WindowHandle> {
        until(&format!("a window rings at the {}", self.name), async || {
            Ok(self.web.windows().await?.into_iter().find(|window| *window != self.main))
        })
        .await
    }

    /// What a person at this desk sees.
    pub fn picture(&self, test: &str, step: &str) -> Result<()> {
        let folder = xtask::target().join("screenshots");
        std::fs::create_dir_all(&folder)?;
        self.desk.screenshot(&folder.join(format!("{test}-{step}-{}.png", self.name)))
    }
}
