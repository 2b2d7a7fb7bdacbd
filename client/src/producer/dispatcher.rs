//! The task that decides what is sent next.
//!
//! It sleeps until a record, an answer or the clock calls, asks the state what to send, and hands each request to its
//! broker's lane. It also asks for what is missing: leaders, and a producer id; and tells a transaction's coordinator of partitions. It ends when every handle of the
//! producer is gone and every record has its fate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::init_producer_id::InitProducerIdRequest;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::error::ProduceError;
use super::lane::{Shipment, run_lane};
use super::queue::Identity;
use super::state::Picked;
use super::transaction::tell_of_partitions;
use crate::backoff::{Backoff, Dice};
use crate::error::KafkaError;
use crate::locked::locked;
use crate::metadata::Missing;

/// The pause after leaders were asked for and some are still missing.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// The lanes that exist, by broker.
type Lanes = BTreeMap<BrokerId, mpsc::UnboundedSender<Shipment>>;

pub(super) async fn run(shared: Arc<Shared>) {
    let mut lanes = Lanes::new();
    loop {
        let called = shared.call.notified();
        let now = Instant::now();
        let (overdue, picked, stale, untold, over) = {
            let mut state = locked(&shared.state);
            let overdue = state.overdue(now);
            let picked = state.pick(now);
            let over = state.ended && state.outstanding() == 0;
            (overdue, picked, !state.stale.is_empty(), state.untold().is_some(), over)
        };
        shared.deliver_failures(overdue);
        if over {
            return;
        }
        let Picked { shipments, wants_identity, wake_at } = picked;
        shipments.into_iter().for_each(|(broker, parcels)| ship(&shared, &mut lanes, broker, parcels));
        if stale && shared.refreshing.try_begin() {
            tokio::spawn(refresh(Arc::clone(&shared)));
        }
        if wants_identity && shared.identifying.try_begin() {
            tokio::spawn(identify(Arc::clone(&shared)));
        }
        if let Some(coordination) = shared.coordination.as_ref().filter(|_| untold)
            && shared.telling.try_begin()
        {
            tokio::spawn(tell_of_partitions(Arc::clone(&shared), Arc::clone(coordination)));
        }
        match wake_at {
            Some(at) => tokio::select! { () = called => {}, () = tokio::time::sleep_until(at) => {} },
            None => called.await,
        }
    }
}

fn ship(shared: &Arc<Shared>, lanes: &mut Lanes, broker: BrokerId, parcels: Shipment) {
    let lane = lanes.entry(broker).or_insert_with(|| {
        let (sender, shipments) = mpsc::unbounded_channel();
        tokio::spawn(run_lane(Arc::clone(shared), broker, shipments));
        sender
    });
    // A lane ends when its sender is dropped, which is here.
    drop(lane.send(parcels));
}

/// Asks for the leaders of topics that miss one.
async fn refresh(shared: Arc<Shared>) {
    let stale: Vec<String> = locked(&shared.state).stale.iter().cloned().collect();
    let names: Vec<&str> = stale.iter().map(String::as_str).collect();
    let refreshed = shared.client.shared.metadata.refresh(&names, Missing::Report).await;
    {
        let cluster = shared.client.cluster();
        let mut state = locked(&shared.state);
        match refreshed {
            Ok(errors) => {
                state.refreshed(&cluster);
                if let Some((topic, code)) = errors.into_iter().next() {
                    state.note_failure(&crate::metadata::MetadataError::Topic { topic, code }.into());
                }
            }
            Err(error) => state.note_failure(&error.into()),
        }
    }
    shared.call.notify_one();
    // Whoever still has no leader asks again, but not in a loop.
    tokio::time::sleep(REFRESH_PAUSE).await;
    shared.refreshing.end();
    shared.call.notify_one();
}

/// Gets a producer id, from any broker, however long that takes; a refusal ends the producer.
async fn identify(shared: Arc<Shared>) {
    let mut dice = Dice::new();
    for failures in 1.. {
        match ask_for_identity(&shared).await {
            Ok(identity) => {
                locked(&shared.state).identify(identity);
                break;
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "no producer id yet");
                locked(&shared.state).note_failure(&error);
                tokio::time::sleep(Backoff::RETRY.after(failures, &mut dice)).await;
            }
            Err(error) => {
                locked(&shared.state).fatal.get_or_insert(error);
                break;
            }
        }
        if shared.is_over() {
            break;
        }
    }
    shared.identifying.end();
    shared.call.notify_one();
}

async fn ask_for_identity(shared: &Shared) -> Result<Identity, ProduceError> {
    // Without a transactional id the timeout means nothing; Kafka's own client sends this.
    let request = InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: i32::MAX, ..Default::default() };
    let response = shared.client.shared.metadata.call_any(request).await?;
    match response.error_code {
        ErrorCode::NONE => Ok(Identity { id: response.producer_id, epoch: response.producer_epoch }),
        code => Err(ProduceError::NoProducerId { code }),
    }
}
