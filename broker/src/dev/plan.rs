//! Which node of a development cluster listens where, and with which keys it runs.

/// Shown by `--help`.
pub(crate) const PORTS: &str = "\
Ports, all on 127.0.0.1, for node i of the cluster (the first is 1):
  PORT + i - 1          clients of Kafka's protocol
  PORT + 100 + i - 1    controllers among themselves
  PORT + 200 + i - 1    HTTP: /metrics, /healthz, /readyz
Topics that do not say get as many replicas as there are nodes, at most three.";

const CONTROLLERS_BEHIND: u16 = 100;
const HTTP_BEHIND: u16 = 200;

/// Replicas of a topic that does not say.
const REPLICAS_MAX: u16 = 3;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("--port {port} leaves no room below 65536 for {nodes} nodes, their controllers and HTTP")]
    Ports { port: u16, nodes: u16 },
    #[error("--set takes KEY=VALUE, not {given:?}")]
    Set { given: String },
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedNode {
    pub(crate) id: u16,
    pub(crate) clients: u16,
    pub(crate) controllers: u16,
    pub(crate) http: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    nodes: Vec<PlannedNode>,
    set: Vec<String>,
}

impl Plan {
    /// Plans a cluster.
    ///
    /// # Errors
    /// [`PlanError`]
    pub(crate) fn new(nodes: u16, port: u16, set: &[String]) -> Result<Self, PlanError> {
        if let Some(given) = set.iter().find(|given| !given.contains('=')) {
            return Err(PlanError::Set { given: given.clone() });
        }
        if port.checked_add(HTTP_BEHIND + nodes).is_none() {
            return Err(PlanError::Ports { port, nodes });
        }
        let node = |place: u16| PlannedNode {
            id: place + 1,
            clients: port + place,
            controllers: port + CONTROLLERS_BEHIND + place,
            http: port + HTTP_BEHIND + place,
        };
        Ok(Self { nodes: (0..nodes).map(node).collect(), set: set.to_vec() })
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = PlannedNode> {
        self.nodes.iter().copied()
    }

    /// Where clients connect.
    pub(crate) fn bootstrap(&self) -> String {
        self.joined(|node| format!("127.0.0.1:{}", node.clients))
    }

    pub(crate) fn http(&self) -> String {
        self.nodes().map(|node| format!("http://127.0.0.1:{}", node.http)).collect::<Vec<_>>().join(" ")
    }

    /// The keys of a node; what was given on the command line goes before the rest.
    pub(crate) fn keys(&self, node: &PlannedNode, cluster: &str) -> Vec<String> {
        let voters = self.joined(|node| format!("{}@127.0.0.1:{}", node.id, node.controllers));
        let replicas = REPLICAS_MAX.min(u16::try_from(self.nodes.len()).unwrap_or(REPLICAS_MAX));
        let mut keys = vec![
            format!("node.id={}", node.id),
            format!("cluster.id={cluster}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}", node.clients, node.controllers),
            format!("controller.quorum.voters={voters}"),
            format!("default.replication.factor={replicas}"),
        ];
        keys.extend_from_slice(&self.set);
        keys
    }

    fn joined(&self, each: impl Fn(PlannedNode) -> String) -> String {
        self.nodes().map(each).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use strandline_node::config::BrokerConfig;
    use strandline_node::topology::Topology;

    use super::*;

    #[test]
    fn every_node_is_a_legal_one_and_no_port_is_taken_twice() {
        for nodes in [1, 3, 99] {
            let plan = Plan::new(nodes, 9092, &[]).expect("room enough");
            let mut ports: Vec<u16> = plan.nodes().flat_map(|node| [node.clients, node.controllers, node.http]).collect();
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), usize::from(nodes) * 3);
            for node in plan.nodes() {
                let keys = plan.keys(&node, "c");
                let pairs = keys.iter().filter_map(|key| key.split_once('='));
                let config = BrokerConfig::from_pairs(pairs).expect("known keys");
                let topology = Topology::read(&config).expect("they fit together");
                assert_eq!(topology.voters.len(), usize::from(nodes));
            }
        }
    }

    #[test]
    fn what_was_given_goes_before_the_rest() {
        let plan = Plan::new(3, 9092, &["default.replication.factor=1".to_owned()]).expect("room enough");
        let node = plan.nodes().next().expect("three of them");
        assert_eq!(plan.keys(&node, "c").last().map(String::as_str), Some("default.replication.factor=1"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(matches!(Plan::new(3, 65_400, &[]), Err(PlanError::Ports { .. })));
        assert!(matches!(Plan::new(3, 9092, &["nonsense".to_owned()]), Err(PlanError::Set { .. })));
    }
}
