//! Running the program: its command line, its settings, health, figures, stopping.

use crate::common::call::{connect, hang_up};
use crate::common::rest::ready;
use crate::common::{Demo, Party, Server, data_dir, program, run, seed};
use bellwire_signaling::*;
use std::sync::Arc;

#[tokio::test]
async fn demo_seeded_before_and_while_the_server_runs_can_be_called() {
    let dir = Arc::new(data_dir());
    let before = seed(&dir.path().join("data"));
    assert_eq!(before.client.link_parts().0, "ws://127.0.0.1:7420", "where a server listens by default");
    let server = Server::start_in(dir, &["--dev"]);
    let during = server.seed();
    assert_eq!(during.client.link_parts().0, format!("ws://{}", server.address));
    assert_ne!(before.booking, during.booking);
    assert_eq!(before.operator_key, during.operator_key);
    for Demo { booking, client, provider, .. } in [&before, &during] {
        let mut caller = Party::sign_in(&server, &client.token, "c").await;
        let mut callee = Party::sign_in(&server, &provider.link_parts().1, "p").await;
        let call = connect(&mut caller, &mut callee, booking).await;
        hang_up(&mut caller, &mut callee, &call).await;
    }
}

#[tokio::test]
async fn made_token_signs_in_and_is_printed_alone() {
    let server = Server::dev();
    let mut party = Party::sign_in(&server, &server.token("ana", "client", "30s"), "a").await;
    assert_eq!(party.you, You { user: "ana".parse().expect("an id"), name: "ana".into() });
    assert!(party.bookings().await.is_empty());
    let bad = program().args(["token", "--sub", "a b", "--role", "client"]).output().expect("the program runs");
    assert_eq!(bad.status.code(), Some(2), "bad usage");
}

#[test]
fn settings_come_from_file_environment_and_command_line_and_secrets_stay() {
    let dir = data_dir();
    let (file, key) = (dir.path().join("c.toml"), dir.path().join("key"));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef-operator\n").expect("a file");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\naudience = \"file\"\nconnections_per_address = 7\n")
        .expect("a file");
    let output = run(program()
        .args(["--print-config", "--listen", "127.0.0.1:2", "--config"])
        .arg(&file)
        .env("BELLWIRE_AUDIENCE", "environment")
        .env("BELLWIRE_OPERATOR_KEY_FILE", &key));
    let printed = String::from_utf8(output.stdout).expect("text");
    for line in ["listen = \"127.0.0.1:2\"", "audience = \"environment\"", "connections_per_address = 7"] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    let output = run(program().arg("--print-config").env("BELLWIRE_OPERATOR_KEY", "s".repeat(40)));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sss"));
    std::fs::write(&file, "lisen = \"x\"\n").expect("a file");
    let refused = program().args(["--print-config", "--config"]).arg(&file).output().expect("the program runs");
    assert!(!refused.status.success());
}

#[tokio::test]
async fn operator_key_can_be_set_in_a_file() {
    let dir = data_dir();
    let (file, key) = (dir.path().join("c.toml"), dir.path().join("key"));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef-operator\n").expect("a file");
    std::fs::write(&file, format!("operator_key_file = {:?}\n", key.display().to_string())).expect("a file");
    let server = Server::start_in(Arc::new(dir), &["--config", file.to_str().expect("a path")]);
    let answer = reqwest::Client::new()
        .get(server.url("/v1/bookings"))
        .header("X-Operator-Key", "0123456789abcdef0123456789abcdef-operator")
        .send();
    assert_eq!(answer.await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn asked_to_stop_it_sends_its_sockets_away_and_ends_in_order() {
    let mut server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    assert!(server.data().join("server.json").exists());
    server.terminate();
    for party in [&mut client, &mut provider] {
        let closed = party.closed().await;
        let error = closed.error.expect("a reason");
        assert_eq!((error.code, closed.code), (ErrorCode::Unavailable, Some(1012)));
        assert!(error.retry_after_ms.is_some_and(|ms| (500..5_000).contains(&ms)), "{error:?}");
    }
    drop((client, provider));
    assert!(server.ended().success());
    assert!(!server.data().join("server.json").exists());
    assert!(!server.log().contains("ERROR"));

    let server = Server::start_in(server.dir.clone(), &["--dev"]);
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    hang_up(&mut client, &mut provider, &call).await;
}

#[tokio::test]
async fn figures_count_and_name_nobody() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    hang_up(&mut client, &mut provider, &call).await;
    assert!(ready(&server).await);
    let live = reqwest::get(server.url("/livez")).await.expect("an answer");
    assert_eq!(live.status(), 200);
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(live.headers()[name], value);
    }
    let figures = reqwest::get(server.url("/metrics")).await.expect("an answer").text().await.expect("text");
    assert!(figures.contains("bellwire_calls_ended_total{reason=\"hung_up\"} 1"), "{figures}");
    assert!(figures.contains("bellwire_sockets 2"), "{figures}");
    for id in [demo.client.id.as_str(), demo.booking.as_str(), call.as_str()] {
        assert!(!figures.contains(id), "{figures}");
    }
    let document = reqwest::get(server.url("/v1/openapi.json")).await.expect("an answer");
    assert_eq!(document.text().await.expect("text"), bellwire_server::http::openapi());
}
