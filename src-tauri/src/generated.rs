//! Files that are made from the code and committed: they are compared by tests, and written anew by
//! `BELLWIRE_UPDATE=1 cargo test -p bellwire`.

use crate::sentence::Sentence;
use crate::view_model::{Level, ProcessingChoice, View};
use std::any::TypeId;
use std::path::Path;
use ts_rs::{Config, TS, TypeVisitor};

#[track_caller]
pub fn check(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BELLWIRE_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is not what the code makes; write it anew with: BELLWIRE_UPDATE=1 cargo test -p bellwire"
    );
}

/// Every type that a root consists of, each once, by name.
struct Declarations {
    config: Config,
    seen: Vec<TypeId>,
    found: Vec<(String, String)>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if self.seen.contains(&TypeId::of::<T>()) {
            return;
        }
        self.seen.push(TypeId::of::<T>());
        // Numbers, texts and lists have no declaration of their own.
        if T::output_path().is_some() {
            self.found.push((T::ident(&self.config), T::decl(&self.config)));
        }
        T::visit_dependencies(self);
    }
}

#[test]
fn the_pages_types_are_those_of_the_view_model() {
    let mut all = Declarations { config: Config::new().with_large_int("number"), seen: Vec::new(), found: Vec::new() };
    all.visit::<View>();
    all.visit::<Level>();
    all.visit::<ProcessingChoice>();
    all.found.sort();
    let types = all.found.iter().map(|(_, declaration)| format!("export {declaration}\n"));
    let head = "// Made from src-tauri/src/view_model.rs and sentence.rs; see src-tauri/src/generated.rs.\n\n";
    check("ui/bindings.d.ts", &(head.to_owned() + &types.collect::<Vec<_>>().join("\n")));
}

/// The type checker says the same; this needs nothing but cargo.
#[test]
fn each_sentence_has_its_words_and_no_words_are_left_over() {
    let declaration = Sentence::decl(&Config::new());
    let ids = between(&declaration, "\"id\": \"", "\"");
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/messages.en.js")).unwrap();
    let sentences = file.split("const sentences = {").nth(1).and_then(|rest| rest.split("\n};").next()).unwrap();
    let words: Vec<&str> =
        sentences.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(": (").map(|(id, _)| id)).collect();
    assert!(ids.len() > 100, "{ids:?}");
    let missing: Vec<_> = ids.iter().filter(|id| !words.contains(id)).collect();
    let left_over: Vec<_> = words.iter().filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty() && left_over.is_empty(), "missing {missing:?}, left over {left_over:?}");
    assert!(!sentences.contains('!'), "no sentence shouts");
}

/// Each command that the page can send is allowed to it by name, and none is allowed that is not there.
#[test]
fn the_permissions_name_the_commands_that_there_are() {
    let commands = include_str!("commands.rs");
    let defined = between(commands, "#[tauri::command]\npub async fn ", "(");
    let allowed = include_str!("../permissions/app.toml");
    let main = allowed.split("[[permission]]").find(|part| part.contains("\"main-window\"")).unwrap();
    let named = between(main.split("commands.allow").nth(1).unwrap(), "\"", "\"");
    assert_eq!(defined, named);
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(start) {
        let Some((inner, after)) = after.split_once(end) else { break };
        found.push(inner);
        rest = after;
    }
    found
}
