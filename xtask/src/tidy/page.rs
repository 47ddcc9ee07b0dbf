//! The page: nothing inline, nothing made from text, and the policy that a browser enforces as strict as it was.

use super::Tracked;
use anyhow::{Context, Result};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src ipc: http://ipc.localhost; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Ways to turn text into page or program.
const FROM_TEXT: &[&str] =
    &["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "cssText"];

pub fn check(files: &[Tracked]) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("ui/")) {
        for (number, line) in file.text.lines().enumerate() {
            for why in faults(&file.path, line) {
                breaches.push(format!("{}:{}: {why}", file.path, number + 1));
            }
        }
    }
    let text = std::fs::read_to_string(xtask::root().join("tauri.conf.json"))?;
    let configuration: serde_json::Value = serde_json::from_str(&text).context("tauri.conf.json is no JSON")?;
    let app = &configuration["app"];
    if app["security"]["csp"] != POLICY {
        breaches.push("tauri.conf.json: the content security policy is not the strict one".to_owned());
    }
    if app["security"]["freezePrototype"] != true || app["withGlobalTauri"] != false {
        breaches.push("tauri.conf.json: freezePrototype must be on and withGlobalTauri off".to_owned());
    }
    Ok(breaches)
}

fn faults(path: &str, line: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if path.ends_with(".html") {
        if line.contains("<script") && !line.contains("src=") {
            faults.push("an inline script");
        }
        if line.contains("<style") || line.contains(" style=") {
            faults.push("an inline style");
        }
        if line.split_whitespace().any(|word| word.starts_with("on") && word.contains("=\"")) {
            faults.push("an inline event handler");
        }
    }
    if path.ends_with(".js") && FROM_TEXT.iter().any(|way| line.contains(way)) {
        faults.push("text turned into page or program");
    }
    if line.contains("https://") && !line.trim_start().starts_with(['/', '*']) {
        faults.push("an address outside");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::faults;

    #[test]
    fn what_is_inline_is_found() {
        for (line, expected) in [
            ("<script type=\"module\" src=\"main.js\"></script>", 0),
            ("<script>go()</script>", 1),
            ("<p style=\"color: red\">", 1),
            ("<button onclick=\"go()\">", 1),
            ("<img src=\"https://example.org/x.png\">", 1),
            ("<button id=\"on\" class=\"x\">", 0),
        ] {
            assert_eq!(faults("ui/index.html", line).len(), expected, "{line}");
        }
        assert_eq!(faults("ui/main.js", "where.innerHTML = text").len(), 1);
    }
}
