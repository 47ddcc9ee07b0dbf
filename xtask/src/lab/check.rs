//! The laboratory measured: do the translators do what they are called, the path what it is told, and how exactly is a
//! gap found in a recording.

use super::Bench;
use super::call::{Call, Wish};
use super::gap::{Listener, write_hum};
use super::nat::{NATS, Nat};
use super::system::in_namespace;
use super::world::{Access, Plan, SERVER_IP4, STRANGER_IP4, World};
use crate::rig::wait_for;
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// For a packet within this machine.
const ARRIVES: Duration = Duration::from_secs(5);
/// What the measuring of gaps may be off by.
const OFF: Duration = Duration::from_millis(60);

pub fn run(bench: &Bench) -> Result<(usize, usize)> {
    println!("\nthe laboratory itself");
    let mut counts = (0, 0);
    let mut note = |name: &str, result: Result<String>| {
        let (word, said) = match result {
            Ok(said) => {
                counts.0 += 1;
                ("ok", said)
            }
            Err(error) => {
                counts.1 += 1;
                ("FAILED", format!("{error:#}"))
            }
        };
        println!("  {name:<28} {word}: {said}");
    };
    for nat in NATS {
        note(nat.word(), translator(nat));
    }
    note("the path", path());
    note("a gap in what is said", planted_gap(bench));
    Ok(counts)
}

fn translator(nat: Nat) -> Result<String> {
    let access = Access { nat, ..Access::default() };
    let world = World::build(&Plan { a: access, ..Plan::default() })?;
    let socket = |namespace: &str, address: &str| {
        in_namespace(namespace, || {
            let socket = UdpSocket::bind(address).with_context(|| format!("{address} cannot be bound"))?;
            socket.set_read_timeout(Some(ARRIVES))?;
            Ok(socket)
        })
    };
    let inside = socket(&world.a.name, "0.0.0.0:0")?;
    let outside = |ip: &str| socket(&world.server.name, &format!("{ip}:0"));
    let (first, other_port, stranger) = (outside(SERVER_IP4)?, outside(SERVER_IP4)?, outside(STRANGER_IP4)?);

    let seen_by = |outside: &UdpSocket| -> Result<SocketAddr> {
        inside.send_to(b"out", outside.local_addr()?)?;
        let (_, from) = outside.recv_from(&mut [0; 16]).context("nothing gets out")?;
        Ok(from)
    };
    let address = seen_by(&first)?;
    // The one who may is last: once its packet has come, the others would have.
    stranger.send_to(b"stranger", address)?;
    other_port.send_to(b"port", address)?;
    first.send_to(b"first", address)?;
    let mut came = Vec::new();
    loop {
        let mut bytes = [0; 16];
        let (length, _) = inside.recv_from(&mut bytes).context("no answer gets in")?;
        let who = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if who == "first" {
            break;
        }
        came.push(who);
    }
    let same = seen_by(&other_port)? == address;
    let expected: (&[&str], bool) = match nat {
        Nat::FullCone => (&["stranger", "port"], true),
        Nat::Restricted => (&["port"], true),
        Nat::PortRestricted => (&[], true),
        Nat::Symmetric => (&[], false),
    };
    if (came.iter().map(String::as_str).collect::<Vec<_>>(), same) != (expected.0.to_vec(), expected.1) {
        bail!("{came:?} got in, and to another destination the port was {}", if same { "the same" } else { "another" });
    }
    let who = if came.is_empty() { "none but who was sent to".to_owned() } else { came.join(" and ") };
    Ok(format!("gets in: {who}; port for another destination: {}", if same { "the same" } else { "another" }))
}

fn path() -> Result<String> {
    let world = World::build(&Plan { emulated: Some(1), ..Plan::default() })?;
    let path = world.path.as_ref().context("no path")?;
    let inside = in_namespace(&world.a.name, || Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let outside = in_namespace(&world.server.name, || Ok(UdpSocket::bind((SERVER_IP4, 0))?))?;
    let to = outside.local_addr()?;
    outside.set_read_timeout(Some(ARRIVES))?;
    let mut took = Vec::new();
    for line in ["clear", "delay 100"] {
        path.set(line)?;
        let begun = Instant::now();
        for _ in 0..20 {
            inside.send_to(&[0; 100], to)?;
            outside.recv_from(&mut [0; 200]).context("nothing came through")?;
        }
        took.push(begun.elapsed() / 20);
    }
    path.set("clear")?;
    path.set("loss 0.2")?;
    let before = path.counts()[0];
    let seen = || path.counts()[0].carried + path.counts()[0].dropped;
    for round in 1..=20 {
        // The device's queue holds so many.
        for _ in 0..100 {
            inside.send_to(&[0; 100], to)?;
        }
        let all = before.carried + before.dropped + round * 100;
        wait_for("all packets on the path", ARRIVES, || Ok((seen() >= all).then_some(())))?;
    }
    let after = path.counts()[0];
    let (carried, dropped) = (after.carried - before.carried, after.dropped - before.dropped);
    let share = dropped as f64 / (carried + dropped).max(1) as f64;
    let said = format!(
        "adds {:.2} ms; told 100 ms: {:.2} ms; told 20 % loss: {:.1} % of {} packets",
        took[0].as_secs_f64() * 1000.0,
        took[1].as_secs_f64() * 1000.0,
        share * 100.0,
        carried + dropped
    );
    let right = (MS * 100..MS * 110).contains(&took[1]) && (share - 0.2).abs() < 0.05 && took[0] < MS * 5;
    if right { Ok(said) } else { bail!(said) }
}

/// One side is silent for a known time; the other's recording must tell the same.
fn planted_gap(bench: &Bench) -> Result<String> {
    const GAP: Duration = Duration::from_millis(700);
    let dir = bench.dir("check-gap")?;
    let (hum, broken) = (dir.join("hum.wav"), dir.join("broken.wav"));
    write_hum(&hum, 150.0, MS * 40_000, None)?;
    write_hum(&broken, 190.0, MS * 40_000, Some((MS * 12_000, GAP)))?;
    // The way that needs no help to get through.
    let world = World::build(&Plan { ipv6: true, ..Plan::default() })?;
    let wish = Wish { tls: false, says: [&broken, &hum], extra: super::interruptions::AS_SPOKEN };
    let mut call = Call::start(bench, &dir, &world, &wish)?;
    call.connected()?;
    let [caller_hears, callee_hears] = call.recordings().map(|file| Listener::start(&file));
    std::thread::sleep(MS * 1_500);
    let from = Instant::now();
    std::thread::sleep(MS * 14_000);
    let (whole, found) = (caller_hears.longest_gap(from)?, callee_hears.longest_gap(from)?);
    let spread = callee_hears.spread(from).max(caller_hears.spread(from)).unwrap_or(Duration::MAX);
    call.hang_up()?;
    let said = format!(
        "{} ms planted, {} ms found; {} ms where there is none; places are told to {} ms",
        GAP.as_millis(),
        found.as_millis(),
        whole.as_millis(),
        spread.as_millis()
    );
    if found.abs_diff(GAP) < OFF && whole.is_zero() && spread < OFF { Ok(said) } else { bail!(said) }
}
