//! The operator's REST: what works, and how the rest is refused.

use crate::common::call::{connect, hang_up};
use crate::common::rest::{answer, book, cancel, moment, request};
use crate::common::{Party, Server};
use bellwire_server::clock;
use bellwire_signaling::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

fn wish() -> Value {
    json!({
        "client": {"id": "ana", "name": "Ana Moreno"},
        "provider": {"id": "dr-weber", "name": "Greta Weber"},
        "starts_at": "2027-05-01T11:30:00+02:00",
        "length_minutes": 45,
        "topic": "Contract"
    })
}

#[tokio::test]
async fn booking_is_made_read_listed_moved_and_cancelled() {
    let server = Server::dev();
    let (status, made) = answer(request(&server, Method::POST, "/v1/bookings").json(&wish())).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(made["starts_at"], "2027-05-01T09:30:00Z");
    assert_eq!(made["opens_at"], "2027-05-01T09:20:00Z");
    assert_eq!(made["closes_at"], "2027-05-01T10:30:00Z");
    assert_eq!((&made["state"], &made["client"]["name"]), (&json!("scheduled"), &json!("Ana Moreno")));
    let path = format!("/v1/bookings/{}", made["id"].as_str().expect("an id"));
    assert_eq!(answer(request(&server, Method::GET, &path)).await, (StatusCode::OK, made.clone()));

    let listed = |query: &str| answer(request(&server, Method::GET, &format!("/v1/bookings?{query}")));
    for (query, count) in [
        ("person=ana", 1),
        ("person=dr-weber&from=2027-05-01T00:00:00Z&to=2027-05-02T00:00:00Z", 1),
        ("person=ana&to=2027-05-01T09:30:00Z", 0),
        ("from=2027-05-01T09:30:00Z", 1),
        ("person=nobody", 0),
    ] {
        let (status, page) = listed(query).await;
        assert_eq!((status, page["bookings"].as_array().map(Vec::len)), (StatusCode::OK, Some(count)), "{query}");
    }

    let change = json!({"starts_at": "2027-06-01T08:00:00Z", "length_minutes": 60});
    let (status, moved) = answer(request(&server, Method::PATCH, &path).json(&change)).await;
    assert_eq!((status, &moved["ends_at"]), (StatusCode::OK, &json!("2027-06-01T09:00:00Z")));
    for _ in 0..2 {
        let (status, cancelled) = answer(request(&server, Method::POST, &format!("{path}/cancel"))).await;
        assert_eq!((status, &cancelled["state"]), (StatusCode::OK, &json!("cancelled")));
    }
    let (status, refused) = answer(request(&server, Method::PATCH, &path).json(&change)).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("booking_over")));
    let (status, refused) = answer(request(&server, Method::POST, &format!("{path}/links"))).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("booking_over")));
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let server = Server::dev();
    for _ in 0..5 {
        book(&server, "ana", "bruno").await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/bookings?person=ana&limit=2{after}");
        let (_, page) = answer(request(&server, Method::GET, &path)).await;
        let ids = page["bookings"].as_array().expect("bookings").iter().map(|b| b["id"].clone());
        seen.extend(ids.map(|id| id.to_string()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), count), (5, 5));
}

#[tokio::test]
async fn repeated_request_makes_one_booking() {
    let server = Server::dev();
    let post = |wish: Value| {
        answer(request(&server, Method::POST, "/v1/bookings").header("Idempotency-Key", "k1").json(&wish))
    };
    let (status, first) = post(wish()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(post(wish()).await, (StatusCode::OK, first));
    let mut other = wish();
    other["topic"] = json!("Other");
    let (status, refused) = post(other).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("key_taken")));
}

#[tokio::test]
async fn links_sign_each_party_in() {
    let server = Server::dev();
    let booking = book(&server, "ana", "bruno").await;
    let (status, links) = answer(request(&server, Method::POST, &format!("/v1/bookings/{booking}/links"))).await;
    assert_eq!(status, StatusCode::OK);
    for (role, user) in [("client", "ana"), ("provider", "bruno")] {
        let link = url::Url::parse(links[role]["link"].as_str().expect("a link")).expect("a link");
        assert_eq!((link.scheme(), link.host_str()), ("bellwire", Some("join")));
        let token = link.query_pairs().find(|(key, _)| key == "token").expect("a token").1.into_owned();
        let mut party = Party::sign_in(&server, &Token::new(token).expect("a token"), role).await;
        assert_eq!(party.you.user.as_str(), user);
        assert_eq!(party.bookings().await[0].booking, booking);
    }
}

#[tokio::test]
async fn new_and_moved_bookings_reach_the_devices_of_both() {
    let server = Server::dev();
    let mut ana = Party::sign_in(&server, &server.token("ana", "client", "1h"), "a").await;
    let mut bruno = Party::sign_in(&server, &server.token("bruno", "provider", "1h"), "b").await;
    let booking = book(&server, "ana", "bruno").await;
    let at = clock::now().plus(3_600_000);
    let path = format!("/v1/bookings/{booking}");
    answer(request(&server, Method::PATCH, &path).json(&json!({"starts_at": moment(at)}))).await;
    for party in [&mut ana, &mut bruno] {
        let moved = |event: &Event| match event {
            Event::Bookings { bookings } => bookings.first().filter(|b| b.starts_at == at).map(|b| b.booking.clone()),
            _ => None,
        };
        assert_eq!(party.event("the moved booking", moved).await, booking);
    }
    cancel(&server, &booking).await;
}

#[tokio::test]
async fn calls_are_listed_while_they_go_on_and_after() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let list = |query: String| answer(request(&server, Method::GET, &format!("/v1/calls?{query}")));
    let (_, live) = list(format!("booking={}", demo.booking)).await;
    assert_eq!((&live["calls"][0]["id"], live["calls"][0].get("end")), (&json!(call), None));
    hang_up(&mut client, &mut provider, &call).await;
    let (_, over) = list(format!("person={}", demo.provider.id)).await;
    assert_eq!(over["calls"][0]["end"]["reason"], "hung_up");
    assert_eq!(over["calls"][0]["end"]["by"], "caller");
    assert_eq!(list("person=nobody".into()).await.1["calls"], json!([]));
}

#[tokio::test]
async fn operators_alone_are_let_in() {
    let server = Server::dev();
    let bare = |key: Option<(&'static str, String)>| {
        let request = reqwest::Client::new().get(server.url("/v1/bookings"));
        answer(match key {
            Some((name, value)) => request.header(name, value),
            None => request,
        })
    };
    let wrong_length = ("X-Operator-Key", "x".to_owned());
    let wrong = ("X-Operator-Key", "0".repeat(64));
    let client = ("Authorization", format!("Bearer {}", server.token("ana", "client", "1h").reveal()));
    // `ana` is known as a client: a token that claims more does not make her an operator.
    let claimed = ("Authorization", format!("Bearer {}", server.token("ana", "operator", "1h").reveal()));
    for key in [None, Some(wrong_length), Some(wrong), Some(client), Some(claimed)] {
        let (status, refused) = bare(key).await;
        assert_eq!((status, &refused["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")));
    }
    let operator = ("Authorization", format!("Bearer {}", server.token("desk", "operator", "1h").reveal()));
    assert_eq!(bare(Some(operator)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_code() {
    let server = Server::dev();
    let changed = |pointer: &str, value: Value| {
        let mut wish = wish();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        wish.pointer_mut(parent).expect("a parent")[name] = value;
        wish.to_string()
    };
    let deep = format!("{{\"client\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for (body, status, code) in [
        ("{".to_owned(), 400, "bad_request"),
        (deep, 422, "invalid"),
        ("{}".to_owned(), 422, "invalid"),
        (changed("/topic", json!("x".repeat(301))), 422, "invalid"),
        (changed("/topic", json!("two\nlines")), 422, "invalid"),
        (changed("/topic", json!("x".repeat(20_000))), 413, "too_large"),
        (changed("/extra", json!(1)), 422, "invalid"),
        (changed("/length_minutes", json!(0)), 422, "invalid"),
        (changed("/length_minutes", json!(1441)), 422, "invalid"),
        (changed("/length_minutes", json!("30")), 422, "invalid"),
        (changed("/starts_at", json!("tomorrow")), 422, "invalid"),
        (changed("/starts_at", json!("9999-12-31T23:59:59Z")), 422, "invalid"),
        (changed("/client/id", json!("dr-weber")), 422, "invalid"),
        (changed("/client/id", json!("a b")), 422, "invalid"),
        (changed("/client/id", json!("")), 422, "invalid"),
        (changed("/client/name", json!("x".repeat(201))), 422, "invalid"),
        (changed("/opens_before_minutes", json!(100_000)), 422, "invalid"),
    ] {
        let post = request(&server, Method::POST, "/v1/bookings").header("content-type", "application/json");
        let (got, refused) = answer(post.body(body.clone())).await;
        assert_eq!((got.as_u16(), &refused["code"]), (status, &json!(code)), "{:.80}", body);
    }
    let booking = book(&server, "ana", "bruno").await;
    for (method, path, status) in [
        (Method::GET, "/v1/bookings/b0".to_owned(), 404),
        (Method::GET, "/v1/bookings/%2e%2e".to_owned(), 404),
        (Method::POST, "/v1/bookings/b0/links".to_owned(), 404),
        (Method::POST, "/v1/bookings/b0/cancel".to_owned(), 404),
        (Method::DELETE, format!("/v1/bookings/{booking}"), 405),
        (Method::GET, "/v1/bookings?limit=0".to_owned(), 422),
        (Method::GET, "/v1/bookings?limit=501".to_owned(), 422),
        (Method::GET, "/v1/bookings?after=x".to_owned(), 422),
        (Method::GET, "/v1/bookings?from=x".to_owned(), 422),
        (Method::GET, "/v1/bookings?colour=red".to_owned(), 422),
        (Method::GET, "/v1/calls?limit=0".to_owned(), 422),
        (Method::GET, "/nothing".to_owned(), 404),
        (Method::GET, "/v1/socket".to_owned(), 400),
    ] {
        let (got, refused) = answer(request(&server, method.clone(), &path)).await;
        assert_eq!(got.as_u16(), status, "{method} {path}: {refused}");
        assert!(refused["code"].is_string() && refused["message"].is_string(), "{refused}");
    }
    let (got, _) = answer(request(&server, Method::PATCH, &format!("/v1/bookings/{booking}")).json(&json!({}))).await;
    assert_eq!(got.as_u16(), 422);
}

#[test]
fn checked_in_openapi_document_is_the_one_that_is_served() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let served = bellwire_server::http::openapi();
    assert!(served.contains("/v1/bookings/{id}/links"), "the document lacks a path");
    if std::env::var_os("BELLWIRE_WRITE_OPENAPI").is_some() {
        std::fs::write(&file, &served).expect("the document can be written");
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        checked_in == served,
        "openapi.json is not what the server serves; run this test with BELLWIRE_WRITE_OPENAPI=1 and look at the change"
    );
}
