//! What the far side's RTCP says about our packets (RFC 3550, section 6.4).

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webrtc::rtcp::packet::Packet;
use webrtc::rtcp::receiver_report::ReceiverReport;
use webrtc::rtcp::reception_report::ReceptionReport;
use webrtc::rtcp::sender_report::SenderReport;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    pub round_trip_ms: Option<f32>,
    /// Share of our packets since the report before, 0 to 1.
    pub loss: f32,
    pub jitter_ms: f32,
}

/// The newest report about the stream `ssrc` in a compound packet.
pub fn about(ssrc: u32, packets: &[Box<dyn Packet + Send + Sync>], now: SystemTime) -> Option<Report> {
    let mut blocks = packets.iter().flat_map(|packet| {
        let any = packet.as_any();
        match (any.downcast_ref::<ReceiverReport>(), any.downcast_ref::<SenderReport>()) {
            (Some(report), _) => report.reports.as_slice(),
            (None, Some(report)) => report.reports.as_slice(),
            (None, None) => &[],
        }
    });
    blocks.rfind(|block| block.ssrc == ssrc).map(|block| read(block, now))
}

fn read(block: &ReceptionReport, now: SystemTime) -> Report {
    Report {
        round_trip_ms: round_trip_ms(block, now),
        loss: f32::from(block.fraction_lost) / 256.0,
        jitter_ms: block.jitter as f32 / 48.0,
    }
}

/// A longer one is an error of a clock.
const LONGEST: u32 = 30 << 16;

/// `A - LSR - DLSR` in units of 1/65536 s (RFC 3550, figure 2). Before the far side saw a report of ours, LSR is 0.
fn round_trip_ms(block: &ReceptionReport, now: SystemTime) -> Option<f32> {
    if block.last_sender_report == 0 {
        return None;
    }
    let elapsed = middle_of_ntp(now).wrapping_sub(block.last_sender_report);
    // Clocks of two resolutions can make a tiny round trip negative.
    let round_trip = elapsed.saturating_sub(block.delay);
    (elapsed < LONGEST).then_some(round_trip as f32 * 1000.0 / 65_536.0)
}

/// Seconds from 1900 to 1970 (RFC 868).
const NTP_OFFSET: u64 = 2_208_988_800;

fn middle_of_ntp(now: SystemTime) -> u32 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let fraction = (u64::from(since.subsec_nanos()) << 16) / 1_000_000_000;
    (((since.as_secs() + NTP_OFFSET) << 16) | fraction) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(last_sender_report: u32, delay_ms: u32) -> ReceptionReport {
        ReceptionReport {
            ssrc: 7,
            fraction_lost: 64,
            jitter: 480,
            last_sender_report,
            delay: delay_ms * 65_536 / 1000,
            ..ReceptionReport::default()
        }
    }

    #[test]
    fn round_trip_is_what_is_left_after_the_far_sides_own_delay() {
        let sent = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let now = sent + Duration::from_millis(180);
        let report = read(&block(middle_of_ntp(sent), 100), now);
        assert!((report.round_trip_ms.unwrap() - 80.0).abs() < 0.1);
        assert_eq!((report.loss, report.jitter_ms), (0.25, 10.0));
    }

    #[test]
    fn a_report_before_ours_arrived_and_one_of_a_broken_clock_give_no_round_trip() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(read(&block(0, 0), now).round_trip_ms, None);
        assert_eq!(read(&block(middle_of_ntp(now + Duration::from_secs(5)), 0), now).round_trip_ms, None);
    }

    #[test]
    fn only_blocks_about_our_stream_count() {
        let packets: Vec<Box<dyn Packet + Send + Sync>> =
            vec![Box::new(ReceiverReport { ssrc: 1, reports: vec![block(0, 0)], ..ReceiverReport::default() })];
        assert!(about(7, &packets, UNIX_EPOCH).is_some());
        assert!(about(8, &packets, UNIX_EPOCH).is_none());
    }
}
