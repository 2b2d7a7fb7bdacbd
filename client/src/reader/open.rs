//! Where a reader begins and ends, found out before it fetches.

use std::collections::BTreeMap;

use strandline_protocol::ids::Offset;

use super::Reader;
use super::builder::{End, Isolation, Settings, Start};
use super::error::ReadError;
use crate::client::Client;
use crate::fetcher::{self, Commands};
use crate::metadata::Missing;
use crate::offsets::{ListedOffset, OffsetSpec, Unknown, look_up};

pub(super) async fn open(client: Client, settings: Settings) -> Result<Reader, ReadError> {
    let partitions = partitions(&client, &settings).await?;
    let starts = starts(&client, &settings, &partitions).await?;
    let ends = match settings.end {
        End::Never => BTreeMap::new(),
        End::Now => ends(&client, &settings, &partitions, settings.fetch.isolation).await?,
    };
    let position = |partition: &i32| {
        let next = starts.get(partition).copied().unwrap_or(Offset::ZERO);
        let until = ends.get(partition).copied().unwrap_or(Offset::MAX);
        ((settings.topic.clone(), *partition), next, until)
    };
    let positions: Vec<_> = partitions.iter().map(position).collect();
    Ok(Reader::new(fetcher::start(client, settings.fetch, positions, Commands::none())))
}

async fn partitions(client: &Client, settings: &Settings) -> Result<Vec<i32>, ReadError> {
    let topic = client.shared.metadata.topic(&settings.topic, Missing::Report).await?;
    let unknown = settings.partitions.iter().find(|index| topic.partition(**index).is_none());
    match unknown {
        Some(partition) => Err(ReadError::UnknownPartition { topic: settings.topic.clone(), partition: *partition }),
        None if settings.partitions.is_empty() => Ok(topic.partitions.iter().map(|one| one.index).collect()),
        None => Ok(settings.partitions.clone()),
    }
}

/// The offset to begin at, by partition.
async fn starts(client: &Client, settings: &Settings, all: &[i32]) -> Result<BTreeMap<i32, Offset>, ReadError> {
    match settings.start {
        Start::Offset(offset) => Ok(all.iter().map(|partition| (*partition, offset)).collect()),
        Start::Beginning => {
            let found = find(client, &settings.topic, all, OffsetSpec::Earliest, Isolation::ReadUncommitted).await?;
            Ok(found.into_iter().map(|(partition, found)| (partition, found.offset.unwrap_or(Offset::ZERO))).collect())
        }
        Start::End => ends(client, settings, all, settings.fetch.isolation).await,
        Start::Timestamp(timestamp) => {
            let found = find(client, &settings.topic, all, OffsetSpec::Timestamp(timestamp), settings.fetch.isolation).await?;
            let mut ends = ends(client, settings, all, settings.fetch.isolation).await?;
            ends.extend(found.into_iter().filter_map(|(partition, found)| Some((partition, found.offset?))));
            Ok(ends)
        }
    }
}

/// The offset behind the last record, by partition.
async fn ends(
    client: &Client,
    settings: &Settings,
    all: &[i32],
    isolation: Isolation,
) -> Result<BTreeMap<i32, Offset>, ReadError> {
    let found = find(client, &settings.topic, all, OffsetSpec::Latest, isolation).await?;
    Ok(found.into_iter().map(|(partition, found)| (partition, found.offset.unwrap_or(Offset::ZERO))).collect())
}

/// Looks up an offset in each partition; one that cannot be found fails all.
pub(crate) async fn find(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    spec: OffsetSpec,
    isolation: Isolation,
) -> Result<BTreeMap<i32, ListedOffset>, ReadError> {
    let found = look_up(client, topic, partitions, spec, isolation.on_the_wire()).await?;
    let topic = || topic.to_owned();
    let one = |(partition, found)| match found {
        Ok(found) => Ok((partition, found)),
        Err(Unknown::NoPartition) => Err(ReadError::UnknownPartition { topic: topic(), partition }),
        Err(Unknown::Refused(code)) => Err(ReadError::Refused { topic: topic(), partition, code }),
        Err(Unknown::Request(error)) => Err(error.into()),
    };
    found.into_iter().map(one).collect()
}
