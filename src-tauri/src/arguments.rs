//! The command line.

use bellwire_client::{DeviceChoice, Url};
use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;

/// Booked one-to-one voice calls.
#[derive(Clone, Debug, Default, Parser, PartialEq)]
#[command(name = "bellwire", version)]
pub struct Arguments {
    /// The join link from an invitation: signs in at once.
    pub link: Option<String>,
    /// A development server: its people can be picked to sign in as.
    #[arg(long, value_name = "URL")]
    pub server: Option<Url>,
    /// The microphone, for this run: a device's name, `default`, or wav:FILE.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    pub input: Option<DeviceChoice>,
    /// The speaker, for this run: a device's name, `default`, or wav:FILE.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    pub output: Option<DeviceChoice>,
    /// Offer this machine's address ADDRESS alone to the other side.
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// No echo cancellation, for this run.
    #[arg(long)]
    pub no_aec: bool,
    /// No noise suppression, for this run.
    #[arg(long)]
    pub no_ns: bool,
    /// No gain control, for this run.
    #[arg(long)]
    pub no_agc: bool,
    /// Keep settings and the window's data in DIR: a profile of its own, which runs beside others.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    match text.strip_prefix("wav:") {
        Some("") => Err("wav: is followed by the name of a file".into()),
        Some(file) => Ok(DeviceChoice::Wav(file.into())),
        None if text.is_empty() => Err("a device has a name".into()),
        None if text == "default" => Ok(DeviceChoice::Default),
        None => Ok(DeviceChoice::Named(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("bellwire").chain(line.split_whitespace()))
    }

    #[test]
    fn no_arguments_choose_nothing() {
        assert_eq!(parse("").unwrap(), Arguments::default());
    }

    #[test]
    fn all_arguments_are_read() {
        let line = "bellwire://join?server=ws://h&token=t --server ws://127.0.0.1:9 --input wav:in.wav --output default \
                    --bind 127.0.0.1 --no-aec --no-ns --no-agc --data-dir /tmp/a";
        let expected = Arguments {
            link: Some("bellwire://join?server=ws://h&token=t".into()),
            server: Some(Url::parse("ws://127.0.0.1:9").unwrap()),
            input: Some(DeviceChoice::Wav("in.wav".into())),
            output: Some(DeviceChoice::Default),
            bind: Some([127, 0, 0, 1].into()),
            no_aec: true,
            no_ns: true,
            no_agc: true,
            data_dir: Some("/tmp/a".into()),
        };
        assert_eq!(parse(line).unwrap(), expected);
        assert_eq!(parse("--input USB").unwrap().input, Some(DeviceChoice::Named("USB".into())));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in ["--input wav:", "--server nowhere", "--bind here", "--louder", "one two"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
