//! Files that only this user may read, on each system.

use anyhow::{Context, Result};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Makes the directory, readable by this user alone if it is new.
pub fn private_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    os::restrict_dir(dir).with_context(|| format!("{} cannot be made private", dir.display()))
}

/// The text of the file, which is made from `fresh` if it is missing. Of two who make it at once, one wins, and no one
/// ever sees half of it.
pub fn private_text(file: &Path, fresh: impl FnOnce() -> String) -> Result<String> {
    if !file.exists() {
        let half = file.with_extension(format!("{:032x}.new", rand::random::<u128>()));
        write_private(&half, &fresh()).with_context(|| format!("{} cannot be written", half.display()))?;
        let linked = fs::hard_link(&half, file);
        fs::remove_file(&half).ok();
        match linked {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(e).with_context(|| format!("{} cannot be made", file.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    os::private(&mut options);
    let mut file = options.open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
mod os {
    use std::fs::{OpenOptions, Permissions, set_permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::path::Path;

    pub fn private(options: &mut OpenOptions) {
        options.mode(0o600);
    }
    pub fn restrict_dir(dir: &Path) -> std::io::Result<()> {
        set_permissions(dir, Permissions::from_mode(0o700))
    }
}

/// A file takes the access list of its directory; in a user's profile that is the user's alone.
#[cfg(windows)]
mod os {
    use std::fs::OpenOptions;
    use std::path::Path;

    pub fn private(_: &mut OpenOptions) {}
    pub fn restrict_dir(_: &Path) -> std::io::Result<()> {
        Ok(())
    }
}
