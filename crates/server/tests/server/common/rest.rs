//! The operator's requests.

use super::Server;
use super::party::id;
use bellwire_server::http::times::Moment;
use bellwire_signaling::{BookingId, UnixMs};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// A request with the operator's key.
pub fn request(server: &Server, method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, server.url(path)).header("X-Operator-Key", server.operator_key())
}

/// Status and body of the answer.
pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response: Response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("a JSON body"))
}

pub fn moment(at: UnixMs) -> String {
    Moment(at).text().expect("a time")
}

pub async fn book(server: &Server, client: &str, provider: &str) -> BookingId {
    book_at(server, client, provider, bellwire_server::clock::now()).await
}

pub async fn book_at(server: &Server, client: &str, provider: &str, start: UnixMs) -> BookingId {
    let wish = json!({
        "client": {"id": client}, "provider": {"id": provider}, "starts_at": moment(start), "length_minutes": 30
    });
    let (status, booking) = answer(request(server, Method::POST, "/v1/bookings").json(&wish)).await;
    assert_eq!(status, StatusCode::CREATED, "{booking}");
    id(booking["id"].as_str().expect("an id"))
}

pub async fn cancel(server: &Server, booking: &BookingId) {
    let (status, answer) = answer(request(server, Method::POST, &format!("/v1/bookings/{booking}/cancel"))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

pub async fn ready(server: &Server) -> bool {
    let answer = reqwest::get(server.url("/readyz")).await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}
