//! The Socket.IO layer alone, under the example's gateway: both libraries, both transports, loss and recovery.

#[path = "../../../examples/sio_echo/echo.rs"]
mod echo;

use super::{Client, Options, Plain, binary};
use crate::common::{Server as RealServer, data_dir};
use axum::Router;
use bellwire_server::sio::SocketIo;
use echo::Echo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The example's server, on a thread of its own.
struct Server {
    address: String,
    draining: CancellationToken,
}

impl Server {
    fn start() -> Self {
        Self::allowing(&["*"])
    }

    fn allowing(origins: &'static [&'static str]) -> Self {
        let draining = CancellationToken::new();
        let stop = draining.clone();
        let (ready, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let sio =
                    SocketIo::builder().origins(origins).namespace("/", Echo::new()).namespace("/other", Echo::new());
                let tasks = TaskTracker::new();
                let router: Router = sio.build().router(&tasks, stop.clone());
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                ready.send(listener.local_addr().expect("an address").to_string()).expect("the test waits");
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                tokio::select! {
                    served = async { axum::serve(listener, service).await } => served.expect("it serves"),
                    () = async { stop.cancelled().await; tasks.close(); tasks.wait().await } => {}
                }
            });
        });
        Self { address: address.recv().expect("the server listens"), draining }
    }

    async fn connect(&self, options: Options) -> Client {
        Client::connect(&self.address, options).await
    }

    fn url(&self, query: &str) -> String {
        format!("http://{}/socket.io/?{query}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.draining.cancel();
    }
}

fn all_kinds() -> [Options; 6] {
    let kinds = |of: Options| [of.clone().polling(), of.clone().websocket(), of];
    let [a, b, c] = kinds(Options::new());
    let [d, e, f] = kinds(Options::before());
    [a, b, c, d, e, f]
}

#[tokio::test]
async fn both_libraries_talk_over_every_transport() {
    let server = Server::start();
    for options in all_kinds() {
        let mut client = server.connect(options.header("X-App", "older").auth(json!({"token": "t"}))).await;
        assert_eq!(client.wait_for("welcome").await, json!({"header": "older", "local": true, "address": "127.0.0.1"}));
        let everything =
            json!({"text": "é \"\u{1F600}\" \u{2028}", "list": [1, 2.5, null, true], "deep": {"a": {"b": []}}});
        client.emit_args("echo", vec![everything.clone(), json!("second")]).await;
        assert_eq!(client.wait_for_args("echo").await, [everything, json!("second")]);
        assert_eq!(client.emit_ack_args("acked", vec![json!(1), json!([2])]).await, [json!(1), json!([2])]);
        assert_eq!(client.emit_ack_args("acked", vec![]).await, [] as [Value; 0]);
        client.disconnect().await;
    }
}

#[tokio::test]
async fn polling_is_upgraded_to_websocket_and_nothing_is_lost_on_the_way() {
    let server = Server::start();
    for options in [Options::new(), Options::before()] {
        let mut client = server.connect(options).await;
        client.emit_many("echo", (0..500).map(|n| json!(n)).collect()).await;
        for n in 0..500 {
            assert_eq!(client.wait_for("echo").await, n);
        }
        while client.transport().await != "websocket" {
            client.emit_ack("acked", json!(0)).await;
        }
        client.emit("echo", json!("after")).await;
        assert_eq!(client.wait_for("echo").await, "after");
    }
}

#[tokio::test]
async fn five_thousand_messages_of_one_stream_arrive_in_order() {
    let server = Server::start();
    for options in [Options::new().websocket(), Options::new().polling()] {
        let mut receiver = server.connect(options.clone()).await;
        let sender = server.connect(options).await;
        let to = receiver.id().await;
        let each: Vec<Value> = (0..5_000).map(|n| json!(n)).collect();
        for n in &each {
            // One line each: the library sends as it pleases.
            sender.emit_args("to", vec![json!(to), n.clone()]).await;
        }
        for n in each {
            assert_eq!(receiver.wait_for_args("from").await[1], n);
        }
        assert!(!receiver.seen("error"), "five thousand at once are no abuse");
    }
}

#[tokio::test]
async fn binary_goes_both_ways_over_both_transports() {
    let server = Server::start();
    for options in all_kinds() {
        let mut receiver = server.connect(options.clone()).await;
        let sender = server.connect(options).await;
        let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let body = json!({"first": binary(&bytes), "list": [binary(b""), {"second": binary(b"\x00\xff")}]});
        sender.emit_args("to", vec![json!(receiver.id().await), body.clone()]).await;
        assert_eq!(receiver.wait_for_args("from").await[1], body);
        receiver.emit("echo", json!("after")).await;
        assert_eq!(receiver.wait_for("echo").await, "after");
    }
}

#[tokio::test]
async fn namespaces_share_one_transport_and_nothing_else() {
    let server = Server::start();
    for options in [Options::new(), Options::before()] {
        let mut root = server.connect(options.websocket()).await;
        let mut other = root.beside("/other", json!({})).await;
        assert_eq!(root.session().await, other.session().await, "one transport");
        assert_ne!(root.id().await, other.id().await);
        other.emit("echo", json!("other")).await;
        assert_eq!(other.wait_for("echo").await, "other");
        assert!(!root.seen("echo"));
        other.disconnect().await;
        root.emit("echo", json!("root")).await;
        assert_eq!(root.wait_for("echo").await, "root");
    }
}

#[tokio::test]
async fn refusals_say_why() {
    let server = Server::start();
    for options in all_kinds() {
        let refused = Client::refused(&server.address, options.clone().auth(json!({"refuse": {"code": 7}}))).await;
        assert_eq!(refused, json!({"message": "refused", "data": {"code": 7}}));
        let unknown = Client::refused(&server.address, options.namespace("/nowhere")).await;
        assert_eq!(unknown, json!({"message": "Invalid namespace", "data": null}));
    }
}

#[tokio::test]
async fn connect_comes_before_what_the_gateway_emits_on_it() {
    let server = Server::start();
    for options in all_kinds() {
        let mut client = Client::open(&server.address, options).await;
        let order = [client.next().await.0, client.next().await.0];
        assert_eq!(order, ["connect", "welcome"]);
    }
}

#[tokio::test]
async fn lost_client_comes_back_with_what_it_missed_in_order() {
    let server = Server::start();
    for options in [Options::new().websocket(), Options::new().polling(), Options::new()] {
        let mut other = server.connect(Options::new().websocket()).await;
        let mut client = server.connect(options).await;
        let id = client.id().await;
        client.wait_for("welcome").await;
        other.emit_args("to", vec![json!(id), json!("before")]).await;
        client.wait_for("from").await;
        client.reconnection(false).await;
        if client.transport().await == "websocket" {
            client.close_engine().await;
        } else {
            client.kill_transport().await;
        }
        client.wait_for("disconnect").await;
        for n in 0..100 {
            other.emit_args("to", vec![json!(id), json!(n)]).await;
        }
        other.emit_ack("acked", json!(0)).await;
        client.reconnection(true).await;
        assert_eq!(client.connect_again(None).await, id, "the same socket.id");
        assert!(client.recovered().await);
        for n in 0..100 {
            assert_eq!(client.wait_for_args("from").await[1], n);
        }
        assert_eq!(other.wait_for("away").await["of"], json!(id));
        assert_eq!(other.wait_for("back").await["of"], json!(id));
        client.emit_args("to", vec![json!(other.id().await), json!("back")]).await;
        assert_eq!(other.wait_for_args("from").await, [json!(id), json!("back")]);
        assert!(!client.seen("welcome") && !other.seen("gone"));
    }
}

#[tokio::test]
async fn client_of_4_5_comes_back_as_another() {
    let server = Server::start();
    for options in [Options::before().websocket(), Options::before().polling()] {
        let mut client = server.connect(options).await;
        let id = client.id().await;
        client.wait_for("welcome").await;
        client.kill_transport().await;
        assert_ne!(client.reconnected().await, id);
        client.wait_for("welcome").await;
        client.emit("echo", json!(1)).await;
        assert_eq!(client.wait_for("echo").await, 1);
    }
}

#[tokio::test]
async fn who_may_not_recover_or_missed_too_much_is_new() {
    let server = Server::start();
    let mut other = server.connect(Options::new().websocket()).await;
    let mut client = server.connect(Options::new().websocket()).await;
    client.wait_for("welcome").await;
    for (auth, missed) in [(json!({"forbid": true}), 1), (json!({}), 600)] {
        let id = client.id().await;
        client.reconnection(false).await;
        client.kill_transport().await;
        for n in 0..missed {
            other.emit_args("to", vec![json!(id), json!(n)]).await;
        }
        other.emit_ack("acked", json!(0)).await;
        assert_ne!(client.connect_again(Some(auth)).await, id);
        assert!(!client.recovered().await);
        client.wait_for("welcome").await;
        assert!(!client.seen("from"));
    }
    assert_eq!(other.wait_for("gone").await["why"], "Lost");
}

#[tokio::test]
async fn whoever_leaves_is_gone_at_once_and_whoever_is_lost_is_gone_in_time() {
    let server = Server::start();
    let mut other = server.connect(Options::new().websocket()).await;
    let leaver = server.connect(Options::new().websocket()).await;
    let left = leaver.id().await;
    leaver.disconnect().await;
    assert_eq!(other.wait_for("gone").await, json!({"of": left, "why": "ClientLeft"}));
    assert!(!other.seen("away"));
    let lost = server.connect(Options::new().websocket()).await;
    let id = lost.id().await;
    lost.reconnection(false).await;
    lost.kill_transport().await;
    assert_eq!(other.wait_for("away").await["of"], json!(id));
    assert_eq!(other.wait_for("gone").await, json!({"of": id, "why": "Lost"}));
}

#[tokio::test]
async fn server_ends_one_namespace_or_the_whole_transport() {
    let server = Server::start();
    let mut watcher = server.connect(Options::new().websocket()).await;
    let mut watcher_of_other = watcher.beside("/other", json!({})).await;
    let mut root = server.connect(Options::new().websocket()).await;
    let mut other = root.beside("/other", json!({})).await;
    let ids = [root.id().await, other.id().await];
    root.emit("leave", json!(null)).await;
    assert_eq!(root.wait_for("disconnect").await, "io server disconnect");
    assert_eq!(watcher.wait_for("gone").await, json!({"of": ids[0], "why": "ServerClosed"}));
    other.emit("echo", json!(1)).await;
    assert_eq!(other.wait_for("echo").await, 1);
    other.emit("cut", json!(null)).await;
    assert_eq!(other.wait_for("disconnect").await, "io server disconnect");
    assert_eq!(watcher_of_other.wait_for("gone").await, json!({"of": ids[1], "why": "ServerClosed"}));
}

#[tokio::test]
async fn handle_of_another_opens_nothing() {
    let server = Server::start();
    for options in [Options::new().polling(), Options::new().websocket()] {
        let mut victim = server.connect(options).await;
        let handle = victim.id().await;
        assert_ne!(handle, victim.session().await);
        let http = reqwest::Client::new();
        let polling = server.url(&format!("EIO=4&transport=polling&sid={handle}"));
        let read = http.get(&polling).send().await.expect("an answer");
        assert_eq!(read.status(), 400);
        let posted = http.post(&polling).body("42[\"to\",\"x\",1]").send().await.expect("an answer");
        assert_eq!(posted.status(), 400);
        let socket = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={handle}", server.address);
        let mut socket = Plain::open(&socket, json!({}), &[]).await;
        assert_eq!(socket.wait_for("refused").await, 400);
        // Nor does it do as the secret of a recovery.
        for pid in [handle.clone(), format!("1.{handle}"), format!("1.{}", &handle[1..])] {
            let thief = server.connect(Options::new().auth(json!({"pid": pid, "offset": "0"}))).await;
            assert_ne!(thief.id().await, handle);
        }
        assert!(victim.is_connected().await);
        victim.emit("echo", json!("mine")).await;
        assert_eq!(victim.wait_for("echo").await, "mine");
    }
}

#[tokio::test]
async fn handshake_tells_the_figures_of_the_old_servers() {
    let server = Server::start();
    let answer = reqwest::get(server.url("EIO=4&transport=polling")).await.expect("an answer");
    let text = answer.text().await.expect("text");
    let open: Value = serde_json::from_str(text.strip_prefix('0').expect("an open packet")).expect("JSON");
    assert_eq!((&open["pingInterval"], &open["pingTimeout"]), (&json!(25_000), &json!(60_000)));
    assert_eq!((&open["maxPayload"], &open["upgrades"]), (&json!(1_000_000), &json!(["websocket"])));
    let older = reqwest::get(server.url("EIO=3&transport=polling")).await.expect("an answer");
    assert_eq!(older.status(), 400);
}

#[tokio::test]
async fn message_over_one_megabyte_ends_the_transport() {
    let server = Server::start();
    for options in [Options::new().websocket(), Options::new().polling()] {
        let mut client = server.connect(options).await;
        client.emit("echo", json!("x".repeat(900_000))).await;
        assert_eq!(client.wait_for("echo").await.as_str().map(str::len), Some(900_000));
        client.emit("echo", json!("x".repeat(1_000_001))).await;
        client.wait_for("disconnect").await;
        client.reconnected().await;
        assert!(!client.seen("echo"));
    }
}

/// What a peer says that is none of the libraries.
#[tokio::test]
async fn bad_packets_end_the_transport() {
    let server = Server::start();
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let deep = format!("42[\"a\",{}{}]", "[".repeat(100), "]".repeat(100));
    for bad in [
        "4",
        "4x",
        "42",
        "42{}",
        "42[\"disconnect\"]",
        "42[\"a\"",
        "40",
        "42/other,[\"a\"]",
        "452-[\"a\",{\"_placeholder\":true,\"num\":0}]",
        "4517-[\"a\"]",
        "41/other,",
        &deep,
    ] {
        let mut peer = Plain::connect(&url).await;
        peer.send_data(json!("40")).await;
        peer.send_data(json!(bad)).await;
        peer.closed().await;
    }
    for follows in [json!("42[\"a\"]"), binary(b"1")] {
        let mut peer = Plain::connect(&url).await;
        peer.send_data(json!("40")).await;
        let is_text = follows.is_string();
        let first = if is_text { json!("451-[\"a\",{\"_placeholder\":true,\"num\":0}]") } else { binary(b"0") };
        peer.send_data(first).await;
        peer.send_data(follows).await;
        peer.closed().await;
    }
}

#[tokio::test]
async fn sender_over_its_rate_is_told_so_and_in_the_end_cut_off() {
    let server = Server::start();
    let mut client = server.connect(Options::new().websocket()).await;
    client.emit_many("nothing", (0..10_000).map(|n| json!(n)).collect()).await;
    let error = client.wait_for("error").await;
    assert_eq!(error["message"], "rate limited");
    assert!(error["retryAfter"].as_u64().is_some_and(|ms| ms > 0), "{error}");
    assert!(client.is_connected().await);
    client.reconnection(false).await;
    for _ in 0..20 {
        client.emit_many("nothing", (0..20_000).map(|n| json!(n)).collect()).await;
        if !client.is_connected().await {
            break;
        }
    }
    client.wait_for("disconnect").await;
}

/// Its queue does not grow without end, and nobody waits for it.
#[tokio::test]
async fn client_that_does_not_read_loses_its_transport() {
    let server = Server::start();
    let mut other = server.connect(Options::new().websocket()).await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let mut slow = Plain::connect(&url).await;
    slow.send_data(json!("40")).await;
    while !slow.wait_for("message").await.as_str().is_some_and(|text| text.starts_with("40")) {}
    slow.pause().await;
    for _ in 0..60 {
        slow.send_data(json!("42[\"large\"]")).await;
    }
    other.wait_for("away").await;
    assert_eq!(other.wait_for("gone").await["why"], "Lost");
}

#[tokio::test]
async fn transport_that_connects_to_nothing_is_closed() {
    let server = Server::start();
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let mut silent = Plain::connect(&url).await;
    let mut used = server.connect(Options::new().websocket()).await;
    silent.closed().await;
    used.emit("echo", json!(1)).await;
    assert_eq!(used.wait_for("echo").await, 1);
}

/// The client knows of the loss before the server does: its old transport looks alive.
#[tokio::test]
async fn transport_that_looks_alive_is_taken_over() {
    let server = Server::start();
    let mut other = server.connect(Options::new().websocket()).await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let mut old = Plain::connect(&url).await;
    old.send_data(json!("40")).await;
    let connected = loop {
        let text = old.wait_for("message").await.as_str().expect("text").to_owned();
        if text.starts_with("40") {
            break text;
        }
    };
    let connect: Value = serde_json::from_str(&connected[2..]).expect("JSON");
    other.emit_args("to", vec![connect["sid"].clone(), json!("to both")]).await;
    let auth = json!({"pid": connect["pid"], "offset": "1"});
    let mut new = Plain::connect(&url).await;
    new.send_data(json!(format!("40{auth}"))).await;
    old.closed().await;
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let text = new.wait_for("message").await.as_str().expect("text").to_owned();
        texts.extend(text.starts_with('4').then_some(text));
    }
    assert_eq!(texts[0], connected, "the same id and secret");
    assert!(texts[1].starts_with("42[\"from\"") && texts[1].ends_with("\"to both\",\"2\"]"), "{texts:?}");
    assert_eq!(other.wait_for("away").await["of"], connect["sid"]);
    other.wait_for("back").await;
    let pid = auth["pid"].as_str().expect("a pid");
    let (most, last) = pid.split_at(pid.len() - 1);
    let wrong = format!("{most}{}", if last == "0" { "1" } else { "0" });
    let mut thief = Plain::connect(&url).await;
    thief.send_data(json!(format!("40{}", json!({"pid": wrong, "offset": "0"})))).await;
    let answer = loop {
        let text = thief.wait_for("message").await.as_str().expect("text").to_owned();
        if text.starts_with("40") {
            break text;
        }
    };
    assert!(!answer.contains(connect["sid"].as_str().expect("an id")), "another socket");
    assert!(!other.seen("gone"));
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in_by_the_list_alone() {
    let server = Server::allowing(&["https://app.example"]);
    let http = reqwest::Client::new();
    let ask = |origin: &'static str| http.get(server.url("EIO=4&transport=polling")).header("origin", origin).send();
    let allowed = ask("https://app.example").await.expect("an answer");
    let headers = allowed.headers().clone();
    assert_eq!(allowed.status(), 200);
    assert_eq!(headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    for origin in ["https://evil.example", "https://app.example.evil.example", "null"] {
        let refused = ask(origin).await.expect("an answer");
        assert_eq!(refused.status(), 403);
        assert!(refused.headers().get("access-control-allow-origin").is_none());
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
        let mut socket = Plain::open(&url, json!({"Origin": origin}), &[]).await;
        assert_eq!(socket.wait_for("refused").await, 403);
    }
    let preflight = http
        .request(reqwest::Method::OPTIONS, server.url("EIO=4&transport=polling"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let preflight = preflight.send().await.expect("an answer");
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "authorization");
    let mut page = server.connect(Options::new().header("Origin", "https://app.example")).await;
    assert_eq!(page.wait_for("welcome").await["local"], false, "a page is not this machine");
    server.connect(Options::new()).await;
}

#[tokio::test]
async fn stopping_server_closes_its_transports() {
    let server = Server::start();
    let mut clients =
        [server.connect(Options::new().websocket()).await, server.connect(Options::new().polling()).await];
    for client in &clients {
        client.reconnection(false).await;
    }
    server.draining.cancel();
    for client in &mut clients {
        client.wait_for("disconnect").await;
    }
}

/// Cut between the answer to its probe and its own last word, the library would wait for the next ping to hear of it.
#[tokio::test]
async fn change_to_websocket_is_finished_before_its_transport_is_closed() {
    let server = Server::start();
    let http = reqwest::Client::new();
    let open = http.get(server.url("EIO=4&transport=polling")).send().await.expect("an answer");
    let open = open.text().await.expect("text");
    let open: Value = serde_json::from_str(&open[1..]).expect("JSON");
    let session = open["sid"].as_str().expect("a session");
    let polling = server.url(&format!("EIO=4&transport=polling&sid={session}"));
    http.post(&polling).body("40").send().await.expect("an answer");
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={session}", server.address);
    let mut socket = Plain::connect(&url).await;
    socket.send_data(json!("2probe")).await;
    assert_eq!(socket.wait_for("message").await, "3probe");
    server.draining.cancel();
    while http.get(&polling).send().await.expect("it waits for the change").status() != 503 {}
    socket.send_data(json!("5")).await;
    loop {
        // What came for the session before.
        let text = socket.wait_for("message").await;
        if text == "1" {
            break;
        }
        assert!(text.as_str().is_some_and(|text| text.starts_with('4') || text == "2"), "{text}");
    }
    socket.closed().await;
}

/// One TCP connection can open any number of polling sessions.
#[tokio::test]
async fn polling_sessions_count_as_connections_of_their_address() {
    let dir = data_dir();
    let config = dir.path().join("bellwire.toml");
    std::fs::write(&config, "connections_per_address = 3\nolder = [\"all\"]\n").expect("a file");
    let server = RealServer::start_in(Arc::new(dir), &["--config", config.to_str().expect("a path")]);
    let one_connection = reqwest::Client::new();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = one_connection.get(server.url("/socket.io/?EIO=4&transport=polling")).send().await;
        let answer = answer.expect("an answer");
        answers.push(answer.status().as_u16());
        answer.bytes().await.expect("a body");
    }
    assert_eq!(answers, [200, 200, 429]);
}

#[tokio::test]
async fn real_server_stops_in_order_with_older_apps_on_it() {
    let mut server = RealServer::dev();
    let mut clients = Vec::new();
    for options in [Options::new().websocket(), Options::new().polling(), Options::new()] {
        clients.push(Client::open(&server.address, options.with("reconnection", json!(false))).await);
    }
    for client in &mut clients {
        let (event, args) = client.next().await;
        assert_eq!(event, "connect", "{args:?}");
    }
    assert!(server.stop().success());
    for client in &mut clients {
        client.wait_for("disconnect").await;
    }
    assert!(!server.log().contains("connections were cut"), "{}", server.log());
}
