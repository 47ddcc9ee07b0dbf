//! A small Socket.IO server, for trying the layer and for measuring it: `sio_echo [ADDRESS]`. It says where it listens.

mod echo;

use axum::Router;
use axum::serve::ListenerExt;
use bellwire_server::sio::SocketIo;
use echo::Echo;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let sio = SocketIo::builder().origins(["*"]).namespace("/", Echo::new()).namespace("/other", Echo::new()).build();
    let router: Router = sio.router(&TaskTracker::new(), CancellationToken::new());
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
