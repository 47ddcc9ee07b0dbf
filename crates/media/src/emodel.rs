//! An estimate of how good a call sounds: the E-model of ITU-T G.107 reduced to what is measured here: delay, loss and how
//! loss comes.
//!
//! Echo, side tone, room noise and loudness keep the defaults of G.107 (table 3), under which `Ro - Is` is 93.2. The
//! result is an estimate for a narrow-band listener and is meant to compare one second with the next.

/// `Ro - Is` with all defaults of G.107 (2015).
const BASE: f32 = 93.2;
/// `Ie`, the impairment by the codec alone: none is laid down for Opus at 32 kbit/s, which is better than G.711 (0).
const EQUIPMENT: f32 = 0.0;
/// `Bpl`, robustness against loss: that of G.711 with concealment (ITU-T G.113, appendix I).
const ROBUSTNESS: f32 = 25.1;
/// The codec looks ahead by 6.5 ms (RFC 6716, section 2.1.4 and 2.1.5).
const LOOK_AHEAD_MS: f32 = 6.5;
/// Delay of both sides' devices: 10 ms frames at either end, and 10 ms that the speaker holds in store.
const DEVICES_MS: f32 = 30.0;
/// The range of `BurstR` for which the model was made (G.107, table 2).
const BURST_RATIOS: std::ops::RangeInclusive<f32> = 1.0..=8.0;

/// One second as the listener has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// That of the network.
    pub round_trip_ms: f32,
    /// How long a packet plays.
    pub packet_ms: f32,
    /// From a packet's arrival to its playout, on average.
    pub buffer_ms: f32,
    /// Share of sound, 0 to 1, that had to be made up.
    pub made_up: f32,
    /// Share of packets, 0 to 1, that the network lost, and the mean length of the gaps that this left.
    pub lost: f32,
    pub burst_ms: f32,
}

/// The mean opinion score, 1 to 4.5.
pub fn mean_opinion_score(heard: &Heard) -> f32 {
    let delay = heard.round_trip_ms / 2.0 + heard.packet_ms + LOOK_AHEAD_MS + heard.buffer_ms + DEVICES_MS;
    opinion(BASE - delay_impairment(delay) - loss_impairment(heard.made_up, burst_ratio(heard)))
}

/// `BurstR` of G.107, section 3.5: the mean length of bursts against what it is where each packet is lost by chance,
/// `1 / (1 - loss)` packets.
fn burst_ratio(heard: &Heard) -> f32 {
    if heard.packet_ms <= 0.0 {
        return *BURST_RATIOS.start();
    }
    let packets = heard.burst_ms / heard.packet_ms;
    (packets * (1.0 - heard.lost)).clamp(*BURST_RATIOS.start(), *BURST_RATIOS.end())
}

/// `Idd` of G.107, equations 7-27 and 7-28.
fn delay_impairment(delay_ms: f32) -> f32 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// `Ie,eff` of G.107, equation 7-29.
fn loss_impairment(lost: f32, burst_ratio: f32) -> f32 {
    let percent = lost.clamp(0.0, 1.0) * 100.0;
    EQUIPMENT + (95.0 - EQUIPMENT) * percent / (percent / burst_ratio + ROBUSTNESS)
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

    const SHORT: Heard =
        Heard { round_trip_ms: 20.0, packet_ms: 20.0, buffer_ms: 30.0, made_up: 0.0, lost: 0.0, burst_ms: 0.0 };

    #[test]
    fn a_clean_short_call_has_the_best_score_of_the_model() {
        assert!((mean_opinion_score(&SHORT) - 4.41).abs() < 0.01);
    }

    #[test]
    fn delay_and_loss_lower_the_score_as_the_tables_say() {
        // G.107 with defaults and Ta = 250 ms gives R about 82 (figure 1 of G.114), which is 4.1.
        let late = Heard { round_trip_ms: 387.0, buffer_ms: 0.0, ..SHORT };
        assert!((mean_opinion_score(&late) - 4.1).abs() < 0.1);
        // 5 % loss with Bpl 25.1: Ie,eff 15.8, R 77.4, 3.9.
        let lossy = Heard { made_up: 0.05, lost: 0.05, burst_ms: 20.0, ..SHORT };
        assert!((mean_opinion_score(&lossy) - 3.9).abs() < 0.05);
        // Six packets in a row, BurstR 5.7: Ie,eff 18.3, R 74.9, 3.8.
        let bursts = Heard { burst_ms: 120.0, ..lossy };
        assert!((mean_opinion_score(&bursts) - 3.8).abs() < 0.05);
        let worst = Heard { round_trip_ms: 2000.0, buffer_ms: 500.0, made_up: 0.9, ..SHORT };
        assert!(mean_opinion_score(&worst) < 1.5);
    }
}
