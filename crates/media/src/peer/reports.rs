//! RTCP: what each side says of the other's packets, as bytes. Nothing here knows a connection.
//!
//! A [`Feedback`] goes out as one compound packet:
//! * a receiver report (RFC 3550, section 6.4.2) with one block: loss since the one before, losses in all, highest sequence
//!   number, jitter in units of 1/48000 s, and LSR and DLSR, from which the far side has its round trip;
//! * to whom it means something, the VoIP metrics of an extended report (RFC 3611, section 4.7): `loss rate` as in the
//!   block, `discard rate` the share of sound that had to be made up after all, `burst duration` the mean length in ms of the
//!   gaps that loss left. What we do not measure is marked as unavailable (127), or 0 where there is no such mark;
//! * where a limit was met, what the way carries in bits a second (draft-alvestrand-rmcat-remb-03).
//!
//! From a far side without the last two, a browser say, the feedback is the block alone. What is missing is asked for in a
//! generic NACK (RFC 4585, section 6.2.1), behind an empty receiver report, so that it is a compound packet as well.

use crate::RATE;
use crate::pipeline::Feedback;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webrtc::rtcp::extended_report::{ExtendedReport, VoIPMetricsReportBlock};
use webrtc::rtcp::packet::Packet;
use webrtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use webrtc::rtcp::receiver_report::ReceiverReport;
use webrtc::rtcp::reception_report::ReceptionReport;
use webrtc::rtcp::sender_report::SenderReport;
use webrtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

type Boxed = Box<dyn Packet + Send + Sync>;

/// When a far side sent a report of its own packets: the middle 32 bits of its NTP time (RFC 3550, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderTime {
    pub ssrc: u32,
    pub middle: u32,
}

/// What the far side says about our packets.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    pub feedback: Option<Feedback>,
    /// Sequence numbers that it asks for again.
    pub asked: Vec<u16>,
}

/// Of the sequence numbers asked for at once; more than that is not worth answering.
const MOST_ASKED: usize = 128;
/// A field of the VoIP metrics that is not measured.
const UNAVAILABLE: u8 = 127;
/// Packets received in a row that end a burst, the default of RFC 3611, section 4.7.2.
const GMIN: u8 = 16;
/// Concealment is "enhanced", the jitter buffer adaptive (RFC 3611, section 4.7.6).
const RECEIVER: u8 = 0b1011_0000;
/// The count of losses has 24 bits and a sign (RFC 3550, section 6.4.1).
const MOST_LOST: u32 = 0x7F_FFFF;

/// What a compound packet says about our stream `ssrc`.
pub fn about(ssrc: u32, packets: &[Boxed], now: SystemTime) -> Heard {
    let mut heard = Heard::default();
    let (mut metrics, mut bandwidth) = (None, None);
    for packet in packets {
        let any = packet.as_any();
        let blocks = match (any.downcast_ref::<ReceiverReport>(), any.downcast_ref::<SenderReport>()) {
            (Some(report), _) => report.reports.as_slice(),
            (None, Some(report)) => report.reports.as_slice(),
            (None, None) => &[],
        };
        if let Some(block) = blocks.iter().rfind(|block| block.ssrc == ssrc) {
            heard.feedback = Some(read(block, now));
        }
        if let Some(report) = any.downcast_ref::<ExtendedReport>() {
            let mut blocks = report.reports.iter().filter_map(|block| block.as_any().downcast_ref());
            metrics = blocks.rfind(|block: &&VoIPMetricsReportBlock| block.ssrc == ssrc).or(metrics);
        }
        if let Some(estimate) = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>()
            && estimate.ssrcs.contains(&ssrc)
        {
            bandwidth = Some(estimate.bitrate as u32);
        }
        if let Some(nack) = any.downcast_ref::<TransportLayerNack>()
            && nack.media_ssrc == ssrc
        {
            heard.asked.extend(nack.nacks.iter().flat_map(sequences));
        }
    }
    heard.asked.truncate(MOST_ASKED);
    if let Some(feedback) = &mut heard.feedback {
        feedback.bandwidth = bandwidth;
        feedback.unrecovered = metrics.map(|metrics| share(metrics.discard_rate));
        feedback.burst_ms = metrics.map(|metrics| f32::from(metrics.burst_duration));
    }
    heard
}

/// When the far side sent its report, if there is one among them.
pub fn sender_time(packets: &[Boxed]) -> Option<SenderTime> {
    let report = packets.iter().rev().find_map(|packet| packet.as_any().downcast_ref::<SenderReport>())?;
    Some(SenderTime { ssrc: report.ssrc, middle: (report.ntp_time >> 16) as u32 })
}

/// Asks the far side's stream `theirs` for these packets again.
pub fn asking(ours: u32, theirs: u32, sequences: &[u16]) -> Vec<Boxed> {
    let nacks = pairs(sequences);
    vec![
        Box::new(ReceiverReport { ssrc: ours, ..ReceiverReport::default() }),
        Box::new(TransportLayerNack { sender_ssrc: ours, media_ssrc: theirs, nacks }),
    ]
}

/// Tells the far side about its stream `theirs`. `sent` is when it sent its last report, and how long ago that came.
pub fn telling(
    ours: u32,
    theirs: u32,
    feedback: &Feedback,
    sent: Option<(SenderTime, Duration)>,
    extended: bool,
) -> Vec<Boxed> {
    let block = ReceptionReport {
        ssrc: theirs,
        fraction_lost: fraction(feedback.loss),
        total_lost: feedback.cumulative_lost.min(MOST_LOST),
        last_sequence_number: feedback.highest_sequence,
        jitter: (feedback.jitter_ms * RATE as f32 / 1000.0) as u32,
        last_sender_report: sent.map_or(0, |(time, _)| time.middle),
        delay: sent.map_or(0, |(_, ago)| (ago.as_secs_f64() * 65_536.0) as u32),
    };
    let mut packets: Vec<Boxed> =
        vec![Box::new(ReceiverReport { ssrc: ours, reports: vec![block], ..ReceiverReport::default() })];
    if extended {
        packets
            .push(Box::new(ExtendedReport { sender_ssrc: ours, reports: vec![Box::new(metrics(theirs, feedback))] }));
    }
    if let Some(bandwidth) = feedback.bandwidth.filter(|_| extended) {
        // The library reads 0 as 2^23.
        let bitrate = bandwidth.max(1) as f32;
        packets.push(Box::new(ReceiverEstimatedMaximumBitrate { sender_ssrc: ours, bitrate, ssrcs: vec![theirs] }));
    }
    packets
}

fn metrics(ssrc: u32, feedback: &Feedback) -> VoIPMetricsReportBlock {
    VoIPMetricsReportBlock {
        ssrc,
        loss_rate: fraction(feedback.loss),
        discard_rate: fraction(feedback.unrecovered.unwrap_or(0.0)),
        burst_duration: feedback.burst_ms.unwrap_or(0.0) as u16,
        signal_level: UNAVAILABLE,
        noise_level: UNAVAILABLE,
        rerl: UNAVAILABLE,
        gmin: GMIN,
        rfactor: UNAVAILABLE,
        ext_rfactor: UNAVAILABLE,
        mos_lq: UNAVAILABLE,
        mos_cq: UNAVAILABLE,
        rx_config: RECEIVER,
        ..VoIPMetricsReportBlock::default()
    }
}

/// A share of 1 as 8 bits, rounded: a little loss shall not be told as none.
fn fraction(share: f32) -> u8 {
    (share * 256.0).round().clamp(0.0, 255.0) as u8
}

fn share(fraction: u8) -> f32 {
    f32::from(fraction) / 256.0
}

/// Each pair names one packet and which of the 16 after it (RFC 4585, figure 4).
fn pairs(sequences: &[u16]) -> Vec<NackPair> {
    let mut left: BTreeSet<u16> = sequences.iter().copied().collect();
    // From the first after the widest gap, so that a wrap-around is none.
    let first = sequences.iter().copied().find(|at| (1..=16).all(|back| !left.contains(&at.wrapping_sub(back))));
    let mut pairs = Vec::new();
    while let Some(at) = first.filter(|at| left.contains(at)).or_else(|| left.first().copied()) {
        left.remove(&at);
        let after = (0..16).filter(|bit| left.remove(&at.wrapping_add(bit + 1)));
        pairs.push(NackPair { packet_id: at, lost_packets: after.fold(0, |bits, bit| bits | 1 << bit) });
    }
    pairs
}

fn sequences(pair: &NackPair) -> impl Iterator<Item = u16> + use<> {
    let NackPair { packet_id, lost_packets } = *pair;
    let after = (0..16).filter(move |bit| lost_packets & 1 << bit != 0);
    std::iter::once(packet_id).chain(after.map(move |bit| packet_id.wrapping_add(bit + 1)))
}

fn read(block: &ReceptionReport, now: SystemTime) -> Feedback {
    Feedback {
        loss: share(block.fraction_lost),
        unrecovered: None,
        burst_ms: None,
        jitter_ms: block.jitter as f32 * 1000.0 / RATE as f32,
        round_trip_ms: round_trip_ms(block, now),
        bandwidth: None,
        highest_sequence: block.last_sequence_number,
        cumulative_lost: block.total_lost,
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

    fn passed(packets: &[Boxed]) -> Vec<Boxed> {
        let bytes = webrtc::rtcp::packet::marshal(packets).unwrap();
        webrtc::rtcp::packet::unmarshal(&mut &bytes[..]).unwrap()
    }

    #[test]
    fn feedback_is_the_same_after_its_way_as_bytes() {
        let feedback = Feedback {
            loss: 0.125,
            unrecovered: Some(0.0625),
            burst_ms: Some(118.0),
            jitter_ms: 7.5,
            round_trip_ms: None,
            bandwidth: Some(41_000),
            highest_sequence: 0x0003_1234,
            cumulative_lost: 77,
        };
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let sent = now - Duration::from_millis(180);
        let time = SenderTime { ssrc: 9, middle: middle_of_ntp(sent) };
        let told = passed(&telling(7, 9, &feedback, Some((time, Duration::from_millis(100))), true));
        let heard = about(9, &told, now);
        let round_trip_ms = heard.feedback.and_then(|feedback| feedback.round_trip_ms);
        assert!(round_trip_ms.is_some_and(|ms| (ms - 80.0).abs() < 0.1), "{round_trip_ms:?}");
        assert_eq!(heard.feedback, Some(Feedback { round_trip_ms, ..feedback }));
        assert_eq!(about(8, &told, now), Heard::default());
        // A far side that is told the block alone hears that.
        let told = passed(&telling(7, 9, &feedback, None, false));
        let plain = Feedback { unrecovered: None, burst_ms: None, bandwidth: None, ..feedback };
        assert_eq!(about(9, &told, now).feedback, Some(plain));
        for bandwidth in [10_000, 63_999, 262_143, 300_000] {
            let feedback = Feedback { bandwidth: Some(bandwidth), ..feedback };
            let told = passed(&telling(7, 9, &feedback, None, true));
            let heard = about(9, &told, now).feedback.and_then(|feedback| feedback.bandwidth).unwrap();
            assert!(heard.abs_diff(bandwidth) <= bandwidth >> 17, "{bandwidth} is heard as {heard}");
        }
    }

    #[test]
    fn what_cannot_be_said_in_so_many_bits_is_said_as_the_most_that_can() {
        let feedback = Feedback {
            loss: 1.0,
            unrecovered: Some(7.0),
            burst_ms: Some(1e9),
            jitter_ms: -1.0,
            bandwidth: Some(0),
            cumulative_lost: u32::MAX,
            ..Feedback::default()
        };
        let heard = about(9, &passed(&telling(7, 9, &feedback, None, true)), UNIX_EPOCH).feedback.unwrap();
        assert_eq!(
            (heard.loss, heard.unrecovered, heard.burst_ms),
            (255.0 / 256.0, Some(255.0 / 256.0), Some(65_535.0))
        );
        assert_eq!((heard.jitter_ms, heard.bandwidth, heard.cumulative_lost), (0.0, Some(1), MOST_LOST));
    }

    #[test]
    fn what_is_asked_for_is_what_is_heard_in_as_few_pairs_as_need_be() {
        for (asked, most) in [
            (vec![5], 1),
            (vec![65_535, 0, 1, 15], 1),
            (vec![9, 8, 7], 1),
            (vec![100, 117, 134], 3),
            ((0..=200).step_by(2).take(64).collect(), 8),
            (vec![], 0),
        ] {
            let packets = passed(&asking(7, 9, &asked));
            let mut heard = about(9, &packets, UNIX_EPOCH).asked;
            let mut expected = asked.clone();
            heard.sort_unstable();
            expected.sort_unstable();
            assert_eq!(heard, expected);
            assert!(pairs(&asked).len() <= most, "{asked:?}");
            assert!(about(8, &packets, UNIX_EPOCH).asked.is_empty());
        }
        let many: Vec<u16> = (0..2000).collect();
        assert_eq!(about(9, &passed(&asking(7, 9, &many)), UNIX_EPOCH).asked.len(), MOST_ASKED);
    }

    #[test]
    fn the_time_of_a_senders_report_is_the_middle_of_its_clock() {
        let report = SenderReport { ssrc: 9, ntp_time: 0x0123_4567_89AB_CDEF, ..SenderReport::default() };
        let packets = passed(&[Box::new(report)]);
        assert_eq!(sender_time(&packets), Some(SenderTime { ssrc: 9, middle: 0x4567_89AB }));
        assert_eq!(sender_time(&passed(&asking(7, 9, &[1]))), None);
    }
}
