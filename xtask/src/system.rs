//! What the system must have, for which purpose, and how it gets there.
//!
//! A need is looked for by what it gives (a program, a library), so that it does not matter which package gave it.
//! Where there is apt, what is missing is installed; elsewhere it is named.

use crate::step;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// What somebody is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Build the server, the engine and `bellwire-cli`.
    Engine,
    /// Build the desktop app as well.
    App,
    /// Let two parties speak.
    Speech,
    /// Run the whole-system tests and the page's checks.
    Tests,
    /// Measure with virtual devices.
    VirtualSound,
    /// Recorded voices, and what judges how they are heard.
    RecordedSpeech,
    /// Compare with a browser.
    Browser,
    /// Compare with, and test against, another relay.
    Relays,
    /// Build small internets of network namespaces.
    Network,
    /// Make installers.
    Bundle,
}

#[derive(Clone, Copy)]
enum Sign {
    Program(&'static str),
    /// A library by its pkg-config name.
    Library(&'static str),
    File(&'static str),
}

struct Need {
    package: &'static str,
    sign: Sign,
}

const fn program(package: &'static str, name: &'static str) -> Need {
    Need { package, sign: Sign::Program(name) }
}

const fn library(package: &'static str, name: &'static str) -> Need {
    Need { package, sign: Sign::Library(name) }
}

/// Debian's and Ubuntu's names.
const ENGINE: &[Need] = &[
    program("pkg-config", "pkg-config"),
    program("cmake", "cmake"),
    program("make", "make"),
    library("libasound2-dev", "alsa"),
];
const APP: &[Need] = &[
    library("libwebkit2gtk-4.1-dev", "webkit2gtk-4.1"),
    library("libgtk-3-dev", "gtk+-3.0"),
    library("librsvg2-dev", "librsvg-2.0"),
    library("libayatana-appindicator3-dev", "ayatana-appindicator3-0.1"),
    library("libdbus-1-dev", "dbus-1"),
];
const SPEECH: &[Need] = &[program("espeak-ng", "espeak-ng")];
const VIRTUAL_SOUND: &[Need] =
    &[program("pulseaudio", "pulseaudio"), program("pulseaudio-utils", "pactl"), program("util-linux", "setpriv")];
const TESTS: &[Need] = &[
    program("coturn", "turnserver"),
    program("webkit2gtk-driver", "WebKitWebDriver"),
    program("xvfb", "Xvfb"),
    program("dbus", "dbus-daemon"),
    program("imagemagick", "import"),
    program("chromium", "chromium"),
    program("chromium-driver", "chromedriver"),
    Need { package: "fonts-dejavu-core", sign: Sign::File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf") },
    program("nodejs", "node"),
    program("npm", "npm"),
];
const RECORDED_SPEECH: &[Need] = &[
    Need {
        package: "asterisk-core-sounds-en-g722",
        sign: Sign::File("/usr/share/asterisk/sounds/en_US_f_Allison/activated.g722"),
    },
    Need { package: "pocketsphinx-testdata", sign: Sign::File("/usr/share/pocketsphinx/test/data/goforward.raw") },
    program("python3", "python3"),
];
const BROWSER: &[Need] = &[program("chromium", "chromium")];
const RELAYS: &[Need] = &[program("coturn", "turnserver")];
const NETWORK: &[Need] = &[program("iproute2", "ip"), program("nftables", "nft"), program("openssl", "openssl")];
const BUNDLE: &[Need] = &[program("nodejs", "node"), program("npm", "npm")];

impl Purpose {
    fn needs(self) -> &'static [Need] {
        match self {
            Self::Engine => ENGINE,
            Self::App => APP,
            Self::Speech => SPEECH,
            Self::Tests => TESTS,
            Self::VirtualSound => VIRTUAL_SOUND,
            Self::RecordedSpeech => RECORDED_SPEECH,
            Self::Browser => BROWSER,
            Self::Relays => RELAYS,
            Self::Network => NETWORK,
            Self::Bundle => BUNDLE,
        }
    }
}

/// Installs what is missing; with `no_install`, or where there is no apt, says what it is and fails.
pub fn provide(purposes: &[Purpose], no_install: bool) -> Result<()> {
    let missing = missing(purposes);
    if missing.is_empty() {
        println!("  system       all packages are there");
        return Ok(());
    }
    let list = missing.join(" ");
    println!("  system       missing: {list}");
    if !cfg!(target_os = "linux") || !is_program("apt-get") {
        bail!(
            "These packages (by their Debian names) are needed: {list}\nInstall what your system calls them, and run this again.{}",
            elsewhere()
        );
    }
    if no_install {
        bail!(
            "These packages are needed: {list}\nInstall them with\n  {}apt-get install --no-install-recommends {list}\nand run this again.",
            if is_root() { "" } else { "sudo " }
        );
    }
    apt(&["update"], "apt-update")?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(&missing);
    apt(&arguments, "apt-install")?;
    let still = self::missing(purposes);
    if !still.is_empty() {
        bail!("apt installed all it was asked for, and yet these are not there: {}", still.join(" "));
    }
    println!("  system       installed {} packages and what they need", missing.len());
    Ok(())
}

pub fn is_program(name: &str) -> bool {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(&file).is_file()))
}

fn missing(purposes: &[Purpose]) -> Vec<&'static str> {
    let mut missing: Vec<&str> = purposes
        .iter()
        .flat_map(|purpose| purpose.needs())
        .filter(|need| !is_there(need.sign))
        .map(|need| need.package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn is_there(sign: Sign) -> bool {
    match sign {
        Sign::Program(name) => is_program(name),
        // Only Linux builds against these libraries.
        Sign::Library(_) | Sign::File(_) if !cfg!(target_os = "linux") => true,
        Sign::Library(name) => Command::new("pkg-config")
            .args(["--exists", name])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
        Sign::File(path) => Path::new(path).exists(),
    }
}

fn apt(arguments: &[&str], name: &str) -> Result<()> {
    let mut command = if is_root() {
        Command::new("apt-get")
    } else if is_program("sudo") {
        // Ask for the password where it can be typed; the step itself has no terminal.
        if !Command::new("sudo").arg("--validate").status()?.success() {
            bail!("sudo refused. Install the packages yourself, or run this as root.");
        }
        let mut command = Command::new("sudo");
        command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    } else {
        bail!("This is not root and there is no sudo. Install the packages as root, and run this again.");
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments);
    step::run(name, &mut command)
}

fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    return false;
}

#[cfg(target_os = "linux")]
fn elsewhere() -> &'static str {
    ""
}

#[cfg(target_os = "macos")]
fn elsewhere() -> &'static str {
    "\nOn macOS: Xcode's command line tools, cmake, and for the spoken demo espeak-ng (all in Homebrew). \
     The whole-system tests need Linux."
}

#[cfg(target_os = "windows")]
fn elsewhere() -> &'static str {
    "\nOn Windows: the Visual Studio build tools, CMake, WebView2 (part of Windows 11), and for the spoken demo espeak-ng. \
     The whole-system tests need Linux."
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
fn elsewhere() -> &'static str {
    "\nThis system is not one that Bellwire is tried on."
}
