//! Where this node stands in the cluster, as Kafka's keys say it: its roles, its listeners, and where the voters are.
//!
//! Nothing is resolved or opened here: the rim binds the listeners, the node registers what they are called. Without any
//! of these keys a process is the whole cluster: broker and controller, a quorum of one, a single listener.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::BrokerConfig;
use crate::config::row::words_of;
use crate::image::brokers::Endpoint;
use crate::io::ListenerKind;
use crate::quorum::voters::{ReplicaKey, Voter, VoterEndpoint, VoterSet};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

/// A place where the process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub kind: ListenerKind,
    /// Empty for every address of the machine.
    pub host: String,
    pub port: u16,
    /// Its name, and where others are told to connect.
    pub advertised: Endpoint,
}

/// A voter of the quorum that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredVoter {
    pub id: i32,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    pub roles: Roles,
    pub listeners: Vec<Listener>,
    /// The name of the listener at which brokers reach each other.
    pub inter_broker: String,
    /// The name of the listener at which controllers are reached.
    pub controller: String,
    /// The static voters; empty if they are not configured.
    pub voters: Vec<ConfiguredVoter>,
    /// Servers that are asked where the quorum is: host and port.
    pub bootstrap: Vec<(String, u16)>,
}

/// Why the keys do not make a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    #[error("{key}: {given:?} is not {expected}")]
    Malformed { key: &'static str, given: String, expected: &'static str },
    #[error("{key}: the listener name {name} occurs twice")]
    Twice { key: &'static str, name: String },
    #[error("{key} names the listener {name}, which `listeners` does not have")]
    NoSuchListener { key: &'static str, name: String },
    #[error("listener.security.protocol.map gives {name} the protocol {protocol}; only PLAINTEXT is served")]
    Protocol { name: String, protocol: String },
    #[error("process.roles must name broker, controller, or both")]
    NoRole,
    #[error("node {node} is a controller, but controller.quorum.voters does not name it")]
    NoVoter { node: i64 },
    #[error("a node that is {missing} needs {needs}")]
    Needs { missing: &'static str, needs: &'static str },
}

impl Topology {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`TopologyError`] for the first thing that does not fit.
    pub fn read(config: &BrokerConfig) -> Result<Self, TopologyError> {
        let role = |name: &str| config.text("process.roles").is_some_and(|roles| words_of(roles).any(|role| role == name));
        let roles = Roles { broker: role("broker"), controller: role("controller") };
        if !roles.broker && !roles.controller {
            return Err(TopologyError::NoRole);
        }
        let controllers: Vec<String> =
            words_of(config.text("controller.listener.names").unwrap_or_default()).map(str::to_owned).collect();
        let mut listeners = listeners(config, &controllers)?;
        let topology = Self {
            roles,
            inter_broker: inter_broker(config, &mut listeners)?,
            controller: controllers.into_iter().next().unwrap_or_default(),
            voters: voters(config)?,
            bootstrap: bootstrap(config)?,
            listeners,
        };
        topology.check(config.number("node.id"))?;
        Ok(topology)
    }

    /// The listeners that clients and brokers are told of.
    pub fn client_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.of(|kind| kind != ListenerKind::Controller)
    }

    /// The listeners at which this controller is reached.
    pub fn controller_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.of(|kind| kind == ListenerKind::Controller)
    }

    /// Whether this process is the whole cluster, unless its metadata log says otherwise: broker and controller, and no other voter is
    /// configured. A controller that is no broker has others to serve.
    pub fn is_alone(&self) -> bool {
        self.roles.controller && self.roles.broker && self.voters.len() <= 1 && self.bootstrap.is_empty()
    }

    /// The voters that the configuration names; without any a controller is the only one.
    pub(crate) fn configured_voters(&self, me: i32) -> VoterSet {
        let voter = |id, endpoints| Voter { key: ReplicaKey::without_directory(id), endpoints, versions: (0, 0) };
        let endpoint = |voter: &ConfiguredVoter| VoterEndpoint {
            listener: self.controller.clone(),
            host: voter.host.clone(),
            port: voter.port,
        };
        let is_sole = self.voters.is_empty() && self.bootstrap.is_empty() && self.roles.controller;
        let sole = is_sole.then(|| voter(me, self.own_endpoints()));
        self.voters.iter().map(|known| voter(known.id, vec![endpoint(known)])).chain(sole).collect()
    }

    /// Where this node is reached as a voter.
    pub(crate) fn own_endpoints(&self) -> Vec<VoterEndpoint> {
        let endpoint =
            |end: &Endpoint| VoterEndpoint { listener: end.listener.clone(), host: end.host.clone(), port: end.port };
        self.controller_endpoints().map(endpoint).collect()
    }

    fn of(&self, wanted: fn(ListenerKind) -> bool) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(move |listener| wanted(listener.kind)).map(|listener| &listener.advertised)
    }

    fn check(&self, node: i64) -> Result<(), TopologyError> {
        let needs = |missing, needs| Err(TopologyError::Needs { missing, needs });
        if self.roles.broker && self.client_endpoints().next().is_none() {
            return needs("a broker", "a listener that controller.listener.names does not name");
        }
        if !self.roles.controller && self.voters.is_empty() && self.bootstrap.is_empty() {
            return needs("no controller", "controller.quorum.bootstrap.servers, or controller.quorum.voters");
        }
        if self.roles.controller && !self.is_alone() && self.controller_endpoints().next().is_none() {
            return needs("one of several controllers", "a listener that controller.listener.names names");
        }
        let is_voter = self.voters.iter().any(|voter| i64::from(voter.id) == node);
        if self.roles.controller && !self.voters.is_empty() && !is_voter {
            return Err(TopologyError::NoVoter { node });
        }
        Ok(())
    }
}

/// `NAME://HOST:PORT`, several separated by commas.
fn named(key: &'static str, text: &str) -> Result<Vec<(String, String, u16)>, TopologyError> {
    let mut found: Vec<(String, String, u16)> = Vec::new();
    for word in words_of(text) {
        let malformed =
            || TopologyError::Malformed { key, given: word.to_owned(), expected: "a listener like PLAINTEXT://HOST:PORT" };
        let (name, address) = word.split_once("://").ok_or_else(malformed)?;
        let (host, port) = host_and_port(address).ok_or_else(malformed)?;
        if found.iter().any(|(known, ..)| known == name) {
            return Err(TopologyError::Twice { key, name: name.to_owned() });
        }
        found.push((name.to_owned(), host, port));
    }
    Ok(found)
}

/// Kafka's number of the only security protocol that is served.
const PLAINTEXT: i16 = 0;

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

fn listeners(config: &BrokerConfig, controllers: &[String]) -> Result<Vec<Listener>, TopologyError> {
    let bound = named("listeners", config.text("listeners").unwrap_or_default())?;
    let mut advertised: BTreeMap<String, (String, u16)> = BTreeMap::new();
    for (name, host, port) in named("advertised.listeners", config.text("advertised.listeners").unwrap_or_default())? {
        if !bound.iter().any(|(known, ..)| *known == name) {
            return Err(TopologyError::NoSuchListener { key: "advertised.listeners", name });
        }
        advertised.insert(name, (host, port));
    }
    let plain = plain_names(config)?;
    let mut listeners = Vec::with_capacity(bound.len());
    for (name, host, port) in bound {
        let is_controller = controllers.contains(&name);
        // Without an entry a name is its own protocol, as in Kafka; controllers' listeners need none.
        if name != "PLAINTEXT" && !is_controller && !plain.contains(&name) {
            return Err(TopologyError::Protocol { protocol: name.clone(), name });
        }
        let (told_host, told_port) = advertised.remove(&name).unwrap_or_else(|| (told_host(&host), port));
        listeners.push(Listener {
            kind: if is_controller { ListenerKind::Controller } else { ListenerKind::Client },
            host,
            port,
            advertised: Endpoint { listener: name, host: told_host, port: told_port, security_protocol: PLAINTEXT },
        });
    }
    Ok(listeners)
}

/// Nobody can connect to "any address": others are told the loopback one instead.
fn told_host(host: &str) -> String {
    if matches!(host, "" | "0.0.0.0" | "::") { "127.0.0.1".to_owned() } else { host.to_owned() }
}

/// The names that the protocol map has; every one of them must be plain.
fn plain_names(config: &BrokerConfig) -> Result<BTreeSet<String>, TopologyError> {
    let key = "listener.security.protocol.map";
    let name = |word: &str| {
        let malformed = || TopologyError::Malformed { key, given: word.to_owned(), expected: "NAME:PROTOCOL" };
        match word.split_once(':').ok_or_else(malformed)? {
            (name, "PLAINTEXT") => Ok(name.to_owned()),
            (name, protocol) => Err(TopologyError::Protocol { name: name.to_owned(), protocol: protocol.to_owned() }),
        }
    };
    words_of(config.text(key).unwrap_or_default()).map(name).collect()
}

/// The named one, or the first that clients use; it is marked as that of brokers.
fn inter_broker(config: &BrokerConfig, listeners: &mut [Listener]) -> Result<String, TopologyError> {
    let key = "inter.broker.listener.name";
    let named = config.text(key);
    let is_it = |listener: &&mut Listener| {
        listener.kind == ListenerKind::Client && named.is_none_or(|name| listener.advertised.listener == name)
    };
    match (listeners.iter_mut().find(is_it), named) {
        (Some(listener), _) => {
            listener.kind = ListenerKind::Broker;
            Ok(listener.advertised.listener.clone())
        }
        (None, Some(name)) => Err(TopologyError::NoSuchListener { key, name: name.to_owned() }),
        (None, None) => Ok(String::new()),
    }
}

/// `HOST:PORT`, several separated by commas.
fn bootstrap(config: &BrokerConfig) -> Result<Vec<(String, u16)>, TopologyError> {
    let key = "controller.quorum.bootstrap.servers";
    let server = |word: &str| {
        let malformed = || TopologyError::Malformed { key, given: word.to_owned(), expected: "a server like HOST:PORT" };
        host_and_port(word).filter(|(host, _)| !host.is_empty()).ok_or_else(malformed)
    };
    words_of(config.text(key).unwrap_or_default()).map(server).collect()
}

/// `ID@HOST:PORT`, several separated by commas.
fn voters(config: &BrokerConfig) -> Result<Vec<ConfiguredVoter>, TopologyError> {
    let key = "controller.quorum.voters";
    let mut voters: Vec<ConfiguredVoter> = Vec::new();
    for word in words_of(config.text(key).unwrap_or_default()) {
        let voter = || {
            let (id, address) = word.split_once('@')?;
            let (host, port) = host_and_port(address)?;
            Some(ConfiguredVoter { id: id.parse().ok().filter(|id| *id >= 0)?, host, port })
        };
        let malformed = || TopologyError::Malformed { key, given: word.to_owned(), expected: "a voter like 1@HOST:PORT" };
        let voter = voter().ok_or_else(malformed)?;
        if voters.iter().any(|known| known.id == voter.id) {
            return Err(TopologyError::Twice { key, name: voter.id.to_string() });
        }
        voters.push(voter);
    }
    voters.sort_by_key(|voter| voter.id);
    Ok(voters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Topology, TopologyError> {
        let config = BrokerConfig::from_pairs(pairs.iter().map(|(key, value)| (*key, *value))).expect("known keys");
        Topology::read(&config)
    }

    #[test]
    fn without_any_key_a_process_is_the_whole_cluster() {
        let topology = read(&[]).expect("the default");
        assert_eq!(topology.roles, Roles { broker: true, controller: true });
        assert!(topology.is_alone());
        let told: Vec<_> = topology.client_endpoints().map(|end| (end.host.as_str(), end.port)).collect();
        assert_eq!(told, [("127.0.0.1", 9092)]);
        assert_eq!(topology.inter_broker, "PLAINTEXT");
    }

    #[test]
    fn a_node_of_three_has_a_listener_for_controllers() {
        let topology = read(&[
            ("node.id", "2"),
            ("listeners", "PLAINTEXT://0.0.0.0:9192,INSIDE://10.0.0.2:9193,CONTROLLER://10.0.0.2:9194"),
            ("advertised.listeners", "PLAINTEXT://broker.example:19192"),
            ("listener.security.protocol.map", "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
            ("inter.broker.listener.name", "INSIDE"),
            ("controller.quorum.voters", "2@10.0.0.2:9194,1@10.0.0.1:9194,3@10.0.0.3:9194"),
        ])
        .expect("a legal node");
        assert!(!topology.is_alone());
        let told: Vec<_> = topology.client_endpoints().map(|end| (end.host.as_str(), end.port)).collect();
        assert_eq!(told, [("broker.example", 19192), ("10.0.0.2", 9193)]);
        assert_eq!(topology.controller_endpoints().count(), 1);
        assert_eq!(topology.voters.iter().map(|voter| voter.id).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((topology.inter_broker.as_str(), topology.controller.as_str()), ("INSIDE", "CONTROLLER"));
    }

    #[test]
    fn a_sole_controller_without_a_broker_is_not_alone() {
        let controller =
            [("process.roles", "controller"), ("listeners", "CONTROLLER://h:1"), ("controller.quorum.voters", "1@h:1")];
        assert!(!read(&controller).expect("a legal node").is_alone());
    }

    #[test]
    fn a_controller_that_is_told_where_others_are_is_not_alone_and_votes_only_if_the_log_says_so() {
        let topology =
            read(&[("listeners", "PLAINTEXT://h:1,CONTROLLER://h:2"), ("controller.quorum.bootstrap.servers", "h:2, [::1]:4")])
                .expect("a legal node");
        assert!(!topology.is_alone());
        assert_eq!(topology.bootstrap, [("h".to_owned(), 2), ("::1".to_owned(), 4)]);
        assert!(topology.configured_voters(1).is_empty());
        assert_eq!(read(&[]).expect("the default").configured_voters(1).len(), 1);
        let broker = [("process.roles", "broker"), ("controller.quorum.bootstrap.servers", "h:2")];
        assert!(read(&broker).is_ok());
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_name() {
        let refused = |pairs: &[(&str, &str)]| read(pairs).expect_err("refused").to_string();
        assert!(refused(&[("listener.security.protocol.map", "PLAINTEXT:SSL")]).contains("SSL"));
        assert!(refused(&[("listeners", "SECRET://127.0.0.1:1")]).contains("only PLAINTEXT is served"));
        assert!(refused(&[("listeners", "PLAINTEXT://nowhere")]).contains("PLAINTEXT://HOST:PORT"));
        assert!(refused(&[("inter.broker.listener.name", "INSIDE")]).contains("INSIDE"));
        assert!(refused(&[("controller.quorum.voters", "1@here")]).contains("1@HOST:PORT"));
        assert!(refused(&[("controller.quorum.voters", "2@h:1,3@h:2")]).contains("a listener that controller"));
        assert!(refused(&[("process.roles", "broker")]).contains("controller.quorum"));
        assert!(refused(&[("controller.quorum.bootstrap.servers", "nowhere")]).contains("HOST:PORT"));
        let foreign = [("listeners", "PLAINTEXT://h:1,CONTROLLER://h:2"), ("controller.quorum.voters", "2@h:1,3@h:2")];
        assert_eq!(read(&foreign), Err(TopologyError::NoVoter { node: 1 }));
    }
}
