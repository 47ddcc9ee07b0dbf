//! The relay's and TLS's settings: what belongs together, and what was meant by leaving a key out.

use super::{Config, Secret, secret};
use anyhow::{Result, bail};
use std::path::Path;

/// Of one person; more would make a quota of none.
const MOST_ALLOCATIONS: u32 = 1_000;
/// Less than this carries no speech.
const LEAST_KBPS: u32 = 64;
const SCHEMES: [&str; 4] = ["stun:", "stuns:", "turn:", "turns:"];

impl Config {
    /// Whether the server relays itself.
    pub fn relays(&self) -> bool {
        self.relay.unwrap_or(self.turn_urls.is_empty())
    }

    /// The secret as set; none if the data directory's is to be used.
    pub fn turn_secret(&self) -> Result<Option<Secret>> {
        secret("turn_secret", self.turn_secret.as_ref(), self.turn_secret_file.as_deref())
    }

    pub fn turn_secret_previous(&self) -> Result<Option<Secret>> {
        let file = self.turn_secret_previous_file.as_deref();
        secret("turn_secret_previous", self.turn_secret_previous.as_ref(), file)
    }

    /// The certificate's file and its key's, where TLS is wanted.
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        self.tls_certificate_file.as_deref().zip(self.tls_key_file.as_deref())
    }

    pub(super) fn check_relay(&self) -> Result<()> {
        if let Some(url) = self.turn_urls.iter().find(|url| !SCHEMES.iter().any(|scheme| url.starts_with(scheme))) {
            bail!("`turn_urls`: {url} begins with none of {}", SCHEMES.join(" "));
        }
        let has_secret = self.turn_secret.is_some() || self.turn_secret_file.is_some();
        if !has_secret && self.turn_urls.iter().any(|url| url.starts_with("turn")) {
            bail!("`turn_urls` needs `turn_secret`: the one that those relays know");
        }
        if self.tls_certificate_file.is_some() != self.tls_key_file.is_some() {
            bail!("`tls_certificate_file` and `tls_key_file` go together");
        }
        if !(1..=MOST_ALLOCATIONS).contains(&self.relay_allocations_per_user) {
            bail!("`relay_allocations_per_user` is 1 to {MOST_ALLOCATIONS}");
        }
        if (1..LEAST_KBPS).contains(&self.relay_kbps) {
            bail!("`relay_kbps` is {LEAST_KBPS} or more, or 0 for no limit");
        }
        if self.relay_address.is_some_and(|address| address.is_unspecified() || address.is_multicast()) {
            bail!("`relay_address` is the address of one host");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_is_on_unless_others_are_named() {
        let config = |relay, url: Option<&str>| {
            let turn_urls = url.map(str::to_owned).into_iter().collect();
            Config { relay, turn_urls, ..Config::default() }.relays()
        };
        let elsewhere = Some("turn:relay.example:3478?transport=udp");
        assert!(config(None, None) && !config(None, elsewhere) && config(Some(true), elsewhere));
        assert!(!config(Some(false), None));
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        let secret = || Some(Secret::from("0123456789abcdef0123456789abcdef".to_owned()));
        let urls = |url: &str| Config { turn_urls: vec![url.into()], turn_secret: secret(), ..Config::default() };
        let base = Config::default;
        let good = [base(), urls("turns:relay.example:443?transport=tcp"), Config { relay_kbps: 0, ..base() }];
        for config in good {
            config.check_relay().expect("good settings");
        }
        let bad = [
            urls("https://relay.example"),
            Config { turn_secret: None, ..urls("turn:relay.example") },
            Config { tls_key_file: Some("key.pem".into()), ..base() },
            Config { relay_allocations_per_user: 0, ..base() },
            Config { relay_kbps: 8, ..base() },
            Config { relay_address: Some([0, 0, 0, 0].into()), ..base() },
        ];
        for config in bad {
            config.check_relay().expect_err("bad settings");
        }
        let short = Config { turn_secret: Some("short".to_owned().into()), ..base() };
        assert!(short.turn_secret().is_err());
    }
}
