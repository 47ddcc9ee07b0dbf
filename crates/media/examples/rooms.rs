//! The echo laboratory: `rooms FAR.wav NEAR.wav FOLDER` plays one voice into synthetic rooms while another speaks in them,
//! and prints by how much the echo is lowered. For each room FOLDER gets what was spoken, captured and sent, by our
//! processing and by WebRTC's as it comes (sonora's defaults), so that the near voice can be scored (PESQ).
//! WAV files have 48 kHz, one channel, and 30 s at least.

#[path = "../tests/common/rooms.rs"]
mod rooms;

use bellwire_media::pipeline::Processor;
use bellwire_media::{FRAME, NoiseSuppression, Processing};
use rooms::{Chain, Room, add, hum, lowered_db, run};
use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression as Noise,
    Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};
use std::path::Path;
use std::time::{Duration, Instant};

struct Reference(AudioProcessing);

impl Reference {
    fn new() -> Self {
        let mono = StreamConfig::new(48_000, 1);
        let config = Config {
            pipeline: Pipeline {
                maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                ..Pipeline::default()
            },
            high_pass_filter: Some(HighPassFilter::default()),
            echo_canceller: Some(EchoCanceller::default()),
            noise_suppression: Some(Noise::default()),
            gain_controller2: Some(GainController2 {
                adaptive_digital: Some(AdaptiveDigital::default()),
                ..GainController2::default()
            }),
            ..Config::default()
        };
        Self(AudioProcessing::builder().config(config).capture_config(mono).render_config(mono).build())
    }
}

impl Chain for Reference {
    fn played(&mut self, frame: &[f32; FRAME]) {
        let mut ignored = *frame;
        self.0.process_render_f32(&[frame], &mut [&mut ignored]).expect("the format is right");
    }

    fn captured(&mut self, frame: &mut [f32; FRAME]) {
        let input = *frame;
        let _ = self.0.set_stream_delay_ms(40);
        self.0.process_capture_f32(&[&input], &mut [frame]).expect("the format is right");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [far, near, folder] = &arguments[..] else {
        eprintln!("usage: rooms FAR.wav NEAR.wav FOLDER");
        std::process::exit(2);
    };
    let (far, near, folder) = (read(far), read(near), Path::new(folder));
    let length = far.len().min(near.len()) / FRAME * FRAME;
    let (far, near) = (&far[..length], &near[..length]);
    let hum = hum(length, 3);
    // The near voice begins when the canceller knows the room; without a room it begins at once.
    let late: Vec<f32> =
        near.iter().enumerate().map(|(n, sample)| if n < 8 * 48_000 { 0.0 } else { *sample }).collect();
    let plain = Room::SMALL;
    let rooms = [
        ("small", plain),
        ("small-distorted", Room { distorts: true, ..plain }),
        ("small-drift", Room { drift_ppm: 100.0, ..plain }),
        ("large", Room { rt60: 0.8, ..plain }),
        ("large-distorted", Room { rt60: 0.8, distorts: true, ..plain }),
        ("large-distorted-drift", Room { rt60: 0.8, distorts: true, drift_ppm: 100.0, ..plain }),
        ("large-distorted-drift-soft", Room { level_db: -20.0, rt60: 0.8, distorts: true, drift_ppm: 100.0, ..plain }),
    ];
    let all = Processing::default();
    let strong = Processing { noise_suppression: NoiseSuppression::Strong, ..all };
    let quiet = Processing { echo_cancellation: true, ..Processing::OFF };
    println!("{:28} {:>24} {:>24}", "echo lowered by dB", "0-1 1-3 3-5 10-20 s, ours", "as it comes");
    for (name, room) in rooms {
        let echo = room.echo(far);
        let mic = add(&echo, &hum);
        let mut figures = Vec::new();
        for out in [run(&mut Processor::new(quiet), far, &mic), run(&mut Reference::new(), far, &mic)] {
            for (from, to) in [(0.0, 1.0), (1.0, 3.0), (3.0, 5.0), (10.0, 20.0)] {
                figures.push(lowered_db(&mic, &out, from, to));
            }
        }
        print!("{name:28}");
        figures.iter().for_each(|figure| print!(" {figure:5.1}"));
        println!();
        let mic = add(&mic, &late);
        write(folder, name, "near", &late);
        write(folder, name, "ours", &run(&mut Processor::new(all), far, &mic));
        write(folder, name, "strong", &run(&mut Processor::new(strong), far, &mic));
        write(folder, name, "reference", &run(&mut Reference::new(), far, &mic));
    }
    let mic = add(near, &hum);
    write(folder, "none", "near", near);
    write(folder, "none", "mic", &mic);
    let begun = Instant::now();
    write(folder, "none", "ours", &run(&mut Processor::new(all), far, &mic));
    write(folder, "none", "strong", &run(&mut Processor::new(strong), far, &mic));
    println!("all written after {:?}", begun.elapsed());
    write(folder, "none", "reference", &run(&mut Reference::new(), far, &mic));
    let echo = add(&Room::SMALL.echo(far), &mic);
    for (name, mic) in [("without echo", &mic), ("with echo", &echo)] {
        for (kind, wanted) in [("all", all), ("strong", strong), ("canceller", quiet)] {
            println!("{name}, {kind}: {:.1} ms a second", cost(&mut Processor::new(wanted), far, mic));
        }
        println!("{name}, as it comes: {:.1} ms a second", cost(&mut Reference::new(), far, mic));
    }
}

/// Milliseconds of work for each second of sound.
fn cost(chain: &mut impl Chain, far: &[f32], mic: &[f32]) -> f32 {
    let begun = Instant::now();
    run(chain, far, mic);
    begun.elapsed().div_duration_f32(Duration::from_millis(1)) / (mic.len() as f32 / 48_000.0)
}

fn read(path: &str) -> Vec<f32> {
    let mut file = hound::WavReader::open(path).expect("a WAV file");
    assert_eq!((file.spec().channels, file.spec().sample_rate), (1, 48_000), "{path}");
    file.samples::<i16>().map(|sample| f32::from(sample.expect("whole")) / 32_768.0).collect()
}

fn write(folder: &Path, room: &str, what: &str, sound: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(folder.join(format!("{room}-{what}.wav")), spec).expect("a folder");
    for sample in sound {
        file.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).expect("space");
    }
    file.finalize().expect("space");
}
