//! HTTP: `/health` for load balancers and supervisors.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let router = Router::new().route("/health", get(|| async { "{\"status\": \"ok\"}\n" }));
    let stopped = async move {
        // A sender that is gone has stopped, too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}
