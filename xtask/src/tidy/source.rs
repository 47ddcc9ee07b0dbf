//! What no file may hold: endless files, faults that end the program, traces of the machine that wrote it.

use super::Tracked;
use anyhow::Result;

const LONGEST: usize = 600;
/// Files that a program or a person's data wrote, by their beginnings.
const GENERATED: &[&str] = &["Cargo.lock", "ui/bindings"];
const CODE: &[&str] = &["rs", "js", "mjs", "css", "html", "ts", "sql", "toml", "sh"];
/// Written apart, so that this file holds none of them.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];
const ENDINGS: &[&str] = &[".unwrap()", ".expect(\"", "panic!(", "unreachable!(", "unimplemented!(", "todo!("];
const INVARIANT: &str = "// invariant:";

pub fn check(files: &[Tracked]) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for file in files {
        if is_code(&file.path) && file.text.lines().count() > LONGEST {
            breaches.push(format!("{}: over {LONGEST} lines; look for the second subject in it", file.path));
        }
        machine(file, &mut breaches);
        if is_ours_to_run(&file.path) && !is_test_module(&file.path, files) {
            endings(file, &mut breaches);
        }
    }
    Ok(breaches)
}

fn is_code(path: &str) -> bool {
    !GENERATED.iter().any(|generated| path.starts_with(generated))
        && path.rsplit_once('.').is_some_and(|(_, ending)| CODE.contains(&ending))
}

fn machine(file: &Tracked, breaches: &mut Vec<String>) {
    for (number, line) in file.text.lines().enumerate() {
        let number = number + 1;
        if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
            breaches.push(format!("{}:{number}: a path of one machine", file.path));
        }
    }
    if file.path == "Cargo.lock" {
        let sources = file.text.lines().filter(|line| line.starts_with("source = "));
        let sources: std::collections::BTreeSet<&str> = sources.collect();
        if sources.len() > 1 || sources.iter().any(|source| !source.starts_with("source = \"registry+")) {
            breaches.push(format!("{}: not everything comes from the one registry", file.path));
        }
    }
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    if [".npmrc", "pip.conf", ".netrc", ".pypirc"].contains(&name) {
        breaches.push(format!("{}: a machine's own settings", file.path));
    }
    if file.path.ends_with("config.toml") && file.text.lines().any(|line| line.trim_start().starts_with("[source")) {
        breaches.push(format!("{}: names a registry", file.path));
    }
}

/// Code of the programs themselves, tests left out.
fn is_ours_to_run(path: &str) -> bool {
    path.ends_with(".rs")
        && ((path.starts_with("crates/") && path.contains("/src/")) || path.starts_with("src-tauri/src/"))
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
}

/// Whether the module, or one it stands in, is compiled for tests alone: its parent declares it so.
fn is_test_module(path: &str, files: &[Tracked]) -> bool {
    let mut module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    while let Some((folder, name)) = module.rsplit_once('/') {
        let declared = format!("#[cfg(test)]\nmod {name};");
        let parents = [format!("{folder}/mod.rs"), format!("{folder}/lib.rs"), format!("{folder}.rs")];
        if files.iter().any(|file| parents.contains(&file.path) && file.text.contains(&declared)) {
            return true;
        }
        module = folder;
    }
    false
}

/// A program must not end over what it is given. Where something cannot happen, the line says why.
fn endings(file: &Tracked, breaches: &mut Vec<String>) {
    let mut explained = false;
    for (number, line) in file.text.lines().enumerate() {
        let code = line.trim();
        // Tests stand last.
        if code == "#[cfg(test)]" {
            break;
        }
        if code.starts_with("//") {
            explained |= code.starts_with(INVARIANT);
            continue;
        }
        let ends = ENDINGS.iter().any(|ending| code.contains(ending));
        if ends && !explained && !code.contains(INVARIANT) {
            breaches.push(format!("{}:{}: may end the program; say why not with `{INVARIANT}`", file.path, number + 1));
        }
        explained = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_only_tests_compile_may_panic() {
        let file = |path: &str, text: &str| Tracked { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file("crates/x/src/lib.rs", "mod a;\n#[cfg(test)]\nmod simulation;\n"),
            file("crates/x/src/a.rs", "b.unwrap()\n"),
            file("crates/x/src/simulation/mod.rs", "b.unwrap()\n"),
            file("crates/x/src/simulation/world.rs", "b.unwrap()\n"),
        ];
        let breaches = check(&files).unwrap();
        assert_eq!(breaches.len(), 1, "{breaches:?}");
        assert!(breaches[0].starts_with("crates/x/src/a.rs:1:"));
    }

    #[test]
    fn an_unexplained_ending_is_found_and_an_explained_one_is_not() {
        let text = "fn a() { b.unwrap() }\n// invariant: it is there\nc.unwrap();\nd.unwrap(); // invariant: so\n\
                    // e.unwrap()\n#[cfg(test)]\nmod tests { f.unwrap() }\n";
        let file = Tracked { path: "crates/x/src/lib.rs".to_owned(), text: text.to_owned() };
        let mut breaches = Vec::new();
        endings(&file, &mut breaches);
        assert_eq!(breaches.len(), 1, "{breaches:?}");
        assert!(breaches[0].starts_with("crates/x/src/lib.rs:1:"));
    }
}
