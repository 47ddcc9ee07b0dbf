//! What kind of machine and system this is. Not which one: no host name, no user.

/// The system with its version, the processor and how many there are of it.
pub fn describe() -> String {
    let count = std::thread::available_parallelism().map_or("?".into(), |count| count.to_string());
    format!("{}, {}, {count} processors", system(), std::env::consts::ARCH)
}

#[cfg(target_os = "linux")]
fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let number: String = kernel.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    format!("Linux {number}, {}", name.map_or("unknown", |name| name.trim_matches('"')))
}

#[cfg(target_os = "macos")]
fn system() -> String {
    let file = std::fs::read_to_string("/System/Library/CoreServices/SystemVersion.plist").unwrap_or_default();
    let version = file.split_once("<key>ProductVersion</key>").map(|(_, rest)| rest);
    let version = version.and_then(|rest| rest.split_once("<string>")?.1.split_once("</string>"));
    format!("macOS {}", version.map_or("unknown", |(version, _)| version))
}

#[cfg(windows)]
fn system() -> String {
    // Set for every process by the system.
    std::env::var("OS").unwrap_or_else(|_| "Windows".into())
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn system() -> String {
    std::env::consts::OS.into()
}
