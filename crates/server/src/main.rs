//! `bellwire-server`: the command line. Lines for programs go to stdout, the log to stderr.

use anyhow::{Context, Result, bail};
use bellwire_server::auth::TokenRole;
use bellwire_server::config::{Config, LogFormat, Older, Overrides};
use bellwire_server::data_dir::DataDir;
use bellwire_server::{seed, serve, signals};
use bellwire_signaling::UserId;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Bellwire's server: bookings, and the calls that belong to them.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (what happens without a command, too).
    Serve(Serve),
    /// Print a token for a person.
    Token(TokenArgs),
    /// Print a token for an echo peer that is not started by this server; it is good for a day.
    EchoToken(Place),
    /// Make two people and a booking that is open now.
    SeedDemo(SeedArgs),
}

#[derive(Args)]
struct Serve {
    /// For trying and developing: needs nothing else, accepts the tokens of `token` and `seed-demo`.
    #[arg(long)]
    dev: bool,
    /// Where to listen [default: 127.0.0.1:7420]; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Serve apps of these older systems as well; with --dev and without this, all of them.
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    older: Vec<Older>,
    /// Let apps without a token search for a partner and use channels.
    #[arg(long)]
    guests: bool,
    /// Web pages of these origins may speak to the gateways of older systems; `*` is any.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    origins: Vec<String>,
    /// Start `bellwire-echo`, with which apps check sound and network before a call, from beside this program. With --dev it is
    /// started if it is there.
    #[arg(long)]
    echo: bool,
    /// Print the settings, without secrets, and end.
    #[arg(long)]
    print_config: bool,
}

#[derive(Args)]
struct Place {
    /// Where store and keys are [default: bellwire-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A TOML file with settings. Each can also stand in the environment, as BELLWIRE_NAME.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct TokenArgs {
    #[command(flatten)]
    place: Place,
    /// Who: the person's id.
    #[arg(long, value_name = "NAME")]
    sub: UserId,
    #[arg(long)]
    role: RoleArg,
    /// For how long: a number with s, m, h or d.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
}

#[derive(Args)]
struct SeedArgs {
    #[command(flatten)]
    place: Place,
    /// Where the server will listen, for the links, if it does not run yet.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    Client,
    Provider,
    Operator,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => runtime.block_on(run(args)),
        Command::Token(args) => runtime.block_on(token(args)),
        Command::EchoToken(place) => echo_token(place),
        Command::SeedDemo(args) => runtime.block_on(seed_demo(args)),
    }
}

async fn run(args: Serve) -> Result<()> {
    let overrides = Overrides {
        dev: args.dev,
        listen: args.listen,
        data_dir: args.place.data_dir,
        older: args.older,
        guests: args.guests,
        origins: args.origins,
        echo: args.echo,
    };
    let config = Config::load(args.place.config.as_deref(), &overrides)?;
    if args.print_config {
        print!("{}", config.without_secrets());
        return Ok(());
    }
    log(config.log_format);
    serve::serve(config, signals::stop(), |address| {
        println!("listening on {address}");
        std::io::stdout().flush().ok();
    })
    .await
}

async fn token(args: TokenArgs) -> Result<()> {
    let (_, data) = open(args.place, None)?;
    let role = match args.role {
        RoleArg::Client => TokenRole::Client,
        RoleArg::Provider => TokenRole::Provider,
        RoleArg::Operator => TokenRole::Operator,
    };
    println!("{}", seed::token(&data, args.sub, role, args.ttl).await?.reveal());
    Ok(())
}

fn echo_token(place: Place) -> Result<()> {
    let (_, data) = open(place, None)?;
    println!("{}", seed::echo_token(&data)?.reveal());
    Ok(())
}

async fn seed_demo(args: SeedArgs) -> Result<()> {
    let (config, data) = open(args.place, args.listen)?;
    let demo = seed::demo(&config, &data).await?;
    if args.json {
        println!("{}", serde_json::to_string(&demo)?);
        return Ok(());
    }
    println!("booking {}, open now", demo.booking);
    for (role, person) in [("client", &demo.client), ("provider", &demo.provider)] {
        println!("\n{role}: {} ({})\n  link   {}\n  token  {}", person.name, person.id, person.link, person.token);
    }
    println!("\noperator key {}", demo.operator_key);
    Ok(())
}

fn open(place: Place, listen: Option<String>) -> Result<(Config, DataDir)> {
    let overrides = Overrides { listen, data_dir: place.data_dir, ..Overrides::default() };
    let config = Config::load(place.config.as_deref(), &overrides)?;
    let data = DataDir::open(&config.data_dir)?;
    Ok((config, data))
}

fn log(format: LogFormat) {
    // These warn of each malformed packet that a stranger sends; the relay counts them.
    let with_quiet = |wanted: &str| EnvFilter::try_new(format!("{wanted},stun_types=off,turn_types=off"));
    let wanted = std::env::var("BELLWIRE_LOG").ok().and_then(|wanted| with_quiet(&wanted).ok());
    let filter = wanted.or_else(|| with_quiet("info").ok()).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn duration(text: &str) -> Result<Duration> {
    let unit = text.chars().last().context("empty")?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().context("a number with s, m, h or d")?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!("a number with s, m, h or d"),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds).min(3_650 * 86_400)))
}
