//! Tools that live in the npm registry: the TypeScript checker for the page, the Tauri command line for installers.
//! They are tools of development alone; nothing of theirs is in what is built.

use crate::step;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(Clone, Copy)]
pub enum Tool {
    TypeScript,
    TauriCli,
}

impl Tool {
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::TypeScript => ("typescript", "7.0.2"),
            Self::TauriCli => ("@tauri-apps/cli", "2.12.5"),
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::TypeScript => "tsc",
            Self::TauriCli => "tauri",
        }
    }
}

/// Installs the tool below target/ if it is not there, and says where its program is.
pub fn provide(tool: Tool) -> Result<PathBuf> {
    let (package, version) = tool.package();
    let folder = xtask::target().join("xtask/node").join(tool.program());
    let program = folder.join("node_modules/.bin").join(tool.program());
    let installed = folder.join("installed");
    if program.exists() && std::fs::read_to_string(&installed).is_ok_and(|found| found == version) {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--prefix", "."]);
    command.arg(format!("{package}@{version}"));
    step::run(&format!("npm-{}", tool.program()), &mut command)?;
    std::fs::write(&installed, version)?;
    Ok(program)
}
