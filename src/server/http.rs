//! HTTP: `/health` for load balancers and supervisors, `/_status/vars` for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::sql::Engine;

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/health", get(|| async { "{\"status\": \"ok\"}\n" }))
        .route("/_status/vars", get(metrics))
        .with_state(engine);
    let stopped = async move {
        // A sender that is gone has stopped, too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

/// Metrics in Prometheus' text format.
async fn metrics(State(engine): State<Arc<Engine>>) -> Result<String, StatusCode> {
    let last = engine.last_scheduled_backup().await.map_err(|error| {
        tracing::warn!(%error, "cannot read metrics");
        StatusCode::SERVICE_UNAVAILABLE
    })?;
    let name = "schedules_backup_last_completed_time";
    let help = "when a backup of a schedule with updates_cluster_last_backup_time_metric was completed last, in seconds; 0 is never";
    Ok(format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}\n", last.unwrap_or(0)))
}
