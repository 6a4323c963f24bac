//! The wire: PostgreSQL's protocol in front of sessions, and HTTP for health.
//!
//! `pgwire` reads and writes messages; the loop that answers them is keepsafe's own ([`connection`]), because results have to
//! stream, a query has to stop when its client goes away, and a group of statements has to stop at its first error. What a
//! statement means is the session's business.

mod connection;
mod copy_binary;
mod http;
mod message;
mod parameter;
mod value;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::sql::Engine;

/// How long connections may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// A listening server.
pub struct Server {
    listener: TcpListener,
    http: Option<TcpListener>,
    engine: Arc<Engine>,
}

impl Server {
    /// Binds the addresses; nobody is served before [`Server::run`].
    pub async fn bind(engine: Arc<Engine>, listen: &str, http: Option<&str>) -> io::Result<Server> {
        let named = |address: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        };
        let listener = TcpListener::bind(listen).await.map_err(|error| named(listen, error))?;
        let http = match http {
            Some(address) => Some(TcpListener::bind(address).await.map_err(|error| named(address, error))?),
            None => None,
        };
        Ok(Server { listener, http, engine })
    }

    /// Where clients connect.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true, then lets connections end.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        if let Some(http) = self.http {
            connections.spawn(http::serve(http, self.engine.clone(), stop.clone()));
        }
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                // Tasks that have ended are taken out as they end.
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        tracing::error!(%error, "a connection ended in a panic");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((socket, peer)) => {
                    let serve = connection::serve(socket, peer, self.engine.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Err(error) = serve.await {
                            tracing::debug!(%peer, %error, "a connection broke");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let drain = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, drain).await.is_err() {
            tracing::warn!("some connections did not end in time");
            connections.abort_all();
        }
    }
}
