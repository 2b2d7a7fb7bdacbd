//! The HTTP port: `/metrics`, `/healthz` and `/readyz`, on a thread of its own, where neither a slow disk nor a busy
//! data plane delays it.
//!
//! Not here: what is measured (`metrics.rs`) and what the node knows (its gauges); both come in as functions.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// What the HTTP port shows. Asked anew for every request.
pub(crate) trait Shown: Send + Sync + 'static {
    /// The metrics in Prometheus's text format.
    fn metrics(&self) -> Result<Vec<u8>, String>;

    /// Whether requests of clients are served; otherwise why not.
    fn ready(&self) -> Result<(), &'static str>;
}

/// Prometheus's text format, version 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until the process ends.
///
/// # Errors
/// The listener fails for good.
pub(crate) async fn serve(listener: TcpListener, shown: Arc<dyn Shown>) -> std::io::Result<()> {
    let routes = Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(shown);
    axum::serve(listener, routes).await
}

async fn metrics(State(shown): State<Arc<dyn Shown>>) -> Response {
    match shown.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
    }
}

/// The process answers: that is all that is said.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(shown): State<Arc<dyn Shown>>) -> Response {
    match shown.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
