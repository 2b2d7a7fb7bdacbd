//! The cluster as a whole.

use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};

use super::{Admin, AdminError, judged};
use crate::address::Address;
use crate::error::RequestError;
use crate::metadata::{Broker, Cluster, MetadataError, Missing};

/// The cluster and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: Option<String>,
    /// The broker that stands for the controller.
    pub controller: Option<BrokerId>,
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    pub id: BrokerId,
    pub address: Address,
    pub rack: Option<String>,
}

impl Admin {
    /// Describes the cluster.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the server refuses.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        let metadata = &self.client.shared.metadata;
        match metadata.call_any(DescribeClusterRequest::default()).await {
            Ok(response) => judged((), response.error_code, response.error_message.clone()).map(|()| described(response)),
            Err(error) if is_unsupported(&error) => {
                metadata.refresh(&[], Missing::Report).await?;
                Ok(seen(&metadata.cluster()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Servers from before Kafka 2.8 describe the cluster only in their metadata.
fn is_unsupported(error: &MetadataError) -> bool {
    let unsupported = |error: &RequestError| matches!(error, RequestError::UnsupportedApi { .. });
    matches!(error, MetadataError::NoServer { attempts } if attempts.iter().any(unsupported))
}

fn described(response: DescribeClusterResponse) -> ClusterDescription {
    let brokers = response.brokers.into_iter().filter_map(|broker| {
        let port = u16::try_from(broker.port).ok()?;
        Some(BrokerDescription { id: broker.broker_id, address: Address { host: broker.host, port }, rack: broker.rack })
    });
    let mut brokers: Vec<BrokerDescription> = brokers.collect();
    brokers.sort_by_key(|broker| broker.id);
    let controller = Some(response.controller_id).filter(|id| *id != BrokerId::NONE);
    ClusterDescription { cluster_id: Some(response.cluster_id), controller, brokers }
}

fn seen(cluster: &Cluster) -> ClusterDescription {
    let broker = |(id, broker): (&BrokerId, &Broker)| BrokerDescription {
        id: *id,
        address: broker.address.clone(),
        rack: broker.rack.clone(),
    };
    ClusterDescription {
        cluster_id: cluster.cluster_id.clone(),
        controller: cluster.controller,
        brokers: cluster.brokers.iter().map(broker).collect(),
    }
}
