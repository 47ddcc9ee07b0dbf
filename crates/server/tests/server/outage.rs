//! The store fails: live calls go on, new ones are refused, and nothing is lost once it works again.

use crate::common::call::{attempt, connect, hang_up};
use crate::common::rest::ready;
use crate::common::{CAP, Party, Server};
use bellwire_signaling::*;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use std::time::{Duration, Instant};

/// Holds the store's only right to write.
async fn lock(server: &Server) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(server.data().join("bellwire.sqlite"));
    let mut held = options.busy_timeout(CAP).connect().await.expect("the store");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut held).await.expect("the right to write");
    held
}

async fn until_ready(server: &Server, wanted: bool) {
    let began = Instant::now();
    while ready(server).await != wanted {
        assert!(began.elapsed() < CAP, "readiness does not become {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn live_call_goes_on_and_ends_while_the_store_fails() {
    let server = Server::dev();
    let (demo, others) = (server.seed(), server.seed());
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let mut other = Party::sign_in(&server, &others.client.token, "o").await;
    let mut callee = Party::sign_in(&server, &others.provider.token, "q").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    assert!(ready(&server).await);

    let held = lock(&server).await;
    let press = attempt();
    let invite = || Command::Invite { booking: others.booking.clone(), attempt: press.clone() };
    // The first one finds out; the second one is refused at once.
    for _ in 0..2 {
        let refused = other.ask(invite()).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert!(refused.retry_after_ms.is_some());
    }
    assert!(!ready(&server).await);
    let ending = hang_up(&mut client, &mut provider, &call).await;
    assert_eq!(ending.reason, EndReason::HungUp);

    held.close().await.expect("closed");
    until_ready(&server, true).await;
    let ended: Vec<_> = client.history().await.into_iter().map(|record| (record.call, record.ending)).collect();
    assert_eq!(ended, [(call, ending)]);
    // What could not be stored never rang.
    assert!(callee.history().await.is_empty());
    let call = connect(&mut other, &mut callee, &others.booking).await;
    hang_up(&mut other, &mut callee, &call).await;
    let server = server.crash_and_restart();
    let mut callee = Party::sign_in(&server, &others.provider.token, "q").await;
    assert_eq!(callee.history().await.len(), 1);
}
