//! Replicas moved from broker to broker: begun, and watched until they have arrived.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use strandline_client::{Admin, BrokerId};

use crate::cli::Failure;
use crate::cli::exit::told;

/// How often the cluster is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Most partitions that one request changes, so that the controller decides them in one go.
const CHANGES_PER_REQUEST_MAX: usize = 1000;

/// A partition and the replicas that it is to have; `None` takes a change back.
pub(super) type Change = ((String, i32), Option<Vec<BrokerId>>);

/// Begins the changes. Those that are refused are told; the others go on.
pub(super) async fn begin(admin: &Admin, changes: &[Change]) -> Result<(), Failure> {
    let mut failed = 0;
    for some in changes.chunks(CHANGES_PER_REQUEST_MAX) {
        for ((topic, partition), result) in admin.reassign(some.iter().cloned()).await? {
            if let Err(error) = result {
                failed += 1;
                eprintln!("{topic}:{partition}: {}", told(&error));
            }
        }
    }
    if failed > 0 { Err(Failure::Some { failed, all: changes.len() }) } else { Ok(()) }
}

/// Waits until none of the partitions is on its way any more, with a bar.
pub(super) async fn wait(admin: &Admin, changes: &[Change]) -> Result<(), Failure> {
    let ours: BTreeSet<(&str, i32)> = changes.iter().map(|((topic, partition), _)| (topic.as_str(), *partition)).collect();
    let bar = ProgressBar::with_draw_target(Some(ours.len() as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} partitions moved  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        let under_way = admin.reassignments().await?;
        let left = under_way.iter().filter(|one| ours.contains(&(one.topic.as_str(), one.partition))).count();
        bar.set_position((ours.len() - left.min(ours.len())) as u64);
        if left == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
