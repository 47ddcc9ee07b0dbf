//! The licences of everything that is built in: permissive ones, and MPL-2.0, which binds its own files alone.

use cargo_metadata::Metadata;

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

pub fn check(metadata: &Metadata) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        match &package.license {
            Some(licence) if holds(licence) => {}
            Some(licence) => breaches.push(format!("{} {}: licence {licence}", package.name, package.version)),
            None => breaches.push(format!("{} {}: no licence named", package.name, package.version)),
        }
    }
    breaches
}

/// Whether an SPDX expression can be met with the allowed licences alone. Old manifests write `/` for OR.
fn holds(expression: &str) -> bool {
    let words = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut at = 0;
    any(&words, &mut at) && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut held = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        held |= all(words, at);
    }
    held
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut held = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        held &= one(words, at);
    }
    held
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let held = any(words, at);
        *at += 1;
        return held;
    }
    if words.get(*at) == Some(&"WITH") {
        let with = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
        return ALLOWED.contains(&with.as_str());
    }
    ALLOWED.contains(word)
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn an_expression_holds_if_allowed_licences_can_meet_it() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", true),
            ("(GPL-2.0 AND MIT) OR ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("MIT OR", true),
            ("", false),
        ] {
            assert_eq!(holds(expression), expected, "{expression:?}");
        }
    }
}
