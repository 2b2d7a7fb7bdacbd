//! The HTTP side: metrics and health, on a thread and runtime of their own, so that neither a slow disk nor a busy
//! broker delays the answer that it is one.
//!
//! | path       | answer                                                        |
//! |------------|---------------------------------------------------------------|
//! | `/metrics` | Prometheus's text format                                      |
//! | `/groups`  | groups of this broker and their lag, as JSON                  |
//! | `/healthz` | 200 while the process runs                                    |
//! | `/readyz`  | 200 while requests are taken, 503 before that and when stopping |

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use strandline_node::Node;
use strandline_node::gauges::Gauges;
use tracing::error;

use crate::clock::Clock;
use crate::lag::Lag;
use crate::metrics::{Metrics, coordination, groups as groups_of, node, process};
use crate::rim::Rim;
use crate::shell::Shell;

/// What the pages look at.
pub(crate) struct Pages {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shell: Arc<Shell<Node, Rim>>,
    pub(crate) is_ready: Arc<AtomicBool>,
    pub(crate) lag: Arc<Lag>,
    pub(crate) clock: Clock,
}

/// Serves the pages on a thread of its own, as long as the process lives.
///
/// # Errors
/// The thread or its runtime cannot be had.
pub(crate) fn serve(listener: TcpListener, pages: Pages) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let router = router(Arc::new(pages));
    let work = move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        });
        if let Err(reason) = served {
            error!(%reason, "the HTTP side ended");
        }
    };
    thread::Builder::new().name("http".to_owned()).spawn(work)?;
    Ok(())
}

fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/groups", get(groups))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(pages)
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    match pages.is_ready.load(Ordering::Acquire) {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    let mut bytes = Vec::new();
    pages.refresh();
    if let Err(error) = pages.metrics.render(&mut bytes) {
        error!(%error, "metrics cannot be shown");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    let wall_ms = pages.clock.now().wall_ms;
    let gauges: Gauges = pages.shell.look(|node: &Node| node.gauges(wall_ms));
    node::render(&gauges, &mut text);
    coordination::render(&gauges, &mut text);
    let (standings, behind) = pages.lag.look(&pages.shell, wall_ms).await;
    groups_of::render(&standings, &behind, &mut text);
    process::render(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn groups(State(pages): State<Arc<Pages>>) -> Response {
    let (standings, behind) = pages.lag.look(&pages.shell, pages.clock.now().wall_ms).await;
    let page = groups_of::page(&standings, &behind).to_string();
    ([(header::CONTENT_TYPE, "application/json")], page).into_response()
}

impl Pages {
    /// Brings gauges up to date that nobody moves.
    fn refresh(&self) {
        let rim = self.shell.executors();
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.connections.set(gauge(rim.net.registry.count()));
        self.metrics.queued_request_bytes.set(gauge(rim.net.common.budget.used()));
        self.metrics.begun_request_bytes.set(gauge(rim.net.chunks.begun.used()));
        self.metrics.held_answer_bytes.set(gauge(rim.net.common.answers.held()));
        self.metrics.disk_open_files.set(gauge(rim.disk.open_files()));
    }
}
