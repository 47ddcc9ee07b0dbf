//! One row for each second of a call, in so much memory and no more.

use bellwire_media::{Protection, Stats};

/// Rows that are kept. A call that is longer has two seconds in each, then four: the worse of both counts.
const ROWS: usize = 3_600;

#[derive(Debug)]
pub struct Seconds {
    rows: Vec<Row>,
    /// How many seconds are in each row.
    pub span: u64,
}

/// Shares are percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The first, from the call's beginning.
    pub second: u64,
    pub generation: u32,
    pub loss_in: f32,
    pub loss_out: Option<f32>,
    pub round_trip_ms: Option<f32>,
    pub jitter_in_ms: f32,
    pub jitter_out_ms: Option<f32>,
    pub concealed: f32,
    pub recovered: f32,
    pub buffer_ms: f32,
    pub target_ms: f32,
    pub mos: Option<f32>,
    /// Thousands of bits, of whole packets.
    pub kbit_in: u16,
    pub kbit_out: u16,
    pub bandwidth_out: Option<u16>,
    /// Decibels, the first of full scale.
    pub microphone: i8,
    pub echo_lowered: Option<i8>,
    pub voice_back: Option<i8>,
    pub late_ticks: u32,
    pub underruns: u32,
    pub protection: Protection,
}

impl Default for Seconds {
    fn default() -> Self {
        Self { rows: Vec::new(), span: 1 }
    }
}

impl Seconds {
    pub fn push(&mut self, second: u64, stats: &Stats) {
        let row = Row {
            second: second / self.span * self.span,
            generation: stats.generation,
            loss_in: stats.loss_in * 100.0,
            loss_out: stats.loss_out.map(|share| share * 100.0),
            round_trip_ms: stats.round_trip_ms,
            jitter_in_ms: stats.jitter_in_ms,
            jitter_out_ms: stats.jitter_out_ms,
            concealed: stats.concealed * 100.0,
            recovered: stats.recovered * 100.0,
            buffer_ms: stats.buffer_ms,
            target_ms: stats.target_ms,
            mos: stats.mos,
            kbit_in: kbit(stats.bitrate_in),
            kbit_out: kbit(stats.bitrate_out),
            bandwidth_out: stats.bandwidth_out.map(kbit),
            microphone: decibels(stats.microphone_dbfs),
            echo_lowered: stats.echo_return_loss_db.map(decibels),
            voice_back: stats.own_voice_back_db.map(decibels),
            late_ticks: stats.late_ticks,
            underruns: stats.underruns,
            protection: stats.protection,
        };
        self.put(row);
        if self.rows.len() > ROWS {
            self.span *= 2;
            for row in std::mem::take(&mut self.rows) {
                self.put(Row { second: row.second / self.span * self.span, ..row });
            }
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The last row takes in another of the same seconds.
    fn put(&mut self, row: Row) {
        match self.rows.last_mut() {
            Some(last) if last.second == row.second => *last = worse(last, &row),
            Some(_) | None => self.rows.push(row),
        }
    }
}

/// `as` ends at the bounds of what it converts to.
fn kbit(bits: u32) -> u16 {
    (f64::from(bits) / 1_000.0).round() as u16
}

fn decibels(value: f32) -> i8 {
    value.round() as i8
}

/// What costs more is done against what is worse.
fn stronger(a: Protection, b: Protection) -> Protection {
    let effort = |of: &Protection| (of.copies, of.dred_ms, of.fec, of.resending);
    if effort(&a) > effort(&b) { a } else { b }
}

fn worse(a: &Row, b: &Row) -> Row {
    let more = |a: Option<f32>, b: Option<f32>| [a, b].into_iter().flatten().reduce(f32::max);
    Row {
        second: a.second,
        generation: a.generation.max(b.generation),
        loss_in: a.loss_in.max(b.loss_in),
        loss_out: more(a.loss_out, b.loss_out),
        round_trip_ms: more(a.round_trip_ms, b.round_trip_ms),
        jitter_in_ms: a.jitter_in_ms.max(b.jitter_in_ms),
        jitter_out_ms: more(a.jitter_out_ms, b.jitter_out_ms),
        concealed: a.concealed.max(b.concealed),
        recovered: a.recovered.max(b.recovered),
        buffer_ms: a.buffer_ms.max(b.buffer_ms),
        target_ms: a.target_ms.max(b.target_ms),
        mos: [a.mos, b.mos].into_iter().flatten().reduce(f32::min),
        kbit_in: a.kbit_in.min(b.kbit_in),
        kbit_out: a.kbit_out.min(b.kbit_out),
        bandwidth_out: [a.bandwidth_out, b.bandwidth_out].into_iter().flatten().min(),
        microphone: a.microphone.max(b.microphone),
        echo_lowered: [a.echo_lowered, b.echo_lowered].into_iter().flatten().min(),
        // The louder of both: fewer decibels below what was sent.
        voice_back: [a.voice_back, b.voice_back].into_iter().flatten().min(),
        late_ticks: a.late_ticks.max(b.late_ticks),
        underruns: a.underruns.max(b.underruns),
        protection: stronger(a.protection, b.protection),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_a_day_takes_no_more_than_one_of_an_hour_and_keeps_its_worst_seconds() {
        let mut seconds = Seconds::default();
        for second in 0..86_400 {
            let loss_in = if second == 50_001 { 0.4 } else { 0.0 };
            seconds.push(second, &Stats { loss_in, mos: Some(4.0 - loss_in), ..Stats::default() });
        }
        assert!(seconds.rows().len() <= ROWS);
        assert_eq!((seconds.span, seconds.rows().len()), (32, 2_700));
        let bad: Vec<&Row> = seconds.rows().iter().filter(|row| row.loss_in > 0.0).collect();
        assert_eq!(bad.iter().map(|row| (row.second, row.loss_in)).collect::<Vec<_>>(), [(49_984, 40.0)]);
        assert!(bad[0].mos < Some(3.7));
    }
}
