//! What the rest of the program holds of an engine.

use super::Loop;
use super::tasks::refuse;
use crate::{Command, Config, Event};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Commands that wait for the loop. It never waits for anybody, so they do not pile up; one more than these is lost,
/// with a line in the log.
const COMMANDS: usize = 1024;
/// Events that wait for the caller. When it is full levels and figures are dropped; the others wait in the loop.
const EVENTS: usize = 256;

/// The sound of one device of one person.
pub struct Engine {
    commands: mpsc::Sender<Command>,
    stop: oneshot::Sender<()>,
    network: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Starts the engine's threads: one for the network with a tokio runtime of its own, one for sound, one for each kind of
    /// device. It is to be called within a tokio runtime.
    ///
    /// The events must be read. [`Event::Level`] and [`Event::Stats`] are dropped when they are not; all others wait.
    /// Dropping the engine ends it as well as [`Engine::shutdown`], but nobody waits then.
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, receiver) = mpsc::channel(EVENTS);
        let (stop, stopped) = oneshot::channel();
        let (network, runs) = match network() {
            Ok((network, runs)) => (network, Ok(runs)),
            Err(error) => (Handle::current(), Err(error)),
        };
        let task = network.spawn(async move {
            let engine = match &runs {
                Ok(_) => Loop::new(config, events.clone()).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match engine {
                Ok(engine) => engine.run(inbox, stopped).await,
                Err(why) => refuse(&why, inbox, stopped, events).await,
            }
            drop(runs);
        });
        (Self { commands, stop, network, task }, receiver)
    }

    /// Hands over a command; never blocks. Commands are carried out in order.
    pub fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("engine is stopped or behind, command lost");
        }
    }

    /// Tasks of the network that run: a connection that is closed leaves none behind.
    pub fn tasks(&self) -> usize {
        self.network.metrics().num_alive_tasks()
    }

    /// Ends connections, closes devices and finishes recordings.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// What connections leave to be done when they are closed, a relay's place to be given back say, has so long.
const LEFT: Duration = Duration::from_secs(5);

/// A runtime on a thread of its own, until what is given with it is dropped and its tasks have ended. Packets pass several
/// tasks on their way: within one thread none of them wakes another, and whatever else the program does keeps none waiting.
fn network() -> std::io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (handle, (runs, ended)) = (runtime.handle().clone(), oneshot::channel());
    std::thread::Builder::new().name("bellwire-network".into()).spawn(move || {
        let left = || runtime.metrics().num_alive_tasks() > 0;
        runtime.block_on(async {
            let _ = ended.await;
            let end = Instant::now() + LEFT;
            while left() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        runtime.shutdown_background();
    })?;
    Ok((handle, runs))
}
