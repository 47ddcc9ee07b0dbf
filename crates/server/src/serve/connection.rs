//! One connection: what it speaks, by its first byte, and service by that.
//!
//! A TLS record of a handshake begins with 0x16, a STUN request with 0x00 and a method that has always been below 0x40 (RFC
//! 7983 tells them apart in the same way), HTTP with a letter.

use crate::app::App;
use crate::config::waits;
use crate::rate::Place;
use crate::relay::stream;
use crate::stalling::Stalling;
use crate::tls::Tls;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tracing::debug;

/// Bytes that hyper holds of one request's head.
const HEAD: usize = 16 * 1024;
const TLS_HANDSHAKE: u8 = 0x16;
const STUN: std::ops::RangeInclusive<u8> = 0..=1;

/// What is served at one place.
#[derive(Clone)]
pub struct Services {
    /// None where TURN alone is served.
    pub router: Option<Router>,
    pub tls: Option<Arc<Tls>>,
}

impl Services {
    /// Serves it until its end; `place` counts it until then.
    pub async fn serve(self, app: Arc<App>, stream: TcpStream, from: SocketAddr, place: Arc<Place>) {
        let draining = app.draining.clone();
        let first = tokio::select! {
            first = timeout(waits::HEADER, peek(&stream)) => first,
            () = draining.cancelled() => return,
        };
        let Ok(Ok(first)) = first else { return };
        // Boxed: most connections are plain ones, and hold nothing for what they are not.
        let served = match (first, &self.tls) {
            (TLS_HANDSHAKE, Some(tls)) => Box::pin(self.serve_tls(tls, &app, stream, from, &place)).await,
            (first, _) if STUN.contains(&first) && app.relay.hub().is_some() => {
                Box::pin(relay(&app, stream, from)).await;
                Ok(())
            }
            _ => self.serve_http(&app, stream, from, &place).await,
        };
        if let Err(e) = served {
            debug!(error = %e, "a connection ended");
        }
    }

    async fn serve_tls(
        &self,
        tls: &Tls,
        app: &Arc<App>,
        stream: TcpStream,
        from: SocketAddr,
        place: &Arc<Place>,
    ) -> Result<()> {
        let begin = async {
            let mut stream = tls.acceptor().accept(stream).await?;
            let first = stream.read_u8().await?;
            Ok::<_, Error>((first, Begun { first: Some(first), stream }))
        };
        let (first, stream) = tokio::select! {
            begun = timeout(waits::HEADER, begin) => begun??,
            () = app.draining.cancelled() => return Ok(()),
        };
        if STUN.contains(&first) {
            relay(app, stream, from).await;
            return Ok(());
        }
        self.serve_http(app, stream, from, place).await
    }

    async fn serve_http<S>(&self, app: &Arc<App>, stream: S, from: SocketAddr, place: &Arc<Place>) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(router) = self.router.clone() else {
            return Err(Error::new(ErrorKind::InvalidData, "TURN alone is served here"));
        };
        let place = place.clone();
        let service = ServiceBuilder::new()
            .layer(MapRequestLayer::new(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(from));
                request.extensions_mut().insert(place.clone());
                request
            }))
            .service(router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(waits::HEADER)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(Stalling::new(stream, waits::STALLED)), TowerToHyperService::new(service))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = app.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        result.map_err(Error::other)
    }
}

async fn peek(stream: &TcpStream) -> Result<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

async fn relay<S: AsyncRead + AsyncWrite + Unpin>(app: &Arc<App>, stream: S, from: SocketAddr) {
    let Some(hub) = app.relay.hub() else { return };
    tokio::select! {
        () = stream::serve(hub, stream, from) => {}
        () = app.draining.cancelled() => {}
    }
}

/// A stream whose first byte was looked at.
struct Begun<S> {
    first: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if into.remaining() > 0
            && let Some(first) = self.first.take()
        {
            into.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
