//! The settings of `strandline serve`: defaults, then the file, then the command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use strandline_node::config::BrokerConfig;
use strandline_node::config::row::words_of;
use strandline_node::topology::{Listener, Topology};

use super::StartError;

const HTTP_DEFAULT: &str = "127.0.0.1:9644";
const DATA_DEFAULT: &str = "./strandline-data";

/// Runs a broker.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    /// Configuration file: TOML with Kafka's key names.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory; an empty one is formatted. Given several times, one for each disk. Default: log.dirs of the file, or
    /// ./strandline-data.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Vec<PathBuf>,
    /// Where clients of Kafka's protocol connect. Default: listeners of the file, or 127.0.0.1:9092.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Where /metrics, /healthz and /readyz are. Default 127.0.0.1:9644.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http: Option<String>,
    /// Any key of the configuration file; goes before the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Where a process keeps what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataPlan {
    /// The first is that of the metadata log.
    pub(crate) roots: Vec<PathBuf>,
    /// Whether `log.dirs` names the first one too.
    pub(crate) first_takes_partitions: bool,
}

impl DataPlan {
    fn read(args: &[PathBuf], config: &BrokerConfig) -> Self {
        let listed = |key: &str| config.given(key).map(|dirs| words_of(dirs).map(PathBuf::from).collect::<Vec<_>>());
        let given = Some(args.to_vec()).filter(|args| !args.is_empty());
        let mut roots = given.or_else(|| listed("log.dirs")).or_else(|| listed("log.dir")).unwrap_or_default();
        if roots.is_empty() {
            roots.push(PathBuf::from(DATA_DEFAULT));
        }
        let Some(metadata) = config.given("metadata.log.dir").map(PathBuf::from) else {
            return Self { roots, first_takes_partitions: true };
        };
        let place = roots.iter().position(|root| *root == metadata);
        if let Some(place) = place {
            roots.remove(place);
        }
        roots.insert(0, metadata);
        Self { roots, first_takes_partitions: place.is_some() }
    }

    /// As `log.dirs` says it.
    fn log_dirs(&self) -> String {
        let named = if self.first_takes_partitions { &self.roots[..] } else { &self.roots[1..] };
        named.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(",")
    }
}

/// What a broker runs with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: BrokerConfig,
    pub(crate) data: DataPlan,
    pub(crate) topology: Topology,
    /// Where to listen, in the order of the topology's listeners.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) http: SocketAddr,
}

impl Settings {
    /// Puts file and command line together.
    ///
    /// # Errors
    /// [`StartError`] for the first thing that is wrong.
    pub(crate) fn read(args: &ServeArgs) -> Result<Self, StartError> {
        let mut config = BrokerConfig::default();
        if let Some(file) = &args.config {
            for (key, value) in pairs_of(file)? {
                config.set(&key, value)?;
            }
        }
        for given in &args.set {
            let (key, value) = given.split_once('=').ok_or_else(|| StartError::Set { given: given.clone() })?;
            config.set(key.trim(), value.to_owned())?;
        }
        let data = DataPlan::read(&args.data, &config);
        config.set("log.dirs", data.log_dirs())?;
        if let Some(listen) = &args.listen {
            config.set("listeners", format!("PLAINTEXT://{listen}"))?;
        }
        let http = address(args.http.as_deref().unwrap_or(HTTP_DEFAULT))?;
        let topology = Topology::read(&config)?;
        let bound = |listener: &Listener| resolved(&listener.host, listener.port);
        let listen = topology.listeners.iter().map(bound).collect::<Result<Vec<_>, StartError>>()?;
        Ok(Self { config, data, topology, listen, http })
    }
}

fn address(text: &str) -> Result<SocketAddr, StartError> {
    let wrong = |reason: &str| StartError::Address { given: text.to_owned(), reason: reason.to_owned() };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("there is no port"))?;
    let port = port.parse().map_err(|_| wrong("the port is no number up to 65535"))?;
    resolved(host.trim_matches(['[', ']']), port)
}

fn resolved(host: &str, port: u16) -> Result<SocketAddr, StartError> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let wrong = |reason: String| StartError::Address { given: format!("{host}:{port}"), reason };
    let mut addresses = (host, port).to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

/// The keys of a TOML file: `log.segment.bytes = 1` and `"log.segment.bytes" = 1` are the same.
fn pairs_of(file: &Path) -> Result<Vec<(String, String)>, StartError> {
    let text = std::fs::read_to_string(file).map_err(|reason| StartError::ConfigFile { file: file.to_owned(), reason })?;
    let table: toml::Table =
        text.parse().map_err(|reason| StartError::ConfigSyntax { file: file.to_owned(), reason: Box::new(reason) })?;
    let mut pairs = Vec::new();
    flatten("", &table, &mut pairs).map_err(|key| StartError::ConfigValue { file: file.to_owned(), key })?;
    Ok(pairs)
}

fn flatten(prefix: &str, table: &toml::Table, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, pairs)?,
            toml::Value::Array(values) => {
                let words: Option<Vec<String>> = values.iter().map(plain).collect();
                pairs.push((key.clone(), words.ok_or(key)?.join(",")));
            }
            value => pairs.push((key.clone(), plain(value).ok_or(key)?)),
        }
    }
    Ok(())
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_and_quoted_keys_are_the_same() {
        let table: toml::Table =
            "log.segment.bytes = 5\n\"log.retention.ms\" = -1\ncleanup = [\"a\", \"b\"]".parse().expect("TOML");
        let mut pairs = Vec::new();
        flatten("", &table, &mut pairs).expect("plain values");
        pairs.sort();
        let expected = [("cleanup", "a,b"), ("log.retention.ms", "-1"), ("log.segment.bytes", "5")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    fn told(settings: &Settings) -> &str {
        &settings.topology.listeners[0].advertised.host
    }

    #[test]
    fn the_command_line_goes_before_the_defaults_and_is_checked() {
        let args =
            ServeArgs { set: vec!["node.id=7".to_owned()], listen: Some("127.0.0.1:0".to_owned()), ..ServeArgs::default() };
        let settings = Settings::read(&args).expect("legal");
        assert_eq!(settings.config.number("node.id"), 7);
        assert_eq!(told(&settings), "127.0.0.1");
        let args = ServeArgs { set: vec!["nonsense=7".to_owned()], ..ServeArgs::default() };
        assert!(matches!(Settings::read(&args), Err(StartError::Config(_))));
    }

    #[test]
    fn the_directory_of_the_metadata_log_comes_first() {
        let plan = |pairs: &[(&str, &str)]| {
            let config = BrokerConfig::from_pairs(pairs.iter().copied()).expect("known keys");
            let DataPlan { roots, first_takes_partitions } = DataPlan::read(&[], &config);
            (roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" "), first_takes_partitions)
        };
        assert_eq!(plan(&[]), (DATA_DEFAULT.to_owned(), true));
        assert_eq!(plan(&[("log.dir", "/a")]), ("/a".to_owned(), true));
        assert_eq!(plan(&[("log.dirs", "/a, /b,"), ("log.dir", "/c")]), ("/a /b".to_owned(), true));
        assert_eq!(plan(&[("log.dirs", "/a,/b"), ("metadata.log.dir", "/b")]), ("/b /a".to_owned(), true));
        assert_eq!(plan(&[("log.dirs", "/a,/b"), ("metadata.log.dir", "/m")]), ("/m /a /b".to_owned(), false));
    }

    #[test]
    fn clients_are_not_told_to_connect_to_any_address() {
        let args = ServeArgs { listen: Some("0.0.0.0:9092".to_owned()), ..ServeArgs::default() };
        assert_eq!(told(&Settings::read(&args).expect("legal")), "127.0.0.1");
    }
}
