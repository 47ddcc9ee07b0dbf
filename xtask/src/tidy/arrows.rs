//! Who may know whom, as docs/architecture.md has it. Arrows of tests count too.

use cargo_metadata::{DependencyKind, Metadata};

/// Package, what it may build upon, and what its tests may know besides.
const ALLOWED: &[(&str, &[&str], &[&str])] = &[
    ("bellwire-signaling", &[], &[]),
    ("bellwire-call", &["bellwire-signaling"], &[]),
    ("bellwire-media", &[], &["xtask"]),
    ("bellwire-client", &["bellwire-call", "bellwire-media", "bellwire-signaling"], &["xtask"]),
    ("bellwire-server", &["bellwire-call", "bellwire-signaling"], &[]),
    ("bellwire-echo", &["bellwire-client", "bellwire-media", "bellwire-signaling"], &[]),
    ("bellwire", &["bellwire-client"], &["xtask"]),
    ("xtask", &[], &[]),
];

/// What must not be reached at all, by any number of steps, in a build: from, what, why.
const OUT_OF_REACH: &[(&str, &[&str], &str)] = &[
    ("bellwire-server", &["cpal", "opusic-sys", "alsa-sys", "webrtc"], "a server needs no sound"),
    ("bellwire-call", &["tokio", "rand", "time", "chrono"], "a call is told the time and handed its ids"),
    ("bellwire-signaling", &["tokio"], "messages are values"),
    ("xtask", &["tokio", "tauri"], "it builds in seconds"),
];

pub fn check(metadata: &Metadata) -> Vec<String> {
    let mut breaches = Vec::new();
    let ours: Vec<_> = metadata.workspace_packages();
    for package in &ours {
        let name = package.name.as_str();
        let Some((_, build, tests)) = ALLOWED.iter().find(|(known, ..)| *known == name) else {
            breaches.push(format!("{name} is a package that docs/architecture.md and this check do not know"));
            continue;
        };
        for dependency in &package.dependencies {
            if !ours.iter().any(|other| other.name.as_str() == dependency.name) {
                continue;
            }
            let known = dependency.name.as_str();
            let allowed = match dependency.kind {
                DependencyKind::Development => build.contains(&known) || tests.contains(&known),
                DependencyKind::Normal | DependencyKind::Build | DependencyKind::Unknown => build.contains(&known),
            };
            if !allowed {
                breaches.push(format!("{name} must not know {known}"));
            }
        }
    }
    for (from, forbidden, why) in OUT_OF_REACH {
        for name in reached(metadata, from) {
            if forbidden.contains(&name.as_str()) {
                breaches.push(format!("{from} reaches {name}, but {why}"));
            }
        }
    }
    breaches
}

/// The names of all packages that are part of a build of this one.
fn reached(metadata: &Metadata, from: &str) -> Vec<String> {
    let Some(resolve) = &metadata.resolve else { return Vec::new() };
    let Some(start) = metadata.packages.iter().find(|package| package.name.as_str() == from) else { return Vec::new() };
    let mut seen = vec![&start.id];
    let mut next = 0;
    while let Some(id) = seen.get(next).copied() {
        next += 1;
        let Some(node) = resolve.nodes.iter().find(|node| node.id == *id) else { continue };
        for dependency in &node.deps {
            let built = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if built && !seen.contains(&&dependency.pkg) {
                seen.push(&dependency.pkg);
            }
        }
    }
    metadata
        .packages
        .iter()
        .filter(|package| seen.contains(&&package.id))
        .map(|package| package.name.to_string())
        .collect()
}
