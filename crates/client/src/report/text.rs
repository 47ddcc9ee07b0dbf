//! The text of a bundle.

use super::seconds::{Row, Seconds};
use super::{Line, Recorded, machine, word};
use bellwire_media::Protection;
use bellwire_signaling::VERSION;
use std::fmt::Write;
use time::OffsetDateTime;

/// Letters of the call's id: enough to find it in a server's log, not enough to name it.
const ID_LETTERS: usize = 6;
/// Seconds in one line of the chart.
const COLUMNS: u64 = 60;
/// Loss of a second, in percent, up to which each sign stands.
const SIGNS: [(f32, char); 6] = [(0.0, '_'), (1.0, '.'), (3.0, ':'), (10.0, '+'), (30.0, '#'), (f32::INFINITY, '@')];

pub fn write(call: &Recorded) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = write_all(&mut out, call);
    out
}

fn write_all(out: &mut String, call: &Recorded) -> std::fmt::Result {
    let id: String = call.call.as_ref().map_or("none".into(), |id| id.as_str().chars().take(ID_LETTERS).collect());
    writeln!(out, "Bellwire: report of one call")?;
    writeln!(out, "Of people, addresses, devices' names and what was said or written, this file holds nothing.")?;
    heading(out, "About")?;
    let about = [
        ("app", format!("bellwire {}, protocol {VERSION}", env!("CARGO_PKG_VERSION"))),
        ("system", machine::describe()),
        ("call", format!("{id}..., as the {}", word(&call.you))),
        ("began", began(call)),
        ("state", call.now("state").to_owned()),
        ("path", call.path.map_or("none".into(), super::path)),
        ("processing", call.now("processing").to_owned()),
        ("relay only", call.now("relay only").to_owned()),
    ];
    for (what, value) in about {
        writeln!(out, "{what:<13}{value}")?;
    }
    heading(out, "What happened (seconds from the beginning)")?;
    lines(out, call.first.iter())?;
    if call.left_out > 0 {
        writeln!(out, "           ... {} lines left out", call.left_out)?;
    }
    lines(out, call.last.iter())?;
    heading(out, "In all")?;
    summary(out, call.seconds.rows())?;
    heading(out, "Loss")?;
    chart(out, &call.seconds)?;
    heading(out, "Each second: the way (shares in percent, times in ms, - is not known)")?;
    ways(out, &call.seconds)?;
    heading(out, "Each second: the sound (shares in percent, times in ms, rates in kbit/s, levels in dB)")?;
    sounds(out, &call.seconds)
}

fn heading(out: &mut String, text: &str) -> std::fmt::Result {
    writeln!(out, "\n{text}\n{}", "-".repeat(text.chars().count()))
}

fn lines<'a>(out: &mut String, lines: impl Iterator<Item = &'a Line>) -> std::fmt::Result {
    for Line { ms, subject, what } in lines {
        writeln!(out, "{:>6}.{:03}  {subject:<13}{what}", ms / 1000, ms % 1000)?;
    }
    Ok(())
}

fn summary(out: &mut String, rows: &[Row]) -> std::fmt::Result {
    if rows.is_empty() {
        return writeln!(out, "No sound was measured.");
    }
    let mean = |values: Vec<f32>| match values.len() {
        0 => "-".to_owned(),
        n => format!("{:.1}", values.iter().sum::<f32>() / n as f32),
    };
    let all = |of: fn(&Row) -> Option<f32>| rows.iter().filter_map(of).collect::<Vec<f32>>();
    let mut round_trips = all(|row| row.round_trip_ms);
    round_trips.sort_by(f32::total_cmp);
    let median = round_trips.get(round_trips.len() / 2).map_or("-".to_owned(), |ms| format!("{ms:.0}"));
    writeln!(out, "loss in {} %, loss out {} %", mean(all(|r| Some(r.loss_in))), mean(all(|r| r.loss_out)))?;
    writeln!(out, "round trip {median} ms (median), jitter {} ms", mean(all(|r| Some(r.jitter_in_ms))))?;
    writeln!(out, "mean opinion score {} of 4.5", mean(all(|r| r.mos)))
}

/// Two lines for each minute: what came and what went. A column without a sign was not measured.
fn chart(out: &mut String, seconds: &Seconds) -> std::fmt::Result {
    let Some(last) = seconds.rows().last() else { return writeln!(out, "No sound was measured.") };
    let legend: Vec<String> = SIGNS
        .iter()
        .map(|(most, sign)| match most {
            0.0 => format!("{sign} none"),
            most if most.is_finite() => format!("{sign} to {most} %"),
            _ => format!("{sign} more"),
        })
        .collect();
    writeln!(out, "{}; each sign is {} s", legend.join(", "), seconds.span)?;
    let width = COLUMNS * seconds.span;
    for begin in (0..=last.second / width).map(|line| line * width) {
        let signs = |of: fn(&Row) -> Option<f32>| {
            let mut line = vec![' '; COLUMNS as usize];
            let rows = seconds.rows().iter().filter(|row| (begin..begin + width).contains(&row.second));
            for row in rows {
                if let Some(place) = line.get_mut(((row.second - begin) / seconds.span) as usize) {
                    *place = of(row).map_or(' ', sign);
                }
            }
            line.into_iter().collect::<String>().trim_end().to_owned()
        };
        let (comes, goes) = (signs(|row| Some(row.loss_in)), signs(|row| row.loss_out));
        writeln!(out, "{:>4}:{:02}  in   {comes}", begin / 60, begin % 60)?;
        writeln!(out, "         out  {goes}")?;
    }
    Ok(())
}

fn sign(percent: f32) -> char {
    SIGNS.iter().find(|(most, _)| percent <= *most).map_or('@', |(_, sign)| *sign)
}

fn tenths(value: Option<f32>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}

fn whole<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.0}"))
}

fn ways(out: &mut String, seconds: &Seconds) -> std::fmt::Result {
    writeln!(out, "    s conn loss_in loss_out  rtt jit_in jit_out kbit_in kbit_out room against_loss")?;
    for row in seconds.rows() {
        writeln!(
            out,
            "{:>5} {:>4} {:>7.1} {:>8} {:>4} {:>6.0} {:>7} {:>7} {:>8} {:>4} {}",
            row.second,
            row.generation,
            row.loss_in,
            tenths(row.loss_out),
            whole(row.round_trip_ms),
            row.jitter_in_ms,
            whole(row.jitter_out_ms),
            row.kbit_in,
            row.kbit_out,
            whole(row.bandwidth_out),
            against_loss(&row.protection),
        )?;
    }
    Ok(())
}

fn sounds(out: &mut String, seconds: &Seconds) -> std::fmt::Result {
    writeln!(out, "    s made_up recovered buffer target mos  mic echo_lowered voice_back late dry")?;
    for row in seconds.rows() {
        writeln!(
            out,
            "{:>5} {:>7.1} {:>9.1} {:>6.0} {:>6.0} {:>3} {:>4} {:>12} {:>10} {:>4} {:>3}",
            row.second,
            row.concealed,
            row.recovered,
            row.buffer_ms,
            row.target_ms,
            tenths(row.mos),
            row.microphone,
            whole(row.echo_lowered),
            whole(row.voice_back),
            row.late_ticks,
            row.underruns,
        )?;
    }
    Ok(())
}

/// Why and what, as `loss:resend+copies2/120ms+fec+dred400ms`.
fn against_loss(protection: &Protection) -> String {
    let Protection { why, resending, copies, reach_ms, fec, dred_ms, packet_ms: _, codec_bitrate: _ } = protection;
    let parts = [
        resending.then(|| "resend".to_owned()),
        (*copies > 0).then(|| format!("copies{copies}/{reach_ms}ms")),
        fec.then(|| "fec".to_owned()),
        (*dred_ms > 0).then(|| format!("dred{dred_ms}ms")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let what = if parts.is_empty() { "nothing".to_owned() } else { parts.join("+") };
    format!("{}:{what}", word(why))
}

/// By this machine's clock, in UTC.
fn began(call: &Recorded) -> String {
    let at = OffsetDateTime::from(call.began_at);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_has_signs() {
        let signs: String = [0.0, 0.5, 1.0, 2.9, 8.0, 30.0, 99.0].into_iter().map(sign).collect();
        assert_eq!(signs, "_..:+#@");
    }
}
