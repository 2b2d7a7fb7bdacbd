//! `strandline cluster quorum add-controller` and `remove-controller`: who votes (KIP-853).

use clap::{Args, Subcommand};
use strandline_client::{BrokerId, NewVoter, QuorumReplica, Uuid, VoterEndpoint};

use crate::cli::Failure;
use crate::cli::connect::Cluster;

#[derive(Debug, Subcommand)]
pub(crate) enum VotersCommand {
    /// Let a controller vote that runs and follows the metadata log as an observer
    AddController(AddArguments),
    /// Let a controller vote no more; stop it first if it joins by itself
    RemoveController(RemoveArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    #[command(flatten)]
    cluster: Cluster,
    /// The controller's node.id
    #[arg(long, value_name = "ID")]
    id: i32,
    /// The directory.id of its metadata log; only needed if several of this node follow
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    directory_id: Option<Uuid>,
    /// Where controllers reach it, by the listener's name
    #[arg(long = "listener", value_name = "NAME://HOST:PORT", required = true, value_parser = endpoint)]
    listeners: Vec<VoterEndpoint>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    cluster: Cluster,
    /// The controller's node.id
    #[arg(long, value_name = "ID")]
    id: i32,
    /// The directory.id of its metadata log; by default the one that votes
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    directory_id: Option<Uuid>,
}

impl VotersCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::AddController(arguments) => arguments.run().await,
            Self::RemoveController(arguments) => arguments.run().await,
        }
    }
}

impl AddArguments {
    async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let directory = match self.directory_id {
            Some(directory) => directory,
            None => directory_of(&admin.describe_quorum().await?.observers, self.id, "follows the metadata log")?,
        };
        let voter = NewVoter { id: BrokerId(self.id), directory, endpoints: self.listeners };
        admin.add_voter(voter).await?;
        println!("node {} with directory {directory} votes", self.id);
        Ok(())
    }
}

impl RemoveArguments {
    async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let directory = match self.directory_id {
            Some(directory) => directory,
            None => directory_of(&admin.describe_quorum().await?.voters, self.id, "votes")?,
        };
        admin.remove_voter(BrokerId(self.id), directory).await?;
        println!("node {} with directory {directory} votes no more", self.id);
        Ok(())
    }
}

/// Who follows fetches twice a second; one that did not for so long is a directory of before.
const SILENCE_MS: i64 = 1500;

/// The directory of the only replica of a node that still fetches.
fn directory_of(replicas: &[QuorumReplica], id: i32, role: &'static str) -> Result<Uuid, Failure> {
    let own = || replicas.iter().filter(|replica| replica.id.0 == id);
    let newest_ms = own().filter_map(|replica| replica.last_fetch_ms).max();
    let fetches =
        |replica: &&QuorumReplica| newest_ms.zip(replica.last_fetch_ms).is_none_or(|(newest, own)| newest - own <= SILENCE_MS);
    let found: Vec<&QuorumReplica> = own().filter(fetches).collect();
    match found[..] {
        [replica] => replica.directory.ok_or(Failure::NoDirectory { id }),
        [] => Err(Failure::NoReplica { id, role }),
        _ => Err(Failure::SeveralReplicas { id, role }),
    }
}

fn uuid(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "it is no id of 22 characters, as `directory.id` in meta.properties has it".to_owned())
}

/// `NAME://HOST:PORT`
fn endpoint(text: &str) -> Result<VoterEndpoint, String> {
    let parsed = || {
        let (listener, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let is_whole = !listener.is_empty() && !host.is_empty();
        is_whole.then(|| VoterEndpoint { listener: listener.to_owned(), host: host.to_owned(), port })
    };
    parsed().ok_or_else(|| "it is no listener like CONTROLLER://HOST:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use strandline_client::Offset;

    use super::*;

    fn replica(id: i32, directory: u8) -> QuorumReplica {
        let directory = Some(Uuid([directory; 16])).filter(|directory| *directory != Uuid::ZERO);
        QuorumReplica { id: BrokerId(id), directory, log_end: Offset(0), last_fetch_ms: None, last_caught_up_ms: None }
    }

    #[test]
    fn a_directory_is_looked_up_where_only_one_can_be_meant() {
        let replicas = [replica(1, 1), replica(2, 2), replica(2, 3), replica(4, 0)];
        assert_eq!(directory_of(&replicas, 1, "votes").expect("one"), Uuid([1; 16]));
        assert!(matches!(directory_of(&replicas, 2, "votes"), Err(Failure::SeveralReplicas { id: 2, .. })));
        assert!(matches!(directory_of(&replicas, 3, "votes"), Err(Failure::NoReplica { id: 3, .. })));
        assert!(matches!(directory_of(&replicas, 4, "votes"), Err(Failure::NoDirectory { id: 4 })));
        let fetched = |directory, ms| QuorumReplica { last_fetch_ms: Some(ms), ..replica(5, directory) };
        let replaced = [fetched(1, 10_000), fetched(2, 20_000)];
        assert_eq!(directory_of(&replaced, 5, "follows").expect("the other one is of before"), Uuid([2; 16]));
        let both = [fetched(1, 19_500), fetched(2, 20_000)];
        assert!(matches!(directory_of(&both, 5, "follows"), Err(Failure::SeveralReplicas { .. })));
    }

    #[test]
    fn a_listener_is_a_name_and_an_address() {
        let expected = VoterEndpoint { listener: "CONTROLLER".to_owned(), host: "::1".to_owned(), port: 9093 };
        assert_eq!(endpoint("CONTROLLER://[::1]:9093"), Ok(expected));
        for wrong in ["h:1", "CONTROLLER://h", "://h:1", "CONTROLLER://:1", "CONTROLLER://h:0"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
