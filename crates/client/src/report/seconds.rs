//! One row for each second of a call, in so much memory and no more.

use bellwire_media::Stats;

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
    pub buffer_ms: f32,
    pub mos: Option<f32>,
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
            buffer_ms: stats.buffer_ms,
            mos: stats.mos,
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
        buffer_ms: a.buffer_ms.max(b.buffer_ms),
        mos: [a.mos, b.mos].into_iter().flatten().reduce(f32::min),
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
