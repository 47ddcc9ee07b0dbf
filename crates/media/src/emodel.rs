//! An estimate of how good a call sounds: the E-model of ITU-T G.107 reduced to what is measured here, delay and loss.
//!
//! Echo, side tone, room noise and loudness keep the defaults of G.107 (table 3), under which `Ro - Is` is 93.2. The
//! result is an estimate for a narrow-band listener and is meant to compare one second with the next.

/// `Ro - Is` with all defaults of G.107 (2015).
const BASE: f32 = 93.2;
/// `Ie`, the impairment by the codec alone: none is laid down for Opus at 32 kbit/s, which is better than G.711 (0).
const EQUIPMENT: f32 = 0.0;
/// `Bpl`, robustness against loss: that of G.711 with concealment (ITU-T G.113, appendix I).
const ROBUSTNESS: f32 = 25.1;
/// Delay of the codec: 20 ms of packet and 6.5 ms of look-ahead (RFC 6716, section 2.1.4 and 2.1.5).
const CODEC_MS: f32 = 26.5;

/// The mean opinion score, 1 to 4.5.
///
/// `round_trip_ms` is that of the network, `buffer_ms` what the jitter buffer and the devices add, and `lost` the share
/// of sound, 0 to 1, that had to be made up.
pub fn mean_opinion_score(round_trip_ms: f32, buffer_ms: f32, lost: f32) -> f32 {
    let delay = round_trip_ms / 2.0 + buffer_ms + CODEC_MS;
    opinion(BASE - delay_impairment(delay) - loss_impairment(lost))
}

/// `Idd` of G.107, equations 7-27 and 7-28.
fn delay_impairment(delay_ms: f32) -> f32 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// `Ie,eff` of G.107, equation 7-29, with random loss (`BurstR` 1).
fn loss_impairment(lost: f32) -> f32 {
    let percent = lost.clamp(0.0, 1.0) * 100.0;
    EQUIPMENT + (95.0 - EQUIPMENT) * percent / (percent + ROBUSTNESS)
}

/// From the rating R to a score: G.107, annex B.
fn opinion(rating: f32) -> f32 {
    if rating <= 0.0 {
        1.0
    } else if rating >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_short_call_has_the_best_score_of_the_model() {
        assert!((mean_opinion_score(20.0, 40.0, 0.0) - 4.41).abs() < 0.01);
    }

    #[test]
    fn delay_and_loss_lower_the_score_as_the_tables_say() {
        // G.107 with defaults and Ta = 250 ms gives R about 82 (figure 1 of G.114), which is 4.1.
        assert!((mean_opinion_score(447.0, 0.0, 0.0) - 4.1).abs() < 0.1);
        // 5 % loss with Bpl 25.1: Ie,eff 15.8, R 77.4, 3.9.
        assert!((mean_opinion_score(20.0, 40.0, 0.05) - 3.9).abs() < 0.05);
        assert!(mean_opinion_score(2000.0, 500.0, 0.9) < 1.5);
    }
}
