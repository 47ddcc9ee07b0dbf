//! The older apps' own client libraries against the real server: the newest `socket.io-client` 4.x and 4.5, and `ws`,
//! run by Node on `js/driver.mjs`.
//!
//! ```ignore
//! let mut a = Client::connect(&server.address, Options::new().auth(json!({"token": token}))).await;
//! a.emit("find_partner", json!({"age": 30})).await;       // one argument; `emit_args` for none or more
//! let found = a.wait_for("partner_found").await;          // the first argument of the first such event not yet taken
//! let answer = a.emit_ack("heartbeat", json!({})).await;  // the first argument of the ack
//! let mut chat = a.beside("/random-chat", json!({"token": token})).await;  // another namespace on the same transport
//! a.kill_transport().await;                               // the network is gone; the library reconnects by itself
//! let id = a.reconnected().await;                         // waits for its "connect"
//! ```
//!
//! [`Client::connect`] waits until it is connected, [`Client::refused`] for the `connect_error`, [`Client::open`] for
//! nothing. Events that are not waited for stay, in their order, until they are: `wait_for` takes the first of its name
//! and leaves the others, `seen` says whether one of that name is there, `next` takes whatever is first. The library's own
//! events are "connect", "disconnect" and "connect_error". Binary is [`binary`] in what is sent and what is heard.
//!
//! [`Plain`] is a WebSocket of `ws`: its events are "open", "message", "close", "refused" (HTTP status) and "error".
//!
//! Node 18 or later and `npm` have to be there. The packages are installed once, below the target folder.

mod apps;
mod calls;
mod channels;
mod driver;
mod match_relay;
mod random_chat;
mod rooms;
mod socketio;

pub use driver::binary;

use driver::{Driver, Heard};
use serde_json::{Value, json};

/// Which library, and what it is told.
#[derive(Clone)]
pub struct Options {
    value: Value,
}

impl Options {
    /// The newest 4.x, namespace "/", polling with an upgrade to WebSocket, quick to reconnect.
    pub fn new() -> Self {
        Self {
            value: json!({
                "version": "new",
                "namespace": "/",
                "reconnectionDelay": 50,
                "reconnectionDelayMax": 200,
                "timeout": 60_000,
            }),
        }
    }

    /// 4.5: knows nothing of recovery.
    pub fn before() -> Self {
        Self::new().with("version", json!("4.5"))
    }

    pub fn polling(self) -> Self {
        self.with("transports", json!(["polling"]))
    }

    pub fn websocket(self) -> Self {
        self.with("transports", json!(["websocket"]))
    }

    pub fn namespace(self, name: &str) -> Self {
        self.with("namespace", json!(name))
    }

    pub fn auth(self, auth: Value) -> Self {
        self.with("auth", auth)
    }

    /// A header of each request (`extraHeaders`).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.value["extraHeaders"][name] = json!(value);
        self
    }

    /// Any other option of the library.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.value[name] = value;
        self
    }
}

/// One socket of `socket.io-client`.
pub struct Client {
    driver: Driver,
    key: String,
    heard: Heard,
}

impl Client {
    /// Begins to connect to `address` (host and port, or a URL).
    pub async fn open(address: &str, options: Options) -> Self {
        Self::open_by(Driver::start(), address, options.value).await
    }

    async fn open_by(driver: Driver, address: &str, mut options: Value) -> Self {
        let (key, heard) = driver.socket();
        options["url"] = json!(if address.contains("://") { address.into() } else { format!("http://{address}") });
        let client = Self { driver, key, heard };
        client.ask("open", options).await;
        client
    }

    /// Connected.
    pub async fn connect(address: &str, options: Options) -> Self {
        let mut client = Self::open(address, options).await;
        client.connected().await;
        client
    }

    /// The `connect_error` of one that is not let in: `message` and `data`.
    pub async fn refused(address: &str, options: Options) -> Value {
        let mut client = Self::open(address, options.with("reconnection", json!(false))).await;
        match client.heard.first_of(&["connect", "connect_error"]).await {
            (name, mut args) if name == "connect_error" => args.remove(0),
            (_, args) => panic!("it was let in: {args:?}"),
        }
    }

    /// Another namespace on this client's transport, connected.
    pub async fn beside(&self, namespace: &str, auth: Value) -> Self {
        let options = json!({"namespace": namespace, "auth": auth, "beside": self.key});
        let mut client = Self::open_by(self.driver.clone(), "beside", options).await;
        client.connected().await;
        client
    }

    async fn connected(&mut self) -> Value {
        match self.heard.first_of(&["connect", "connect_error"]).await {
            (name, mut args) if name == "connect" => args.remove(0),
            (_, args) => panic!("it was not let in: {args:?}"),
        }
    }

    /// Waits for the next "connect", whatever errors come before; its `socket.id`.
    pub async fn reconnected(&mut self) -> String {
        let connect = self.wait_for("connect").await;
        connect["id"].as_str().expect("an id").to_owned()
    }

    pub async fn emit(&self, event: &str, arg: Value) {
        self.emit_args(event, vec![arg]).await;
    }

    pub async fn emit_args(&self, event: &str, args: Vec<Value>) {
        self.ask("emit", json!({"event": event, "args": args})).await;
    }

    /// The same event again and again, with one argument each, without a pause.
    pub async fn emit_many(&self, event: &str, each: Vec<Value>) {
        self.ask("emitMany", json!({"event": event, "each": each})).await;
    }

    /// The first argument of the ack; null if it has none.
    pub async fn emit_ack(&self, event: &str, arg: Value) -> Value {
        self.emit_ack_args(event, vec![arg]).await.into_iter().next().unwrap_or_default()
    }

    pub async fn emit_ack_args(&self, event: &str, args: Vec<Value>) -> Vec<Value> {
        match self.ask("emitAck", json!({"event": event, "args": args})).await {
            Value::Array(answer) => answer,
            other => panic!("an ack is {other}"),
        }
    }

    /// The first argument of the first such event that was not taken yet; null if it has none.
    pub async fn wait_for(&mut self, event: &str) -> Value {
        self.wait_for_args(event).await.into_iter().next().unwrap_or_default()
    }

    pub async fn wait_for_args(&mut self, event: &str) -> Vec<Value> {
        self.heard.first_of(&[event]).await.1
    }

    /// Whatever is first: its name and arguments.
    pub async fn next(&mut self) -> (String, Vec<Value>) {
        self.heard.next().await
    }

    /// Whether such an event is there and was not taken. To be asked after something that must have come later.
    pub fn seen(&mut self, event: &str) -> bool {
        self.heard.has(event)
    }

    /// `socket.id` now.
    pub async fn id(&self) -> String {
        self.look("id").await.as_str().expect("connected").to_owned()
    }

    /// Whether its newest connection brought an older one back.
    pub async fn recovered(&self) -> bool {
        self.look("recovered").await == true
    }

    pub async fn is_connected(&self) -> bool {
        self.look("connected").await == true
    }

    /// "polling" or "websocket".
    pub async fn transport(&self) -> String {
        self.look("transport").await.as_str().expect("a transport").to_owned()
    }

    /// The Engine.IO session's id: its secret.
    pub async fn session(&self) -> String {
        self.look("session").await.as_str().expect("a session").to_owned()
    }

    async fn look(&self, at: &str) -> Value {
        self.ask("look", json!({})).await[at].take()
    }

    /// `socket.disconnect()`: it says that it leaves.
    pub async fn disconnect(&self) {
        self.ask("disconnect", json!({})).await;
    }

    /// `socket.connect()`, with other auth data or the same.
    pub async fn connect_again(&mut self, auth: Option<Value>) -> String {
        self.ask("connect", json!({"auth": auth})).await;
        self.reconnected().await
    }

    /// The transport ends as with a lost network: no goodbye, and with polling the server notices nothing. The library
    /// reconnects by itself.
    pub async fn kill_transport(&self) {
        self.ask("killTransport", json!({})).await;
    }

    /// `socket.io.engine.close()`: the transport is closed in order, the namespaces on it are not left.
    pub async fn close_engine(&self) {
        self.ask("closeEngine", json!({})).await;
    }

    /// Whether the library reconnects by itself.
    pub async fn reconnection(&self, on: bool) {
        self.ask("reconnection", json!({"on": on})).await;
    }

    async fn ask(&self, what: &str, mut with: Value) -> Value {
        with["socket"] = json!(self.key);
        self.driver.ask(what, with).await
    }
}

/// A WebSocket of `ws`.
pub struct Plain {
    driver: Driver,
    key: String,
    heard: Heard,
}

impl Plain {
    /// Begins to connect to a `ws://` URL.
    pub async fn open(url: &str, headers: Value, protocols: &[&str]) -> Self {
        let driver = Driver::start();
        let (key, heard) = driver.socket();
        let plain = Self { driver, key, heard };
        plain.ask("openPlain", json!({"url": url, "headers": headers, "protocols": protocols})).await;
        plain
    }

    /// Open.
    pub async fn connect(url: &str) -> Self {
        let mut plain = Self::open(url, json!({}), &[]).await;
        plain.wait_for("open").await;
        plain
    }

    /// A JSON message as text.
    pub async fn send(&self, message: &Value) {
        self.send_data(json!(message.to_string())).await;
    }

    /// Text as it stands, or [`binary`].
    pub async fn send_data(&self, data: Value) {
        self.ask("send", json!({"data": data})).await;
    }

    /// The next message, as JSON; those before it must have been taken.
    pub async fn message(&mut self) -> Value {
        let text = self.wait_for("message").await;
        serde_json::from_str(text.as_str().expect("text")).expect("JSON")
    }

    /// The code with which it was closed.
    pub async fn closed(&mut self) -> u64 {
        self.wait_for("close").await.as_u64().expect("a code")
    }

    pub async fn wait_for(&mut self, event: &str) -> Value {
        self.heard.first_of(&[event]).await.1.into_iter().next().unwrap_or_default()
    }

    /// It reads nothing more.
    pub async fn pause(&self) {
        self.ask("pausePlain", json!({})).await;
    }

    /// The network is gone.
    pub async fn terminate(&self) {
        self.ask("terminatePlain", json!({})).await;
    }

    async fn ask(&self, what: &str, mut with: Value) -> Value {
        with["socket"] = json!(self.key);
        self.driver.ask(what, with).await
    }
}
