//! What is kept from one start to the next: this installation's id, the chosen devices, the processing, whether calls go
//! by the relay alone. Never a token, a name or a link: nothing in the file is a secret.
//!
//! A file that cannot be read is put aside as `settings.bad.json` and replaced by defaults, so that the app starts.

use bellwire_client::{DeviceChoice, DeviceId, NoiseSuppression, Processing};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub device: DeviceId,
    #[serde(default)]
    pub input: DeviceChoice,
    #[serde(default)]
    pub output: DeviceChoice,
    /// `None`: it rings where calls are heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<DeviceChoice>,
    #[serde(default, deserialize_with = "processing")]
    pub processing: Processing,
    /// Calls go by the relay alone, so that the other side does not learn this machine's address.
    #[serde(default)]
    pub relay_only: bool,
}

/// Settings from before noise suppression had strengths say whether it is on.
fn processing<'a, D: Deserializer<'a>>(from: D) -> Result<Processing, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Kept {
        echo_cancellation: bool,
        noise_suppression: Noise,
        gain_control: bool,
        #[serde(default)]
        original_sound: bool,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Noise {
        On(bool),
        Strength(NoiseSuppression),
    }
    let Kept { echo_cancellation, noise_suppression, gain_control, original_sound } = Kept::deserialize(from)?;
    let noise_suppression = match noise_suppression {
        Noise::On(true) => NoiseSuppression::Standard,
        Noise::On(false) => NoiseSuppression::Off,
        Noise::Strength(strength) => strength,
    };
    Ok(Processing { echo_cancellation, noise_suppression, gain_control, original_sound })
}

/// Settings and where they are kept.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    settings: Settings,
}

impl SettingsFile {
    /// Reads `settings.json` in `dir`, or makes it. `fresh` gives the id of a new installation.
    pub fn open(dir: &Path, fresh: impl FnOnce() -> DeviceId) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join("settings.json");
        let read = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                tracing::warn!(%error, "the settings cannot be read; they begin anew");
                let aside = fs::rename(&path, dir.join("settings.bad.json"));
                if let Err(error) = aside {
                    tracing::warn!(%error, "the unreadable settings cannot be put aside");
                }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(()),
            Err(error) => return Err(error),
        };
        match read {
            Ok(settings) => Ok(Self { path, settings }),
            Err(()) => {
                let settings = Settings {
                    device: fresh(),
                    input: DeviceChoice::Default,
                    output: DeviceChoice::Default,
                    ring: None,
                    processing: Processing::default(),
                    relay_only: false,
                };
                let file = Self { path, settings };
                file.write()?;
                Ok(file)
            }
        }
    }

    pub fn get(&self) -> &Settings {
        &self.settings
    }

    /// Changes and keeps. A file that cannot be written is logged: the change holds for this run.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let before = self.settings.clone();
        change(&mut self.settings);
        if before == self.settings {
            return;
        }
        if let Err(error) = self.write() {
            tracing::warn!(%error, "the settings cannot be kept");
        }
    }

    /// The whole file or none of it: a new one is written beside it and takes its place.
    fn write(&self) -> io::Result<()> {
        let next = self.path.with_extension("json.next");
        let mut file = fs::File::create(&next)?;
        file.write_all(&serde_json::to_vec_pretty(&self.settings)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        drop(file);
        fs::rename(&next, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, bits: u128) -> SettingsFile {
        SettingsFile::open(dir, || DeviceId::from_bits(bits)).unwrap()
    }

    #[test]
    fn the_device_id_and_choices_outlast_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(&dir.path().join("deep/er"), 7);
        file.change(|settings| settings.input = DeviceChoice::Named("USB".into()));
        file.change(|settings| settings.processing.gain_control = false);
        file.change(|settings| settings.processing.noise_suppression = NoiseSuppression::Strong);
        file.change(|settings| settings.ring = Some(DeviceChoice::Default));
        file.change(|settings| settings.relay_only = true);
        let again = open(&dir.path().join("deep/er"), 8);
        assert_eq!(again.get(), file.get());
        assert_eq!(again.get().device, DeviceId::from_bits(7));
        assert_eq!(again.get().input, DeviceChoice::Named("USB".into()));
    }

    #[test]
    fn settings_from_before_there_was_a_relay_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("settings.json"), r#"{"device":"d1","input":{"named":"USB"}}"#).unwrap();
        let read = open(dir.path(), 9);
        assert_eq!(read.get().device.as_str(), "d1");
        assert!(!read.get().relay_only);
    }

    #[test]
    fn settings_from_before_noise_suppression_had_strengths_are_kept() {
        for (before, strength) in [(true, NoiseSuppression::Standard), (false, NoiseSuppression::Off)] {
            let dir = tempfile::tempdir().unwrap();
            let processing =
                format!(r#"{{"echo_cancellation":true,"noise_suppression":{before},"gain_control":false}}"#);
            let file = format!(r#"{{"device":"d1","processing":{processing},"relay_only":true}}"#);
            fs::write(dir.path().join("settings.json"), file).unwrap();
            let mut read = open(dir.path(), 9);
            assert_eq!(read.get().device.as_str(), "d1");
            let expected = Processing { noise_suppression: strength, gain_control: false, ..Processing::default() };
            assert_eq!(read.get().processing, expected);
            read.change(|settings| settings.processing.original_sound = true);
            assert_eq!(open(dir.path(), 9).get(), read.get());
        }
    }

    #[test]
    fn unreadable_settings_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "{", "[]", r#"{"device":"bad id"}"#, r#"{"device":"d1","token":"x"}"#] {
            fs::write(dir.path().join("settings.json"), bad).unwrap();
            assert_eq!(open(dir.path(), 9).get().device, DeviceId::from_bits(9), "{bad}");
            assert_eq!(fs::read_to_string(dir.path().join("settings.bad.json")).unwrap(), bad);
        }
    }

    #[test]
    fn nothing_is_left_beside_the_file() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1).change(|settings| settings.output = DeviceChoice::Named("X".into()));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["settings.json"]);
    }
}
