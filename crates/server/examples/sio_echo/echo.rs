//! The example's gateway.
//!
//! `connect` greets with "welcome"; auth `{"refuse": ..}` is refused with that as data, `{"forbid": true}` may not recover.
//! "echo" comes back with all it has; an event with an ack is acked with its arguments. "to" `[handle, body]` arrives there
//! as "from" `[handle, body]`; "flood" `n` is n events; "leave" and "cut" end the socket, without and with its transport.
//! What becomes of a socket (away, back, gone) is told to all others.

use bellwire_server::sio::{ConnectRefusal, Gone, Hello, Incoming, Namespace, Socket};
use bellwire_signaling::Handle;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Echo(Mutex<HashMap<Handle, Arc<Socket>>>);

#[derive(Default, Deserialize)]
struct Auth {
    refuse: Option<serde_json::Value>,
    #[serde(default)]
    forbid: bool,
}

impl Echo {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<Handle, Arc<Socket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_others(&self, of: &Socket, event: &str, why: &str) {
        for socket in self.sockets().values().filter(|socket| socket.number() != of.number()) {
            socket.emit(event, &json!({"of": of.handle(), "why": why}));
        }
    }
}

fn auth(hello: &Hello<'_>) -> Auth {
    hello.auth.and_then(|auth| serde_json::from_str(auth.get()).ok()).unwrap_or_default()
}

impl Namespace for Echo {
    fn connect(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> Result<(), ConnectRefusal> {
        if let Some(data) = auth(hello).refuse {
            return Err(ConnectRefusal { message: "refused".into(), data: Some(data) });
        }
        let header = hello.headers.get("x-app").and_then(|value| value.to_str().ok());
        socket.emit("welcome", &json!({"header": header, "local": hello.is_local, "address": hello.address}));
        self.sockets().insert(socket.handle().clone(), socket.clone());
        Ok(())
    }

    fn may_recover(&self, _: &Arc<Socket>, hello: &Hello<'_>) -> bool {
        !auth(hello).forbid
    }

    fn event(&self, socket: &Arc<Socket>, event: Incoming<'_>) {
        if let Some(id) = event.ack {
            return socket.ack_raw(id, &array(None, event.args));
        }
        match event.name {
            "to" => {
                let [to, body] = event.args else { return };
                let Ok(to) = serde_json::from_str::<Handle>(to.get()) else { return };
                if let Some(receiver) = self.sockets().get(&to) {
                    let from = socket.handle();
                    let array = ["[\"from\",\"", from.as_str(), "\",", body.get(), "]"];
                    receiver.emit_parts(&array, event.attachments);
                }
            }
            "flood" => {
                let count = event.args.first().and_then(|count| count.get().parse().ok()).unwrap_or(0_u32);
                (0..count).for_each(|n| socket.emit("flood", &n));
            }
            "large" => socket.emit("large", &"x".repeat(900_000)),
            "leave" => socket.disconnect(false),
            "cut" => socket.disconnect(true),
            name => socket.emit_with(&array(Some(name), event.args), event.attachments),
        }
    }

    fn away(&self, socket: &Arc<Socket>) {
        self.tell_others(socket, "away", "");
    }

    fn back(&self, socket: &Arc<Socket>) {
        self.tell_others(socket, "back", "");
    }

    fn gone(&self, socket: &Arc<Socket>, why: Gone) {
        self.sockets().remove(socket.handle());
        self.tell_others(socket, "gone", &format!("{why:?}"));
    }
}

fn array(name: Option<&str>, args: &[&RawValue]) -> String {
    let name = name.map(|name| json!(name).to_string());
    let parts: Vec<&str> = name.as_deref().into_iter().chain(args.iter().map(|arg| arg.get())).collect();
    format!("[{}]", parts.join(","))
}
